//! Which network a detector has, by the name a user types, and all that goes with it into a model file.

use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::anchors::AnchorGrid;
use super::config::TrainConfig;
use super::proposals::Keep;
use super::transform::Transform;
use super::two_stage::TwoStage;
use crate::error::{Error, Result};
use crate::nets::detector::{Family, RegionNet, RegionNetConfig};
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
    /// Regions first, then what each of them is: the R-CNN family.
    Two(TwoStage),
}

/// A network that finds objects.
#[derive(Clone, Debug)]
pub enum DetectorNet {
    /// The R-CNN family.
    Regions(RegionNet),
}

transparent_module!(DetectorNet { Regions });

impl DetectorConfig {
    /// Checks every value, which may come from a hostile file.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        match &self.stages {
            Stages::Two(two) => two.validate(),
        }
    }

    /// Number of classes, without background.
    pub fn classes(&self) -> usize {
        match &self.stages {
            Stages::Two(two) => two.net.classes,
        }
    }

    /// The backbone.
    pub fn backbone(&self) -> NetKind {
        match &self.stages {
            Stages::Two(two) => two.net.backbone,
        }
    }

    /// Whether regions must come from outside.
    pub fn needs_proposals(&self) -> bool {
        match &self.stages {
            Stages::Two(two) => two.net.family != Family::FasterRcnn,
        }
    }

    /// The network with initial weights that depend on the seed only, on this device.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn init(&self, seed: u64, device: &Device) -> Result<DetectorNet> {
        self.validate()?;
        Ok(match &self.stages {
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
            Stages::Two(two) => DetectorNet::Regions(two.net.blank(device)?),
        };
        state::load_map(blank, weights)
    }
}

impl DetectorNet {
    /// With the first parts of the backbone frozen.
    pub fn freeze_first(self, parts: usize) -> Self {
        match self {
            Self::Regions(net) => Self::Regions(net.freeze_first(parts)),
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

/// Pixels of the shorter side where nothing is said.
const USUAL_SHORTER: u32 = 320;
/// Channels of the pyramid and values of the heads of the small networks: a quarter of torchvision's work or less.
const SMALL_CHANNELS: usize = 128;
const SMALL_HIDDEN: usize = 256;
/// Regions of a picture that the small networks look at.
const SMALL_PROPOSALS: usize = 300;
/// Neighbouring sizes of the small networks' anchors differ by this factor; three to a map, whose stride doubles.
const SIZE_STEP: f64 = 1.5;

impl DetectorKind {
    /// The detector for this many classes, with this backbone where the architecture leaves it open.
    ///
    /// # Errors
    /// [`Error::Config`] for a backbone that it cannot have.
    pub fn config(self, classes: usize, backbone: Option<NetKind>) -> Result<DetectorConfig> {
        let stages = match self {
            Self::Rcnn => small(Family::Rcnn, classes, backbone.unwrap_or(NetKind::Squeezenet1_0))?,
            Self::FastRcnn => small(Family::FastRcnn, classes, backbone.unwrap_or(NetKind::Squeezenet1_0))?,
            Self::FasterRcnn => {
                small(Family::FasterRcnn, classes, backbone.unwrap_or(NetKind::Squeezenet1_0))?
            }
            Self::FasterRcnnResnet50Fpn => {
                let net = RegionNetConfig {
                    family: Family::FasterRcnn,
                    backbone: self.fixed(NetKind::Resnet50, backbone)?,
                    maps: vec![0, 1, 2, 3],
                    classes,
                    anchors: 3,
                    channels: 256,
                    hidden: 1024,
                };
                let sizes = [32.0, 64.0, 128.0, 256.0, 512.0].map(|size| vec![size]).to_vec();
                TwoStage::new(net, AnchorGrid { sizes, ratios: vec![0.5, 1.0, 2.0] })
            }
        };
        let config = DetectorConfig { name: self.name().into(), stages: Stages::Two(stages) };
        config.validate()?;
        Ok(config)
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

/// A network of the family for training on a CPU: maps of strides 8 and 16 (and 32, where the backbone has it).
fn small(family: Family, classes: usize, backbone: NetKind) -> Result<TwoStage> {
    // The maps, and the side of a cut-out of which the last makes 7×7 positions.
    let (maps, crop) = match backbone {
        NetKind::Squeezenet1_0 => (vec![10, 12], 112),
        kind if kind.is_resnet() => (vec![1, 2, 3], 224),
        NetKind::MobilenetV3Large => (vec![6, 12, 16], 224),
        NetKind::MobilenetV3Small => (vec![3, 8, 12], 224),
        other => {
            return Err(Error::Config(format!(
                "{other} is no backbone of a detector; give {}",
                crate::nets::detector::Body::KINDS
            )));
        }
    };
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
    };
    let proposals = Keep { before: 1000, after: SMALL_PROPOSALS, ..Keep::default() };
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
    let given = given.cloned().unwrap_or_default();
    let shorter = config.input.size.unwrap_or(given.shorter.min(USUAL_SHORTER));
    let transform = Transform { shorter, longer: shorter.saturating_mul(5) / 3, ..given };
    transform.validate()?;
    Ok((detector, transform))
}
