//! Which pictures a data set has, the unusable ones too.

use std::path::{Path, PathBuf};

use opticus_pixels::codec::Limits;

use super::FileNote;
use super::facts::sniff;
use crate::data::dataset::Source;
use crate::data::folder::{self, is_picture, relative_name};
use crate::data::open::{Format, Found, OpenOptions, Split};
use crate::data::{cifar, csv, idx};
use crate::error::{Error, Result};

/// One picture.
pub(super) struct Entry {
    pub(super) source: Source,
    /// The file within the data set, or `file#record`.
    pub(super) name: String,
    pub(super) split: Split,
    pub(super) label: Option<usize>,
}

/// What lies in a data set.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) format: Option<Format>,
    pub(super) classes: Vec<String>,
    pub(super) empty_classes: Vec<String>,
    pub(super) pictures: Vec<Entry>,
    pub(super) ignored: Vec<FileNote>,
    pub(super) stray: Vec<FileNote>,
}

impl Entries {
    pub(super) fn gather(path: &Path, format: Format, limits: &Limits) -> Result<Self> {
        let found = match Found::at(path, format) {
            Ok(found) => found,
            // Not a data set of classes; pictures can be looked at all the same.
            Err(Error::Input(why)) if format == Format::Auto => return Self::plain(path, &why),
            Err(other) => return Err(other),
        };
        let options = OpenOptions { limits: limits.clone(), ..OpenOptions::default() };
        let splits = match found {
            Found::Folder => return Self::folders(path),
            Found::Table(table) => return Self::table(&table),
            Found::Idx(files) => idx::open(path, &files, &options)?,
            Found::Cifar(files, variant) => cifar::open(path, &files, variant, &options)?,
        };
        let mut entries =
            Self { format: Some(splits.format), classes: splits.classes().to_vec(), ..Self::default() };
        for (split, data) in splits.parts() {
            entries.pictures.extend(data.items().iter().map(|item| Entry {
                source: item.source.clone(),
                name: item.source.name(),
                split,
                label: Some(item.label),
            }));
        }
        Ok(entries)
    }

    /// A folder of pictures without classes, or a single picture.
    fn plain(path: &Path, why: &str) -> Result<Self> {
        let mut entries = Self::default();
        if path.is_file() {
            entries.add(path.parent().unwrap_or(Path::new("")), path.to_path_buf(), Split::Train, None);
        } else {
            let mut files = Vec::new();
            folder::walk(path, &mut |file| files.push(file))?;
            for file in files {
                entries.add_or_ignore(path, file, Split::Train, None);
            }
        }
        if entries.pictures.is_empty() {
            return Err(Error::Input(why.to_string()));
        }
        Ok(entries)
    }

    fn folders(path: &Path) -> Result<Self> {
        let mut entries = Self { format: Some(Format::Folder), ..Self::default() };
        let parts = folder::parts(path)?;
        for (_, part) in &parts {
            entries.classes.extend(folder::list(part)?.folders.iter().map(|f| base_name(f)));
        }
        entries.classes.sort();
        entries.classes.dedup();
        for (split, part) in parts {
            let listing = folder::list(&part)?;
            for class in listing.folders {
                let label = entries.classes.binary_search(&base_name(&class)).ok();
                let before = entries.pictures.len();
                let mut files = Vec::new();
                folder::walk(&class, &mut |file| files.push(file))?;
                for file in files {
                    entries.add_or_ignore(path, file, split, label);
                }
                if entries.pictures.len() == before {
                    entries.empty_classes.push(relative_name(path, &class).to_string());
                }
            }
            let stray = listing.files.iter().filter(|f| is_picture(f));
            entries.stray.extend(stray.map(|f| FileNote {
                file: relative_name(path, f).to_string(),
                note: "in no class folder".into(),
            }));
        }
        Ok(entries)
    }

    fn table(table: &Path) -> Result<Self> {
        let rows = csv::read(table)?;
        let classes = csv::class_order(rows.iter().map(|r| r.label.as_str()));
        let folder = table.parent().unwrap_or(Path::new(""));
        let index: std::collections::HashMap<&str, usize> =
            classes.iter().enumerate().map(|(i, c)| (c.as_str(), i)).collect();
        let pictures = rows
            .iter()
            .map(|row| Entry {
                source: Source::File { path: folder.join(&row.path), relative: row.path.as_str().into() },
                name: row.path.clone(),
                split: row.split,
                label: index.get(row.label.as_str()).copied(),
            })
            .collect();
        Ok(Self { format: Some(Format::Csv), classes: classes.clone(), pictures, ..Self::default() })
    }

    fn add(&mut self, root: &Path, path: PathBuf, split: Split, label: Option<usize>) {
        let relative = relative_name(root, &path);
        let name = relative.to_string();
        self.pictures.push(Entry { source: Source::File { path, relative }, name, split, label });
    }

    fn add_or_ignore(&mut self, root: &Path, path: PathBuf, split: Split, label: Option<usize>) {
        if is_picture(&path) {
            return self.add(root, path, split, label);
        }
        let note = match sniff(&path) {
            Some(kind) => {
                format!("{} by its content, but its name does not say so", kind.name().to_uppercase())
            }
            None => "no picture".into(),
        };
        self.ignored.push(FileNote { file: relative_name(root, &path).to_string(), note });
    }
}

fn base_name(folder: &Path) -> String {
    folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
