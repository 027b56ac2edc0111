//! From one kind of data set to another.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use opticus_pixels::codec::encode_png;
use opticus_pixels::{Image8, Size};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, Labelled, Source, shorten};
use super::idx::{IdxArray, write as write_idx};
use super::open::{Split, Splits, one_of};
use crate::error::{Error, Result};
use crate::files::{create_folder, write_atomically};

/// What a data set can be converted into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Class folders; inside `train`, `val` and `test` if there is more than one part.
    Folder,
    /// The pictures in `images/` and a table `labels.csv` of path, label and split.
    Csv,
    /// MNIST's files, packed, and `classes.txt`; for grey pictures of one size and at most 256 classes.
    Idx,
    /// Boxes: COCO's JSON, pictures in `images/<part>`.
    Coco,
    /// Boxes: Pascal VOC's XML, pictures in `JPEGImages`.
    Voc,
    /// Boxes: YOLO's text files and `data.yaml`.
    Yolo,
}

impl Target {
    /// Whether it holds boxes rather than one label a picture.
    pub fn has_boxes(self) -> bool {
        matches!(self, Self::Coco | Self::Voc | Self::Yolo)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folder => "folder",
            Self::Csv => "csv",
            Self::Idx => "idx",
            Self::Coco => "coco",
            Self::Voc => "voc",
            Self::Yolo => "yolo",
        })
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        one_of(text, &[Self::Folder, Self::Csv, Self::Idx, Self::Coco, Self::Voc, Self::Yolo])
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Converted {
    /// Into what.
    pub target: Target,
    /// Pictures of each part.
    pub parts: Vec<(Split, usize)>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Boxes, if they are what was converted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boxes: Option<usize>,
}

/// Writes a data set into `out`, which must be new or empty. Picture files are copied as they are; pictures
/// from larger files become PNG.
///
/// # Errors
/// [`Error::Config`] if `out` holds something or the pictures do not fit the target; [`Error::Io`].
pub fn convert(splits: &Splits, target: Target, out: &Path) -> Result<Converted> {
    make_empty(out)?;
    let parts: Vec<(Split, &Labelled)> = splits.parts().collect();
    match target {
        Target::Folder => to_folders(&parts, out)?,
        Target::Csv => to_table(&parts, out)?,
        Target::Idx => to_idx(&parts, splits.classes(), out)?,
        Target::Coco | Target::Voc | Target::Yolo => {
            return Err(Error::Config(format!("--to {target}: pictures with one label each have no boxes")));
        }
    }
    Ok(Converted {
        target,
        parts: parts.iter().map(|(split, data)| (*split, data.len())).collect(),
        classes: splits.classes().to_vec(),
        boxes: None,
    })
}

/// Makes a folder to write into, which must be new or empty.
pub(super) fn make_empty(out: &Path) -> Result<()> {
    create_folder(out)?;
    if std::fs::read_dir(out).map_err(|e| Error::io("list the folder", out, e))?.next().is_some() {
        return Err(Error::Config(format!("{} is not empty; choose another --out", out.display())));
    }
    Ok(())
}

fn to_folders(parts: &[(Split, &Labelled)], out: &Path) -> Result<()> {
    for (split, data) in parts {
        let part = if parts.len() > 1 || *split != Split::Train {
            out.join(split.to_string())
        } else {
            out.to_path_buf()
        };
        let bad: Vec<&String> = data.classes().iter().filter(|c| !is_folder_name(c)).collect();
        if !bad.is_empty() {
            return Err(Error::Config(format!("no folder can be named {}", shorten(&bad, 4))));
        }
        for (class, count) in data.classes().iter().zip(data.class_counts()) {
            if count > 0 {
                create_folder(&part.join(class))?;
            }
        }
        (0..data.len()).into_par_iter().try_for_each(|i| {
            let name = file_name(data, i);
            put(data, i, &part.join(&data.classes()[data.target(i)]).join(name))
        })?;
    }
    Ok(())
}

fn to_table(parts: &[(Split, &Labelled)], out: &Path) -> Result<()> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let fault = |e: ::csv::Error| Error::Input(format!("cannot write the table: {e}"));
    writer.write_record(["path", "label", "split"]).map_err(fault)?;
    for (split, data) in parts {
        let folder = format!("images/{split}");
        create_folder(&out.join(&folder))?;
        (0..data.len())
            .into_par_iter()
            .try_for_each(|i| put(data, i, &out.join(&folder).join(file_name(data, i))))?;
        for i in 0..data.len() {
            let path = format!("{folder}/{}", file_name(data, i));
            writer
                .write_record([path.as_str(), &data.classes()[data.target(i)], &split.to_string()])
                .map_err(fault)?;
        }
    }
    let text = writer.into_inner().map_err(|e| Error::Input(format!("cannot write the table: {e}")))?;
    write_atomically(&out.join("labels.csv"), |file| file.write_all(&text))
}

