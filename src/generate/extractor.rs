//! What turns pictures into the features that sets of pictures are compared by.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use opticus_pixels::Image8;
use opticus_pixels::codec::ColorMode;
use opticus_pixels::preprocess::{ChannelOrder, Planes, Preprocessing};
use rayon::prelude::*;

use super::metrics::{Features, Levels, inception_planes};
use super::predict::to_values;
use crate::bundle::{self, Bundle, Card, senseless};
use crate::error::{Error, Result};
use crate::nets::gan::Matcher;
use crate::nets::layers::global_avg_pool;
use crate::nets::{Backbone, Net, NetConfig, NetKind, state};

/// The job whose model files these are.
const CLASSIFIER: &str = "classify";
/// Pictures looked at together: the memory bound.
const BATCH: usize = 64;

/// A network that looks at pictures.
#[derive(Debug)]
pub enum Extractor {
    /// A classifier: the mean of its last feature maps, and what it takes the pictures for.
    Classifier(Box<Judge>),
    /// The picture side of what pairs pictures with descriptions.
    Matcher(Box<Matcher>, Device),
}

/// A classifier of a model file.
#[derive(Debug)]
pub struct Judge {
    net: Net,
    config: NetConfig,
    classes: Vec<String>,
    preprocessing: Preprocessing,
    device: Device,
}

/// What was seen in pictures.
#[derive(Debug)]
pub struct Seen {
    /// By which sets are compared.
    pub features: Features,
    /// Of a classifier: probabilities of its classes.
    pub probabilities: Option<Features>,
}

impl Extractor {
    /// A classifier's model file.
    ///
    /// # Errors
    /// [`Error::ModelFile`] naming the file, if it is no classifier.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        let named = |e: Error| e.of_model(path);
        let Bundle { card: Card { job, net, classes, preprocessing, .. }, tensors } = bundle::load(path)?;
        if job != CLASSIFIER {
            return Err(named(Error::ModelFile(format!(
                "this model is for the job `{job}`; --extractor takes a classifier"
            ))));
        }
        let load = || {
            let config: NetConfig = bundle::from_json("net", net)?;
            let preprocessing: Preprocessing = bundle::from_json("preprocessing", preprocessing)?;
            config.validate().map_err(senseless("net"))?;
            preprocessing.validate().map_err(Error::ModelFile)?;
            if preprocessing.channels.count() != config.in_channels || classes.len() != config.classes {
                return Err(Error::ModelFile(
                    "the network and its preprocessing or classes do not belong together".into(),
                ));
            }
            let net = config.load(&tensors, device)?.valid();
            Ok(Judge { net, config, classes, preprocessing, device: device.clone().without_autodiff() })
        };
        Ok(Self::Classifier(Box::new(load().map_err(named)?)))
    }

    /// The classes that pictures are taken for.
    pub fn classes(&self) -> Option<&[String]> {
        match self {
            Self::Classifier(judge) => Some(&judge.classes),
            Self::Matcher(..) => None,
        }
    }

    /// How it is called in a protocol.
    pub fn name(&self) -> String {
        match self {
            Self::Classifier(judge) => {
                format!("{} (mean of the last feature maps)", judge.config.name.name())
            }
            Self::Matcher(..) => {
                "matcher of pictures and descriptions (mean of the last feature maps)".into()
            }
        }
    }

    /// How pictures come to its size.
    pub fn resize(&self) -> String {
        match self {
            Self::Classifier(judge) if judge.config.name == NetKind::InceptionV3 => {
                "Pillow's bicubic to 299×299 without rounding, as clean-fid".into()
            }
            Self::Classifier(judge) => {
                let size = judge.preprocessing.size;
                format!(
                    "{:?} to {}×{}, the classifier's own",
                    judge.preprocessing.filter, size.width, size.height
                )
            }
            Self::Matcher(..) => "none".into(),
        }
    }

    /// Looks at pictures, a batch at a time.
    ///
    /// # Errors
    /// [`Error::Input`] for pictures that cannot be taken, or no pictures at all.
    pub fn look(&self, pictures: impl IntoIterator<Item = Result<Image8>>) -> Result<Seen> {
        let (mut features, mut probabilities) = (Vec::new(), Vec::new());
        let (mut count, mut widths) = (0, [0, 0]);
        let mut pictures = pictures.into_iter();
        loop {
            let batch = pictures.by_ref().take(BATCH).collect::<Result<Vec<Image8>>>()?;
            if batch.is_empty() {
                break;
            }
            count += batch.len();
            let [of_features, of_classes] = self.batch(&batch)?;
            widths = [of_features.len() / batch.len(), of_classes.len() / batch.len()];
            features.extend(of_features);
            probabilities.extend(of_classes);
        }
        let probabilities = match self {
            Self::Classifier(_) => Some(Features::new(count, widths[1], probabilities)?),
            Self::Matcher(..) => None,
        };
        Ok(Seen { features: Features::new(count, widths[0], features)?, probabilities })
    }

    fn batch(&self, images: &[Image8]) -> Result<[Vec<f32>; 2]> {
        match self {
            Self::Classifier(judge) => Ok(judge.batch(images)),
            Self::Matcher(matcher, device) => {
                Ok([state::host(matcher.features(pictures(images, device)?)), Vec::new()])
            }
        }
    }
}

impl Judge {
    /// Features and probabilities, row by row.
    fn batch(&self, images: &[Image8]) -> [Vec<f32>; 2] {
        let mode = match self.preprocessing.channels {
            ChannelOrder::Grey => ColorMode::Grey,
            ChannelOrder::Rgb | ChannelOrder::Bgr => ColorMode::Rgb,
        };
        let inception = self.config.name == NetKind::InceptionV3;
        let prepare = |image: &Image8| match inception {
            true => inception_planes(image, Levels::PyTorch),
            false => self.preprocessing.apply(&image.to_mode(mode)),
        };
        let planes: Vec<Planes> = images.par_iter().map(prepare).collect();
        let (c, size) = planes.first().map_or((1, self.preprocessing.size), |p| (p.channels, p.size));
        let shape = [images.len(), c, size.height as usize, size.width as usize];
        let values: Vec<f32> = planes.into_iter().flat_map(|p| p.data).collect();
        let maps = self.net.trunk(Tensor::<4>::from_data(TensorData::new(values, shape), &self.device));
        let features = global_avg_pool(maps.clone());
        let logits = self.net.head(maps);
        let probabilities = burn::tensor::activation::softmax(logits, 1);
        [state::host(features), state::host(probabilities)]
    }
}

/// Pictures of one size as a tensor [n, c, h, w] in [-1, 1].
///
/// # Errors
/// [`Error::Input`] for pictures of different sizes.
pub fn pictures(images: &[Image8], device: &Device) -> Result<Tensor<4>> {
    let Some(first) = images.first() else {
        return Err(Error::Input("there are no pictures to look at".into()));
    };
    if images.iter().any(|image| (image.size, image.channels) != (first.size, first.channels)) {
        return Err(Error::Input(
            "pictures of different sizes or channels cannot be looked at together".into(),
        ));
    }
    let shape = [images.len(), first.channels, first.size.height as usize, first.size.width as usize];
    let values: Vec<f32> = images.iter().flat_map(to_values).collect();
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}
