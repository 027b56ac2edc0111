//! `labels/<part>/*.txt` and `data.yaml`.

use std::path::Path;

use super::super::super::json::quoted;
use super::super::super::open::Split;
use super::super::Annotated;
use crate::error::Result;
use crate::files::{create_folder, write_atomically};

/// Writes the labels of one part. Fractions have ten decimals, less than a millionth of a pixel. `file_name` gives a
/// picture's name in `images/<part>`. Crowd, difficulty, area and further members have no place here.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn write(root: &Path, split: Split, data: &Annotated, file_name: impl Fn(usize) -> String) -> Result<()> {
    let folder = root.join("labels").join(split.to_string());
    create_folder(&folder)?;
    for (i, picture) in data.pictures().iter().enumerate() {
        let scale = [1.0 / f64::from(picture.size.width.max(1)), 1.0 / f64::from(picture.size.height.max(1))];
        let mut text = String::new();
        for a in &picture.annotations {
            let numbers = a.bounds.scaled(scale).to_center().map(short);
            text.push_str(&format!("{} {}\n", a.class, numbers.join(" ")));
        }
        let name = file_name(i);
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        write_atomically(&folder.join(format!("{stem}.txt")), |out| out.write_all(text.as_bytes()))?;
    }
    Ok(())
}

/// Ten decimals without the zeros at the end.
fn short(value: f64) -> String {
    let text = format!("{value:.10}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

/// Writes `data.yaml`.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn write_yaml(root: &Path, parts: &[Split], classes: &[String]) -> Result<()> {
    let mut text = String::from("path: .\n");
    for split in parts {
        text.push_str(&format!("{split}: images/{split}\n"));
    }
    text.push_str("names:\n");
    for (i, name) in classes.iter().enumerate() {
        text.push_str(&format!("  {i}: {}\n", quoted_if_needed(name)));
    }
    write_atomically(&root.join("data.yaml"), |out| out.write_all(text.as_bytes()))
}

/// As it is if that is plain in YAML, else in quotes.
fn quoted_if_needed(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | '/' | '(' | ')');
    let first = name.chars().next();
    let word = first.is_some_and(char::is_alphabetic) && name.chars().all(plain) && !name.ends_with(' ');
    let reserved = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    match (
        word && !reserved.contains(&name.to_lowercase().as_str()),
        name.contains('"') || name.contains('\\'),
    ) {
        (true, _) => name.to_string(),
        // Without escapes for what single quotes hold as it is.
        (false, true) if !name.contains('\'') => format!("'{name}'"),
        (false, _) => quoted(name),
    }
}
