//! Instances: `{"images": […], "annotations": […], "categories": […]}`, in any order.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::super::super::json::{self, Kind, Reader};
use crate::error::{Error, Result};

/// Whether members that we do not understand are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Passed over: small in memory.
    #[default]
    Nothing,
    /// As text, to be written again.
    Everything,
}

/// A file of instances, as it is written: nothing is checked against anything yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Instances {
    /// The pictures.
    pub pictures: Vec<PictureEntry>,
    /// The categories.
    pub categories: Vec<Category>,
    /// The boxes.
    pub annotations: Vec<Entry>,
    /// Further members of the document (`info`, `licenses`), as JSON writes them between braces.
    pub extra: Option<Box<str>>,
}

/// An element of `images`.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureEntry {
    /// Its number.
    pub id: i64,
    /// Its file.
    pub file_name: String,
    /// Width and height as written; 0 where they are not.
    pub size: [u32; 2],
    /// Line of the file.
    pub line: u64,
    /// Further members.
    pub extra: Option<Box<str>>,
}

/// An element of `categories`.
#[derive(Clone, Debug, PartialEq)]
pub struct Category {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Further members.
    pub extra: Option<Box<str>>,
}

/// An element of `annotations`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number.
    pub id: Option<i64>,
    /// The picture's number.
    pub image: i64,
    /// The category's number.
    pub category: i64,
    /// Left, top, width and height as written.
    pub bbox: Option<[f64; 4]>,
    /// The object's area.
    pub area: Option<f64>,
    /// `iscrowd`.
    pub crowd: bool,
    /// `difficult`, which converters write.
    pub difficult: bool,
    /// Line of the file.
    pub line: u64,
    /// Further members.
    pub extra: Option<Box<str>>,
}

/// Reads a file of instances.
///
/// # Errors
/// [`Error::Input`] with line and column where it is not one, [`Error::Io`].
pub fn read_instances(path: &Path, keep: Keep) -> Result<Instances> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    parse_instances(file, keep).map_err(|fault| error_in(path, fault))
}

pub(super) fn error_in(path: &Path, fault: json::Fault) -> Error {
    match fault {
        json::Fault::Io(e) => Error::io("read", path, e),
        fault => Error::Input(format!("{}: {fault}", path.display())),
    }
}

/// Reads a stream of instances.
///
/// # Errors
/// A fault with line and column.
pub fn parse_instances(source: impl Read, keep: Keep) -> json::Result<Instances> {
    let mut reader = Reader::new(source);
    if reader.peek()? != Kind::Object {
        return Err(reader.fault(
            "not COCO instances: the document is no object with images, annotations and categories (a list of \
             detections is a results file)",
        ));
    }
    let mut all = Instances::default();
    let mut extra = Extra::new(keep);
    let mut seen = [false; 3];
    reader.object(|r, key| match key {
        "images" => {
            seen[0] = true;
            r.array(|r| picture(r, keep).map(|one| all.pictures.push(one)))
        }
        "annotations" => {
            seen[1] = true;
            r.array(|r| annotation(r, keep).map(|one| all.annotations.push(one)))
        }
        "categories" => {
            seen[2] = true;
            r.array(|r| category(r, keep).map(|one| all.categories.push(one)))
        }
        other => extra.take(r, other),
    })?;
    reader.finish()?;
    for (seen, name) in seen.into_iter().zip(["images", "annotations", "categories"]) {
        // Pictures to be predicted on have no annotations.
        if !seen && name != "annotations" {
            return Err(reader.fault(format!("not COCO instances: the document has no `{name}`")));
        }
    }
    all.extra = extra.text();
    Ok(all)
}

/// Members that are not understood.
struct Extra {
    keep: Keep,
    text: String,
}

impl Extra {
    fn new(keep: Keep) -> Self {
        Self { keep, text: String::new() }
    }

    fn take<R: Read>(&mut self, reader: &mut Reader<R>, key: &str) -> json::Result<()> {
        if self.keep == Keep::Nothing {
            return reader.skip();
        }
        let value = reader.raw()?;
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(&json::quoted(key));
        self.text.push(':');
        self.text.push_str(&value);
        Ok(())
    }

    fn text(self) -> Option<Box<str>> {
        (!self.text.is_empty()).then(|| self.text.into_boxed_str())
    }
}

