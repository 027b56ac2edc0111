//! Pictures of which nothing is told: any folder with pictures in it, at any depth.

use std::path::Path;

use super::dataset::{Item, Labelled, Skipped, Source};
use super::folder::{EXTENSIONS, is_picture, relative_name, walk};
use super::open::{OnBad, OpenOptions, natural_color};
use crate::error::{Error, Result};

/// The only class of pictures without classes.
pub const UNLABELLED: &str = "picture";

/// All pictures of a folder, at any depth, in sorted order, as one class called [`UNLABELLED`]; beside them those
/// that were left out because they cannot be read.
///
/// # Errors
/// [`Error::Input`] for a folder without pictures; [`Error::Io`] if it cannot be listed.
pub fn open_pictures(folder: &Path, options: &OpenOptions) -> Result<(Labelled, Vec<Skipped>)> {
    let about = std::fs::metadata(folder).map_err(|e| Error::io("open the folder of pictures", folder, e))?;
    if !about.is_dir() {
        return Err(Error::Input(format!("{} is a file; give a folder of pictures", folder.display())));
    }
    let mut items = Vec::new();
    walk(folder, &mut |path| {
        if is_picture(&path) {
            let relative = relative_name(folder, &path);
            items.push(Item { source: Source::File { path, relative }, label: 0 });
        }
    })?;
    if items.is_empty() {
        return Err(Error::Input(format!(
            "{} has no pictures. Put pictures ({}) into it",
            folder.display(),
            EXTENSIONS.join(", ")
        )));
    }
    let color =
        options.color.unwrap_or_else(|| natural_color(&items.iter().collect::<Vec<_>>(), &options.limits));
    let pictures = Labelled::new(vec![UNLABELLED.into()], items, color, options.limits.clone())?;
    Ok(match options.on_bad {
        OnBad::Skip => pictures.drop_unreadable(),
        OnBad::Error => (pictures, Vec::new()),
    })
}
