//! Restoration of photographs, measured against the truth. Reads public photographs where they are at hand.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::time::Instant;

use opticus_pixels::codec::{ColorMode, Limits, decode_file, encode_png};
use opticus_pixels::inpaint::{Exemplar, Method, Options, inpaint};
use opticus_pixels::preprocess::Planes;
use opticus_pixels::{Image8, Size};

/// The clean photographs, or none with the reason printed.
fn photographs() -> Vec<(String, Image8)> {
    let shared = std::env::var_os("OPTICUS_SHARED_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let folder = shared.join("fusion/kodak_clean");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).map_or_else(
        |error| {
            println!("skipped: {} cannot be read ({error}); set OPTICUS_SHARED_DATA", folder.display());
            Vec::new()
        },
        |entries| {
            entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "png")).collect()
        },
    );
    files.sort();
    let read = |path: PathBuf| {
        let image = decode_file(&path, &Limits::default()).unwrap().into_image8(ColorMode::Rgb);
        (path.file_stem().unwrap().to_string_lossy().into_owned(), image)
    };
    files.into_iter().map(read).collect()
}

fn planes(image: &Image8) -> Planes {
    let data = (0..3).flat_map(|c| image.data.iter().skip(c).step_by(3).map(|v| f32::from(*v) / 255.0));
    Planes { channels: 3, size: image.size, data: data.collect() }
}

fn bytes(planes: &Planes) -> Image8 {
    let area = planes.size.area() as usize;
    let byte = |i: usize, c: usize| (planes.data[c * area + i] * 255.0).round().clamp(0.0, 255.0) as u8;
    let data = (0..area).flat_map(|i| (0..3).map(move |c| byte(i, c)));
    Image8 { size: planes.size, channels: 3, data: data.collect() }
}

fn psnr(a: &Image8, b: &Image8) -> f64 {
    let square = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
    let mean = a.data.iter().zip(&b.data).map(square).sum::<f64>() / a.data.len() as f64;
    10.0 * (255.0f64.powi(2) / mean).log10()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.unit()
    }
}

/// Straight and curved lines of 1 to 3 pixels until this part of the picture is covered.
fn scratches(size: Size, part: f64, seed: u64) -> Vec<bool> {
    let mut random = Random(seed);
    let (width, height) = (f64::from(size.width), f64::from(size.height));
    let mut mask = vec![false; size.area() as usize];
    let wanted = (part * mask.len() as f64) as usize;
    let mut covered = 0;
    while covered < wanted {
        let (mut x, mut y) = (random.between(0.0, width), random.between(0.0, height));
        let mut angle = random.between(0.0, std::f64::consts::TAU);
        let bend = if random.unit() < 0.5 { 0.0 } else { random.between(-0.02, 0.02) };
        let thickness = random.between(1.0, 4.0).floor();
        for _ in 0..random.between(60.0, 400.0) as usize * 2 {
            let from = -(thickness - 1.0) / 2.0;
            for j in 0..thickness as usize {
                for i in 0..thickness as usize {
                    let (px, py) = ((x + from + i as f64).round(), (y + from + j as f64).round());
                    if (0.0..width).contains(&px) && (0.0..height).contains(&py) && covered < wanted {
                        let lost = &mut mask[py as usize * size.width as usize + px as usize];
                        covered += usize::from(!*lost);
                        *lost = true;
                    }
                }
            }
            (x, y) = (x + 0.5 * angle.cos(), y + 0.5 * angle.sin());
            angle += 0.5 * bend;
        }
    }
    mask
}

/// The picture with 5 % of it under thin white scratches, and where.
fn scratched(truth: &Image8) -> (Planes, Vec<bool>) {
    let mask = scratches(truth.size, 0.05, 1);
    let mut damaged = planes(truth);
    let area = mask.len();
    (0..3 * area).filter(|i| mask[i % area]).for_each(|i| damaged.data[i] = 1.0);
    (damaged, mask)
}

#[test]
fn scratches_are_restored_to_35_db() {
    for (name, truth) in photographs() {
        let (damaged, mask) = scratched(&truth);
        let covered = mask.iter().filter(|lost| **lost).count() as f64 / mask.len() as f64;
        assert!((covered - 0.05).abs() < 1e-4);
        let restored = inpaint(&damaged, &mask, &Options::default()).unwrap();
        let reached = psnr(&bytes(&restored), &truth);
        println!("{name}: {reached:.2} dB");
        assert!(reached >= 35.0, "{name}: {reached:.2} dB");
    }
}

