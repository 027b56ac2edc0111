//! Pictures named on the command line: files, folders, patterns.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::data::OnBad;
use crate::error::{Error, Result};

/// File name endings that mark a picture inside a folder. A file named directly is taken whatever its name.
const ENDINGS: [&str; 9] = ["jpg", "jpeg", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff"];

/// The files that the arguments name: files as given, pictures of folders (subfolders included) and matches of
/// patterns in sorted order, each once.
pub fn pictures(arguments: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for argument in arguments {
        for path in expand(argument)? {
            if seen.insert(path.clone()) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// As [`pictures`], but a picture that is named twice is there twice.
pub fn stack(arguments: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let found: Result<Vec<Vec<PathBuf>>> = arguments.iter().map(|argument| expand(argument)).collect();
    Ok(found?.concat())
}

/// Ends a run over pictures of which some could not be read. One bad picture does not take the others' answers away;
/// it is named, and by default it is a failure.
///
/// # Errors
/// [`Error::Input`] that counts them.
pub fn account_for(faults: &[Error], of: usize, on_bad: OnBad) -> Result<()> {
    for fault in faults {
        eprintln!("{}: {fault}", if on_bad == OnBad::Skip { "skipped" } else { "error" });
    }
    match (on_bad, faults.len()) {
        (OnBad::Error, bad @ 1..) => Err(Error::Input(format!(
            "{bad} of {of} pictures could not be read; the others were looked at. To pass over such pictures, use \
             --on-bad skip"
        ))),
        _ => Ok(()),
    }
}

/// Names for what is made of pictures: two of them may have one name in two folders.
#[derive(Default)]
pub struct Names(BTreeSet<String>);

impl Names {
    /// The picture's name without ending, numbered if another picture had it.
    pub fn of(&mut self, file: &Path) -> String {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut name = stem.clone();
        let mut number = 2;
        while !self.0.insert(name.clone()) {
            name = format!("{stem}-{number}");
            number += 1;
        }
        name
    }
}

fn expand(argument: &Path) -> Result<Vec<PathBuf>> {
    if argument.is_dir() {
        let mut found = Vec::new();
        walk(argument, &mut found)?;
        found.sort();
        return match found.is_empty() {
            true => {
                Err(Error::Input(format!("{} holds no picture ({})", argument.display(), ENDINGS.join(", "))))
            }
            false => Ok(found),
        };
    }
    let text = argument.to_string_lossy();
    // A file whose name happens to contain a bracket is still that file.
    if argument.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![argument.to_path_buf()]);
    }
    let matches = glob::glob(&text).map_err(|e| Error::Config(format!("pattern {text:?}: {e}")))?;
    let found: Vec<PathBuf> = matches.filter_map(|m| m.ok()).filter(|p| p.is_file()).collect();
    match found.is_empty() {
        true => Err(Error::Input(format!("no file matches {text:?}"))),
        false => Ok(found),
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io("list", folder, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", folder, e))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|e| Error::io("read", &path, e))?;
        // Links to folders are not followed: a cycle would never end.
        if kind.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|e| ENDINGS.iter().any(|x| e.eq_ignore_ascii_case(x))) {
            found.push(path);
        }
    }
    Ok(())
}
