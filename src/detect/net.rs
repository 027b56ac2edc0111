//! Which network a detector has, by the name a user types, and all that goes with it into a model file.

use std::str::FromStr;

use burn::tensor::Device;
use opticus_pixels::geometry::Size;
use serde::{Deserialize, Serialize};

use super::anchors::{AnchorGrid, DefaultBoxes};
use super::config::TrainConfig;
use super::one_stage::OneStage;
use super::proposals::Keep;
use super::suppression::Suppression;
use super::transform::Transform;
use super::two_stage::TwoStage;
use crate::error::{Error, Result};
use crate::nets::detector::{Body, Family, RegionNet, RegionNetConfig, Ssd, SsdConfig, SsdKind};
use crate::nets::layers::transparent_module;
use crate::nets::{NetKind, state};
use crate::tensors::TensorMap;

/// A detector but for its weights, classes' names and input: the part of a model's card that the job owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorConfig {
    /// The name of `opticus detect train --net`.
    pub name: String,
    /// How it finds objects.
    pub stages: Stages,
}

/// How a detector finds objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stages {
    /// Everywhere at once: SSD.
    One(OneStage),
    /// Regions first, then what each of them is: the R-CNN family.
    Two(TwoStage),
}

/// A network that finds objects.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a detector has one")]
pub enum DetectorNet {
    /// SSD.
    Grid(Ssd),
    /// The R-CNN family.
    Regions(RegionNet),
}

transparent_module!(DetectorNet { Grid, Regions });

impl DetectorConfig {
    /// Checks every value, which may come from a hostile file.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        match &self.stages {
            Stages::One(one) => one.validate(),
            Stages::Two(two) => two.validate(),
        }
    }

    /// Number of classes, without background.
    pub fn classes(&self) -> usize {
        match &self.stages {
            Stages::One(one) => one.net.classes,
            Stages::Two(two) => two.net.classes,
        }
    }

    /// The backbone.
    pub fn backbone(&self) -> NetKind {
        match &self.stages {
            Stages::One(one) => one.net.backbone,
            Stages::Two(two) => two.net.backbone,
        }
    }

    /// Whether regions must come from outside.
    pub fn needs_proposals(&self) -> bool {
        match &self.stages {
            Stages::One(_) => false,
            Stages::Two(two) => two.net.family != Family::FasterRcnn,
        }
    }

    /// Refuses regions from outside for a network that would not look at them.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check_takes_proposals(&self) -> Result<()> {
        match self.needs_proposals() {
            true => Ok(()),
            false => Err(Error::Config(format!(
                "--proposals is for rcnn and fast-rcnn; {} finds its regions itself",
                self.name
            ))),
        }
    }

    /// The network with initial weights that depend on the seed only, on this device.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn init(&self, seed: u64, device: &Device) -> Result<DetectorNet> {
        self.validate()?;
        Ok(match &self.stages {
            Stages::One(one) => DetectorNet::Grid(one.net.init(seed, device)?),
            Stages::Two(two) => DetectorNet::Regions(two.net.init(seed, device)?),
        })
    }

    /// The network with these weights, on this device.
    ///
    /// # Errors
    /// As [`Self::validate`] and [`state::load_map`].
    pub fn load(&self, weights: &TensorMap, device: &Device) -> Result<DetectorNet> {
        self.validate()?;
        let blank = match &self.stages {
            Stages::One(one) => DetectorNet::Grid(one.net.blank(device)?),
            Stages::Two(two) => DetectorNet::Regions(two.net.blank(device)?),
        };
        state::load_map(blank, weights)
    }
}

impl DetectorNet {
    /// With the first parts of the backbone frozen.
    pub fn freeze_first(self, parts: usize) -> Self {
        match self {
            Self::Grid(net) => Self::Grid(net.freeze_first(parts)),
            Self::Regions(net) => Self::Regions(net.freeze_first(parts)),
        }
    }

    /// With the norms of the backbone frozen.
    pub fn freeze_norms(self) -> Self {
        match self {
            Self::Grid(net) => Self::Grid(net.freeze_norms()),
            Self::Regions(net) => Self::Regions(net.freeze_norms()),
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// The detectors, by the name a user types.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DetectorKind {
            $($(#[$doc])* $variant,)+
        }

        impl DetectorKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name a user types.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

kinds! {
    /// Girshick et al. 2014: each region through the backbone by itself.
    Rcnn = "rcnn",
    /// Girshick 2015: regions cut out of the maps of the whole picture.
    FastRcnn = "fast-rcnn",
    /// Ren et al. 2015: a network proposes the regions. Small, for training on a CPU.
    FasterRcnn = "faster-rcnn",
    /// torchvision's `fasterrcnn_resnet50_fpn`.
    FasterRcnnResnet50Fpn = "faster-rcnn-resnet50-fpn",
    /// torchvision's `fasterrcnn_mobilenet_v3_large_320_fpn`.
    FasterRcnnMobilenetV3Fpn = "faster-rcnn-mobilenet-v3-fpn",
    /// Liu et al. 2016 in spirit, with a pyramid and separable layers. Small, for training on a CPU.
    SsdLite = "ssd-lite",
    /// torchvision's `ssd300_vgg16`.
    Ssd300Vgg16 = "ssd300-vgg16",
    /// torchvision's `ssdlite320_mobilenet_v3_large`.
    Ssdlite320MobilenetV3 = "ssdlite320-mobilenet-v3",
}

impl FromStr for DetectorKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            Error::Config(format!("there is no detector called `{name}`. Choose one of {}", names.join(", ")))
        })
    }
}

