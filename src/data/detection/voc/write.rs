//! `Annotations/*.xml` and `ImageSets/Main/*.txt`.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::super::super::open::Split;
use super::super::{Annotated, Annotation, Picture};
use crate::error::Result;
use crate::files::{create_folder, write_atomically};

/// Writes the annotations of one part and its list. Edges are written as pixels counted from 1, with as many
/// decimals as they need. `file_name` gives a picture's name in `JPEGImages`.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn write(root: &Path, split: Split, data: &Annotated, file_name: impl Fn(usize) -> String) -> Result<()> {
    let (annotations, lists) = (root.join("Annotations"), root.join("ImageSets/Main"));
    create_folder(&annotations)?;
    create_folder(&lists)?;
    let mut list = String::new();
    for (i, picture) in data.pictures().iter().enumerate() {
        let name = file_name(i);
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        list.push_str(stem);
        list.push('\n');
        let text = annotation(&name, picture, data.classes());
        write_atomically(&annotations.join(format!("{stem}.xml")), |out| out.write_all(text.as_bytes()))?;
    }
    write_atomically(&lists.join(format!("{split}.txt")), |out| out.write_all(list.as_bytes()))
}

fn annotation(name: &str, picture: &Picture, classes: &[String]) -> String {
    let extra = extra(picture.extra.as_deref());
    let words = |key: &str| extra.get(key).and_then(Value::as_str);
    let mut text = String::from("<annotation>\n");
    // Writing to a text cannot fail.
    let _ = writeln!(text, "\t<folder>{}</folder>", escape(words("folder").unwrap_or("JPEGImages")));
    let _ = writeln!(text, "\t<filename>{}</filename>", escape(name));
    if let Some(database) = words("database") {
        let _ = writeln!(text, "\t<source>\n\t\t<database>{}</database>\n\t</source>", escape(database));
    }
    let _ = writeln!(
        text,
        "\t<size>\n\t\t<width>{}</width>\n\t\t<height>{}</height>\n\t\t<depth>3</depth>\n\t</size>",
        picture.size.width, picture.size.height
    );
    let _ = writeln!(text, "\t<segmented>{}</segmented>", u8::from(marked(&extra, "segmented")));
    for a in &picture.annotations {
        object(&mut text, a, &classes[a.class]);
    }
    text.push_str("</annotation>\n");
    text
}

fn object(text: &mut String, a: &Annotation, class: &str) {
    let extra = extra(a.extra.as_deref());
    let pose = extra.get("pose").and_then(Value::as_str).unwrap_or("Unspecified");
    let [x1, y1, x2, y2] = a.bounds.to_corners();
    let _ =
        writeln!(text, "\t<object>\n\t\t<name>{}</name>\n\t\t<pose>{}</pose>", escape(class), escape(pose));
    let _ = writeln!(text, "\t\t<truncated>{}</truncated>", u8::from(marked(&extra, "truncated")));
    if marked(&extra, "occluded") {
        let _ = writeln!(text, "\t\t<occluded>1</occluded>");
    }
    let _ = writeln!(
        text,
        // A crowd has no mark of its own; a difficult object is set aside in the same way.
        "\t\t<difficult>{}</difficult>\n\t\t<bndbox>\n\t\t\t<xmin>{}</xmin>\n\t\t\t<ymin>{}</ymin>\n\t\t\t\
         <xmax>{x2}</xmax>\n\t\t\t<ymax>{y2}</ymax>\n\t\t</bndbox>\n\t</object>",
        u8::from(a.difficult || a.crowd),
        plus_one(x1),
        plus_one(y1)
    );
}

/// `edge + 1` with the fewest digits that, less 1, give the edge again.
fn plus_one(edge: f64) -> f64 {
    let exact = edge + 1.0;
    let mut short = (0..16).filter_map(|digits| format!("{exact:.digits$}").parse::<f64>().ok());
    short.find(|short| short - 1.0 == edge).unwrap_or(exact)
}

fn extra(text: Option<&str>) -> Map<String, Value> {
    text.and_then(|text| serde_json::from_str(&format!("{{{text}}}")).ok()).unwrap_or_default()
}

fn marked(extra: &Map<String, Value>, key: &str) -> bool {
    extra.get(key).is_some_and(|v| v.as_f64().is_some_and(|v| v != 0.0) || v.as_bool() == Some(true))
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // What XML cannot hold at all.
            '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' => out.push('\u{fffd}'),
            c => out.push(c),
        }
        out
    })
}