fn to_idx(parts: &[(Split, &Labelled)], classes: &[String], out: &Path) -> Result<()> {
    if classes.len() > 256 {
        return Err(Error::Config(format!("IDX labels are bytes: {} classes are too many", classes.len())));
    }
    for (split, data) in parts {
        let stem = match split {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "t10k",
        };
        let pictures: Vec<Image8> =
            (0..data.len()).into_par_iter().map(|i| data.load(i)).collect::<Result<_>>()?;
        let size = pictures.first().map_or(Size::new(1, 1), |p| p.size);
        for (i, picture) in pictures.iter().enumerate() {
            if picture.channels != 1 || picture.size != size {
                return Err(Error::Config(format!(
                    "{} is {}x{} with {} channels; IDX holds grey pictures of one size ({}x{} here). Convert into \
                     folder or csv instead",
                    data.name(i),
                    picture.size.width,
                    picture.size.height,
                    picture.channels,
                    size.width,
                    size.height
                )));
            }
        }
        let images = IdxArray {
            dimensions: vec![data.len(), size.height as usize, size.width as usize],
            data: pictures.iter().flat_map(|p| &p.data).copied().collect(),
        };
        let labels = IdxArray {
            dimensions: vec![data.len()],
            data: (0..data.len()).map(|i| data.target(i) as u8).collect(),
        };
        write_idx(&out.join(format!("{stem}-images-idx3-ubyte.gz")), &images)?;
        write_idx(&out.join(format!("{stem}-labels-idx1-ubyte.gz")), &labels)?;
    }
    write_atomically(&out.join("classes.txt"), |file| file.write_all(classes.join("\n").as_bytes()))
}

/// A name for picture `i` that no other picture of its part has.
fn file_name(data: &Labelled, i: usize) -> String {
    let extension = match &data.items()[i].source {
        Source::File { path, .. } => path.extension().map(|e| e.to_string_lossy().to_lowercase()),
        Source::Record { .. } => None,
    };
    format!("{i:06}.{}", extension.as_deref().unwrap_or("png"))
}

fn put(data: &Labelled, i: usize, to: &Path) -> Result<()> {
    match &data.items()[i].source {
        Source::File { path, .. } => {
            std::fs::copy(path, to).map(|_| ()).map_err(|e| Error::io("copy a picture to", to, e))
        }
        Source::Record { .. } => {
            let bytes = encode_png(&data.load(i)?)
                .map_err(|e| Error::Input(format!("cannot encode {}: {e}", to.display())))?;
            std::fs::write(to, bytes).map_err(|e| Error::io("write", to, e))
        }
    }
}

/// Whether a class's name can be a folder's: one part, and not a way out of the folder.
fn is_folder_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None))
        && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::{Format, OpenOptions, open};

    fn grey_set(root: &Path) -> Splits {
        let image = |i: u8| (0..12).map(move |p| p * 7 + i);
        for (stem, count) in [("train", 5u8), ("t10k", 2)] {
            let data = (0..count).flat_map(image).collect();
            let images = IdxArray { dimensions: vec![count.into(), 3, 4], data };
            let labels =
                IdxArray { dimensions: vec![count.into()], data: (0..count).map(|i| i % 2).collect() };
            write_idx(&root.join(format!("{stem}-images-idx3-ubyte")), &images).unwrap();
            write_idx(&root.join(format!("{stem}-labels-idx1-ubyte")), &labels).unwrap();
        }
        std::fs::write(root.join("classes.txt"), "even\nodd, perhaps\n").unwrap();
        open(root, Format::Auto, &OpenOptions::default()).unwrap()
    }

    /// Pictures by label, in a fixed order.
    fn content(splits: &Splits) -> Vec<(Split, String, Vec<u8>)> {
        let mut all = Vec::new();
        for (split, data) in splits.parts() {
            for i in 0..data.len() {
                all.push((split, data.classes()[data.target(i)].clone(), data.load(i).unwrap().data));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn every_kind_keeps_pictures_labels_and_parts() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("idx")).unwrap();
        let mut splits = grey_set(&root.path().join("idx"));
        let expected = content(&splits);
        for target in [Target::Folder, Target::Csv, Target::Idx] {
            let out = root.path().join(format!("{target:?}"));
            let converted = convert(&splits, target, &out).unwrap();
            assert_eq!(converted.parts, [(Split::Train, 5), (Split::Test, 2)]);
            splits = open(&out, Format::Auto, &OpenOptions::default()).unwrap();
            assert_eq!(content(&splits), expected, "{target:?}");
        }
        assert!(convert(&splits, Target::Csv, root.path()).is_err(), "a folder that holds something");
    }

    #[test]
    fn class_names_that_lead_out_of_the_folder_are_refused() {
        let names = [("cat", true), ("a b", true), ("..", false), ("a/b", false), ("", false), (".x", false)];
        for (name, good) in names {
            assert_eq!(is_folder_name(name), good, "{name:?}");
        }
    }
}
