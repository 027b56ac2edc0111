//! Shape pictures on disk: class folders, or pictures with COCO's `instances.json`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use opticus_pixels::codec::encode_png;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{CLASSES, Object, Shapes};
use crate::data::open::{Split, one_of};
use crate::error::{Error, Result};
use crate::files::{create_folder, write_atomically};

/// What the pictures are to teach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One object a picture, in class folders.
    #[default]
    Classify,
    /// One to six objects a picture, with boxes.
    Detect,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classify => "classify",
            Self::Detect => "detect",
        })
    }
}

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        one_of(text, &[Self::Classify, Self::Detect])
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Written {
    /// What the pictures are to teach.
    pub task: Task,
    /// Number of pictures.
    pub pictures: usize,
    /// Number of boxes, for detection.
    pub boxes: usize,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Pictures of each part, if the set was parted.
    pub parts: Vec<(Split, usize)>,
}

/// Fractions that go into a validation and a test part; with both 0 the set is not parted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fractions {
    /// To `val`.
    pub val: f64,
    /// To `test`.
    pub test: f64,
}

/// Renders a set into `out`, which must be new or empty. `val` and `test` are fractions of the pictures; with
/// both 0, the set is not parted into folders `train`, `val` and `test`.
///
/// # Errors
/// [`Error::Config`] for options out of range or an `out` that holds something; [`Error::Io`].
pub fn write(out: &Path, shapes: &Shapes, task: Task, fractions: Fractions) -> Result<Written> {
    shapes.validate()?;
    let Fractions { val, test } = fractions;
    if !(0.0..1.0).contains(&val) || !(0.0..1.0).contains(&test) || val + test >= 1.0 {
        return Err(Error::Config(format!(
            "fractions {val} for validation and {test} for test leave nothing to learn from; together they are \
             less than 1"
        )));
    }
    create_folder(out)?;
    if std::fs::read_dir(out).map_err(|e| Error::io("list the folder", out, e))?.next().is_some() {
        return Err(Error::Config(format!(
            "{} is not empty; choose another --out, so that nothing is mixed up",
            out.display()
        )));
    }
    // Classes come in turn, so that ranges of numbers are stratified.
    let share = |fraction: f64| (shapes.count as f64 * fraction).round() as usize;
    let (val, test) = (share(val), share(test));
    let train = shapes.count.saturating_sub(val + test);
    let parted = val + test > 0;
    let mut written = Written {
        task,
        pictures: shapes.count,
        boxes: 0,
        classes: CLASSES.map(String::from).to_vec(),
        parts: Vec::new(),
    };
    let mut first = 0;
    for (split, count) in [(Split::Train, train), (Split::Val, val), (Split::Test, test)] {
        if count == 0 {
            continue;
        }
        let folder = if parted { out.join(split.to_string()) } else { out.to_path_buf() };
        let numbers = first..first + count;
        match task {
            Task::Classify => write_folders(&folder, shapes, numbers)?,
            Task::Detect => written.boxes += write_coco(&folder, shapes, numbers)?,
        }
        if parted {
            written.parts.push((split, count));
        }
        first += count;
    }
    Ok(written)
}

fn write_folders(folder: &Path, shapes: &Shapes, numbers: std::ops::Range<usize>) -> Result<()> {
    for class in CLASSES.iter().take(numbers.len()) {
        create_folder(&folder.join(class))?;
    }
    numbers.into_par_iter().try_for_each(|number| {
        let class = folder.join(CLASSES[Shapes::label(number)]);
        create_folder(&class)?;
        write_picture(&class.join(file_name(number)), &shapes.single(number))
    })
}

fn write_coco(folder: &Path, shapes: &Shapes, numbers: std::ops::Range<usize>) -> Result<usize> {
    let pictures = folder.join("images");
    create_folder(&pictures)?;
    let objects: Vec<(usize, Vec<Object>)> = numbers
        .into_par_iter()
        .map(|number| {
            let (picture, objects) = shapes.several(number);
            write_picture(&pictures.join(file_name(number)), &picture)?;
            Ok((number, objects))
        })
        .collect::<Result<_>>()?;
    let images: Vec<_> = objects
        .iter()
        .map(|(number, _)| {
            json!({"id": number + 1, "file_name": file_name(*number), "width": shapes.side, "height": shapes.side})
        })
        .collect();
    let annotations: Vec<_> = objects
        .iter()
        .flat_map(|(number, objects)| objects.iter().map(move |o| (number, o)))
        .enumerate()
        .map(|(i, (number, object))| {
            json!({
                "id": i + 1,
                "image_id": number + 1,
                "category_id": object.label + 1,
                "bbox": object.bounds,
                "area": object.area,
                "iscrowd": 0,
                "segmentation": [],
            })
        })
        .collect();
    let categories: Vec<_> = CLASSES
        .iter()
        .enumerate()
        .map(|(i, name)| json!({"id": i + 1, "name": name, "supercategory": "shape"}))
        .collect();
    let boxes = annotations.len();
    let document = json!({
        "info": {
            "description": format!("Opticus shapes: seed {}, {} pixels", shapes.seed, shapes.side),
            "version": env!("CARGO_PKG_VERSION"),
        },
        "images": images,
        "annotations": annotations,
        "categories": categories,
    });
    write_atomically(&folder.join("instances.json"), |out| {
        serde_json::to_writer(&mut *out, &document)?;
        out.write_all(b"\n")
    })?;
    Ok(boxes)
}

fn file_name(number: usize) -> String {
    format!("{number:06}.png")
}

fn write_picture(path: &Path, picture: &opticus_pixels::Image8) -> Result<()> {
    let bytes =
        encode_png(picture).map_err(|e| Error::Input(format!("cannot encode {}: {e}", path.display())))?;
    std::fs::write(path, bytes).map_err(|e| Error::io("write", path, e))
}
