//! Plain text, one file a picture, as the well-known scoring tools have it: `label x y width height` for what is
//! there, `label score x y width height` for what was found. A label has no white space in it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use opticus_pixels::Size;

use super::super::folder::list;
use super::super::open::one_of;
use crate::error::{Error, Result};
use crate::files::read_limited;

/// What the four numbers mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextBoxes {
    /// Left, top, width, height.
    #[default]
    Xywh,
    /// Left, top, right, bottom.
    Xyxy,
    /// Centre, width, height as fractions of the picture's size.
    Relative,
}

impl fmt::Display for TextBoxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xywh => "xywh",
            Self::Xyxy => "xyxy",
            Self::Relative => "relative",
        })
    }
}

impl FromStr for TextBoxes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        one_of(text, &[Self::Xywh, Self::Xyxy, Self::Relative])
    }
}

/// A box of a text file.
#[derive(Clone, Debug, PartialEq)]
pub struct TextBox {
    /// The label.
    pub label: String,
    /// How sure the detector is; `None` in a file of what is there.
    pub score: Option<f64>,
    /// Left, top, width and height.
    pub bbox: [f64; 4],
}

/// The boxes of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct TextFile {
    /// The file's name without its ending.
    pub stem: String,
    /// The boxes in order.
    pub boxes: Vec<TextBox>,
}

/// Reads all `.txt` files of a folder, in order of their names. `size` of all pictures is needed for
/// [`TextBoxes::Relative`].
///
/// # Errors
/// [`Error::Input`] with file and line, [`Error::Config`] if a size is missing, [`Error::Io`].
pub fn read_folder(
    folder: &Path,
    scored: bool,
    boxes: TextBoxes,
    size: Option<Size>,
) -> Result<Vec<TextFile>> {
    let scale = match (boxes, size) {
        (TextBoxes::Relative, None) => {
            return Err(Error::Config(
                "boxes in fractions of the picture need its size: give --image-size WIDTHxHEIGHT".into(),
            ));
        }
        (TextBoxes::Relative, Some(size)) => [f64::from(size.width), f64::from(size.height)],
        _ => [1.0; 2],
    };
    let files = list(folder)?.files;
    let texts = files.into_iter().filter(|f| f.extension().is_some_and(|e| e.eq_ignore_ascii_case("txt")));
    texts
        .map(|file| {
            let bytes = read_limited(&file, 256 << 20)?;
            let text = String::from_utf8_lossy(&bytes);
            let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let boxes = lines
                .map(|(i, line)| {
                    parse_line(line, scored, boxes, scale)
                        .map_err(|why| Error::Input(format!("{}: line {}: {why}", file.display(), i + 1)))
                })
                .collect::<Result<_>>()?;
            Ok(TextFile { stem, boxes })
        })
        .collect()
}

/// Reads a line that is not empty; relative numbers are multiplied by `scale`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_line(line: &str, scored: bool, boxes: TextBoxes, scale: [f64; 2]) -> Result<TextBox, String> {
    let mut words = line.split_whitespace();
    let label = words.next().ok_or("no label")?.to_string();
    let numbers: Vec<f64> = words
        .map(|word| {
            word.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or(format!("{word:?} is no number"))
        })
        .collect::<Result<_, _>>()?;
    let (score, [a, b, c, d]) = match (scored, numbers.as_slice()) {
        (true, &[score, a, b, c, d]) => (Some(score), [a, b, c, d]),
        (false, &[a, b, c, d]) => (None, [a, b, c, d]),
        (true, other) => {
            return Err(format!("{} numbers behind the label instead of 5: score and box", other.len()));
        }
        (false, other) => {
            return Err(format!("{} numbers behind the label instead of 4: the box", other.len()));
        }
    };
    let bbox = match boxes {
        TextBoxes::Xywh => [a, b, c, d],
        TextBoxes::Xyxy => [a, b, c - a, d - b],
        TextBoxes::Relative => {
            [(a - c / 2.0) * scale[0], (b - d / 2.0) * scale[1], c * scale[0], d * scale[1]]
        }
    };
    Ok(TextBox { label, score, bbox })
}
