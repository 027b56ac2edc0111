//! One annotation file. Entities of one's own, document types that declare anything and deep nesting are refused.

use quick_xml::Reader;
use quick_xml::events::Event;

/// The most bytes of an annotation file.
pub(super) const MAX_FILE: u64 = 16 << 20;
/// The deepest nesting; VOC needs six.
const MAX_DEPTH: usize = 16;
/// The longest text of one element.
const MAX_TEXT: usize = 1 << 16;

/// An annotation file as it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VocFile {
    /// The picture's file, as written.
    pub filename: String,
    /// `folder`.
    pub folder: Option<String>,
    /// `source/database`.
    pub database: Option<String>,
    /// Width, height and channels; 0 where they are not written.
    pub size: [u32; 3],
    /// `segmented`.
    pub segmented: bool,
    /// The objects.
    pub objects: Vec<VocObject>,
}

/// An object as it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VocObject {
    /// Its class.
    pub name: String,
    /// `pose`.
    pub pose: Option<String>,
    /// `truncated`.
    pub truncated: bool,
    /// `occluded`.
    pub occluded: bool,
    /// `difficult`.
    pub difficult: bool,
    /// `xmin`, `ymin`, `xmax`, `ymax`; NaN where it is no number. `None` if one is missing.
    pub corners: Option<[f64; 4]>,
}

/// Reads an annotation file.
///
/// # Errors
/// A message that names the line.
pub fn parse(bytes: &[u8]) -> Result<VocFile, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        format!("line {line}: not UTF-8 text. Save the file as UTF-8")
    })?;
    let mut reader = Reader::from_str(text);
    let mut file = VocFile::default();
    let mut path: Vec<String> = Vec::new();
    let mut value = String::new();
    let mut corners = [None; 4];
    let mut any = false;
    loop {
        let at = |message: String, reader: &Reader<&[u8]>| {
            let here = (reader.buffer_position() as usize).min(text.len());
            format!("line {}: {message}", 1 + text.as_bytes()[..here].iter().filter(|b| **b == b'\n').count())
        };
        let event = reader.read_event().map_err(|e| at(e.to_string(), &reader))?;
        match event {
            Event::Start(_) | Event::Empty(_) => {
                let (start, empty) = match &event {
                    Event::Start(start) => (start, false),
                    Event::Empty(start) => (start, true),
                    _ => continue,
                };
                let name = String::from_utf8_lossy(start.name().as_ref().as_ref()).into_owned();
                if path.is_empty() {
                    if name != "annotation" || any {
                        return Err(at(format!("<{name}> instead of one <annotation>"), &reader));
                    }
                    any = true;
                }
                if path.len() >= MAX_DEPTH {
                    return Err(at(format!("elements nested deeper than {MAX_DEPTH}"), &reader));
                }
                path.push(name);
                value.clear();
                if is(&path, "annotation/object") {
                    file.objects.push(VocObject::default());
                    corners = [None; 4];
                }
                if empty {
                    path.pop();
                }
            }
            Event::End(_) => {
                take(&mut file, &mut corners, &path, value.trim());
                if is(&path, "annotation/object")
                    && let (Some(object), [Some(x1), Some(y1), Some(x2), Some(y2)]) =
                        (file.objects.last_mut(), corners)
                {
                    object.corners = Some([x1, y1, x2, y2]);
                }
                path.pop();
                value.clear();
            }
            Event::Text(text) => value.push_str(&text.xml10_content()),
            Event::CData(text) => value.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|e| at(e.to_string(), &reader))?;
                let named = match reference.xml10_content().as_ref() {
                    "lt" => Some('<'),
                    "gt" => Some('>'),
                    "amp" => Some('&'),
                    "quot" => Some('"'),
                    "apos" => Some('\''),
                    _ => None,
                };
                match character.or(named) {
                    Some(c) => value.push(c),
                    None => {
                        let message =
                            format!("the entity &{};; entities are not expanded", reference.xml10_content());
                        return Err(at(message, &reader));
                    }
                }
            }
            Event::DocType(declared) => {
                if declared.xml10_content().contains('[') {
                    return Err(at("a document type that declares entities or elements".into(), &reader));
                }
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
        if value.len() > MAX_TEXT {
            return Err(at(format!("a text of more than {MAX_TEXT} bytes"), &reader));
        }
    }
    if !any {
        return Err("line 1: no <annotation>".into());
    }
    if let Some(open) = path.last() {
        return Err(format!("the file ends inside <{open}>"));
    }
    Ok(file)
}

fn is(path: &[String], wanted: &str) -> bool {
    path.iter().map(String::as_str).eq(wanted.split('/'))
}

