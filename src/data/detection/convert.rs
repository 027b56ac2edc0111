//! From one kind of boxes' data set to another.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::super::convert::{Converted, Target, make_empty};
use super::super::open::Split;
use super::{Annotated, Splits, coco, voc, yolo};
use crate::error::{Error, Result};
use crate::files::create_folder;

/// Writes a data set of boxes into `out`, which must be new or empty. Pictures are copied as they are, under their
/// names; of names that are equal but for folder and ending, later ones get a number.
///
/// # Errors
/// [`Error::Config`] if `out` holds something or the target has no boxes; [`Error::Io`].
pub fn convert(splits: &Splits, target: Target, out: &Path) -> Result<Converted> {
    if !target.has_boxes() {
        return Err(Error::Config(format!("--to {target} has no place for boxes; use coco, voc or yolo")));
    }
    make_empty(out)?;
    let mut taken = HashSet::new();
    let mut converted = Converted {
        target,
        parts: Vec::new(),
        classes: splits.classes().to_vec(),
        boxes: Some(splits.parts().map(|(_, data)| data.boxes()).sum()),
    };
    for (split, data) in splits.parts() {
        let names: Vec<String> = data.pictures().iter().map(|p| unique(&p.path, &mut taken)).collect();
        let name = |i: usize| names[i].clone();
        match target {
            Target::Voc => {
                copy(data, &names, &out.join("JPEGImages"))?;
                voc::write(out, split, data, name)?;
            }
            Target::Yolo => {
                copy(data, &names, &out.join("images").join(split.to_string()))?;
                yolo::write(out, split, data, name)?;
            }
            _ => {
                copy(data, &names, &out.join("images").join(split.to_string()))?;
                let folder = out.join("annotations");
                create_folder(&folder)?;
                coco::write_instances(&folder.join(format!("instances_{split}.json")), data, name)?;
            }
        }
        converted.parts.push((split, data.pictures().len()));
    }
    if target == Target::Yolo {
        let parts: Vec<Split> = converted.parts.iter().map(|(split, _)| *split).collect();
        yolo::write_yaml(out, &parts, splits.classes())?;
    }
    Ok(converted)
}

/// A name whose stem no other picture has.
fn unique(path: &Path, taken: &mut HashSet<String>) -> String {
    let text =
        |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
    let (stem, ending) = (text(path.file_stem()), text(path.extension()));
    let mut candidate = stem.clone();
    let mut number = 2;
    // Some file systems do not tell cases apart.
    while !taken.insert(candidate.to_lowercase()) {
        candidate = format!("{stem}_{number}");
        number += 1;
    }
    format!("{candidate}.{ending}")
}

fn copy(data: &Annotated, names: &[String], folder: &Path) -> Result<()> {
    create_folder(folder)?;
    data.pictures().par_iter().zip(names).try_for_each(|(picture, name)| {
        let to: PathBuf = folder.join(name);
        std::fs::copy(&picture.path, &to).map(|_| ()).map_err(|e| Error::io("copy a picture to", &to, e))
    })
}
