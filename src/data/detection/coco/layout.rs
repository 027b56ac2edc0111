//! Where COCO's files of instances and their pictures lie.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use opticus_pixels::Box2d;

use super::super::super::folder::list;
use super::super::super::open::Split;
use super::super::fault::FaultKind;
use super::super::gather::{RawBox, RawPicture, RawSet};
use super::read::{Instances, Keep, read_instances};
use crate::error::{Error, Result};

/// The files of instances and their parts; empty if there is none.
pub(in super::super) fn recognise(path: &Path) -> Result<Vec<(Split, PathBuf)>> {
    let named = |file: &Path| file.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    if path.is_file() {
        return Ok(if named(path) { vec![(Split::Train, path.to_path_buf())] } else { Vec::new() });
    }
    let listing = list(path)?;
    let mut folders = vec![path.to_path_buf()];
    let of_interest =
        |name: &str| name.eq_ignore_ascii_case("annotations") || Split::from_name(name).is_some();
    folders.extend(
        listing
            .folders
            .into_iter()
            .filter(|f| f.file_name().is_some_and(|n| of_interest(&n.to_string_lossy()))),
    );
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in &folders {
        files.extend(list(folder)?.files.into_iter().filter(|f| named(f) && looks_like_instances(f)));
    }
    // Beside captions and key points of the same pictures.
    let instances = |f: &PathBuf| f.file_name().is_some_and(|n| n.to_string_lossy().starts_with("instances"));
    if files.iter().any(instances) {
        files.retain(instances);
    }
    let mut parts: BTreeMap<Split, PathBuf> = BTreeMap::new();
    for file in files {
        let split = part_of(path, &file);
        if let Some(earlier) = parts.insert(split, file.clone()) {
            return Err(Error::Input(format!(
                "{} and {} are both the {split} part; name the one to use instead of the folder",
                earlier.display(),
                file.display()
            )));
        }
    }
    Ok(parts.into_iter().collect())
}

/// By a word of the file's name, or by the folder that it lies in.
fn part_of(root: &Path, file: &Path) -> Split {
    let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let mut words = stem.split(|c: char| !c.is_alphabetic());
    let folder = file
        .parent()
        .filter(|p| *p != root)
        .and_then(Path::file_name)
        .map(|n| n.to_string_lossy().into_owned());
    words
        .find_map(Split::from_name)
        .or_else(|| folder.and_then(|f| Split::from_name(&f)))
        .unwrap_or(Split::Train)
}

/// By its first bytes.
fn looks_like_instances(file: &Path) -> bool {
    let mut start = Vec::new();
    let read = std::fs::File::open(file).and_then(|f| f.take(4096).read_to_end(&mut start));
    let text = String::from_utf8_lossy(&start);
    read.is_ok()
        && text.trim_start_matches('\u{feff}').trim_start().starts_with('{')
        && ["\"images\"", "\"annotations\"", "\"categories\"", "\"info\"", "\"licenses\""]
            .iter()
            .any(|k| text.contains(k))
}

/// Reads all parts.
pub(in super::super) fn open(path: &Path, keep: Keep) -> Result<RawSet> {
    let parts = recognise(path)?;
    if parts.is_empty() {
        return Err(Error::Input(format!(
            "{} has no COCO instances: no .json with images, annotations and categories in it, in annotations, or in \
             train, val and test",
            path.display()
        )));
    }
    let mut read = Vec::new();
    let mut categories: BTreeMap<i64, String> = BTreeMap::new();
    for (split, file) in parts {
        let instances = read_instances(&file, keep)?;
        for category in &instances.categories {
            let name = categories.entry(category.id).or_insert_with(|| category.name.clone());
            if *name != category.name {
                return Err(Error::Input(format!(
                    "{}: category {} is {:?}, elsewhere {name:?}",
                    file.display(),
                    category.id,
                    category.name
                )));
            }
        }
        read.push((split, file, instances));
    }
    let mut set = RawSet { classes: categories.values().cloned().collect(), ..RawSet::default() };
    let class: HashMap<i64, usize> = categories.keys().enumerate().map(|(i, id)| (*id, i)).collect();
    let root = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    for (split, file, instances) in read {
        add_part(&mut set, root, split, &file, instances, &class);
    }
    Ok(set)
}

fn add_part(
    set: &mut RawSet,
    root: &Path,
    split: Split,
    file: &Path,
    instances: Instances,
    class: &HashMap<i64, usize>,
) {
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut places = Places::around(root, file);
    let first = set.pictures.len();
    let mut index: HashMap<i64, usize> = HashMap::with_capacity(instances.pictures.len());
    for picture in instances.pictures {
        if index.contains_key(&picture.id) {
            set.faults.push(
                FaultKind::DuplicatePicture,
                || format!("{name}: line {}", picture.line),
                || format!("picture {} again: {}", picture.id, picture.file_name),
            );
            continue;
        }
        index.insert(picture.id, set.pictures.len());
        let path = places.find(&picture.file_name);
        set.pictures.push(RawPicture {
            relative: path.strip_prefix(root).unwrap_or(&path).display().to_string().replace('\\', "/"),
            path,
            size: picture.size,
            id: Some(picture.id),
            split,
            extra: picture.extra.map(|e| e.into()),
            boxes: Vec::new(),
        });
    }
    let mut seen = HashSet::with_capacity(instances.annotations.len());
    for a in instances.annotations {
        let place = || match a.id {
            Some(id) => format!("{name}: line {}, annotation {id}", a.line),
            None => format!("{name}: line {}", a.line),
        };
        if a.id.is_some_and(|id| !seen.insert(id)) {
            set.faults.push(FaultKind::DuplicateId, place, || "its number is taken".into());
            continue;
        }
        let Some(&picture) = index.get(&a.image) else {
            set.faults.push(FaultKind::UnknownPicture, place, || format!("image_id {}", a.image));
            continue;
        };
        let Some(&class) = class.get(&a.category) else {
            set.faults.push(FaultKind::UnknownCategory, place, || format!("category_id {}", a.category));
            continue;
        };
        set.pictures[picture].boxes.push(RawBox {
            place: place(),
            label: None,
            class,
            bounds: a.bbox.map(Box2d::from_xywh),
            written: a.bbox.map_or_else(String::new, |b| format!("bbox {b:?}")),
            crowd: a.crowd,
            difficult: a.difficult,
            area: a.area,
            id: a.id,
            extra: a.extra.map(|e| e.into()),
        });
    }
    debug_assert!(first <= set.pictures.len());
}

/// Folders in which pictures may lie; the one that had the last comes first.
struct Places(Vec<PathBuf>);

impl Places {
    fn around(root: &Path, file: &Path) -> Self {
        let here = file.parent().unwrap_or(root);
        let above = here.parent().unwrap_or(root);
        let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        // `instances_val2017.json` lies in `annotations`, its pictures in `val2017`.
        let part = stem.rsplit('_').next().unwrap_or(&stem).to_string();
        let mut places =
            vec![here.to_path_buf(), here.join("images"), here.join(&part), here.join("images").join(&part)];
        places.extend([
            above.join(&part),
            above.join("images").join(&part),
            above.join("images"),
            above.to_path_buf(),
        ]);
        Self(places)
    }

    fn find(&mut self, file_name: &str) -> PathBuf {
        let name = file_name.replace('\\', "/");
        match self.0.iter().position(|place| place.join(&name).is_file()) {
            Some(found) => {
                self.0[..=found].rotate_right(1);
                self.0[0].join(&name)
            }
            None => self.0[0].join(&name),
        }
    }
}
