//! The one path from pictures to the fused one: training's evaluation, the command line and the library all end in
//! [`Fuser::fuse`].

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use opticus_pixels::Size;
use opticus_pixels::blend::{carry_colour, luma};
use opticus_pixels::preprocess::Planes;

use super::net::{FuserConfig, Input, Merger, Rule};
use crate::bundle::{self, Bundle, Card, senseless};
use crate::error::{Error, Result};
use crate::nets::fusion::{FusionNet, REACH};
use crate::nets::init::Scope;
use crate::nets::state;

/// The model that comes with the program; its card says what it learnt from.
const BUILTIN: &[u8] = include_bytes!("builtin.safetensors");

/// Side of the pieces that a picture is worked through in: bounds the memory that features take.
const PIECE: usize = 384;
/// Pixels around a piece that its result depends on: the network, and the activity around a pixel.
const MARGIN: usize = REACH + 1;

/// A trained fuser.
#[derive(Clone, Debug)]
pub struct Fuser {
    net: FusionNet,
    config: FuserConfig,
    input: Input,
    device: Device,
}

impl Fuser {
    /// Loads an Opticus model file.
    ///
    /// # Errors
    /// [`Error::ModelFile`] naming the file, if it is no fuser.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bundle(bundle::load(path)?, device).map_err(|e| e.of_model(path))
    }

    /// The model that comes with the program.
    ///
    /// # Errors
    /// None for a program that was built whole.
    pub fn builtin(device: &Device) -> Result<Self> {
        Self::from_bundle(builtin_bundle()?, device)
    }

    /// A fuser from a model file's contents.
    ///
    /// # Errors
    /// [`Error::ModelFile`] if it is for another job or makes no sense.
    pub fn from_bundle(bundle: Bundle, device: &Device) -> Result<Self> {
        bundle.card.expect_job(super::JOB)?;
        let Card { net, preprocessing, .. } = bundle.card;
        let config: FuserConfig = bundle::from_json("net", net)?;
        config.validate().map_err(senseless("net"))?;
        let input: Input = bundle::from_json("preprocessing", preprocessing)?;
        let blank = config.layers.build(&Scope::blank(device));
        Self::from_parts(state::load_map(blank, &bundle.tensors)?, config, input)
    }

    /// A fuser from its parts, which must fit each other.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for an input that makes no sense.
    pub fn from_parts(net: FusionNet, config: FuserConfig, input: Input) -> Result<Self> {
        input.validate()?;
        let net = net.valid();
        let device = net.devices().into_iter().next().unwrap_or_else(Device::flex).without_autodiff();
        Ok(Self { net, config, input, device })
    }

    /// The network's configuration.
    pub fn config(&self) -> &FuserConfig {
        &self.config
    }

    /// The network, in inference mode.
    pub fn net(&self) -> &FusionNet {
        &self.net
    }

    /// Fuses pictures of one size with display values 0 to 1, grey or RGB. Luma goes through the network; colour is
    /// carried along ([`carry_colour`]). The result is grey only if all are.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no picture, or their sizes differ.
    pub fn fuse(&self, pictures: &[&Planes], rule: Rule) -> Result<Planes> {
        self.fuse_by(pictures, rule, PIECE)
    }

    /// [`Self::fuse`], in pieces of this side.
    fn fuse_by(&self, pictures: &[&Planes], rule: Rule, piece: usize) -> Result<Planes> {
        let first = pictures.first().ok_or_else(|| Error::Input("there is no picture to fuse".into()))?;
        let size = first.size;
        if let Some(other) = pictures.iter().find(|p| p.size != size) {
            return Err(Error::Input(format!(
                "the pictures are {}x{} and {}x{}; bring them to one size first",
                size.width, size.height, other.size.width, other.size.height
            )));
        }
        // The mean of the bases, and what the network makes of the details.
        let mut fused = vec![0.0f32; size.area() as usize];
        let mut details = Vec::with_capacity(pictures.len());
        for picture in pictures {
            let [base, detail] = self.input.split(&luma(picture), size);
            fused.iter_mut().zip(base).for_each(|(sum, b)| *sum += b / pictures.len() as f32);
            details.push(detail);
        }
        let (width, height) = (size.width as usize, size.height as usize);
        for top in (0..height).step_by(piece) {
            for left in (0..width).step_by(piece) {
                let part =
                    Part { left, top, width: piece.min(width - left), height: piece.min(height - top) };
                let values = self.part(&details, size, part, rule);
                for (row, from) in values.chunks_exact(part.width + 2 * MARGIN).skip(MARGIN).enumerate() {
                    if row < part.height {
                        let at = (top + row) * width + left;
                        let values = &from[MARGIN..MARGIN + part.width];
                        let base = fused[at..at + part.width].iter_mut();
                        base.zip(values).for_each(|(f, v)| *f = (*f + v).clamp(0.0, 1.0));
                    }
                }
            }
        }
        Ok(carry_colour(pictures, fused))
    }

    /// The fused detail of a part and its margin.
    fn part(&self, details: &[Vec<f32>], size: Size, part: Part, rule: Rule) -> Vec<f32> {
        let (rows, columns) = (part.height + 2 * MARGIN, part.width + 2 * MARGIN);
        let mut merger = Merger::new(rule);
        for detail in details {
            let mut values = Vec::with_capacity(rows * columns);
            for y in 0..rows {
                let from = mirrored(part.top + y, size.height as usize) * size.width as usize;
                let row = (0..columns).map(|x| detail[from + mirrored(part.left + x, size.width as usize)]);
                values.extend(row);
            }
            let x = Tensor::<4>::from_data(TensorData::new(values, [1, 1, rows, columns]), &self.device);
            merger.push(self.net.encode(x));
        }
        let Some(features) = merger.finish() else { return Vec::new() };
        state::host(self.net.decode(features))
    }
}

