//! The one path from latent numbers and a wish to a picture: training's evaluation, the command line and the library all
//! end in [`Generator::draw`].

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use opticus_pixels::{Image8, Size};
use rand::RngExt;
use sha2::{Digest, Sha256};

use super::condition::{Condition, Wish};
use super::net::{Artist, Pictures, latents};
use crate::bundle::{self, Bundle, Card, senseless};
use crate::data::sampler::{DataRng, Purpose, rng_for};
use crate::error::{Error, Result};
use crate::nets::gan::GanConfig;
use crate::nets::init::Scope;
use crate::nets::state;

/// The model that comes with the program; its card says what it learnt from.
const BUILTIN: &[u8] = include_bytes!("builtin.safetensors");

/// Pictures drawn at once: the memory bound.
const BATCH: usize = 64;
/// The least truncation: below it, drawing normal numbers inside takes absurdly long.
const LEAST_TRUNCATION: f64 = 0.05;

/// What one picture is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Seed of the latent numbers.
    pub seed: u64,
    /// What is asked for.
    pub wish: Wish,
}

/// A trained generator.
#[derive(Clone, Debug)]
pub struct Generator {
    artist: Artist,
    config: GanConfig,
    pictures: Pictures,
    device: Device,
}

impl Generator {
    /// Loads an Opticus model file.
    ///
    /// # Errors
    /// [`Error::ModelFile`] naming the file, if it is no generator.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bundle(bundle::load(path)?, device).map_err(|e| e.of_model(path))
    }

    /// The generator that comes with the program: digits, asked by `--label 0` to `--label 9`.
    ///
    /// # Errors
    /// None for a program that was built whole.
    pub fn builtin(device: &Device) -> Result<Self> {
        let bundle = bundle::read(&mut &*BUILTIN, BUILTIN.len() as u64)
            .map_err(|e| Error::ModelFile(format!("the built-in generator: {e}")))?;
        Self::from_bundle(bundle, device)
    }

    /// A generator from a model file's contents.
    ///
    /// # Errors
    /// [`Error::ModelFile`] if it is for another job or makes no sense.
    pub fn from_bundle(bundle: Bundle, device: &Device) -> Result<Self> {
        bundle.card.expect_job(super::JOB)?;
        let Card { net, preprocessing, .. } = bundle.card;
        let config: GanConfig = bundle::from_json("net", net)?;
        let pictures: Pictures = bundle::from_json("preprocessing", preprocessing)?;
        pictures.condition.validate()?;
        config.validate().map_err(senseless("net"))?;
        let blank =
            Artist::new(&config, &pictures.condition, &Scope::blank(device)).map_err(senseless("net"))?;
        Self::from_parts(state::load_map(blank, &bundle.tensors)?, config, pictures)
    }

    /// A generator from its parts.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for parts that do not fit.
    pub fn from_parts(artist: Artist, config: GanConfig, pictures: Pictures) -> Result<Self> {
        if artist.encoder.is_some() != pictures.condition.encoder().is_some() {
            return Err(Error::ModelFile("the condition and the network do not belong together".into()));
        }
        let artist = artist.valid();
        let device = artist.devices().into_iter().next().unwrap_or_else(Device::flex).without_autodiff();
        Ok(Self { artist, config, pictures, device })
    }

    /// What pictures are asked by.
    pub fn condition(&self) -> &Condition {
        &self.pictures.condition
    }

    /// The networks' configuration.
    pub fn config(&self) -> &GanConfig {
        &self.config
    }

    /// The network and its encoder, in inference mode.
    pub fn artist(&self) -> &Artist {
        &self.artist
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Extent of the pictures.
    pub fn size(&self) -> Size {
        Size::new(self.config.image_size as u32, self.config.image_size as u32)
    }

    /// The latent numbers of a seed: normal, of deviation one; with a truncation, numbers farther from zero than it are
    /// drawn again (Brock et al. 2019, "BigGAN", section 3.1): less variety, more typical pictures.
    ///
    /// # Errors
    /// [`Error::Config`] for a truncation that is not positive.
    pub fn latent(&self, seed: u64, truncation: Option<f64>) -> Result<Vec<f32>> {
        let most = truncation.unwrap_or(f64::INFINITY);
        if most.is_nan() || most < LEAST_TRUNCATION {
            return Err(Error::Config(format!("--truncation {most}; give {LEAST_TRUNCATION} or more")));
        }
        let mut rng = rng_for(seed, Purpose::Latent, 0, 0);
        let mut one = || loop {
            let number = normal(&mut rng);
            if f64::from(number).abs() <= most {
                return number;
            }
        };
        Ok((0..self.config.latent).map(|_| one()).collect())
    }

    /// The pictures of these seeds and wishes: grey, RGB or RGBA. A picture is the same whatever others are asked for
    /// with it.
    ///
    /// # Errors
    /// As [`Self::latent`] and [`Self::draw`].
    pub fn sample(&self, requests: &[Request], truncation: Option<f64>) -> Result<Vec<Image8>> {
        let mut numbers = Vec::with_capacity(requests.len());
        for request in requests {
            numbers.push(self.latent(request.seed, truncation)?);
        }
        let wishes: Vec<Wish> = requests.iter().map(|r| r.wish.clone()).collect();
        self.draw(&numbers, &wishes)
    }

    /// The pictures of these latent numbers and wishes, one of each a picture.
    ///
    /// # Errors
    /// [`Error::Config`] for wishes or numbers that are not the model's; [`Error::ModelFile`] for weights that give no
    /// picture.
    pub fn draw(&self, numbers: &[Vec<f32>], wishes: &[Wish]) -> Result<Vec<Image8>> {
        if numbers.len() != wishes.len() || numbers.iter().any(|n| n.len() != self.config.latent) {
            return Err(Error::Config(format!(
                "{} latent vectors for {} wishes; give one of {} numbers for each",
                numbers.len(),
                wishes.len(),
                self.config.latent
            )));
        }
        let embeddings = self.embed(wishes)?;
        self.draw_embedded(numbers, embeddings.as_deref())
    }

    /// What the model's encoder makes of these wishes, `condition` numbers each; `None` for a model without condition.
    ///
    /// # Errors
    /// [`Error::Config`] for wishes that are not the model's.
    pub fn embed(&self, wishes: &[Wish]) -> Result<Option<Vec<Vec<f32>>>> {
        let Some(encoder) = &self.artist.encoder else { return Ok(None) };
        let mut embeddings = Vec::with_capacity(wishes.len());
        for wishes in wishes.chunks(BATCH) {
            let Some(input) = self.condition().input(wishes, &self.device)? else { return Ok(None) };
            let values = state::host(encoder.forward(&input));
            let stride = (values.len() / wishes.len().max(1)).max(1);
            embeddings.extend(values.chunks_exact(stride).map(<[f32]>::to_vec));
        }
        Ok(Some(embeddings))
    }

    /// The pictures of these latent numbers and embeddings of wishes, one of each a picture; no embeddings for a model
    /// without condition. Embeddings may be any: between those of two wishes lie pictures between both.
    ///
    /// # Errors
    /// [`Error::Config`] for numbers that are not the model's; [`Error::ModelFile`] for weights that give no picture.
    pub fn draw_embedded(
        &self,
        numbers: &[Vec<f32>],
        embeddings: Option<&[Vec<f32>]>,
    ) -> Result<Vec<Image8>> {
        let (latent, condition) = (self.config.latent, self.config.condition);
        let fits = numbers.iter().all(|n| n.len() == latent)
            && embeddings.is_some() == self.artist.encoder.is_some()
            && embeddings.is_none_or(|e| e.len() == numbers.len() && e.iter().all(|e| e.len() == condition));
        if !fits {
            return Err(Error::Config(format!(
                "the model draws from {latent} latent numbers and {condition} of what is asked for, and was given others"
            )));
        }
        let mut pictures = Vec::with_capacity(numbers.len());
        for (i, numbers) in numbers.chunks(BATCH).enumerate() {
            let n = numbers.len();
            let embedded = embeddings.map(|e| latents(e[i * BATCH..][..n].concat(), condition, &self.device));
            let input = latents(numbers.concat(), latent, &self.device);
            let values = state::host(self.artist.generator.forward(input, embedded));
            if values.iter().any(|v| !v.is_finite()) {
                return Err(Error::ModelFile("the model's weights give values that are no numbers".into()));
            }
            let stride = (values.len() / n).max(1);
            pictures.extend(values.chunks_exact(stride).map(|v| to_picture(v, self.size())));
        }
        Ok(pictures)
    }

    /// SHA-256 of everything that a picture depends on beside its recipe: the network's configuration, what it is asked
    /// by, and its weights. Figures and licence in the model's file may change without another fingerprint.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        // Both were read from JSON, or made by this program of what JSON holds.
        let about = serde_json::to_vec(&(&self.config, &self.pictures)).unwrap_or_default();
        hash.update((about.len() as u64).to_le_bytes());
        hash.update(about);
        for (name, tensor) in state::to_map(&self.artist) {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update((tensor.shape.len() as u64).to_le_bytes());
            for side in tensor.shape {
                hash.update((side as u64).to_le_bytes());
            }
            for value in tensor.data {
                hash.update(value.to_le_bytes());
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A picture's samples as the network's values [c, h, w]: `v / 127.5 − 1`, colour multiplied by alpha first.
pub fn to_values(image: &Image8) -> Vec<f32> {
    let (n, area) = (image.channels, image.size.area() as usize);
    let mut values = vec![0.0; n * area];
    for (i, pixel) in image.data.chunks_exact(n).enumerate() {
        let alpha = if n == 4 { f32::from(pixel[3]) / 255.0 } else { 1.0 };
        for (c, v) in pixel.iter().enumerate() {
            let part = if c == 3 { 1.0 } else { alpha };
            values[c * area + i] = f32::from(*v) * part / 127.5 - 1.0;
        }
    }
    values
}

/// The other way.
pub fn to_picture(values: &[f32], size: Size) -> Image8 {
    let area = size.area() as usize;
    let n = values.len() / area.max(1);
    let mut data = vec![0u8; values.len()];
    for (i, pixel) in data.chunks_exact_mut(n.max(1)).enumerate() {
        let level = |c: usize| (values[c * area + i] + 1.0) * 127.5;
        let alpha = if n == 4 { (level(3) / 255.0).clamp(0.0, 1.0) } else { 1.0 };
        for (c, v) in pixel.iter_mut().enumerate() {
            let part = if c == 3 || alpha <= 0.0 { 1.0 } else { alpha };
            let value = if c < 3 && alpha < 0.5 / 255.0 { 0.0 } else { level(c) / part };
            *v = value.round().clamp(0.0, 255.0) as u8;
        }
    }
    Image8 { size, channels: n, data }
}

/// A number of the standard normal distribution (Box and Muller 1958).
pub fn normal(rng: &mut DataRng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn samples_come_back(pixels in proptest::collection::vec(any::<u8>(), 16)) {
            for channels in [1usize, 4] {
                let size = Size::new(4, 4 / channels as u32);
                let image = Image8 { size, channels, data: pixels.clone() };
                let back = to_picture(&to_values(&image), size);
                for (a, b) in image.data.chunks_exact(channels).zip(back.data.chunks_exact(channels)) {
                    if channels == 4 && a[3] == 0 {
                        prop_assert_eq!(b, &[0; 4]);
                    } else {
                        prop_assert_eq!(a, b);
                    }
                }
            }
        }
    }

    #[test]
    fn normal_numbers_are_normal() {
        let mut rng = rng_for(1, Purpose::Latent, 0, 0);
        let numbers: Vec<f64> = (0..40_000).map(|_| f64::from(normal(&mut rng))).collect();
        let moment = |k: i32| numbers.iter().map(|n| n.powi(k)).sum::<f64>() / numbers.len() as f64;
        for (k, expected, tolerance) in [(1, 0.0, 0.02), (2, 1.0, 0.03), (3, 0.0, 0.08), (4, 3.0, 0.2)] {
            assert!((moment(k) - expected).abs() < tolerance, "{k}: {}", moment(k));
        }
    }
}
