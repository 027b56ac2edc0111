//! Pictures with something said of each: captions or numbers of a table, the words of their paths, names of emoji.
//!
//! A table has a header line with a column of paths (`path`, `file`, `image`, …) relative to the table's folder, and a
//! column of captions (`caption`, `text`, `description`, `name`) or columns of numbers. Emoji are files
//! `emoji_u1f600.png`, with `_` between code points, beside a `data-by-emoji.json` (of `unicode-emoji-json`) that names them.

use std::collections::BTreeMap;
use std::path::Path;

use opticus_pixels::codec::{self, ColorMode, Limits};
use serde::Deserialize;

use super::dataset::{Dataset, Item, Labelled, Skipped, Source};
use super::folder::{EXTENSIONS, is_picture, relative_name, walk};
use super::open::{OnBad, OpenOptions, natural_color};
use super::pictures::UNLABELLED;
use crate::error::{Error, Result};

/// The most bytes of a table.
const MAX_FILE: u64 = 256 << 20;
/// The file that names emoji.
const EMOJI: &str = "data-by-emoji.json";

const PATHS: [&str; 8] = ["path", "file", "filename", "file_name", "filepath", "image", "image_path", "img"];
const CAPTIONS: [&str; 5] = ["caption", "text", "description", "name", "prompt"];

/// Pictures and what is said of each, in the same order.
#[derive(Clone, Debug)]
pub struct Described<T> {
    /// The pictures, as one class.
    pub pictures: Labelled,
    /// What is said of them.
    pub said: Vec<T>,
    /// Pictures left out because they cannot be read.
    pub skipped: Vec<Skipped>,
}

impl<T: Clone> Described<T> {
    /// The pictures at these places.
    pub fn subset(&self, indices: &[usize]) -> Self {
        Self {
            pictures: self.pictures.subset(indices),
            said: indices.iter().map(|&i| self.said[i].clone()).collect(),
            skipped: Vec::new(),
        }
    }
}

/// Captions for pictures: of a table; else the names of emoji; else the words of the paths within the folder.
///
/// # Errors
/// [`Error::Input`] naming file and line; [`Error::Io`].
pub fn captions(path: &Path, options: &OpenOptions) -> Result<Described<String>> {
    let about = std::fs::metadata(path).map_err(|e| Error::io("open the pictures", path, e))?;
    if !about.is_dir() {
        let table = Table::read(path)?;
        let column = table.column(&CAPTIONS, "captions")?;
        let said = table.rows.iter().map(|row| row.1[column].clone()).collect();
        return table.described(path, said, options);
    }
    let mut found = Vec::new();
    walk(path, &mut |file| {
        if is_picture(&file) {
            let relative = relative_name(path, &file);
            found.push((Source::File { path: file, relative: relative.clone() }, relative.to_string()));
        }
    })?;
    if path.join(EMOJI).is_file() {
        let names = emoji_names(&path.join(EMOJI))?;
        found = found
            .into_iter()
            .filter_map(|(source, relative)| Some((source, names.get(&emoji_key(&relative)?)?.clone())))
            .collect();
    } else {
        for (_, said) in &mut found {
            let end = said.rfind('.').unwrap_or(said.len());
            said.truncate(end);
        }
    }
    if found.is_empty() {
        return Err(Error::Input(format!(
            "{} has no pictures with a name. Put pictures ({}) into it, or give a table with columns path and caption",
            path.display(),
            EXTENSIONS.join(", ")
        )));
    }
    let (sources, said) = found.into_iter().unzip();
    described(sources, said, options)
}

/// The numbers of these columns of a table.
///
/// # Errors
/// [`Error::Input`] naming file, line and column.
pub fn numbers(table: &Path, columns: &[String], options: &OpenOptions) -> Result<Described<Vec<f64>>> {
    let read = Table::read(table)?;
    let mut at = Vec::new();
    for column in columns {
        at.push(read.column(&[column.as_str()], "numbers")?);
    }
    let mut said = Vec::with_capacity(read.rows.len());
    for (line, fields) in &read.rows {
        let mut row = Vec::with_capacity(at.len());
        for (&field, column) in at.iter().zip(columns) {
            let text = &fields[field];
            match text.parse::<f64>() {
                Ok(number) if number.is_finite() => row.push(number),
                _ => {
                    return Err(Error::Input(format!(
                        "{}, line {line}: {column} is {text:?}, which is no number",
                        table.display()
                    )));
                }
            }
        }
        said.push(row);
    }
    read.described(table, said, options)
}

