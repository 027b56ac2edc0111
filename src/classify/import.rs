//! What is known of published classifiers beyond their weights: class names and preprocessing.

use std::path::Path;

use opticus_pixels::Size;
use opticus_pixels::preprocess::{ChannelOrder, Fit, Preprocessing};
use opticus_pixels::resize::Filter;

use sha2::{Digest, Sha256};

use crate::bundle::{self, Bundle, Card, FORMAT_VERSION, Provenance};
use crate::error::{Error, Result};
use crate::files;
use crate::nets::NetKind;
use crate::nets::import::{Imported, Origin, adapt, read_weights};

/// Largest file of weights read, in bytes.
const MAX_WEIGHTS: u64 = 16 << 30;

/// The 1000 ImageNet-1k (ILSVRC 2012) class names in torchvision's order.
const IMAGENET: &str = include_str!("labels/imagenet1k.txt");
/// The ten CIFAR-10 class names (Krizhevsky 2009).
const CIFAR10: &str = include_str!("labels/cifar10.txt");

/// Largest file of class names read, in bytes.
const MAX_NAMES: u64 = 4 << 20;

/// ImageNet's channel statistics as torchvision and timm use them, RGB, 0..=1.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// A file of foreign weights and what is said about it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The file: safetensors, PyTorch zip or legacy pickle.
    pub weights: &'a Path,
    /// The network that they belong to.
    pub net: NetKind,
    /// Class names, one a line; `None`: the well-known ones.
    pub classes: Option<&'a Path>,
    /// Licence of the weights, for the card.
    pub licence: &'a str,
}

/// Makes a model of foreign weights. Nothing in the file is executed.
///
/// # Errors
/// [`Error::ModelFile`] naming the file if it is damaged or its tensors are not this network's;
/// [`Error::Config`] if its classes have no well-known names and none are given.
pub fn import(request: &Request<'_>) -> Result<Bundle> {
    let path = request.weights;
    let bytes = files::read_limited(path, MAX_WEIGHTS)?;
    let named = |e: Error| match e {
        Error::ModelFile(what) => Error::ModelFile(format!("{}: {what}", path.display())),
        other => other,
    };
    let is_cifar = matches!(request.net, NetKind::Resnet20 | NetKind::Resnet56);
    let usual = match request.net {
        _ if is_cifar => Recipe::Cifar,
        NetKind::InceptionV3 => Recipe::Inception,
        _ => Recipe::ImageNet,
    };
    let weights = read_weights(&bytes).map_err(named)?;
    let Imported { weights, mut config, origin } =
        adapt(weights, request.net, usual.preprocessing().size).map_err(named)?;
    let recipe = if origin == Origin::CaffeSqueezenet { Recipe::Caffe } else { usual };
    let preprocessing = recipe.preprocessing();
    config.input = preprocessing.size;
    let classes = class_names(request.classes, config.classes)?;
    let file = crate::files::name_of(path);
    let card = Card {
        format_version: FORMAT_VERSION,
        job: super::JOB.into(),
        net: bundle::to_json("net", &config)?,
        classes,
        preprocessing: bundle::to_json("preprocessing", &preprocessing)?,
        metrics: Vec::new(),
        provenance: Provenance {
            command: format!("model import --net {} {file}", request.net),
            seed: None,
            data_fingerprint: format!("sha256 of {file}: {}", hex(&Sha256::digest(&bytes))),
            product_version: env!("CARGO_PKG_VERSION").into(),
        },
        licence: request.licence.into(),
    };
    Ok(Bundle { card, tensors: weights })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// How published weights expect their pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// torchvision's and timm's ImageNet evaluation: shorter side to 256, centre 224, RGB, ImageNet statistics.
    ImageNet,
    /// CIFAR nets (He et al. 2016, section 4.2, with ImageNet statistics as the public weights were trained).
    Cifar,
    /// torchvision's evaluation of Inception-v3: shorter side to 342, centre 299, RGB from −1 to 1.
    Inception,
    /// Caffe's ImageNet evaluation: shorter side to 256, centre 227, BGR in 0..=255, channel means subtracted.
    Caffe,
}

