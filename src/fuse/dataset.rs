//! From photos to pairs of damaged views whose best parts make the photo again: nothing need be labelled.
//!
//! A pair is one of three kinds, by chance: focus (each half of it blurred where the other is sharp), exposure (one too
//! bright, one too dark), modality (two colour channels, one of them inverted and blurred, both without
//! structure somewhere: what infrared beside visible looks like to a network that sees luma).

use std::path::Path;

use opticus_pixels::codec::ColorMode;
use opticus_pixels::preprocess::Planes;
use opticus_pixels::{Image8, Size, resize};
use rand::RngExt;

use super::config::TrainConfig;
use super::net::Input;
use crate::data::sampler::{DataRng, Purpose, rng_for};
use crate::data::{Cached, Dataset, Labelled, Loader, LoaderOptions, OpenOptions, Skipped, open_pictures};
use crate::error::{Error, Result};

/// The photos of a run.
#[derive(Debug)]
pub struct Parts {
    /// Learnt from.
    pub train: Labelled,
    /// Chooses the best epoch.
    pub val: Labelled,
    /// Left out because they cannot be read.
    pub skipped: Vec<Skipped>,
}

/// Opens a folder of photos.
///
/// # Errors
/// [`Error::Input`] for fewer than two photos, [`Error::Config`] for a split that leaves a part empty.
pub fn open_for_training(path: &Path, config: &TrainConfig) -> Result<Parts> {
    let options =
        OpenOptions { on_bad: config.data.on_bad, color: Some(ColorMode::Rgb), ..OpenOptions::default() };
    let (photos, skipped) = open_pictures(path, &options)?;
    if photos.len() < 2 {
        return Err(Error::Input(format!(
            "{} has {} photos that can be read; at least two are needed, one of them to choose the best epoch by",
            path.display(),
            photos.len()
        )));
    }
    // At least one photo to choose by, however few there are; a fraction out of range stays so, and is refused.
    let fraction = match config.data.val_split {
        given if given > 0.0 && given < 1.0 => given.max(1.0 / photos.len() as f64),
        given => given,
    };
    let (train, val) = photos.stratified_split(fraction, config.seed)?;
    if train.is_empty() || val.is_empty() {
        return Err(Error::Config(format!(
            "data.val_split = {} leaves no photo for a part; there are {}",
            config.data.val_split,
            photos.len()
        )));
    }
    Ok(Parts { train, val, skipped })
}

/// Photos that are visited again and again, a piece at a time, until an epoch has its number of pieces.
pub struct Pieces {
    photos: Cached<Labelled>,
    pieces: usize,
}

impl Dataset for Pieces {
    type Target = ();

    fn len(&self) -> usize {
        self.pieces
    }

    fn load(&self, index: usize) -> Result<Image8> {
        self.photos.load(index % self.photos.len().max(1))
    }

    fn target(&self, _: usize) {}

    fn name(&self, index: usize) -> String {
        self.photos.name(index % self.photos.len().max(1))
    }
}

/// Batches of pairs `[n, 4, crop, crop]`: base and detail of the one, base and detail of the other.
///
/// # Errors
/// [`Error::Device`] if threads cannot be started.
pub fn training_loader(photos: Labelled, config: &TrainConfig, input: Input) -> Result<Loader<Pieces, ()>> {
    let options = LoaderOptions {
        batch_size: config.fit.batch_size,
        shuffle: true,
        drop_last: config.data.crops > config.fit.batch_size,
        seed: config.seed,
        ..LoaderOptions::default()
    };
    let budget = (config.data.cache_mb as u64) << 20;
    let pieces = Pieces { photos: Cached::new(photos, budget), pieces: config.data.crops };
    let side = config.data.crop;
    Loader::new(pieces, options, move |photo, rng| {
        let size = Size::new(side, side);
        let planes =
            pair(&piece(&photo, side, rng), Kind::any(rng), rng).map(|luma| input.split(&luma, size));
        Ok(Planes { channels: 4, size, data: planes.concat().concat() })
    })
}