/// Whether a table has a header with a column of captions.
pub fn has_captions(table: &Path) -> bool {
    Table::read(table).is_ok_and(|table| table.column(&CAPTIONS, "").is_ok())
}

/// Whether a folder is one of emoji with their names.
pub fn has_emoji(folder: &Path) -> bool {
    folder.join(EMOJI).is_file()
}

/// Whether any of up to 64 pictures, spread over the data set, has alpha.
pub fn has_alpha(pictures: &Labelled) -> bool {
    const LOOKED_AT: usize = 64;
    let step = pictures.len().div_ceil(LOOKED_AT).max(1);
    pictures.items().iter().step_by(step).any(|item| match &item.source {
        Source::Record { .. } => false,
        Source::File { path, .. } => codec::probe_file(path, pictures.limits())
            .is_ok_and(|probe| !probe.cmyk && matches!(probe.channels, 2 | 4)),
    })
}

fn described<T: Clone>(sources: Vec<Source>, said: Vec<T>, options: &OpenOptions) -> Result<Described<T>> {
    let items: Vec<Item> = sources.into_iter().map(|source| Item { source, label: 0 }).collect();
    let natural = |limits: &Limits| natural_color(&items.iter().collect::<Vec<_>>(), limits);
    let color: ColorMode = options.color.unwrap_or_else(|| natural(&options.limits));
    let pictures = Labelled::new(vec![UNLABELLED.into()], items, color, options.limits.clone())?;
    let all = Described { pictures, said, skipped: Vec::new() };
    Ok(match options.on_bad {
        OnBad::Error => all,
        OnBad::Skip => {
            let (good, skipped) = all.pictures.readable();
            Described { skipped, ..all.subset(&good) }
        }
    })
}

/// A table with a header.
struct Table {
    header: Vec<String>,
    /// Line from 1, path, fields.
    rows: Vec<(u64, Vec<String>)>,
    paths: usize,
    origin: String,
}

impl Table {
    fn read(path: &Path) -> Result<Self> {
        let bytes = crate::files::read_limited(path, MAX_FILE)?;
        let origin = path.display().to_string();
        let wrong = |why: String| Error::Input(format!("{origin}: {why}"));
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let first = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        let delimiter = [b',', b'\t', b';'].into_iter().find(|d| first.contains(d)).unwrap_or(b',');
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(bytes);
        let header: Vec<String> = match reader.headers() {
            Ok(header) => header.iter().map(str::to_lowercase).collect(),
            Err(e) => return Err(wrong(e.to_string())),
        };
        let Some(paths) = header.iter().position(|name| PATHS.contains(&name.as_str())) else {
            return Err(wrong(format!("the header has no column of paths; call one {}", PATHS.join(", "))));
        };
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|e| wrong(e.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line);
            if record.get(paths).is_none_or(str::is_empty) {
                return Err(wrong(format!("line {line} has no path")));
            }
            rows.push((line, record.iter().map(String::from).collect()));
        }
        if rows.is_empty() {
            return Err(wrong("the table has no lines but its header".into()));
        }
        Ok(Self { header, rows, paths, origin })
    }

    fn column(&self, names: &[&str], of: &str) -> Result<usize> {
        let known = |name: &String| names.iter().any(|n| n.eq_ignore_ascii_case(name));
        self.header.iter().position(known).ok_or_else(|| {
            Error::Input(format!(
                "{}: no column of {of} called {}; the table has {}",
                self.origin,
                names.join(" or "),
                self.header.join(", ")
            ))
        })
    }

    fn described<T: Clone>(&self, table: &Path, said: Vec<T>, options: &OpenOptions) -> Result<Described<T>> {
        let folder = table.parent().unwrap_or(Path::new(""));
        let mut sources = Vec::with_capacity(self.rows.len());
        for (line, fields) in &self.rows {
            let name = &fields[self.paths];
            let path = folder.join(name);
            if !path.is_file() && options.on_bad == OnBad::Error {
                return Err(Error::Input(format!(
                    "{}, line {line}: there is no file {}; paths are relative to the table's folder. Or leave such lines out with --on-bad skip",
                    self.origin,
                    path.display()
                )));
            }
            sources.push(Source::File { path, relative: name.as_str().into() });
        }
        described(sources, said, options)
    }
}

