//! The same pixels as Pillow and torchvision: goldens written by `tools/reference/pictures.py`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use opticus_pixels::codec::{ColorMode, Limits, decode_file};
use opticus_pixels::preprocess::{ChannelOrder, Fit, Preprocessing};
use opticus_pixels::resize::{Filter, resize};
use opticus_pixels::{Image8, Size, adjust};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A binary PGM or PPM picture, as Pillow writes them.
fn netpbm(path: &Path) -> Image8 {
    let bytes = std::fs::read(path).unwrap();
    let mut fields = bytes.splitn(4, |b| b.is_ascii_whitespace());
    let channels = if fields.next() == Some(b"P6") { 3 } else { 1 };
    let mut number = || std::str::from_utf8(fields.next().unwrap()).unwrap().parse().unwrap();
    let size = Size::new(number(), number());
    let data = fields.next().unwrap().strip_prefix(b"255\n").unwrap().to_vec();
    assert_eq!(data.len() as u64, size.area() * channels as u64);
    Image8 { size, channels, data }
}

fn farthest(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(golden(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Levels that a decoded picture may differ from Pillow's. Lossless formats: none. JPEG leaves the rounding of its
/// inverse transform and of its colour conversion to the decoder.
fn tolerance(name: &str) -> u8 {
    match name {
        _ if name.ends_with(".jpg") => 3,
        _ if name.starts_with("webp_lossy") => 1,
        // From ink to light in another rounding.
        _ if name.starts_with("tiff_cmyk") => 1,
        _ => 0,
    }
}

#[test]
fn every_kind_of_file_decodes_as_in_pillow() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in files("decode") {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".ppm") || name.ends_with(".pgm") {
            continue;
        }
        seen += 1;
        let decoded = match decode_file(&path, &Limits::default()) {
            Ok(decoded) => decoded,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        for (mode, ending) in [(ColorMode::Rgb, "ppm"), (ColorMode::Grey, "pgm")] {
            let expected = netpbm(&path.with_extension(ending));
            let image = decoded.to_image8(mode);
            if (image.size, image.channels) != (expected.size, expected.channels) {
                wrong.push(format!("{name} {mode:?}: {:?} instead of {:?}", image.size, expected.size));
                continue;
            }
            let far = farthest(&image.data, &expected.data);
            if far > tolerance(&name) {
                wrong.push(format!("{name} {mode:?}: {far} levels"));
            }
        }
    }
    assert!(seen >= 70, "{seen} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pictures_are_turned_upright_as_in_pillow() {
    for n in 1..=8 {
        let expected = netpbm(&golden(&format!("orientation/upright_{n}.ppm")));
        for ending in ["png", "webp", "tiff", "jpg", "big.jpg"] {
            let name = format!("orientation/turned_{n}.{ending}");
            let image =
                decode_file(&golden(&name), &Limits::default()).expect(&name).to_image8(ColorMode::Rgb);
            assert_eq!(image.size, expected.size, "{name}");
            assert!(farthest(&image.data, &expected.data) <= tolerance(&name), "{name}");
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn json<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(golden(name)).unwrap()).unwrap()
}

#[derive(serde::Deserialize)]
struct Source {
    width: u32,
    height: u32,
    channels: usize,
    data: String,
}

impl Source {
    fn image(&self) -> Image8 {
        Image8 { size: Size::new(self.width, self.height), channels: self.channels, data: hex(&self.data) }
    }
}

#[derive(serde::Deserialize)]
struct Resized {
    source: Source,
    width: u32,
    height: u32,
    resize_shorter: Option<u32>,
    fill: Option<u8>,
    results: BTreeMap<Filter, String>,
}

#[test]
fn resizing_is_pillows() {
    for case in json::<Vec<Resized>>("resize.json") {
        let (image, size) = (case.source.image(), Size::new(case.width, case.height));
        assert_eq!(case.results.len(), 4);
        for (filter, expected) in &case.results {
            let result = resize(&image, size, *filter);
            assert_eq!((result.size, result.channels), (size, image.channels));
            let far = farthest(&result.data, &hex(expected));
            assert!(far == 0, "{:?} to {size:?}, {filter:?}: {far} levels", image.size);
        }
    }
}

#[test]
fn fitting_is_torchvisions_and_ultralytics() {
    let cases: Vec<Resized> = json("fit.json");
    assert!(cases.iter().any(|c| c.fill.is_some()) && cases.iter().any(|c| c.resize_shorter.is_some()));
    for case in cases {
        let image = case.source.image();
        for (filter, expected) in &case.results {
            let preprocessing = Preprocessing {
                size: Size::new(case.width, case.height),
                fit: match (case.resize_shorter, case.fill) {
                    (Some(resize_shorter), _) => Fit::CenterCrop { resize_shorter },
                    (None, Some(fill)) => Fit::Letterbox { fill },
                    (None, None) => Fit::Stretch,
                },
                filter: *filter,
                mean: vec![0.0; 3],
                std: vec![1.0; 3],
                channels: ChannelOrder::Rgb,
                scale: 1.0,
            };
            let result = preprocessing.geometry(&image);
            assert_eq!(result.size, preprocessing.size);
            let far = farthest(&result.data, &hex(expected));
            assert!(far == 0, "{:?}, {preprocessing:?}: {far} levels", image.size);
        }
    }
}

#[derive(serde::Deserialize)]
struct Adjustments {
    sources: BTreeMap<String, Source>,
    cases: Vec<Adjustment>,
}

#[derive(serde::Deserialize)]
struct Adjustment {
    operation: String,
    value: f32,
    source: String,
    result: String,
}

#[test]
fn adjustments_are_torchvisions() {
    let golden: Adjustments = json("adjust.json");
    let mut wrong = Vec::new();
    for case in golden.cases {
        let (image, value) = (golden.sources[&case.source].image(), case.value);
        let result = match case.operation.as_str() {
            "brightness" => adjust::brightness(&image, value),
            "contrast" => adjust::contrast(&image, value),
            "saturation" => adjust::saturation(&image, value),
            "hue" => adjust::hue(&image, value),
            "sharpness" => adjust::sharpness(&image, value),
            "posterize" => adjust::posterize(&image, value as u8),
            "solarize" => adjust::solarize(&image, value as u8),
            "autocontrast" => adjust::autocontrast(&image),
            "equalize" => adjust::equalize(&image),
            other => panic!("no such operation: {other}"),
        };
        let far = farthest(&result.data, &hex(&case.result));
        if far > 0 {
            wrong.push(format!("{} {value} of {}: {far} levels", case.operation, case.source));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
