//! A folder of annotation files: where the pictures lie, and which part each belongs to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use opticus_pixels::Box2d;
use rayon::prelude::*;

use super::super::super::folder::{is_picture, list};
use super::super::super::open::Split;
use super::super::gather::{RawBox, RawPicture, RawSet, members};
use super::xml::{MAX_FILE, VocFile, VocObject, parse};
use crate::error::{Error, Result};
use crate::files::read_limited;

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending))
}

/// The folder named so, whatever its case.
fn inner(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    let listing = list(folder).ok()?;
    listing
        .folders
        .into_iter()
        .find(|f| f.file_name().is_some_and(|n| names.iter().any(|name| n.eq_ignore_ascii_case(name))))
}

/// The annotation files of each part; empty if this is no VOC folder.
pub(in super::super) fn recognise(root: &Path) -> Result<Vec<(Option<Split>, Vec<PathBuf>)>> {
    let files = |folder: &Path| -> Result<Vec<PathBuf>> {
        Ok(list(folder)?.files.into_iter().filter(|f| has_ending(f, "xml")).collect())
    };
    let in_folder = |folder: &Path| -> Result<Vec<PathBuf>> {
        let here = files(folder)?;
        match inner(folder, &["annotations", "labels", "xml", "xmls"]) {
            Some(inside) if here.is_empty() => files(&inside),
            _ => Ok(here),
        }
    };
    let whole = in_folder(root)?;
    if !whole.is_empty() {
        return Ok(vec![(None, whole)]);
    }
    let mut parts = Vec::new();
    for folder in list(root)?.folders {
        let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(split) = Split::from_name(&name) {
            let found = in_folder(&folder)?;
            if !found.is_empty() {
                parts.push((Some(split), found));
            }
        }
    }
    Ok(parts)
}

/// Reads a folder in VOC's layout.
pub(in super::super) fn open(root: &Path) -> Result<RawSet> {
    let parts = recognise(root)?;
    if parts.is_empty() {
        return Err(Error::Input(format!(
            "{} has no VOC annotations: no .xml file in it, in Annotations, or in train, val and test",
            root.display()
        )));
    }
    let lists = Lists::read(root)?;
    let mut set = RawSet::default();
    let mut unlisted = 0;
    for (split, files) in parts {
        let places = Places::around(root, files.first().and_then(|f| f.parent()).unwrap_or(root))?;
        let read: Vec<(PathBuf, VocFile)> = files
            .into_par_iter()
            .map(|file| {
                let bytes = read_limited(&file, MAX_FILE)?;
                let read = parse(&bytes).map_err(|e| Error::Input(format!("{}: {e}", file.display())))?;
                Ok((file, read))
            })
            .collect::<Result<_>>()?;
        for (file, read) in read {
            let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            let part = match (split, lists.part(&stem)) {
                (Some(split), _) => split,
                (None, Ok(split)) => split,
                (None, Err(())) => {
                    unlisted += 1;
                    continue;
                }
            };
            set.pictures.push(picture(root, &file, &stem, read, part, &places));
        }
    }
    if unlisted > 0 {
        set.notes.push(format!("{unlisted} annotation files are in no list of ImageSets/Main and left out"));
    }
    set.name_classes();
    Ok(set)
}

fn picture(root: &Path, file: &Path, stem: &str, read: VocFile, split: Split, places: &Places) -> RawPicture {
    let path = places.find(&read.filename, stem).unwrap_or_else(|| {
        let name =
            if read.filename.is_empty() { format!("{stem}.jpg") } else { last_part(&read.filename).into() };
        places.first().join(name)
    });
    let annotations = file.strip_prefix(root).unwrap_or(file).display().to_string().replace('\\', "/");
    let mut extra = Vec::new();
    if let Some(folder) = &read.folder {
        extra.push(("folder", serde_json::Value::from(folder.as_str())));
    }
    if let Some(database) = &read.database {
        extra.push(("database", serde_json::Value::from(database.as_str())));
    }
    if read.segmented {
        extra.push(("segmented", 1.into()));
    }
    RawPicture {
        relative: path.strip_prefix(root).unwrap_or(&path).display().to_string().replace('\\', "/"),
        path,
        size: [read.size[0], read.size[1]],
        id: None,
        split,
        extra: members(&extra),
        boxes: read.objects.iter().enumerate().map(|(i, object)| raw_box(&annotations, i, object)).collect(),
    }
}