/// Channels of the pyramid and values of the heads of the small networks: a quarter of torchvision's work or less.
const SMALL_CHANNELS: usize = 128;
const SMALL_HIDDEN: usize = 256;
/// Neighbouring sizes of the small networks' anchors differ by this factor; three to a map, whose stride doubles.
const SIZE_STEP: f64 = 1.5;

impl DetectorKind {
    /// The detector for this many classes, with this backbone where the architecture leaves it open.
    ///
    /// # Errors
    /// [`Error::Config`] for a backbone that it cannot have.
    pub fn config(self, classes: usize, backbone: Option<NetKind>) -> Result<DetectorConfig> {
        let small =
            |family| small(family, classes, backbone.unwrap_or(NetKind::Squeezenet1_0)).map(Stages::Two);
        let stages = match self {
            Self::Rcnn => small(Family::Rcnn)?,
            Self::FastRcnn => small(Family::FastRcnn)?,
            Self::FasterRcnn => small(Family::FasterRcnn)?,
            Self::FasterRcnnResnet50Fpn => {
                let sizes = [32.0, 64.0, 128.0, 256.0, 512.0].map(|size| vec![size]).to_vec();
                let net = torchvision(self.fixed(NetKind::Resnet50, backbone)?, vec![0, 1, 2, 3], classes, 3);
                Stages::Two(TwoStage::new(net, AnchorGrid { sizes, ratios: vec![0.5, 1.0, 2.0] }))
            }
            Self::FasterRcnnMobilenetV3Fpn => {
                let sizes = vec![vec![32.0, 64.0, 128.0, 256.0, 512.0]; 3];
                let backbone = self.fixed(NetKind::MobilenetV3Large, backbone)?;
                let net = torchvision(backbone, vec![13, 16], classes, 15);
                let two = TwoStage::new(net, AnchorGrid { sizes, ratios: vec![0.5, 1.0, 2.0] });
                let proposals = Keep { before: 150, after: 150, score: 0.05, ..Keep::default() };
                Stages::Two(TwoStage { proposals, ..two })
            }
            Self::SsdLite => Stages::One(ssd_lite(classes, backbone.unwrap_or(NetKind::Squeezenet1_0))?),
            Self::Ssd300Vgg16 => {
                self.fixed(NetKind::Vgg16, backbone)?;
                Stages::One(ssd300(classes))
            }
            Self::Ssdlite320MobilenetV3 => {
                self.fixed(NetKind::MobilenetV3Large, backbone)?;
                Stages::One(ssdlite320(classes))
            }
        };
        let config = DetectorConfig { name: self.name().into(), stages };
        config.validate()?;
        Ok(config)
    }

    /// How pictures are prepared for it where nothing else is said.
    pub fn transform(self) -> Transform {
        let usual = Transform::default();
        let square = |side| Transform { fixed: Some(Size::new(side, side)), ..usual.clone() };
        match self {
            Self::Rcnn | Self::FastRcnn | Self::FasterRcnn => {
                Transform { shorter: 320, longer: 533, ..usual }
            }
            Self::FasterRcnnResnet50Fpn => usual,
            Self::FasterRcnnMobilenetV3Fpn => Transform { shorter: 320, longer: 640, ..usual },
            Self::SsdLite => square(320),
            Self::Ssd300Vgg16 => {
                Transform { mean: [0.48235, 0.45882, 0.40784], std: [1.0 / 255.0; 3], ..square(300) }
            }
            Self::Ssdlite320MobilenetV3 => Transform { mean: [0.5; 3], std: [0.5; 3], ..square(320) },
        }
    }

    fn fixed(self, its: NetKind, asked: Option<NetKind>) -> Result<NetKind> {
        match asked {
            Some(other) if other != its => Err(Error::Config(format!(
                "{} has the backbone {its}; {other} is for rcnn, fast-rcnn and faster-rcnn",
                self.name()
            ))),
            _ => Ok(its),
        }
    }
}

/// torchvision's Faster R-CNN over these maps.
fn torchvision(backbone: NetKind, maps: Vec<usize>, classes: usize, anchors: usize) -> RegionNetConfig {
    RegionNetConfig {
        family: Family::FasterRcnn,
        backbone,
        maps,
        classes,
        anchors,
        channels: 256,
        hidden: 1024,
        epsilon: (backbone == NetKind::MobilenetV3Large).then_some(1e-5),
    }
}

