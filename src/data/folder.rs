//! A folder of class folders.
//!
//! `data/cat/*.jpg data/dog/*.jpg`, or the same inside `train`, `val` (`valid`, `validation`) and `test`. The
//! classes are the folders' names, sorted by code point as torchvision's `ImageFolder` does; pictures may lie
//! in folders within a class folder, and are taken in sorted order of their paths. Hidden files and folders
//! (a name that begins with a dot) and files without a picture's extension are passed over. Symbolic links are
//! followed, though never into a folder that is already being walked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Format;
use super::dataset::{Item, Labelled, Source, shorten};
use super::open::{OpenOptions, Split, Splits};
use crate::error::{Error, Result};

/// Extensions of the formats that are decoded.
pub const EXTENSIONS: [&str; 9] = ["jpg", "jpeg", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff"];

/// How deep folders may lie within folders.
const MAX_DEPTH: usize = 32;

/// Whether a file's name says that it is a picture.
pub fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|e| EXTENSIONS.iter().any(|x| e.eq_ignore_ascii_case(x)))
}

/// What lies directly in a folder, sorted by name, hidden things left out.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: Vec<PathBuf>,
    pub(super) folders: Vec<PathBuf>,
}

/// Lists a folder.
pub(super) fn list(folder: &Path) -> Result<Listing> {
    let io = |e| Error::io("list the folder", folder, e);
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let mut kind = entry.file_type().map_err(io)?;
        if kind.is_symlink() {
            // A dangling link is passed over.
            let Ok(target) = std::fs::metadata(&path) else { continue };
            kind = target.file_type();
        }
        if kind.is_dir() {
            listing.folders.push(path);
        } else if kind.is_file() {
            listing.files.push(path);
        }
    }
    listing.files.sort();
    listing.folders.sort();
    Ok(listing)
}

/// Visits the files under a folder in sorted order: files of a folder before its sub-folders.
pub(super) fn walk(folder: &Path, visit: &mut impl FnMut(PathBuf)) -> Result<()> {
    walk_from(folder, &mut Vec::new(), visit)
}

fn walk_from(folder: &Path, above: &mut Vec<PathBuf>, visit: &mut impl FnMut(PathBuf)) -> Result<()> {
    let real = folder.canonicalize().map_err(|e| Error::io("list the folder", folder, e))?;
    if above.contains(&real) {
        return Ok(());
    }
    if above.len() >= MAX_DEPTH {
        return Err(Error::Input(format!(
            "{} lies deeper than {MAX_DEPTH} folders; move the pictures up",
            folder.display()
        )));
    }
    above.push(real);
    let listing = list(folder)?;
    listing.files.into_iter().for_each(&mut *visit);
    for inner in listing.folders {
        walk_from(&inner, above, visit)?;
    }
    above.pop();
    Ok(())
}