#[test]
#[ignore = "prints figures; run with --ignored --nocapture"]
fn figures_of_each_method() {
    for (name, truth) in photographs() {
        let (damaged, mask) = scratched(&truth);
        print!("{name}:");
        for (label, method) in [
            ("march 3", Method::FastMarching { radius: 3 }),
            ("march 5", Method::MARCH),
            ("harmonic", Method::Harmonic),
            ("biharmonic", Method::Biharmonic),
            ("predictive", Method::Predictive),
        ] {
            let start = Instant::now();
            let restored = inpaint(&damaged, &mask, &Options { method }).unwrap();
            let ms = start.elapsed().as_secs_f64() * 1e3;
            print!("  {label} {:.2} dB {ms:.0} ms", psnr(&bytes(&restored), &truth));
            if let Some(folder) = std::env::var_os("OPTICUS_INPAINT_OUT") {
                let file = PathBuf::from(folder).join(format!("{name}-{}.png", label.replace(' ', "")));
                std::fs::write(file, encode_png(&bytes(&restored)).unwrap()).unwrap();
            }
        }
        println!();
    }
}

#[test]
#[ignore = "writes pictures to OPTICUS_INPAINT_OUT"]
fn objects_are_removed() {
    let Some(folder) = std::env::var_os("OPTICUS_INPAINT_OUT").map(PathBuf::from) else { return };
    let out = |name: &str, picture: &Image8| {
        std::fs::write(folder.join(name), encode_png(picture).unwrap()).unwrap();
    };
    // A boat with its mast, a cap, a door's knob, a window, as rectangles; and a date stamp on each of them.
    type Rectangle = [usize; 4];
    let objects: [(&str, &[Rectangle]); 4] = [
        ("6", &[[110, 280, 560, 400], [250, 45, 390, 290]]),
        ("3", &[[615, 310, 700, 430]]),
        ("2", &[[215, 185, 320, 290]]),
        ("1", &[[430, 265, 530, 365]]),
    ];
    for (name, rectangles) in objects {
        for (_, truth) in photographs().into_iter().filter(|(n, _)| n == name) {
            let width = truth.size.width as usize;
            let within = |i: usize, r: &Rectangle| {
                (r[0]..r[2]).contains(&(i % width)) && (r[1]..r[3]).contains(&(i / width))
            };
            let pixels = 0..truth.size.area() as usize;
            let object: Vec<bool> = pixels.clone().map(|i| rectangles.iter().any(|r| within(i, r))).collect();
            let stamp: Vec<bool> = pixels.map(|i| stamped(i % width, i / width)).collect();
            for (label, mask, method) in [
                ("object", &object, Method::Exemplar(Exemplar::default())),
                ("stamp", &stamp, Options::default().method),
                ("stamp-exemplar", &stamp, Method::Exemplar(Exemplar::default())),
            ] {
                let start = Instant::now();
                let restored = bytes(&inpaint(&planes(&truth), mask, &Options { method }).unwrap());
                let (lost, ms) = (mask.iter().filter(|m| **m).count(), start.elapsed().as_secs_f64() * 1e3);
                println!("{name} {label}: {lost} lost, {ms:.0} ms, {:.2} dB", psnr(&restored, &truth));
                out(&format!("{label}-{name}.png"), &restored);
            }
            let mut shown = truth.clone();
            for (pixel, _) in shown.data.chunks_exact_mut(3).zip(&stamp).filter(|(_, lost)| **lost) {
                pixel.copy_from_slice(&[255, 140, 0]);
            }
            out(&format!("stamped-{name}.png"), &shown);
        }
    }
}

/// A date, 7'98, in strokes of four pixels, below on the right.
fn stamped(x: usize, y: usize) -> bool {
    const DIGITS: [[u8; 7]; 4] = [
        [0b11111, 0b00001, 0b00010, 0b00010, 0b00100, 0b00100, 0b00100],
        [0b00100, 0b00100, 0b00000, 0b00000, 0b00000, 0b00000, 0b00000],
        [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00001, 0b01110],
        [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
    ];
    let (Some(x), Some(y)) = (x.checked_sub(520), y.checked_sub(440)) else { return false };
    let (digit, column, row) = (x / 24, x / 4 % 6, y / 4);
    DIGITS.get(digit).and_then(|d| d.get(row)).is_some_and(|bits| column < 5 && bits >> (4 - column) & 1 == 1)
}
