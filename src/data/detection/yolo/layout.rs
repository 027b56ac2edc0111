//! Where YOLO's pictures and labels lie.

use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;

use super::super::super::folder::{is_picture, list, walk};
use super::super::super::open::Split;
use super::super::fault::FaultKind;
use super::super::gather::{RawBox, RawPicture, RawSet};
use super::line::parse_line;
use super::yaml::{self, Yaml};
use crate::error::{Error, Result};
use crate::files::read_limited;

/// The most bytes of a label file or `data.yaml`.
const MAX_FILE: u64 = 64 << 20;

/// What tells that this is a YOLO data set.
#[derive(Debug)]
pub(in super::super) enum Root {
    /// A `data.yaml`, wherever it is.
    Yaml(PathBuf),
    /// A folder with `images` and `labels`, or with texts beside pictures, and no `data.yaml`.
    Folder(PathBuf),
}

/// Recognises a data set by its `data.yaml` or by its folders `images` and `labels`.
pub(in super::super) fn recognise(path: &Path) -> Result<Option<Root>> {
    let is_yaml = |p: &Path| {
        p.extension().is_some_and(|e| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml"))
    };
    if path.is_file() {
        return Ok(is_yaml(path).then(|| Root::Yaml(path.to_path_buf())));
    }
    let listing = list(path)?;
    for file in listing.files.iter().filter(|f| is_yaml(f)) {
        let text = String::from_utf8_lossy(&read_limited(file, MAX_FILE)?).into_owned();
        if text.lines().any(|line| line.starts_with("names:") || line.starts_with("nc:")) {
            return Ok(Some(Root::Yaml(file.clone())));
        }
    }
    let has = |name: &str| listing.folders.iter().any(|f| f.file_name().is_some_and(|n| n == name));
    let texts = || -> Result<bool> {
        let mut found = false;
        walk(&path.join("labels"), &mut |file| found |= file.extension().is_some_and(|e| e == "txt"))?;
        Ok(found)
    };
    if has("images") && has("labels") && texts()? {
        return Ok(Some(Root::Folder(path.to_path_buf())));
    }
    Ok(None)
}

/// Reads a data set.
pub(in super::super) fn open(path: &Path) -> Result<RawSet> {
    match recognise(path)? {
        Some(Root::Yaml(file)) => from_yaml(&file),
        Some(Root::Folder(folder)) => from_folder(&folder),
        None => Err(Error::Input(format!(
            "{} is no YOLO data set: no data.yaml with `names`, and no folders images and labels",
            path.display()
        ))),
    }
}

fn from_yaml(file: &Path) -> Result<RawSet> {
    let fault = |why: String| Error::Input(format!("{}: {why}", file.display()));
    let bytes = read_limited(file, MAX_FILE)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| fault("not UTF-8 text".into()))?;
    let yaml = yaml::parse(text).map_err(&fault)?;
    let classes = class_names(&yaml).map_err(&fault)?;
    let mut set = RawSet { classes, relative: true, ..RawSet::default() };
    let beside = file.parent().unwrap_or(Path::new(""));
    // Written for one machine, the root rarely exists on another; then the parts lie beside the file.
    let root = yaml.get("path").and_then(Yaml::text).map(|p| beside.join(p)).filter(|p| p.is_dir());
    let root = root.unwrap_or_else(|| beside.to_path_buf());
    let mut any = false;
    for (split, names) in [
        (Split::Train, &["train"][..]),
        (Split::Val, &["val", "valid", "validation"]),
        (Split::Test, &["test"]),
    ] {
        let Some(value) = names.iter().find_map(|name| yaml.get(name)) else { continue };
        let places: Vec<&str> = match value {
            Yaml::List(items) => items.iter().filter_map(Yaml::text).collect(),
            other => other.text().into_iter().collect(),
        };
        for place in places {
            any = true;
            let found = locate(&root, beside, place)
                .ok_or_else(|| fault(format!("`{split}`: there is no {place} in {}", root.display())))?;
            add_part(&mut set, &root, &found, split)?;
        }
    }
    if !any {
        return Err(fault("it names no folder of pictures: `train`, `val` or `test`".into()));
    }
    Ok(set)
}

/// The folder or list that a part is; without leading `../` if it is not where that says, as in exports that are
/// written for another layout.
fn locate(root: &Path, beside: &Path, place: &str) -> Option<PathBuf> {
    let bare: PathBuf = Path::new(place)
        .components()
        .filter(|c| !matches!(c, Component::ParentDir | Component::CurDir))
        .collect();
    let candidates = [root.join(place), beside.join(place), root.join(&bare), beside.join(&bare)];
    candidates.into_iter().find(|p| p.exists())
}

