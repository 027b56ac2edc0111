//! Instances and results, written one element a line.

use std::path::Path;

use super::super::super::json::quoted;
use super::super::Annotated;
use super::results::Detection;
use crate::error::Result;
use crate::files::write_atomically;

/// The number of each picture as [`write_instances`] writes it: its own where all are different, else its place from 1.
pub fn picture_numbers(data: &Annotated) -> Vec<i64> {
    let own: Vec<i64> = data.pictures().iter().map(|p| p.id).collect();
    if all_differ(own.clone()) { own } else { (1..=own.len() as i64).collect() }
}

fn all_differ(mut ids: Vec<i64>) -> bool {
    ids.sort_unstable();
    // 0 means "no match" to pycocotools.
    ids.windows(2).all(|pair| pair[0] != pair[1]) && ids.first() != Some(&0)
}

/// Writes instances. Categories are numbered from 1 in the order of the classes; pictures and annotations keep their
/// numbers where all are different, and are numbered from 1 otherwise.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn write_instances(path: &Path, data: &Annotated, file_name: impl Fn(usize) -> String) -> Result<()> {
    let pictures = data.pictures();
    let numbers = picture_numbers(data);
    let keep_boxes = all_differ(pictures.iter().flat_map(|p| p.annotations.iter().map(|a| a.id)).collect());
    write_atomically(path, |out| {
        out.write_all(b"{\"images\":[")?;
        for (i, (picture, number)) in pictures.iter().zip(&numbers).enumerate() {
            write!(
                out,
                "{}\n{{\"id\":{},\"file_name\":{},\"width\":{},\"height\":{}{}}}",
                comma(i),
                number,
                quoted(&file_name(i)),
                picture.size.width,
                picture.size.height,
                more(picture.extra.as_deref())
            )?;
        }
        out.write_all(b"],\n\"annotations\":[")?;
        let mut written = 0;
        for (picture, number) in pictures.iter().zip(&numbers) {
            for a in &picture.annotations {
                let [x1, y1, x2, y2] = a.bounds.to_corners();
                write!(
                    out,
                    "{}\n{{\"id\":{},\"image_id\":{},\"category_id\":{},\"bbox\":[{x1},{y1},{},{}],\"area\":{},\
                     \"iscrowd\":{}{}{}}}",
                    comma(written),
                    if keep_boxes { a.id } else { written as i64 + 1 },
                    number,
                    a.class + 1,
                    extent(x1, x2),
                    extent(y1, y2),
                    a.area,
                    u8::from(a.crowd),
                    if a.difficult { ",\"difficult\":1" } else { "" },
                    more(a.extra.as_deref())
                )?;
                written += 1;
            }
        }
        out.write_all(b"],\n\"categories\":[")?;
        for (i, name) in data.classes().iter().enumerate() {
            write!(out, "{}\n{{\"id\":{},\"name\":{}}}", comma(i), i + 1, quoted(name))?;
        }
        out.write_all(b"]}\n")
    })
}

/// Writes detections. Scores are not NaN, boxes are finite.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn write_results(path: &Path, detections: &[Detection]) -> Result<()> {
    write_atomically(path, |out| {
        out.write_all(b"[")?;
        for (i, d) in detections.iter().enumerate() {
            let [x, y, width, height] = d.bbox;
            write!(
                out,
                "{}\n{{\"image_id\":{},\"category_id\":{},\"bbox\":[{x},{y},{width},{height}],\"score\":{}}}",
                comma(i),
                d.image,
                d.category,
                d.score
            )?;
        }
        out.write_all(b"]\n")
    })
}

fn comma(before: usize) -> &'static str {
    if before == 0 { "" } else { "," }
}

fn more(extra: Option<&str>) -> String {
    extra.map_or_else(String::new, |extra| format!(",{extra}"))
}

/// The number with the fewest digits that, added to `near`, gives `far` again: 296.42 rather than 296.4200000000001.
pub(crate) fn extent(near: f64, far: f64) -> f64 {
    let exact = far - near;
    (0..16)
        .filter_map(|digits| format!("{exact:.digits$}").parse::<f64>().ok())
        .find(|short| near + short == far)
        .unwrap_or(exact)
}