impl Recipe {
    /// The preprocessing to write into the model file.
    pub fn preprocessing(self) -> Preprocessing {
        let (side, fit, channels, mean, std, scale) = match self {
            Self::ImageNet => (
                224,
                Fit::CenterCrop { resize_shorter: 256 },
                ChannelOrder::Rgb,
                IMAGENET_MEAN.to_vec(),
                IMAGENET_STD.to_vec(),
                1.0 / 255.0,
            ),
            Self::Cifar => (
                32,
                Fit::CenterCrop { resize_shorter: 32 },
                ChannelOrder::Rgb,
                IMAGENET_MEAN.to_vec(),
                IMAGENET_STD.to_vec(),
                1.0 / 255.0,
            ),
            Self::Inception => (
                299,
                Fit::CenterCrop { resize_shorter: 342 },
                ChannelOrder::Rgb,
                vec![0.5; 3],
                vec![0.5; 3],
                1.0 / 255.0,
            ),
            Self::Caffe => (
                227,
                Fit::CenterCrop { resize_shorter: 256 },
                ChannelOrder::Bgr,
                vec![104.0, 117.0, 123.0],
                vec![1.0; 3],
                1.0,
            ),
        };
        Preprocessing {
            size: Size::new(side, side),
            fit,
            filter: Filter::Bilinear,
            mean,
            std,
            channels,
            scale,
        }
    }
}

/// Names for a network's outputs: from a file, one a line, or the well-known set of that many classes.
///
/// # Errors
/// [`Error::Input`] if the file does not name `count` distinct classes; [`Error::Config`] if no set of `count`
/// classes is well known and no file is given.
pub fn class_names(file: Option<&Path>, count: usize) -> Result<Vec<String>> {
    let Some(path) = file else {
        return match count {
            1000 => Ok(lines(IMAGENET)),
            10 => Ok(lines(CIFAR10)),
            // The outputs of the Fréchet distance's network were never given names with the weights.
            1008 => Ok((0..1008).map(|output| format!("output {output}")).collect()),
            n => Err(Error::Config(format!(
                "these weights have {n} outputs and no well-known class names; give --classes FILE with one name a line"
            ))),
        };
    };
    let text = String::from_utf8(files::read_limited(path, MAX_NAMES)?).map_err(|_| {
        Error::Input(format!("{} is not UTF-8 text; write one class name a line", path.display()))
    })?;
    let names = lines(&text);
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    if names.len() != count || distinct.len() != count {
        return Err(Error::Input(format!(
            "{} names {} classes ({} distinct); the network has {count} outputs",
            path.display(),
            names.len(),
            distinct.len()
        )));
    }
    Ok(names)
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_well_known_sets_are_complete() {
        let names = class_names(None, 1000).unwrap();
        // Positions as published for ILSVRC 2012.
        assert_eq!(
            (names[0].as_str(), names[281].as_str(), names[999].as_str()),
            ("tench", "tabby", "toilet tissue")
        );
        assert_eq!(class_names(None, 10).unwrap()[3], "cat");
        assert!(class_names(None, 7).is_err());
    }

    #[test]
    fn a_file_must_name_every_output_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.txt");
        std::fs::write(&path, "a\nb\n\n b \n").unwrap();
        assert!(class_names(Some(&path), 3).is_err());
        std::fs::write(&path, "a\nb\nc\n").unwrap();
        assert_eq!(class_names(Some(&path), 3).unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn every_recipe_is_valid() {
        for recipe in [Recipe::ImageNet, Recipe::Cifar, Recipe::Inception, Recipe::Caffe] {
            recipe.preprocessing().validate().unwrap();
        }
    }
}
