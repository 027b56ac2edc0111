//! Results: `[{"image_id": …, "category_id": …, "bbox": […], "score": …}, …]`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::super::super::json::{self, Kind, Reader};
use super::read::{bbox, error_in};
use crate::error::{Error, Result};

/// An element of a results file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// The picture's number.
    pub image: i64,
    /// The category's number.
    pub category: i64,
    /// Left, top, width and height in continuous pixels.
    pub bbox: [f64; 4],
    /// How sure the detector is.
    pub score: f64,
}

/// Reads a file of results, handing over each detection; what `each` answers is a fault of that element.
///
/// # Errors
/// [`Error::Input`] with line and column where it is not one, [`Error::Io`].
pub fn read_results(path: &Path, each: impl FnMut(Detection) -> Result<(), String>) -> Result<()> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    parse_results(file, each).map_err(|fault| error_in(path, fault))
}

/// Reads a stream of results.
///
/// # Errors
/// A fault with line and column.
pub fn parse_results(
    source: impl Read,
    mut each: impl FnMut(Detection) -> Result<(), String>,
) -> json::Result<()> {
    let mut reader = Reader::new(source);
    if reader.peek()? != Kind::Array {
        return Err(reader.fault("not COCO results: the document is no list of detections"));
    }
    reader.array(|r| {
        r.peek()?;
        let at = |r: &Reader<_>, message: String| r.fault(message);
        let (mut image, mut category, mut bounds, mut score, mut mask) = (None, None, None, None, false);
        r.object(|r, key| {
            match key {
                "image_id" => image = Some(r.integer()?),
                "category_id" => category = Some(r.integer()?),
                "bbox" => bounds = bbox(r)?,
                "score" => score = Some(r.number()?),
                other => {
                    mask |= other == "segmentation";
                    r.skip()?;
                }
            }
            Ok(())
        })?;
        let missing = |name: &str| {
            let advice = if mask && name == "bbox" { "; masks are not scored, only boxes" } else { "" };
            at(r, format!("a detection without `{name}`{advice}"))
        };
        let detection = Detection {
            image: image.ok_or_else(|| missing("image_id"))?,
            category: category.ok_or_else(|| missing("category_id"))?,
            bbox: bounds.ok_or_else(|| missing("bbox"))?,
            score: score.ok_or_else(|| missing("score"))?,
        };
        if detection.score.is_nan() {
            return Err(at(r, "a detection whose score is NaN".into()));
        }
        if !detection.bbox.iter().all(|v| v.is_finite()) {
            return Err(at(r, format!("a detection whose bbox is {:?}", detection.bbox)));
        }
        each(detection).map_err(|message| at(r, message))
    })?;
    reader.finish()
}
