//! The one path from a picture to probabilities: training's evaluation, the command line and the library all
//! end in [`Classifier::probabilities`].

use std::path::Path;
use std::sync::OnceLock;

use burn::module::Module;
use burn::tensor::Device;
use opticus_pixels::codec::ColorMode;
use opticus_pixels::preprocess::{ChannelOrder, Planes, Preprocessing};
use opticus_pixels::{Image8, Size, codec};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;

use super::dataset::Pictures;
use super::metrics::{ClassifyScores, ScoreKeeper, softmax};
use crate::bundle::{self, Bundle, Card, senseless};
use crate::data::{Batch, Loader};
use crate::error::{Error, Result};
use crate::nets::{Net, NetConfig, Predictor};

/// A trained classifier: network, class names and the preprocessing it was trained with.
#[derive(Debug)]
pub struct Classifier {
    net: Net,
    config: NetConfig,
    classes: Vec<String>,
    preprocessing: Preprocessing,
    device: Device,
    /// Made for the first prediction: an explanation needs none.
    predictor: OnceLock<Predictor>,
}

/// One label of a prediction, as the command line's JSON contract names it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Label {
    /// Class name.
    pub label: String,
    /// Class index in the model file's `classes`.
    pub index: usize,
    /// Softmax probability, 0 to 1.
    pub probability: f32,
}

/// What a classifier says of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Softmax probabilities, one a class; they sum to 1.
    pub probabilities: Vec<f32>,
}

impl Prediction {
    /// The `n` most probable classes, best first; equal probabilities by lower index.
    pub fn top(&self, n: usize, classes: &[String]) -> Vec<Label> {
        let mut order: Vec<usize> = (0..self.probabilities.len()).collect();
        order.sort_by(|&a, &b| self.probabilities[b].total_cmp(&self.probabilities[a]).then(a.cmp(&b)));
        order.truncate(n);
        order
            .into_iter()
            .map(|index| Label {
                label: classes.get(index).cloned().unwrap_or_else(|| index.to_string()),
                index,
                probability: self.probabilities[index],
            })
            .collect()
    }
}

impl Classifier {
    /// Loads an Opticus model file; it holds everything that prediction needs.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bundle(bundle::load(path)?, device).map_err(|e| e.of_model(path))
    }

    /// A classifier from a model file's contents.
    pub fn from_bundle(bundle: Bundle, device: &Device) -> Result<Self> {
        bundle.card.expect_job(super::JOB)?;
        let Card { net, classes, preprocessing, .. } = bundle.card;
        let config: NetConfig = bundle::from_json("net", net)?;
        let preprocessing = bundle::from_json("preprocessing", preprocessing)?;
        config.validate().map_err(senseless("net"))?;
        let net = config.load(&bundle.tensors, device)?;
        Self::from_parts(net, config, classes, preprocessing)
    }

    /// A classifier from its parts, which must fit each other.
    pub fn from_parts(
        net: Net,
        config: NetConfig,
        classes: Vec<String>,
        preprocessing: Preprocessing,
    ) -> Result<Self> {
        preprocessing.validate().map_err(Error::ModelFile)?;
        if classes.len() != config.classes {
            return Err(Error::ModelFile(format!(
                "the model names {} classes but its network has {} outputs",
                classes.len(),
                config.classes
            )));
        }
        if preprocessing.channels.count() != config.in_channels || preprocessing.size != config.input {
            return Err(Error::ModelFile(format!(
                "the preprocessing makes {} channels at {}x{} but the network takes {} at {}x{}",
                preprocessing.channels.count(),
                preprocessing.size.width,
                preprocessing.size.height,
                config.in_channels,
                config.input.width,
                config.input.height,
            )));
        }
        let net = net.valid();
        let device = net.devices().into_iter().next().unwrap_or_else(Device::flex).without_autodiff();
        Ok(Self { net, config, classes, preprocessing, device, predictor: OnceLock::new() })
    }

    /// Class names, by index.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How pictures are prepared for the network.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// The network's configuration.
    pub fn config(&self) -> &NetConfig {
        &self.config
    }

    /// The network, in inference mode.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// The device that it computes on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How pictures must be decoded for this model: grey or RGB.
    pub fn color_mode(&self) -> ColorMode {
        match self.preprocessing.channels {
            ChannelOrder::Grey => ColorMode::Grey,
            ChannelOrder::Rgb | ChannelOrder::Bgr => ColorMode::Rgb,
        }
    }

    /// Decodes a file for this model.
    pub fn read(&self, path: &Path, limits: &codec::Limits) -> Result<Image8> {
        codec::decode_file(path, limits)
            .map(|d| d.into_image8(self.color_mode()))
            .map_err(|e| Error::Input(format!("{}: {e}", path.display())))
    }

    /// Classifies one picture of any size, decoded as [`Classifier::color_mode`] says.
    pub fn classify(&self, image: &Image8) -> Result<Prediction> {
        self.classify_batch(std::slice::from_ref(image)).and_then(|mut p| {
            p.pop().ok_or_else(|| Error::Input("the network returned no prediction".into()))
        })
    }

    /// Classifies pictures together, which is faster than one by one; the results do not depend on the company.
    pub fn classify_batch(&self, images: &[Image8]) -> Result<Vec<Prediction>> {
        let wanted = self.color_mode();
        let planes: Vec<Planes> =
            images.par_iter().map(|image| self.preprocessing.apply(&image.to_mode(wanted))).collect();
        let count = planes.len();
        let values: Vec<f32> = planes.into_iter().flat_map(|p| p.data).collect();
        Ok(self.probabilities(&self.logits(&values, count)?))
    }

    /// Logits `[n, classes]`, row by row, of `n` preprocessed pictures laid out `[n, c, h, w]`.
    pub fn logits(&self, values: &[f32], n: usize) -> Result<Vec<f32>> {
        let Size { width, height } = self.preprocessing.size;
        let shape = [n, self.config.in_channels, height as usize, width as usize];
        self.predictor()?.logits(values, shape)
    }

    fn predictor(&self) -> Result<&Predictor> {
        if let Some(predictor) = self.predictor.get() {
            return Ok(predictor);
        }
        let predictor = Predictor::new(&self.net, self.config.picture())?;
        Ok(self.predictor.get_or_init(|| predictor))
    }

    /// Softmax over each row of logits `[n, classes]`.
    pub fn probabilities(&self, logits: &[f32]) -> Vec<Prediction> {
        let rows = logits.chunks_exact(self.config.classes.max(1));
        let probabilities = |row| softmax(row).into_iter().map(|p| p as f32).collect();
        rows.map(|row| Prediction { probabilities: probabilities(row) }).collect()
    }
}

/// Measures a classifier on labelled pictures: the same preprocessing and forward pass as any prediction.
///
/// `watch` gets the logits of each batch with the pictures' numbers, for reports.
pub fn evaluate(
    classifier: &Classifier,
    pictures: &Loader<Pictures, usize>,
    mut watch: impl FnMut(&[usize], &[f32]),
) -> Result<ClassifyScores> {
    let mut keeper = ScoreKeeper::new(classifier.classes());
    for batch in pictures.epoch(0, 0) {
        let Batch { images, count, targets, indices, .. } = batch?;
        let logits = classifier.logits(&images, count)?;
        keeper.push(&logits, &targets)?;
        watch(&indices, &logits);
    }
    keeper.finish()
}