/// Takes the text of the element that ends.
fn take(file: &mut VocFile, corners: &mut [Option<f64>; 4], path: &[String], text: &str) {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let whole = || text.parse::<f64>().ok().filter(|v| (1.0..1e9).contains(v)).map_or(0, |v| v as u32);
    let yes = matches!(text, "1" | "true" | "True" | "TRUE");
    let words = || (!text.is_empty()).then(|| text.to_string());
    match path.as_slice() {
        ["annotation", "filename"] => file.filename = text.to_string(),
        ["annotation", "folder"] => file.folder = words(),
        ["annotation", "source", "database"] => file.database = words(),
        ["annotation", "size", "width"] => file.size[0] = whole(),
        ["annotation", "size", "height"] => file.size[1] = whole(),
        ["annotation", "size", "depth"] => file.size[2] = whole(),
        ["annotation", "segmented"] => file.segmented = yes,
        ["annotation", "object", inner @ ..] => {
            let Some(object) = file.objects.last_mut() else { return };
            match inner {
                ["name"] => object.name = text.to_string(),
                ["pose"] => object.pose = words(),
                ["truncated"] => object.truncated = yes,
                ["occluded"] => object.occluded = yes,
                ["difficult"] => object.difficult = yes,
                ["bndbox", edge] => {
                    if let Some(i) = ["xmin", "ymin", "xmax", "ymax"].iter().position(|name| name == edge) {
                        corners[i] = Some(text.parse().unwrap_or(f64::NAN));
                    }
                }
                // Parts of a person have boxes of their own, which are not the object's.
                _ => {}
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_tools_write_is_read() {
        let text = "\u{feff}<?xml version=\"1.0\"?><!-- words --><annotation verified=\"yes\"><folder>a</folder>\
                    <filename>b &amp; c&#33;.jpg</filename><size><width>640</width><height>480</height><depth>3</depth>\
                    </size><segmented>1</segmented><object><name> cat </name><pose>Left</pose><truncated>1</truncated>\
                    <bndbox><ymin>2</ymin><xmin>1.5</xmin><xmax>10</xmax><ymax>nan</ymax></bndbox>\
                    <part><name>head</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>\
                    </part></object><object><name><![CDATA[<dog>]]></name><difficult>1</difficult></object></annotation>";
        let file = parse(text.as_bytes()).unwrap();
        assert_eq!((file.filename.as_str(), file.size, file.segmented), ("b & c!.jpg", [640, 480, 3], true));
        let [cat, dog] = file.objects.as_slice() else { panic!() };
        assert_eq!((cat.name.as_str(), cat.pose.as_deref(), cat.truncated), ("cat", Some("Left"), true));
        let corners = cat.corners.unwrap();
        assert_eq!(corners[..3], [1.5, 2.0, 10.0]);
        assert!(corners[3].is_nan());
        assert_eq!((dog.name.as_str(), dog.difficult, dog.corners), ("<dog>", true, None));
    }

    #[test]
    fn bombs_and_broken_files_are_refused_with_their_line() {
        let bomb = "<!DOCTYPE lolz [\n<!ENTITY lol \"lol\">\n<!ENTITY lol2 \"&lol;&lol;\">]>\n\
                    <annotation><filename>&lol2;</filename></annotation>";
        assert!(parse(bomb.as_bytes()).unwrap_err().contains("document type that declares"));
        let fault = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert!(
            fault("<annotation>\n<filename>&lol;</filename></annotation>")
                .starts_with("line 2: the entity &lol;")
        );
        assert!(fault("<annotation>\n\n<size></annotation>").starts_with("line 3"));
        assert!(fault(&format!("<annotation>{}", "<a>".repeat(100_000))).contains("nested deeper"));
        assert!(fault("<html></html>").contains("instead of one <annotation>"));
        assert!(fault("<annotation></annotation><annotation/>").contains("instead of one <annotation>"));
        assert!(fault("").contains("no <annotation>") && fault("<annotation>").contains("ends inside"));
        assert!(parse(b"<annotation>\n\xff</annotation>").unwrap_err().starts_with("line 2: not UTF-8"));
        let long = format!("<annotation><filename>{}</filename></annotation>", "x".repeat(1 << 17));
        assert!(fault(&long).contains("a text of more than"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(<annotation>)?([<>/&;!a-c\"=\\[\\]\\- ]|<object>|</object>|&#x?[0-9]{1,9};|<!\\[CDATA\\[|<!DOCTYPE){0,30}") {
            let _ = parse(text.as_bytes());
        }
    }
}
