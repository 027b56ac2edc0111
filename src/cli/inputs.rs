//! Pictures named on the command line: files, folders, patterns.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