fn class_names(yaml: &Yaml) -> Result<Vec<String>, String> {
    let count = match yaml.get("nc").and_then(Yaml::text) {
        Some(text) => {
            Some(text.parse::<usize>().map_err(|_| format!("`nc: {text}` is no number of classes"))?)
        }
        None => None,
    };
    if count.is_some_and(|n| n > 1_000_000) {
        return Err("`nc` is more than a million".into());
    }
    let names: Vec<String> = match yaml.get("names") {
        Some(Yaml::List(items)) => items.iter().map(|n| n.text().unwrap_or_default().to_string()).collect(),
        Some(Yaml::Map(members)) => {
            let mut names: Vec<Option<String>> = Vec::new();
            for (key, name) in members {
                let index: usize = key
                    .parse()
                    .ok()
                    .filter(|i| *i < 1_000_000)
                    .ok_or(format!("`names`: {key:?} is no class number"))?;
                if names.len() <= index {
                    names.resize(index + 1, None);
                }
                if names[index].replace(name.text().unwrap_or_default().to_string()).is_some() {
                    return Err(format!("`names`: the number {index} twice"));
                }
            }
            let fill = |(i, name): (usize, Option<String>)| name.unwrap_or_else(|| format!("class {i}"));
            names.into_iter().enumerate().map(fill).collect()
        }
        Some(Yaml::Plain(_)) => return Err("`names` is neither a list nor a map".into()),
        None => (0..count.unwrap_or(0)).map(|i| format!("class {i}")).collect(),
    };
    match count {
        Some(count) if count != names.len() => {
            Err(format!("`nc` says {count} classes, `names` has {}", names.len()))
        }
        _ if names.is_empty() => Err("no `names` of classes".into()),
        _ => Ok(names),
    }
}

fn from_folder(root: &Path) -> Result<RawSet> {
    let mut set = RawSet { relative: true, ..RawSet::default() };
    let images = root.join("images");
    let parts: Vec<(Split, PathBuf)> = list(&images)?
        .folders
        .into_iter()
        .filter_map(|f| Some((Split::from_name(&f.file_name()?.to_string_lossy())?, f)))
        .collect();
    if parts.is_empty() {
        add_part(&mut set, root, &images, Split::Train)?;
    } else {
        for (split, folder) in parts {
            add_part(&mut set, root, &folder, split)?;
        }
    }
    let names = root.join("classes.txt");
    let most = set.pictures.iter().flat_map(|p| &p.boxes).map(|b| b.class + 1).max().unwrap_or(0);
    set.classes = if names.is_file() {
        let text = String::from_utf8_lossy(&read_limited(&names, MAX_FILE)?).into_owned();
        text.lines().map(|l| l.trim().to_string()).filter(|l| !l.is_empty()).collect()
    } else {
        set.notes.push("no data.yaml and no classes.txt: classes are called by their numbers".into());
        (0..most).map(|i| format!("class {i}")).collect()
    };
    Ok(set)
}

/// A folder of pictures, or a text file that lists them.
fn add_part(set: &mut RawSet, root: &Path, place: &Path, split: Split) -> Result<()> {
    let mut pictures = Vec::new();
    if place.is_dir() {
        walk(place, &mut |file| {
            if is_picture(&file) {
                pictures.push(file);
            }
        })?;
    } else {
        let text = String::from_utf8_lossy(&read_limited(place, MAX_FILE)?).into_owned();
        let beside = place.parent().unwrap_or(root);
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
            pictures.push(beside.join(line.strip_prefix("./").unwrap_or(line)));
        }
    }
    let read: Vec<(RawPicture, Vec<(String, String)>)> =
        pictures.into_par_iter().map(|path| picture(root, path, split)).collect::<Result<_>>()?;
    for (picture, faults) in read {
        for (place, note) in faults {
            set.faults.push(FaultKind::NoBox, || place, || note);
        }
        set.pictures.push(picture);
    }
    Ok(())
}

fn picture(root: &Path, path: PathBuf, split: Split) -> Result<(RawPicture, Vec<(String, String)>)> {
    let labels = labels_of(&path);
    let name = |p: &Path| p.strip_prefix(root).unwrap_or(p).display().to_string().replace('\\', "/");
    let (mut boxes, mut faults) = (Vec::new(), Vec::new());
    if labels.is_file() {
        let text = String::from_utf8_lossy(&read_limited(&labels, MAX_FILE)?).into_owned();
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let place = format!("{}: line {}", name(&labels), i + 1);
            match parse_line(line) {
                Ok(read) => boxes.push(RawBox {
                    place,
                    label: None,
                    class: read.class,
                    bounds: Some(read.bounds),
                    written: line.trim().chars().take(80).collect(),
                    crowd: false,
                    difficult: false,
                    area: None,
                    id: None,
                    extra: None,
                }),
                Err(why) => faults.push((place, why)),
            }
        }
    }
    let relative = name(&path);
    Ok((RawPicture { path, relative, size: [0; 2], id: None, split, extra: None, boxes }, faults))
}

/// The text file of a picture: `labels` for the last folder `images`, `.txt` for the ending.
fn labels_of(picture: &Path) -> PathBuf {
    let parts: Vec<Component> = picture.components().collect();
    let images = parts.iter().rposition(|c| c.as_os_str() == "images");
    let moved: PathBuf = parts
        .iter()
        .enumerate()
        .map(|(i, c)| if Some(i) == images { Component::Normal("labels".as_ref()) } else { *c })
        .collect();
    moved.with_extension("txt")
}