/// Whether any of the folders has a picture in it, at any depth.
pub(super) fn has_pictures_below(folders: &[PathBuf]) -> Result<bool> {
    for folder in folders {
        let mut found = false;
        walk(folder, &mut |file| found |= is_picture(&file))?;
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The folders of the parts: `train`, `val`, `test` with class folders in them; or the folder itself.
pub(super) fn parts(folder: &Path) -> Result<Vec<(Split, PathBuf)>> {
    let (named, others): (Vec<PathBuf>, Vec<PathBuf>) =
        list(folder)?.folders.into_iter().partition(|f| Split::from_name(&class_name(f)).is_some());
    let beside_classes = has_pictures_below(&others)?;
    let mut parts: Vec<(Split, PathBuf)> = Vec::new();
    for inner in named {
        let Some(split) = Split::from_name(&class_name(&inner)) else { continue };
        let within = list(&inner)?;
        // Beside other classes, one that happens to be called "train" has its pictures right inside.
        let is_class = beside_classes && within.files.iter().any(|f| is_picture(f));
        if within.folders.is_empty() || is_class {
            continue;
        }
        if let Some((_, other)) = parts.iter().find(|(s, _)| *s == split) {
            return Err(Error::Input(format!(
                "both {} and {} are the {split} part; keep one",
                other.display(),
                inner.display()
            )));
        }
        parts.push((split, inner));
    }
    parts.sort();
    if parts.is_empty() {
        parts.push((Split::Train, folder.to_path_buf()));
    }
    Ok(parts)
}

/// Opens a folder of class folders.
pub(super) fn open(folder: &Path, options: &OpenOptions) -> Result<Splits> {
    let parts = parts(folder)?;
    let names = |part: &Path| -> Result<Vec<String>> {
        Ok(list(part)?.folders.iter().map(|f| class_name(f)).collect())
    };
    let listed = parts.iter().map(|(s, p)| Ok((*s, names(p)?))).collect::<Result<Vec<_>>>()?;
    let classes: Vec<String> =
        listed.iter().flat_map(|(_, n)| n.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    if let Some((_, trained)) = listed.iter().find(|(s, _)| *s == Split::Train) {
        let unknown: Vec<&String> = classes.iter().filter(|c| !trained.contains(c)).collect();
        if !unknown.is_empty() {
            return Err(Error::Input(format!(
                "{}: no training pictures for {}, which the val or test folder has. Class folders must have the \
                 same names in all parts",
                folder.display(),
                shorten(&unknown, 8)
            )));
        }
    }
    let mut splits = Splits::empty(Format::Folder, classes.clone());
    for (split, part) in &parts {
        let mut items = Vec::new();
        for class_folder in list(part)?.folders {
            let name = class_name(&class_folder);
            // Every name is among the classes: they were made from these.
            let label = classes.binary_search(&name).unwrap_or_default();
            let before = items.len();
            let mut others = 0usize;
            walk(&class_folder, &mut |path| {
                if is_picture(&path) {
                    let relative = relative_name(folder, &path);
                    items.push(Item { source: Source::File { path, relative }, label });
                } else {
                    others += 1;
                }
            })?;
            if items.len() == before {
                return Err(Error::Input(format!(
                    "the class folder {} has no pictures{}. Put pictures ({}) into it or remove it",
                    class_folder.display(),
                    if others > 0 { format!(", only {others} other files") } else { String::new() },
                    EXTENSIONS.join(", ")
                )));
            }
        }
        if items.is_empty() {
            return Err(Error::Input(format!(
                "{} has no class folders. Put the pictures of each class into a folder of its own",
                part.display()
            )));
        }
        splits.put(
            *split,
            Labelled::new(classes.clone(), items, options.file_color(), options.limits.clone())?,
        );
    }
    Ok(splits)
}

fn class_name(folder: &Path) -> String {
    folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The path of `file` within `folder`, with `/` between folders on every system.
pub(super) fn relative_name(folder: &Path, file: &Path) -> std::sync::Arc<str> {
    let within = file.strip_prefix(folder).unwrap_or(file);
    within.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/").into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::{Dataset, OnBad, open};
    use opticus_pixels::codec::{ColorMode, encode_png};
    use opticus_pixels::{Image8, Size};

    /// A folder with files: pictures where the name ends in `.png`, else text.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (i, file) in files.iter().enumerate() {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if file.ends_with('/') {
                std::fs::create_dir_all(&path).unwrap();
            } else if file.ends_with(".png") {
                std::fs::write(path, png(i as u8, 1)).unwrap();
            } else {
                std::fs::write(path, "text").unwrap();
            }
        }
        root
    }

    fn png(value: u8, channels: usize) -> Vec<u8> {
        let data = vec![value; 12 * channels];
        encode_png(&Image8 { size: Size::new(4, 3), channels, data }).unwrap()
    }

    fn opened(root: &tempfile::TempDir) -> Splits {
        open(root.path(), Format::Auto, &OpenOptions::default()).unwrap()
    }

    fn fault(root: &tempfile::TempDir) -> String {
        open(root.path(), Format::Auto, &OpenOptions::default()).unwrap_err().to_string()
    }

    fn names(data: &Labelled) -> Vec<String> {
        let relative = |i: &Item| match &i.source {
            Source::File { relative, .. } => relative.to_string(),
            Source::Record { .. } => unreachable!(),
        };
        data.items().iter().map(relative).collect()
    }

    #[test]
    fn classes_are_sorted_and_pictures_found_at_any_depth() {
        let root = tree(&[
            "b/2.png",
            "B/1.png",
            "b/1.png",
            "b/more/x/0.png",
            "a/z.png",
            "a/note.txt",
            ".hidden/x.png",
            "a/.x.png",
            "readme.md",
        ]);
        let splits = opened(&root);
        assert_eq!(splits.format, Format::Folder);
        assert_eq!(splits.classes(), ["B", "a", "b"]);
        assert_eq!(names(&splits.train), ["B/1.png", "a/z.png", "b/1.png", "b/2.png", "b/more/x/0.png"]);
        assert_eq!(splits.train.class_counts(), [1, 1, 3]);
        assert_eq!(splits.train.load(0).unwrap().data, vec![1; 12]);
        assert!(splits.train.name(4).ends_with("0.png"));
    }

    #[test]
    fn parts_are_told_by_their_folders() {
        let root =
            tree(&["train/a/1.png", "train/b/1.png", "validation/a/1.png", "TEST/b/1.png", "docs/x.txt"]);
        let splits = opened(&root);
        let (val, test) = (splits.val.as_ref().unwrap(), splits.test.as_ref().unwrap());
        assert_eq!((splits.train.len(), val.len(), test.len()), (2, 1, 1));
        assert_eq!((val.classes(), test.target(0)), (splits.classes(), 1));
        assert_eq!(names(test), ["TEST/b/1.png"]);
        // Asking for a validation part keeps the one there is.
        assert_eq!(splits.with_validation(0.5, 0).unwrap().val.unwrap().len(), 1);
    }

    #[test]
    fn a_class_may_be_called_train() {
        let root = tree(&["train/1.png", "bus/1.png"]);
        assert_eq!(opened(&root).classes(), ["bus", "train"]);
        let root = tree(&["train/1.png", "train/more/2.png", "bus/1.png"]);
        assert_eq!((opened(&root).classes().len(), opened(&root).train.len()), (2, 3));
        // A picture gone astray does not make a class of a part.
        let root = tree(&["train/stray.png", "train/a/1.png", "val/a/1.png"]);
        assert_eq!((opened(&root).train.len(), opened(&root).val.unwrap().len()), (1, 1));
    }

    #[test]
    fn a_test_part_alone_can_be_measured() {
        let splits = opened(&tree(&["test/a/1.png", "test/b/1.png"]));
        assert_eq!((splits.train.len(), splits.test.as_ref().unwrap().len()), (0, 2));
        assert_eq!(splits.classes(), ["a", "b"]);
        assert!(splits.train.check_trainable().unwrap_err().to_string().contains("no pictures"));
    }

    #[test]
    fn unusable_folders_say_what_is_wrong() {
        assert!(fault(&tree(&[])).contains("it is empty"));
        assert!(fault(&tree(&["1.png", "2.png"])).contains("2 pictures but no class folders"));
        assert!(fault(&tree(&["notes.txt"])).contains("none of them a picture"));
        let message = fault(&tree(&["a/1.png", "empty/"]));
        assert!(message.contains("empty has no pictures. Put"), "{message}");
        let message = fault(&tree(&["a/1.png", "b/readme.txt"]));
        assert!(message.contains("b has no pictures, only 1 other files"), "{message}");
        let message = fault(&tree(&["train/a/1.png", "val/a/1.png", "val/c/1.png"]));
        assert!(message.contains("no training pictures for \"c\""), "{message}");
        let message = fault(&tree(&["train/a/1.png", "val/a/1.png", "valid/a/1.png"]));
        assert!(message.contains("keep one"), "{message}");
        let missing = open(Path::new("no/such/place"), Format::Auto, &OpenOptions::default()).unwrap_err();
        assert!(missing.to_string().contains("no/such/place"));
    }

    #[test]
    fn bad_pictures_are_errors_or_left_out() {
        let root = tree(&["a/1.png", "a/2.png", "b/1.png"]);
        std::fs::write(root.path().join("a/2.png"), "no picture").unwrap();
        std::fs::write(root.path().join("b/0.jpg"), "").unwrap();
        let splits = opened(&root);
        assert_eq!(splits.train.len(), 4);
        let message = splits.train.load(1).unwrap_err().to_string();
        assert!(message.contains("2.png"), "{message}");
        let skip = OpenOptions { on_bad: OnBad::Skip, ..OpenOptions::default() };
        let splits = open(root.path(), Format::Auto, &skip).unwrap();
        assert_eq!(names(&splits.train), ["a/1.png", "b/1.png"]);
        assert_eq!(splits.skipped.len(), 2);
        assert!(splits.skipped[0].name.ends_with("2.png"));
    }

    #[test]
    fn pictures_are_grey_if_all_are() {
        let root = tree(&["a/1.png", "b/1.png"]);
        assert_eq!(opened(&root).train.color(), ColorMode::Grey);
        std::fs::write(root.path().join("b/2.png"), png(5, 3)).unwrap();
        let splits = opened(&root);
        assert_eq!((splits.train.color(), splits.train.load(0).unwrap().channels), (ColorMode::Rgb, 3));
        let grey = OpenOptions { color: Some(ColorMode::Grey), ..OpenOptions::default() };
        let splits = open(root.path(), Format::Auto, &grey).unwrap();
        assert_eq!(splits.train.load(2).unwrap().data, vec![5; 12]);
    }

    #[test]
    fn the_fingerprint_does_not_depend_on_the_place() {
        let files = ["a/1.png", "b/1.png"];
        let (one, other) = (tree(&files), tree(&files));
        let of = |root| opened(root).train.fingerprint().unwrap();
        assert_eq!(of(&one), of(&other));
        std::fs::rename(other.path().join("b/1.png"), other.path().join("b/2.png")).unwrap();
        assert_ne!(of(&one), of(&other));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_circles() {
        let root = tree(&["a/1.png", "b/1.png"]);
        std::os::unix::fs::symlink(root.path(), root.path().join("a/loop")).unwrap();
        std::os::unix::fs::symlink(root.path().join("b"), root.path().join("c")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("a/dangling.png")).unwrap();
        let splits = opened(&root);
        assert_eq!(splits.classes(), ["a", "b", "c"]);
        assert!(names(&splits.train).contains(&"c/1.png".into()));
        assert!(splits.train.len() < 20, "{}", splits.train.len());
    }
}