/// Names by code points in lower-case hexadecimal with `_` between them, variation selectors left out, as Noto's files
/// are called.
fn emoji_names(path: &Path) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Entry {
        name: String,
    }
    let bytes = crate::files::read_limited(path, MAX_FILE)?;
    let entries: BTreeMap<String, Entry> = serde_json::from_slice(&bytes)
        .map_err(|e| Error::Input(format!("{} is no table of emoji: {e}", path.display())))?;
    let key = |emoji: &str| {
        let points = emoji.chars().filter(|c| *c != '\u{fe0f}').map(|c| format!("{:04x}", u32::from(c)));
        points.collect::<Vec<_>>().join("_")
    };
    Ok(entries.into_iter().map(|(emoji, entry)| (key(&emoji), entry.name)).collect())
}

/// `emoji_u1f600.png` to `1f600`.
fn emoji_key(relative: &str) -> Option<String> {
    let name = relative.rsplit('/').next()?.split('.').next()?;
    Some(name.strip_prefix("emoji_u")?.to_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use opticus_pixels::{Image8, Size};

    fn picture(folder: &Path, name: &str, channels: usize) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let image = Image8 { size: Size::new(2, 2), channels, data: vec![9; 4 * channels] };
        std::fs::write(path, codec::encode_png(&image).unwrap()).unwrap();
    }

    #[test]
    fn tables_paths_and_emoji_say_something() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        picture(folder.path(), "a/red_dragon.png", 4);
        picture(folder.path(), "b.png", 3);
        let options = OpenOptions::default();
        let paths = captions(folder.path(), &options).unwrap();
        assert_eq!(paths.said, ["b", "a/red_dragon"]);
        assert!(has_alpha(&paths.pictures));
        std::fs::write(
            at("t.csv"),
            "file,caption,x,y\nb.png,\"a blue, thing\",1,2e1\na/red_dragon.png,red,-3,0\n",
        )
        .unwrap();
        let table = captions(&at("t.csv"), &options).unwrap();
        assert_eq!(table.said, ["a blue, thing", "red"]);
        assert!(has_captions(&at("t.csv")));
        let columns = ["y".to_owned(), "X".to_owned()];
        let table = numbers(&at("t.csv"), &columns, &options).unwrap();
        assert_eq!(table.said, [[20.0, 1.0], [0.0, -3.0]]);
        let fails = |text: &str, columns: &[&str], words: &[&str]| {
            std::fs::write(at("bad.csv"), text).unwrap();
            let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
            let error = match columns.is_empty() {
                true => captions(&at("bad.csv"), &options).unwrap_err(),
                false => numbers(&at("bad.csv"), &columns, &options).unwrap_err(),
            };
            words.iter().for_each(|word| assert!(error.to_string().contains(word), "{error}"));
        };
        fails("", &[], &["column of paths"]);
        fails("path,caption\n", &[], &["no lines"]);
        fails("path,colour\nb.png,red\n", &[], &["caption", "path, colour"]);
        fails("path,caption\nc.png,red\n", &[], &["line 2", "c.png"]);
        fails("path,x\nb.png,red\n", &["x"], &["line 2", "red"]);
        fails("path,x\nb.png,inf\n", &["x"], &["line 2"]);
        fails("path,x\nb.png,1\n", &["z"], &["path, x"]);

        let emoji = tempfile::tempdir().unwrap();
        picture(emoji.path(), "emoji_u1f600.png", 4);
        picture(emoji.path(), "emoji_u0023_20e3.png", 4);
        picture(emoji.path(), "emoji_u9999.png", 4);
        let names = "{\"😀\": {\"name\": \"grinning face\"}, \"#️⃣\": {\"name\": \"keycap: #\"}}";
        std::fs::write(emoji.path().join(EMOJI), names).unwrap();
        assert_eq!(captions(emoji.path(), &options).unwrap().said, ["keycap: #", "grinning face"]);
    }

    #[test]
    fn broken_pictures_are_left_out_with_what_is_said_of_them() {
        let folder = tempfile::tempdir().unwrap();
        picture(folder.path(), "a.png", 3);
        picture(folder.path(), "c.png", 3);
        std::fs::write(folder.path().join("b.png"), b"no picture").unwrap();
        let options = OpenOptions { on_bad: OnBad::Skip, ..OpenOptions::default() };
        let all = captions(folder.path(), &options).unwrap();
        assert_eq!((all.said, all.skipped.len()), (vec!["a".to_owned(), "c".to_owned()], 1));
    }
}