fn raw_box(file: &str, index: usize, object: &VocObject) -> RawBox {
    let mut extra = Vec::new();
    if let Some(pose) = object.pose.as_deref().filter(|p| *p != "Unspecified") {
        extra.push(("pose", serde_json::Value::from(pose)));
    }
    for (name, marked) in [("truncated", object.truncated), ("occluded", object.occluded)] {
        if marked {
            extra.push((name, 1.into()));
        }
    }
    RawBox {
        place: format!("{file}: object {}", index + 1),
        label: Some(object.name.clone()),
        class: 0,
        bounds: object.corners.map(from_corners),
        written: object.corners.map_or_else(String::new, |[x1, y1, x2, y2]| {
            format!("xmin {x1}, ymin {y1}, xmax {x2}, ymax {y2}")
        }),
        crowd: false,
        difficult: object.difficult,
        area: None,
        id: None,
        extra: members(&extra),
    }
}

/// From pixels counted from 1, the last inside, to edges.
fn from_corners([x1, y1, x2, y2]: [f64; 4]) -> Box2d {
    // A click without a drag: no width, rather than a pixel.
    let near = |near: f64, far: f64| if near == far { near } else { near - 1.0 };
    Box2d::new(near(x1, x2), near(y1, y2), x2, y2)
}

fn last_part(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// Which part each picture belongs to, by `ImageSets/Main/train.txt` and its like.
struct Lists(Option<HashMap<String, Split>>);

impl Lists {
    fn read(root: &Path) -> Result<Self> {
        let Some(sets) = inner(root, &["ImageSets"]) else { return Ok(Self(None)) };
        let folder = inner(&sets, &["Main"]).unwrap_or(sets);
        let mut parts = HashMap::new();
        let names = |name: &str| -> Result<Vec<String>> {
            let path = folder.join(name);
            if !path.is_file() {
                return Ok(Vec::new());
            }
            let text = String::from_utf8_lossy(&read_limited(&path, 64 << 20)?).into_owned();
            let words = text.lines().filter_map(|line| line.split_whitespace().next());
            Ok(words
                .map(|w| last_part(w).trim_end_matches(".xml").trim_end_matches(".jpg").to_string())
                .collect())
        };
        for (file, split) in [
            ("trainval.txt", Split::Train),
            ("test.txt", Split::Test),
            ("train.txt", Split::Train),
            ("val.txt", Split::Val),
        ] {
            for name in names(file)? {
                parts.insert(name, split);
            }
        }
        Ok(Self((!parts.is_empty()).then_some(parts)))
    }

    fn part(&self, stem: &str) -> Result<Split, ()> {
        match &self.0 {
            None => Ok(Split::Train),
            Some(parts) => parts.get(stem).copied().ok_or(()),
        }
    }
}

/// Folders in which pictures may lie, and what is in them.
struct Places {
    folders: Vec<PathBuf>,
    names: HashMap<String, PathBuf>,
    stems: HashMap<String, PathBuf>,
}

impl Places {
    fn around(root: &Path, annotations: &Path) -> Result<Self> {
        let beside = annotations.parent().unwrap_or(root);
        let pictures = ["JPEGImages", "images", "img", "imgs"];
        let mut folders: Vec<PathBuf> =
            [inner(beside, &pictures), inner(root, &pictures)].into_iter().flatten().collect();
        folders.push(annotations.to_path_buf());
        if annotations != root {
            folders.push(root.to_path_buf());
        }
        folders.dedup();
        let (mut names, mut stems) = (HashMap::new(), HashMap::new());
        for folder in folders.iter().rev() {
            for file in list(folder)?.files.into_iter().filter(|f| is_picture(f)) {
                let text = |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().into_owned());
                if let (Some(name), Some(stem)) = (text(file.file_name()), text(file.file_stem())) {
                    stems.insert(stem, file.clone());
                    names.insert(name, file);
                }
            }
        }
        Ok(Self { folders, names, stems })
    }

    fn first(&self) -> &Path {
        self.folders.first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// By the name that is written, whatever folder it names; else by the annotation file's own.
    fn find(&self, filename: &str, stem: &str) -> Option<PathBuf> {
        let name = last_part(filename);
        let written = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        self.names
            .get(name)
            .or_else(|| self.stems.get(stem))
            .or_else(|| self.stems.get(written).filter(|_| !written.is_empty()))
            .cloned()
    }
}
