//! A table of pictures: `path,label` and, if there is a third column, `split`.
//!
//! Paths are relative to the table's folder (or absolute). The first line may be a header: it is one if a name
//! in it is one of `path`, `file`, `filename`, `image` or `label`, `class`, `target`, and then the columns may
//! stand in any order among others. Fields are separated by commas, semicolons or tabs, whichever the first
//! line has. The split is one of `train`, `val` (`valid`, `validation`) and `test`.
//!
//! Classes are the distinct labels in order: by value if all are whole numbers, else by name.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::Format;
use super::dataset::{Item, Labelled, Source};
use super::open::{OpenOptions, Split, Splits};
use crate::error::{Error, Result};

/// The most bytes of a table: some four million lines.
const MAX_FILE: u64 = 256 << 20;

const PATHS: [&str; 8] = ["path", "file", "filename", "file_name", "filepath", "image", "image_path", "img"];
const LABELS: [&str; 6] = ["label", "class", "target", "category", "class_name", "label_name"];
const SPLITS: [&str; 4] = ["split", "set", "subset", "partition"];

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its line, from 1.
    pub line: u64,
    /// The picture's path as written.
    pub path: String,
    /// The label as written.
    pub label: String,
    /// The part of the data set, `train` if the table has no such column.
    pub split: Split,
}

/// Reads the table.
///
/// # Errors
/// A message that names the line, without the file's name.
pub fn parse(bytes: &[u8]) -> Result<Vec<Row>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let first = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let delimiter = [b'\t', b';'].into_iter().find(|d| first.contains(d)).unwrap_or(b',');
    // Commas inside a quoted field do not matter; a first line with a comma outside of one is a comma table.
    let delimiter = if first.contains(&b',') { b',' } else { delimiter };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let mut columns: Option<Columns> = None;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| match e.position() {
            Some(p) => format!("line {}: {e}", p.line()),
            None => e.to_string(),
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(str::is_empty) {
            continue;
        }
        let columns = match columns {
            Some(c) => c,
            None => {
                let (found, header) = Columns::find(&record).map_err(|e| format!("line {line}: {e}"))?;
                columns = Some(found);
                if header {
                    continue;
                }
                found
            }
        };
        let field = |column: usize, what: &str| match record.get(column) {
            Some(text) if !text.is_empty() => Ok(text.to_string()),
            _ => Err(format!("line {line}: no {what} in column {}", column + 1)),
        };
        let split = match columns.split.and_then(|c| record.get(c)) {
            None | Some("") => Split::Train,
            Some(text) => Split::from_name(text)
                .ok_or_else(|| format!("line {line}: the split {text:?} is none of train, val and test"))?,
        };
        rows.push(Row {
            line,
            path: field(columns.path, "path")?,
            label: field(columns.label, "label")?,
            split,
        });
    }
    Ok(rows)
}

#[derive(Clone, Copy)]
struct Columns {
    path: usize,
    label: usize,
    split: Option<usize>,
}

impl Columns {
    /// The columns, and whether the first line is a header.
    fn find(first: &csv::StringRecord) -> Result<(Self, bool), String> {
        let named = |names: &[&str]| first.iter().position(|f| names.contains(&f.to_lowercase().as_str()));
        match (named(&PATHS), named(&LABELS), named(&SPLITS)) {
            (Some(path), Some(label), split) => Ok((Self { path, label, split }, true)),
            (Some(_), None, _) => Err(format!("the header has no column {}", LABELS.join("/"))),
            (None, Some(_), _) => Err(format!("the header has no column {}", PATHS.join("/"))),
            (None, None, _) if first.len() < 2 => {
                Err("a path and a label are needed, separated by a comma".into())
            }
            (None, None, _) => {
                let split = first.get(2).and_then(Split::from_name).map(|_| 2);
                Ok((Self { path: 0, label: 1, split }, false))
            }
        }
    }
}

/// Reads a table that has at least one line.
pub(super) fn read(table: &Path) -> Result<Vec<Row>> {
    let bytes = crate::files::read_limited(table, MAX_FILE)?;
    let rows = parse(&bytes).map_err(|why| Error::Input(format!("{}: {why}", table.display())))?;
    if rows.is_empty() {
        return Err(Error::Input(format!(
            "{}: the table has no lines. Write one line a picture: path,label",
            table.display()
        )));
    }
    Ok(rows)
}

/// Whether a table is one of pictures and labels whose first picture is there. (A table of something else may
/// lie beside class folders.)
pub(super) fn refers_to_files(table: &Path) -> bool {
    let folder = table.parent().unwrap_or(Path::new(""));
    read(table).is_ok_and(|rows| rows.first().is_some_and(|row| folder.join(&row.path).is_file()))
}