/// A part of a picture.
#[derive(Clone, Copy)]
struct Part {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

/// The pixel at `place − MARGIN`, mirrored at the border's pixels, however small the picture.
fn mirrored(place: usize, length: usize) -> usize {
    let period = 2 * (length - 1).max(1);
    // A multiple of the period keeps what lies before the border positive.
    let at = (place + period * MARGIN - MARGIN) % period;
    at.min(period - at).min(length - 1)
}

/// The built-in model file's contents.
///
/// # Errors
/// None for a program that was built whole.
pub fn builtin_bundle() -> Result<Bundle> {
    let mut bytes = BUILTIN;
    bundle::read(&mut bytes, BUILTIN.len() as u64)
        .map_err(|e| Error::ModelFile(format!("the built-in fuser: {e}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::nets::fusion::FusionNetConfig;

    fn fuser() -> Fuser {
        let layers = FusionNetConfig { width: 4 };
        let config = FuserConfig { name: super::super::net::DENSE_FUSE.into(), layers };
        let net = layers.build(&Scope::seeded(3, &Device::flex()));
        Fuser::from_parts(net, config, Input::default()).unwrap()
    }

    fn grey(size: Size, phase: f32) -> Planes {
        let value = |i: u64| {
            let (x, y) = (i % u64::from(size.width), i / u64::from(size.width));
            0.5 + 0.4 * (x as f32 * 0.3 + phase).sin() * (y as f32 * 0.2 - phase).cos()
        };
        Planes { channels: 1, size, data: (0..size.area()).map(value).collect() }
    }

    #[test]
    fn the_builtin_model_says_where_it_comes_from_and_finds_the_sharp_half() {
        assert!(BUILTIN.len() < 1 << 20, "{} bytes", BUILTIN.len());
        let card = builtin_bundle().unwrap().card;
        let provenance = &card.provenance;
        assert!(!card.licence.is_empty() && !provenance.data_fingerprint.is_empty());
        assert!(provenance.command.starts_with("fuse train"), "{}", provenance.command);
        // Stripes that the one shows on the left, the other on the right, fine and coarse.
        let size = Size::new(96, 64);
        let of = |shown: &dyn Fn(u32) -> bool| {
            let value = |i: u32| {
                let (x, y) = (i % 96, i / 96);
                let stripe = if (x / 3 + y / 5) % 2 == 0 { 0.3 } else { 0.7 };
                if shown(x) { stripe } else { 0.5 }
            };
            Planes { channels: 1, size, data: (0..96 * 64).map(value).collect() }
        };
        let (left, right, whole) = (of(&|x| x < 48), of(&|x| x >= 48), of(&|_| true));
        let fused = Fuser::builtin(&Device::flex()).unwrap().fuse(&[&left, &right], Rule::Max).unwrap();
        let error = |p: &[f32]| {
            let squares = p.iter().zip(&whole.data).map(|(a, b)| f64::from(a - b).powi(2));
            (squares.sum::<f64>() / whole.data.len() as f64).sqrt()
        };
        let mean: Vec<f32> = left.data.iter().zip(&right.data).map(|(a, b)| (a + b) / 2.0).collect();
        assert!(error(&fused.data) < error(&mean) / 3.0, "{} {}", error(&fused.data), error(&mean));
    }

    #[test]
    fn mirrors_at_the_border() {
        let row = |length| (MARGIN - 3..MARGIN + length + 3).map(|p| mirrored(p, length)).collect::<Vec<_>>();
        assert_eq!(row(5), [3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1]);
        assert_eq!(row(1), [0; 7]);
        assert!((0..2 * MARGIN + 2).all(|p| mirrored(p, 2) < 2));
    }

    #[test]
    fn parts_meet_without_a_seam() {
        let fuser = fuser();
        let size = Size::new(70, 50);
        let (a, b) = (grey(size, 0.0), grey(size, 2.0));
        for rule in Rule::ALL {
            let whole = fuser.fuse(&[&a, &b], rule).unwrap();
            for piece in [16, 33, 64] {
                let parts = fuser.fuse_by(&[&a, &b], rule, piece).unwrap();
                for (x, y) in whole.data.iter().zip(&parts.data) {
                    assert!((x - y).abs() < 1e-5, "{rule:?} in pieces of {piece}: {x} {y}");
                }
            }
        }
    }

    #[test]
    fn one_picture_and_many_equal_ones_give_the_same() {
        let fuser = fuser();
        let a = grey(Size::new(20, 17), 1.0);
        for rule in Rule::ALL {
            let one = fuser.fuse(&[&a], rule).unwrap();
            let five = fuser.fuse(&[&a; 5], rule).unwrap();
            assert!(one.data.iter().zip(&five.data).all(|(x, y)| (x - y).abs() < 1e-5));
        }
        let other = grey(Size::new(20, 16), 1.0);
        assert!(fuser.fuse(&[&a, &other], Rule::Max).unwrap_err().to_string().contains("20x16"));
        assert!(fuser.fuse(&[], Rule::Max).is_err());
        for size in [Size::new(1, 1), Size::new(2, 9)] {
            assert_eq!(fuser.fuse(&[&grey(size, 0.0)], Rule::Mean).unwrap().size, size);
        }
    }
}
