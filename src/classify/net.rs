//! Which network and preprocessing a training run gets.

use std::str::FromStr;

use opticus_pixels::Size;
use opticus_pixels::codec::ColorMode;
use opticus_pixels::preprocess::{ChannelOrder, Fit, Preprocessing};
use opticus_pixels::resize::Filter;

use super::config::TrainConfig;
use super::dataset;
use crate::data::Labelled;
use crate::error::{Error, Result};
use crate::nets::{NetConfig, NetKind, Stem};

/// Input sides up to this take the small stem of a ResNet: the standard one would leave a map of 2×2.
const SMALL_STEM_UP_TO: u32 = 96;

/// The network and the preprocessing for these training pictures.
///
/// The preprocessing is fixed here, once, and travels inside the model file from now on.
pub fn resolve(config: &TrainConfig, train: &Labelled) -> Result<(NetConfig, Preprocessing)> {
    let kind = NetKind::from_str(&config.net.name)?;
    let side = match config.input.size {
        Some(side @ 8..=4096) => side,
        Some(side) => return Err(Error::Config(format!("--image-size {side}: give 8 to 4096 pixels"))),
        None => dataset::automatic_side(train),
    };
    let channels = match train.color() {
        ColorMode::Grey => ChannelOrder::Grey,
        ColorMode::Rgb | ColorMode::Rgba => ChannelOrder::Rgb,
    };
    let mut net = architecture(kind, train.classes().len(), channels.count(), side);
    net.dropout = config.net.dropout;
    net.validate()?;
    let (mean, std) = dataset::channel_statistics(train)?;
    let fit = if config.input.stretch { Fit::Stretch } else { Fit::CenterCrop { resize_shorter: side } };
    let preprocessing = Preprocessing {
        size: net.input,
        fit,
        filter: Filter::Bilinear,
        mean,
        std,
        channels,
        scale: 1.0 / 255.0,
    };
    Ok((net, preprocessing))
}

/// The network of this kind for square pictures of this side, with the stem that suits them.
pub fn architecture(kind: NetKind, classes: usize, channels: usize, side: u32) -> NetConfig {
    let mut net = NetConfig::new(kind, classes, channels, Size::new(side, side));
    if kind.is_resnet() && side <= SMALL_STEM_UP_TO {
        net.stem = Stem::Small;
    }
    net
}