/// Opens a table.
pub(super) fn open(table: &Path, options: &OpenOptions) -> Result<Splits> {
    let rows = read(table)?;
    let folder = table.parent().unwrap_or(Path::new(""));
    let classes = class_order(rows.iter().map(|r| r.label.as_str()));
    let mut splits = Splits::empty(Format::Csv, classes.clone());
    let index: HashMap<&str, usize> = classes.iter().enumerate().map(|(i, c)| (c.as_str(), i)).collect();
    let mut items: [Vec<Item>; 3] = Default::default();
    for row in rows {
        let path = folder.join(&row.path);
        if !path.is_file() {
            return Err(Error::Input(format!(
                "{}: line {}: no file {}. Paths are relative to the table's folder",
                table.display(),
                row.line,
                path.display()
            )));
        }
        let label = index[row.label.as_str()];
        let source = Source::File { path, relative: row.path.replace('\\', "/").into() };
        items[row.split as usize].push(Item { source, label });
    }
    for (split, items) in Split::ALL.into_iter().zip(items) {
        if !items.is_empty() {
            splits.put(
                split,
                Labelled::new(classes.clone(), items, options.file_color(), options.limits.clone())?,
            );
        }
    }
    Ok(splits)
}

/// Distinct labels in order: numbers by value, else text by its bytes.
pub(super) fn class_order<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<String> {
    let distinct: BTreeSet<&str> = labels.collect();
    let mut classes: Vec<String> = distinct.into_iter().map(String::from).collect();
    let numbers: Option<Vec<i64>> = classes.iter().map(|c| c.parse().ok()).collect();
    if numbers.is_some() {
        classes.sort_by_key(|c| c.parse::<i64>().unwrap_or(0));
    }
    classes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn rows(text: &str) -> Vec<(String, String, Split)> {
        parse(text.as_bytes()).unwrap().into_iter().map(|r| (r.path, r.label, r.split)).collect()
    }

    fn row(path: &str, label: &str, split: Split) -> (String, String, Split) {
        (path.into(), label.into(), split)
    }

    #[test]
    fn headers_are_optional_and_name_columns() {
        let expected = [row("a.png", "cat", Split::Train), row("b c.png", "dog", Split::Train)];
        assert_eq!(rows("a.png,cat\nb c.png,dog\n"), expected);
        assert_eq!(rows("path,label\na.png,cat\n\nb c.png,dog"), expected);
        assert_eq!(rows("\u{feff}Label;id;File\r\ncat;1;a.png\r\ndog;2;b c.png\r\n"), expected);
        assert_eq!(rows("image\tclass\na.png\tcat\n\"b c.png\"\tdog"), expected);
    }

    #[test]
    fn splits_are_read_with_and_without_a_header() {
        let expected = [row("a", "x", Split::Train), row("b", "y", Split::Val), row("c", "x", Split::Test)];
        assert_eq!(rows("a,x,train\nb,y,valid\nc,x,test"), expected);
        assert_eq!(rows("split,path,label\n,a,x\nVALIDATION,b,y\ntest,c,x"), expected);
    }

    #[test]
    fn faults_name_their_line() {
        let fault = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert_eq!(fault("path,label\na,x\nb"), "line 3: no label in column 2");
        assert_eq!(
            fault("a,x,train\nb,y,nowhere"),
            "line 2: the split \"nowhere\" is none of train, val and test"
        );
        assert!(fault("path,colour\na,x").starts_with("line 1: the header has no column label"));
        assert!(fault("only-one-field\n").starts_with("line 1: a path and a label are needed"));
        assert!(parse(b"a,x\n\xff\xfe,y").unwrap_err().contains("line 2"));
        assert_eq!(parse(b"").unwrap(), []);
    }

    #[test]
    fn a_table_opens_with_its_pictures_and_names_missing_ones() {
        use crate::data::{Dataset, open};
        use opticus_pixels::codec::encode_png;
        use opticus_pixels::{Image8, Size};
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("pictures")).unwrap();
        let picture = Image8 { size: Size::new(2, 1), channels: 3, data: vec![1, 2, 3, 4, 5, 6] };
        std::fs::write(root.path().join("pictures/x.png"), encode_png(&picture).unwrap()).unwrap();
        let table = root.path().join("labels.csv");
        std::fs::write(&table, "path,label\npictures/x.png,7\npictures/x.png,11\n").unwrap();
        for path in [root.path(), &table] {
            let splits = open(path, Format::Auto, &OpenOptions::default()).unwrap();
            assert_eq!(
                (splits.format, splits.classes()),
                (Format::Csv, ["7".into(), "11".into()].as_slice())
            );
            assert_eq!(splits.train.load(1).unwrap(), picture);
        }
        std::fs::write(&table, "pictures/x.png,7\npictures/y.png,11\n").unwrap();
        let fault = open(&table, Format::Auto, &OpenOptions::default()).unwrap_err().to_string();
        assert!(fault.contains("labels.csv: line 2: no file") && fault.contains("y.png"), "{fault}");
        std::fs::write(&table, "").unwrap();
        assert!(
            open(&table, Format::Csv, &OpenOptions::default()).unwrap_err().to_string().contains("no lines")
        );
        // A table of something else beside a class folder.
        std::fs::write(&table, "city,population\nBasel,170000\n").unwrap();
        assert_eq!(open(root.path(), Format::Auto, &OpenOptions::default()).unwrap().format, Format::Folder);
    }

    #[test]
    fn numbers_are_in_order_of_value_and_words_of_letters() {
        assert_eq!(class_order(["10", "9", "2", "10"].into_iter()), ["2", "9", "10"]);
        assert_eq!(class_order(["b", "10", "9"].into_iter()), ["10", "9", "b"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_text_of_fields_is_read_or_refused(text in "[a-c,;\t\"\n\r ]{0,80}") {
            let _ = parse(text.as_bytes());
        }
    }
}
