//! From other projects' names to ours, and from the weights to the network they belong to.

use opticus_pixels::geometry::Size;

use crate::nets::config::{NetConfig, NetKind, Stem};
use crate::tensors::TensorMap;
use crate::{Error, Result};

/// Weights under our names, and the network they fill.
#[derive(Clone, Debug)]
pub struct Imported {
    /// As [`NetConfig::load`] wants them.
    pub weights: TensorMap,
    /// The network, with what the weights tell: classes, input channels, stem.
    pub config: NetConfig,
    /// Whose convention the names followed, and so how pictures have to be prepared.
    pub origin: Origin,
}

/// Conventions of naming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// torchvision's names, which timm's ResNets share and which are ours.
    Torchvision,
    /// akamaster/pytorch_resnet_cifar10.
    Akamaster,
    /// The authors' SqueezeNet, converted from Caffe: blue-green-red pictures of 0 to 255 minus the mean.
    CaffeSqueezenet,
}

/// Gives the weights of a `kind` our names and infers the rest of its configuration from their shapes.
///
/// Prefixes of wrappers (`module.`, `model.`, `_orig_mod.`, `backbone.`, `net.`) that all names share are taken
/// off, and counters that play no part in the forward pass left out. `input` is the size of pictures the network
/// is meant for. Whether every tensor is there is for [`NetConfig::load`] to check.
///
/// # Errors
/// [`Error::ModelFile`] if the weights cannot be those of the network.
pub fn adapt(weights: TensorMap, kind: NetKind, input: Size) -> Result<Imported> {
    let mut weights = without_wrappers(weights);
    if kind == NetKind::InceptionV3 {
        // The auxiliary classifier is of use in training only.
        weights.retain(|name, _| !name.starts_with("AuxLogits."));
    }
    let is_caffe = kind == NetKind::Squeezenet1_0 && weights.contains_key("conv_final.weight");
    let weights = if is_caffe { from_caffe(weights) } else { weights };
    let origin = match kind {
        NetKind::Resnet20 | NetKind::Resnet56 => Origin::Akamaster,
        _ if is_caffe => Origin::CaffeSqueezenet,
        _ => Origin::Torchvision,
    };
    let mut config = NetConfig::new(kind, infer_classes(&weights, kind)?, 3, input);
    let first = shape(&weights, kind, first_layer(kind))?;
    let [_, in_channels, kernel, _] = first[..] else { return Err(other_network(kind, first_layer(kind))) };
    config.in_channels = in_channels;
    config.classifier_padding = usize::from(is_caffe);
    // The network of the Fréchet distance is the one with eight more outputs than ImageNet has classes.
    config.fid_pools = kind == NetKind::InceptionV3 && config.classes == FID_CLASSES;
    if kind.is_resnet() && kernel == 3 {
        config.stem = Stem::Small;
    }
    config.validate()?;
    Ok(Imported { weights, config, origin })
}

/// Outputs of the Inception network that the Fréchet distance is defined by, as TensorFlow published it in 2015.
const FID_CLASSES: usize = 1008;

/// The number of classes a classifier of this kind with these weights (under our names) tells apart.
///
/// # Errors
/// [`Error::ModelFile`] if the last layer is not among the weights.
pub fn infer_classes(weights: &TensorMap, kind: NetKind) -> Result<usize> {
    let name = kind.classifier();
    shape(weights, kind, name)?.first().copied().ok_or_else(|| other_network(kind, name))
}

fn shape<'a>(weights: &'a TensorMap, kind: NetKind, name: &str) -> Result<&'a [usize]> {
    weights.get(name).map(|tensor| &tensor.shape[..]).ok_or_else(|| other_network(kind, name))
}

fn other_network(kind: NetKind, name: &str) -> Error {
    Error::ModelFile(format!(
        "the weights are not those of a {kind}: no fitting `{name}` among them. Choose the network they were made \
         with (--net)"
    ))
}

fn first_layer(kind: NetKind) -> &'static str {
    match kind {
        NetKind::SmallCnn => "blocks.0.conv.weight",
        NetKind::InceptionV3 => "Conv2d_1a_3x3.conv.weight",
        NetKind::Vgg16 | NetKind::Vgg16Bn | NetKind::Squeezenet1_0 => "features.0.weight",
        NetKind::MobilenetV3Small | NetKind::MobilenetV3Large => "features.0.0.weight",
        _ => "conv1.weight",
    }
}

const WRAPPERS: [&str; 5] = ["module.", "model.", "_orig_mod.", "backbone.", "net."];

fn without_wrappers(weights: TensorMap) -> TensorMap {
    let mut weights: TensorMap =
        weights.into_iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")).collect();
    while let Some(wrapper) = WRAPPERS.iter().find(|wrapper| {
        !weights.is_empty()
            && weights.keys().all(|name| name.len() > wrapper.len() && name.starts_with(**wrapper))
    }) {
        weights =
            weights.into_iter().map(|(name, tensor)| (name[wrapper.len()..].to_string(), tensor)).collect();
    }
    weights
}

/// `fire2/conv1x1_1.weight` → `features.3.squeeze.weight`, and so on.
fn from_caffe(weights: TensorMap) -> TensorMap {
    weights.into_iter().map(|(name, tensor)| (caffe_name(&name).unwrap_or(name), tensor)).collect()
}

fn caffe_name(name: &str) -> Option<String> {
    let (layer, parameter) = name.rsplit_once('.')?;
    let ours = match layer {
        "conv1" => "features.0".to_string(),
        "conv_final" => "classifier.1".to_string(),
        _ => {
            let (fire, part) = layer.strip_prefix("fire")?.split_once('/')?;
            let number: usize = fire.parse().ok().filter(|number| (2..=9).contains(number))?;
            // Two max-pools lie between: after the fourth and the eighth.
            let index = number + 1 + usize::from(number > 4) + usize::from(number > 8);
            let part = match part {
                "conv1x1_1" => "squeeze",
                "conv1x1_2" => "expand1x1",
                "conv3x3_2" => "expand3x3",
                _ => return None,
            };
            format!("features.{index}.{part}")
        }
    };
    Some(format!("{ours}.{parameter}"))
}