/// Pairs for measuring: of the middle of each photo, one of each kind, the same for every epoch.
///
/// # Errors
/// As [`Dataset::load`].
pub fn measuring_pairs(photos: &Labelled, seed: u64) -> Result<Vec<[Image8; 2]>> {
    const SIDE: u32 = 256;
    const MOST: usize = 16;
    let mut pairs = Vec::new();
    let step = photos.len().div_ceil(MOST).max(1);
    for index in (0..photos.len()).step_by(step) {
        let photo = photos.load(index)?;
        let size = Size::new(photo.size.width.min(SIDE), photo.size.height.min(SIDE));
        let [x, y] = [(photo.size.width, size.width), (photo.size.height, size.height)]
            .map(|(all, part)| i64::from((all - part) / 2));
        let middle = resize::crop(&photo, x, y, size);
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            let index = (index * Kind::ALL.len() + number) as u64;
            let mut rng = rng_for(seed, Purpose::Show, 0, index);
            pairs.push(pair(&middle, kind, &mut rng).map(|plane| Image8 {
                size,
                channels: 1,
                data: plane.iter().map(|v| (v * 255.0).round() as u8).collect(),
            }));
        }
    }
    Ok(pairs)
}

/// A random square of a photo, which is enlarged first where it is too small, mirrored and turned by chance.
fn piece(photo: &Image8, side: u32, rng: &mut DataRng) -> Image8 {
    let Size { width, height } = photo.size;
    let enlarged;
    let photo = match width.min(height) < side {
        false => photo,
        true => {
            let scale = f64::from(side) / f64::from(width.min(height).max(1));
            let scaled = |v: u32| ((f64::from(v) * scale).ceil() as u32).max(side);
            let size = Size::new(scaled(width), scaled(height));
            enlarged = resize::resize(photo, size, resize::Filter::Bicubic);
            &enlarged
        }
    };
    let place = |length: u32, rng: &mut DataRng| i64::from(rng.random_range(0..=length - side));
    let (x, y) = (place(photo.size.width, rng), place(photo.size.height, rng));
    let mut piece = resize::crop(photo, x, y, Size::new(side, side));
    if rng.random_bool(0.5) {
        piece = resize::flip_horizontal(&piece);
    }
    if rng.random_bool(0.5) {
        piece = resize::flip_vertical(&piece);
    }
    piece
}

/// How the two pictures of a pair differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sharp in different places.
    Focus,
    /// One too bright, one too dark.
    Exposure,
    /// Seen by different sensors.
    Modality,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Focus, Self::Exposure, Self::Modality];

    fn any(rng: &mut DataRng) -> Self {
        Self::ALL[rng.random_range(0..3u32) as usize]
    }
}

/// A pair of luma planes with values 0 to 1, of an RGB picture.
pub fn pair(picture: &Image8, kind: Kind, rng: &mut DataRng) -> [Vec<f32>; 2] {
    let size = picture.size;
    let channel = |c: usize| -> Vec<f32> {
        picture.data.iter().skip(c).step_by(picture.channels).map(|v| f32::from(*v) / 255.0).collect()
    };
    let channels = [0, 1, 2].map(|c| channel(c.min(picture.channels.saturating_sub(1))));
    let luma = || -> Vec<f32> {
        let [r, g, b] = &channels;
        r.iter().zip(g).zip(b).map(|((r, g), b)| 0.299 * r + 0.587 * g + 0.114 * b).collect()
    };
    let mut both = match kind {
        Kind::Focus => {
            let clean = luma();
            let blurred = blur(&clean, size, rng.random_range(0.8..3.0));
            let hard = rng.random_bool(0.5);
            let share = |m: f32| if hard { f32::from(u8::from(m > 0.5)) } else { m };
            let mask: Vec<f32> = patches(size, rng).into_iter().map(share).collect();
            let mix = |turned: bool| {
                let parts = clean.iter().zip(&blurred).zip(&mask);
                parts
                    .map(|((c, b), m)| {
                        let m = if turned { 1.0 - m } else { *m };
                        m * c + (1.0 - m) * b
                    })
                    .collect()
            };
            [mix(false), mix(true)]
        }
        Kind::Exposure => {
            let clean = luma();
            let curve = |gain: f32, power: f32| -> Vec<f32> {
                clean.iter().map(|v| (v * gain).clamp(0.0, 1.0).powf(power)).collect()
            };
            let bright = curve(rng.random_range(1.2..3.0), rng.random_range(0.6..1.0));
            [bright, curve(rng.random_range(0.2..0.8), rng.random_range(1.0..1.5))]
        }
        Kind::Modality => {
            let first = rng.random_range(0..3u32) as usize;
            let second = (first + rng.random_range(1..3u32) as usize) % 3;
            let a = channels[first].clone();
            let mut b = channels[second].clone();
            if rng.random_bool(0.7) {
                b.iter_mut().for_each(|v| *v = 1.0 - *v);
            }
            if rng.random_bool(0.7) {
                b = blur(&b, size, rng.random_range(0.5..1.5));
            }
            [a, b].map(|plane| {
                // Where the sensor sees nothing, all is of one brightness.
                let level =
                    plane.iter().sum::<f32>() / plane.len().max(1) as f32 * rng.random_range(0.3..1.1);
                let contrast = rng.random_range(0.2..1.2f32);
                let seen = patches(size, rng);
                plane.iter().zip(seen).map(|(v, m)| level + m * contrast * (v - level)).collect()
            })
        }
    };
    if rng.random_bool(0.5) {
        both.swap(0, 1);
    }
    both.map(|plane| plane.into_iter().map(|v: f32| v.clamp(0.0, 1.0)).collect())
}