/// Settings of `ssd300_vgg16`.
fn ssd300(classes: usize) -> OneStage {
    let (few, many) = (vec![2.0], vec![2.0, 3.0]);
    let boxes = DefaultBoxes {
        ratios: vec![few.clone(), many.clone(), many.clone(), many, few.clone(), few],
        scales: vec![0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        steps: Some(vec![8.0, 16.0, 32.0, 64.0, 100.0, 300.0]),
    };
    one_stage(SsdKind::Vgg16, NetKind::Vgg16, classes, boxes, (0.01, 400, 0.45, 200))
}

/// Settings of `ssdlite320_mobilenet_v3_large`.
fn ssdlite320(classes: usize) -> OneStage {
    let boxes = DefaultBoxes::evenly(vec![vec![2.0, 3.0]; 6], 0.2, 0.95);
    one_stage(SsdKind::MobilenetV3, NetKind::MobilenetV3Large, classes, boxes, (0.001, 300, 0.55, 300))
}

/// Ours: maps of strides 8, 16, 32 and 64.
fn ssd_lite(classes: usize, backbone: NetKind) -> Result<OneStage> {
    let (maps, _) = maps_of(backbone)?;
    let maps = maps[..2].to_vec();
    let boxes = DefaultBoxes::evenly(vec![vec![2.0, 3.0]; 4], 0.08, 0.8);
    let one = one_stage(SsdKind::SsdLite, backbone, classes, boxes, (0.01, 400, 0.5, 100));
    Ok(OneStage { net: SsdConfig { maps, channels: SMALL_CHANNELS, ..one.net }, ..one })
}

fn one_stage(
    kind: SsdKind,
    backbone: NetKind,
    classes: usize,
    boxes: DefaultBoxes,
    (score, candidates, iou, detections): (f64, usize, f64, usize),
) -> OneStage {
    let each = (0..boxes.ratios.len()).map(|level| boxes.per_position(level)).collect();
    let net = SsdConfig { kind, backbone, maps: Vec::new(), channels: 0, classes, boxes: each };
    OneStage { net, boxes, score, candidates, iou, detections, suppression: Suppression::Nms }
}

/// The backbone's maps for the small networks, the last of stride 16 or 32, and the side of a cut-out of which it makes
/// 7×7 positions.
fn maps_of(backbone: NetKind) -> Result<(Vec<usize>, usize)> {
    match backbone {
        NetKind::SmallCnn => Ok((vec![2, 5], 56)),
        NetKind::Squeezenet1_0 => Ok((vec![10, 12], 112)),
        kind if kind.is_resnet() => Ok((vec![1, 2, 3], 224)),
        NetKind::MobilenetV3Large => Ok((vec![6, 12, 16], 224)),
        NetKind::MobilenetV3Small => Ok((vec![3, 8, 12], 224)),
        other => Err(Error::Config(format!("{other} is no backbone of a detector; give {}", Body::KINDS))),
    }
}

/// A network of the family for training on a CPU: maps of strides 8 and 16 (and 32, where the backbone has it).
fn small(family: Family, classes: usize, backbone: NetKind) -> Result<TwoStage> {
    let (maps, crop) = maps_of(backbone)?;
    let maps = if family == Family::Rcnn { maps[maps.len() - 1..].to_vec() } else { maps };
    let proposes = family == Family::FasterRcnn;
    let levels = if proposes { maps.len() + 1 } else { 0 };
    let sizes = |level: usize| -> Vec<f64> {
        (0..3).map(|k| (20.0 * SIZE_STEP.powi((3 * level + k) as i32)).round()).collect()
    };
    let anchors = AnchorGrid { sizes: (0..levels).map(sizes).collect(), ratios: vec![0.5, 1.0, 2.0] };
    let net = RegionNetConfig {
        family,
        backbone,
        maps,
        classes,
        anchors: if proposes { 9 } else { 0 },
        channels: if family == Family::Rcnn { 0 } else { SMALL_CHANNELS },
        hidden: SMALL_HIDDEN,
        epsilon: None,
    };
    let after = match family {
        Family::Rcnn => 500,
        Family::FastRcnn => 1000,
        Family::FasterRcnn => 300,
    };
    let proposals = Keep { after, ..Keep::default() };
    let crop = if family == Family::Rcnn { crop } else { 0 };
    Ok(TwoStage { crop, proposals, ..TwoStage::new(net, anchors) })
}

/// The detector and its input for a training run. What the model that the run starts from says of its input goes with
/// its weights.
///
/// # Errors
/// [`Error::Config`] naming what cannot be.
pub fn resolve(
    config: &TrainConfig,
    classes: usize,
    given: Option<&Transform>,
) -> Result<(DetectorConfig, Transform)> {
    let kind = DetectorKind::from_str(&config.net.name)?;
    let backbone = config.net.backbone.as_deref().map(NetKind::from_str).transpose()?;
    let detector = kind.config(classes, backbone)?;
    let mut transform = kind.transform();
    if let Some(given) = given {
        let Transform { mean, std, channels, .. } = given.clone();
        transform = Transform { mean, std, channels, ..transform };
    }
    if let Some(side) = config.input.size {
        transform = match transform.fixed {
            Some(_) => Transform { fixed: Some(Size::new(side, side)), ..transform },
            None => Transform { shorter: side, longer: side.saturating_mul(5) / 3, ..transform },
        };
    }
    transform.validate()?;
    Ok((detector, transform))
}
