//! The few lines of VOC XML that measuring on photos needs; no parser for anyone's files.

use std::path::{Path, PathBuf};

use opticus_pixels::codec::{ColorMode, Limits, decode_file};
use opticus_pixels::{Box2d, Image8};

/// A photo and what is on it. VOC counts pixels from 1 and includes the last one.
pub struct Photo {
    #[allow(dead_code, reason = "each test that shares this file reads what it needs")]
    pub name: String,
    pub image: Image8,
    pub objects: Vec<(String, Box2d)>,
}

/// The photos of a folder of the shared data, at most `most`, evenly chosen; none where the data is not there.
pub fn photos(folder: &str, most: usize) -> Vec<Photo> {
    let root = std::env::var_os("OPTICUS_SHARED_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let folder = root.join("detect").join(folder);
    let mut all = Vec::new();
    collect(&folder, "xml", &mut all);
    if all.is_empty() {
        println!("skipped: no {}", folder.display());
        return Vec::new();
    }
    let mut pictures = Vec::new();
    collect(&folder, "jpg", &mut pictures);
    let step = all.len().div_ceil(most).max(1);
    let photo = |xml: PathBuf| {
        let stem = xml.file_stem()?;
        let picture = pictures.iter().find(|p| p.file_stem() == Some(stem))?;
        let text = std::fs::read_to_string(&xml).ok()?;
        let objects = text.split("<object>").skip(1).filter_map(object).collect();
        let image = decode_file(picture, &Limits::default()).ok()?.to_image8(ColorMode::Rgb);
        Some(Photo { name: stem.to_string_lossy().into_owned(), image, objects })
    };
    all.into_iter().step_by(step).filter_map(photo).collect()
}

fn object(text: &str) -> Option<(String, Box2d)> {
    let field = |name: &str| {
        let from = text.split_once(&format!("<{name}>"))?.1;
        Some(from.split_once("</")?.0.trim())
    };
    let number = |name| field(name)?.parse::<f64>().ok();
    let bounds = Box2d::new(number("xmin")? - 1.0, number("ymin")? - 1.0, number("xmax")?, number("ymax")?);
    Some((field("name")?.to_owned(), bounds))
}

fn collect(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, ending, found);
        } else if path.extension().is_some_and(|e| e.to_ascii_lowercase() == ending) {
            found.push(path);
        }
    }
}