fn needed<T, R: Read>(reader: &Reader<R>, value: Option<T>, of: &str, name: &str) -> json::Result<T> {
    value.ok_or_else(|| reader.fault(format!("{of} without `{name}`")))
}

fn picture<R: Read>(reader: &mut Reader<R>, keep: Keep) -> json::Result<PictureEntry> {
    let (mut id, mut file_name, mut size, mut extra) = (None, None, [0; 2], Extra::new(keep));
    reader.peek()?;
    let line = reader.line();
    reader.object(|r, key| {
        match key {
            "id" => id = Some(r.integer()?),
            "file_name" => file_name = Some(r.text()?),
            // Too large for a picture, negative or no number: as good as unknown.
            "width" => size[0] = side(r)?,
            "height" => size[1] = side(r)?,
            other => extra.take(r, other)?,
        }
        Ok(())
    })?;
    let id = needed(reader, id, "a picture", "id")?;
    let file_name = needed(reader, file_name, "a picture", "file_name")?;
    Ok(PictureEntry { id, file_name, size, line, extra: extra.text() })
}

fn side<R: Read>(reader: &mut Reader<R>) -> json::Result<u32> {
    if reader.peek()? == Kind::Null {
        reader.null()?;
        return Ok(0);
    }
    let value = reader.number()?;
    Ok(if (1.0..=f64::from(u32::MAX)).contains(&value) { value as u32 } else { 0 })
}

fn category<R: Read>(reader: &mut Reader<R>, keep: Keep) -> json::Result<Category> {
    let (mut id, mut name, mut extra) = (None, None, Extra::new(keep));
    reader.object(|r, key| {
        match key {
            "id" => id = Some(r.integer()?),
            "name" => name = Some(r.text()?),
            other => extra.take(r, other)?,
        }
        Ok(())
    })?;
    let id = needed(reader, id, "a category", "id")?;
    let name = needed(reader, name, "a category", "name")?;
    Ok(Category { id, name, extra: extra.text() })
}

fn annotation<R: Read>(reader: &mut Reader<R>, keep: Keep) -> json::Result<Entry> {
    let (mut image, mut category, mut extra) = (None, None, Extra::new(keep));
    reader.peek()?;
    let mut entry = Entry {
        id: None,
        image: 0,
        category: 0,
        bbox: None,
        area: None,
        crowd: false,
        difficult: false,
        line: reader.line(),
        extra: None,
    };
    reader.object(|r, key| {
        match key {
            "id" => entry.id = Some(r.integer()?),
            "image_id" => image = Some(r.integer()?),
            "category_id" => category = Some(r.integer()?),
            "bbox" => entry.bbox = bbox(r)?,
            "area" => entry.area = maybe_number(r)?,
            "iscrowd" => entry.crowd = r.truth()?,
            "difficult" => entry.difficult = r.truth()?,
            other => extra.take(r, other)?,
        }
        Ok(())
    })?;
    entry.image = needed(reader, image, "an annotation", "image_id")?;
    entry.category = needed(reader, category, "an annotation", "category_id")?;
    entry.extra = extra.text();
    Ok(entry)
}

fn maybe_number<R: Read>(reader: &mut Reader<R>) -> json::Result<Option<f64>> {
    match reader.peek()? {
        Kind::Null => reader.null().map(|()| None),
        _ => reader.number().map(Some),
    }
}

/// Four numbers; `null` among them is no number. `None` for an empty list or `null`.
pub(super) fn bbox<R: Read>(reader: &mut Reader<R>) -> json::Result<Option<[f64; 4]>> {
    if reader.peek()? == Kind::Null {
        return reader.null().map(|()| None);
    }
    let (mut values, mut count) = ([0.0; 4], 0);
    reader.array(|r| {
        let value = match r.peek()? {
            Kind::Null => r.null().map(|()| f64::NAN)?,
            // "NaN", "12.5": what careless writers put there.
            Kind::Text => r.text()?.trim().parse().unwrap_or(f64::NAN),
            _ => r.number()?,
        };
        if let Some(place) = values.get_mut(count) {
            *place = value;
        }
        count += 1;
        Ok(())
    })?;
    match count {
        0 => Ok(None),
        4 => Ok(Some(values)),
        _ => Err(reader.fault("a bbox of other than four numbers: [x, y, width, height]")),
    }
}