/// Smooth patches of ones and zeros with soft borders.
fn patches(size: Size, rng: &mut DataRng) -> Vec<f32> {
    const KNOTS: usize = 5;
    let knots: Vec<f32> = (0..KNOTS * KNOTS).map(|_| rng.random_range(-1.0..1.0f32)).collect();
    let spot = |at: u32, length: u32| {
        let place = (at as f32 + 0.5) / length as f32 * (KNOTS - 1) as f32;
        let knot = (place as usize).min(KNOTS - 2);
        let t = place - knot as f32;
        (knot, t * t * (3.0 - 2.0 * t))
    };
    let mut all = Vec::with_capacity(size.area() as usize);
    for y in 0..size.height {
        let (row, v) = spot(y, size.height);
        for x in 0..size.width {
            let (column, u) = spot(x, size.width);
            let at = |r: usize, c: usize| knots[(row + r) * KNOTS + column + c];
            let across = |r: usize| at(r, 0) * (1.0 - u) + at(r, 1) * u;
            let height = across(0) * (1.0 - v) + across(1) * v;
            all.push(1.0 / (1.0 + (-8.0 * height).exp()));
        }
    }
    all
}

/// Blurred by a Gaussian of this deviation in pixels, the border's pixels repeated.
fn blur(plane: &[f32], size: Size, deviation: f32) -> Vec<f32> {
    let (width, height) = (size.width as usize, size.height as usize);
    let reach = (3.0 * deviation).ceil() as usize;
    let weights: Vec<f32> =
        (0..=2 * reach).map(|i| (-0.5 * ((i as f32 - reach as f32) / deviation).powi(2)).exp()).collect();
    let total: f32 = weights.iter().sum();
    let pass = |from: &[f32], step: usize, length: usize| -> Vec<f32> {
        (0..from.len())
            .map(|i| {
                let at = i / step % length;
                let start = i - at * step;
                let tap = |(k, w): (usize, &f32)| {
                    let place = (at + k).saturating_sub(reach).min(length - 1);
                    w * from[start + place * step]
                };
                weights.iter().enumerate().map(tap).sum::<f32>() / total
            })
            .collect()
    };
    pass(&pass(plane, 1, width), width, height)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn picture() -> Image8 {
        let size = Size::new(40, 32);
        let data = (0..size.area() * 3).map(|i| ((i * i * 7 + i * 31) % 251) as u8).collect();
        Image8 { size, channels: 3, data }
    }

    #[test]
    fn a_focus_pair_has_each_part_of_the_photo_sharp_somewhere() {
        let picture = picture();
        let clean: Vec<f32> = picture
            .data
            .chunks_exact(3)
            .map(|p| (0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2])) / 255.0)
            .collect();
        for index in 0..8 {
            let mut rng = rng_for(1, Purpose::Augment, 0, index);
            let [a, b] = pair(&picture, Kind::Focus, &mut rng);
            // Shares m and 1 − m: the two add up to the photo and its blurred version, whichever is where.
            let sum: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
            assert!((mean(&sum) - 2.0 * mean(&clean)).abs() < 0.02);
            let rough = |v: &[f32]| v.windows(2).map(|p| (p[0] - p[1]).abs()).sum::<f32>();
            assert!(rough(&a) < rough(&clean) && rough(&b) < rough(&clean));
        }
    }

    #[test]
    fn pairs_are_functions_of_the_draw_and_stay_in_range() {
        for kind in Kind::ALL {
            let make = |seed| pair(&picture(), kind, &mut rng_for(seed, Purpose::Augment, 0, 0));
            assert_eq!(make(3), make(3));
            assert_ne!(make(3), make(4));
            assert!(make(5).iter().flatten().all(|v| (0.0..=1.0).contains(v)));
        }
    }

    #[test]
    fn a_small_photo_is_enlarged() {
        let piece = piece(&picture(), 72, &mut rng_for(0, Purpose::Augment, 0, 0));
        assert_eq!(piece.size, Size::new(72, 72));
    }
}
