//! Detectors of one stage (Liu et al. 2016, "SSD: Single Shot MultiBox Detector"): at every position of several maps,
//! for boxes of fixed shapes, what is there and how the box is to be corrected.
//!
//! | network | maps come from |
//! |---|---|
//! | `ssd300-vgg16` | VGG-16, whose dense layers became convolutions, and further layers (section 3) |
//! | `ssdlite320-mobilenet-v3` | MobileNetV3 with a narrow end, and separable layers (Howard et al. 2019, section 6.3) |
//! | `ssd-lite` | any [`Body`] with a feature pyramid, and separable layers: ours, for training on a CPU |
//!
//! Names and shapes of all parameters of the first two are torchvision's.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::ssd_trunk::{LiteTrunk, MobileTrunk, Trunk, VggTrunk, conv_norm6};
use super::{Body, per_anchor};
use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{Conv2d, Conv2dConfig, Layer, describe, freeze_norms, run, transparent_module};
use crate::nets::{NetKind, state};
use crate::tensors::TensorMap;
use crate::{Error, Result};

/// Which network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SsdKind {
    /// torchvision's `ssd300_vgg16`.
    #[serde(rename = "ssd300-vgg16")]
    Vgg16,
    /// torchvision's `ssdlite320_mobilenet_v3_large`.
    #[serde(rename = "ssdlite320-mobilenet-v3")]
    MobilenetV3,
    /// Ours.
    SsdLite,
}

/// What fixes the layers of a one-stage detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SsdConfig {
    /// Which network.
    pub kind: SsdKind,
    /// The network whose feature maps are used.
    pub backbone: NetKind,
    /// `ssd-lite`: which of its maps, by the numbers of [`Body`], from fine to coarse; two more follow them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<usize>,
    /// `ssd-lite`: channels of all maps.
    #[serde(default)]
    pub channels: usize,
    /// Classes of objects, without background.
    pub classes: usize,
    /// Boxes at each position of each map.
    pub boxes: Vec<usize>,
}

/// Bounds that keep a hostile card from asking for absurd memory.
const MAX_CLASSES: usize = 10_000;
const MAX_CHANNELS: usize = 4096;
const MAX_BOXES: usize = 64;
/// Maps that `ssd-lite` adds to the body's.
pub(super) const LITE_EXTRA: usize = 2;

/// What makes maps, and what says of each box what is in it.
#[derive(Module, Debug)]
pub struct Ssd {
    backbone: Trunk,
    head: Heads,
    maps: Vec<usize>,
    classes: usize,
}

/// The two heads.
#[derive(Module, Debug)]
pub struct Heads {
    classification_head: Head,
    regression_head: Head,
}

/// What is said of each map.
#[derive(Module, Debug)]
pub struct Head {
    module_list: Vec<Says>,
}

/// What is said of one map.
#[derive(Clone, Debug)]
pub enum Says {
    /// A 3×3 convolution.
    Dense(Conv2d),
    /// A depthwise 3×3 convolution with norm and activation, then a 1×1 convolution.
    Separable((Vec<Layer>, Conv2d)),
}

transparent_module!(Says { Dense, Separable });

impl SsdConfig {
    /// Number of maps.
    fn levels(&self) -> usize {
        if self.kind == SsdKind::SsdLite { self.maps.len() + LITE_EXTRA } else { 6 }
    }

    /// Checks that the network can be built.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::Config(format!("net: {what}")));
        let fixed = match self.kind {
            SsdKind::Vgg16 => Some(NetKind::Vgg16),
            SsdKind::MobilenetV3 => Some(NetKind::MobilenetV3Large),
            SsdKind::SsdLite => None,
        };
        if let Some(fixed) = fixed
            && (self.backbone != fixed || !self.maps.is_empty() || self.channels != 0)
        {
            return refuse(format!("its backbone is {fixed}, with its own maps and channels"));
        }
        if fixed.is_none() {
            let Some(available) = Body::channels(self.backbone) else {
                return refuse(format!(
                    "{} gives no maps to a detector; give {}",
                    self.backbone,
                    Body::KINDS
                ));
            };
            let rising = self.maps.is_sorted_by(|a, b| a < b);
            if !(1..=6).contains(&self.maps.len())
                || !rising
                || self.maps.iter().any(|&m| m >= available.len())
            {
                return refuse(format!(
                    "maps {:?}; give rising numbers below {}",
                    self.maps,
                    available.len()
                ));
            }
            if !(1..=MAX_CHANNELS).contains(&self.channels) {
                return refuse(format!("channels is {}; give 1 to {MAX_CHANNELS}", self.channels));
            }
        }
        if !(1..=MAX_CLASSES).contains(&self.classes) {
            return refuse(format!("classes is {}; give 1 to {MAX_CLASSES}", self.classes));
        }
        let levels = self.levels();
        if self.boxes.len() != levels || self.boxes.iter().any(|n| !(1..=MAX_BOXES).contains(n)) {
            return refuse(format!(
                "boxes {:?}; give 1 to {MAX_BOXES} for each of {levels} maps",
                self.boxes
            ));
        }
        Ok(())
    }

    /// The network with initial weights that depend on the seed only, on this device.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn init(&self, seed: u64, device: &Device) -> Result<Ssd> {
        self.build(&Scope::seeded(seed, device))
    }

    /// The network with all parameters zero, for weights that come later.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn blank(&self, device: &Device) -> Result<Ssd> {
        self.build(&Scope::blank(device))
    }

    /// The network with these weights, on this device.
    ///
    /// # Errors
    /// As [`Self::validate`] and [`state::load_map`].
    pub fn load(&self, weights: &TensorMap, device: &Device) -> Result<Ssd> {
        state::load_map(self.blank(device)?, weights)
    }

    fn build(&self, scope: &Scope) -> Result<Ssd> {
        self.validate()?;
        let place = scope.at("backbone");
        let (backbone, channels) = match self.kind {
            SsdKind::Vgg16 => (Trunk::Vgg(VggTrunk::new(&place)), VggTrunk::CHANNELS.to_vec()),
            SsdKind::MobilenetV3 => (Trunk::Mobile(MobileTrunk::new(&place)), MobileTrunk::CHANNELS.to_vec()),
            SsdKind::SsdLite => {
                let trunk = LiteTrunk::new(&place, self.backbone, &self.maps, self.channels)?;
                (Trunk::Lite(trunk), vec![self.channels; self.levels()])
            }
        };
        let head = |name: &str, columns: usize| {
            let place = scope.at("head").at(name).at("module_list");
            let maps = channels.iter().zip(&self.boxes).enumerate();
            let says = maps.map(|(i, (&inputs, boxes))| {
                Says::new(&place.at(i), self.kind != SsdKind::Vgg16, inputs, columns * boxes)
            });
            Head { module_list: says.collect() }
        };
        Ok(Ssd {
            backbone,
            head: Heads {
                classification_head: head("classification_head", self.classes + 1),
                regression_head: head("regression_head", 4),
            },
            maps: self.maps.clone(),
            classes: self.classes,
        })
    }
}

impl Says {
    fn new(scope: &Scope, separable: bool, inputs: usize, outputs: usize) -> Self {
        if !separable {
            let conv = Conv2dConfig::new(inputs, outputs, 3).padding(1).init(WeightInit::GlorotUniform);
            return Self::Dense(conv.build(scope));
        }
        let normal = WeightInit::Normal(0.03);
        let depthwise = Conv2dConfig::new(inputs, inputs, 3).padding(1).groups(inputs).init(normal);
        let project = Conv2dConfig::new(inputs, outputs, 1).init(normal);
        Self::Separable((conv_norm6(&scope.at(0), depthwise, inputs), project.build(&scope.at(1))))
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Dense(conv) => conv.forward(x),
            Self::Separable((layers, project)) => project.forward(run(layers, x)),
        }
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        match self {
            Self::Dense(conv) => conv.describe(graph, x),
            Self::Separable((layers, project)) => {
                let x = describe(layers, graph, x);
                project.describe(graph, &x)
            }
        }
    }
}

impl Ssd {
    /// Of pictures [n, 3, h, w]: logits [n, boxes, 1 + classes], background first, and corrections [n, boxes, 4]; boxes map
    /// by map, row by row, position by position. Also the sizes `[rows, columns]` of the maps.
    pub fn forward(&self, x: Tensor<4>) -> (Tensor<3>, Tensor<3>, Vec<[usize; 2]>) {
        let maps = self.backbone.maps(x, &self.maps);
        let sizes = maps.iter().map(Tensor::dims).map(|[_, _, h, w]| [h, w]).collect();
        let said = |head: &Head, columns: usize| {
            let each = maps.iter().zip(&head.module_list);
            Tensor::cat(each.map(|(map, says)| per_anchor(says.forward(map.clone()), columns)).collect(), 1)
        };
        let logits = said(&self.head.classification_head, self.classes + 1);
        (logits, said(&self.head.regression_head, 4), sizes)
    }

    /// [`Self::forward`] written down, map by map: logits [boxes · (1 + classes), h, w] and corrections [boxes · 4, h, w].
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Vec<[Value; 2]> {
        let maps = self.backbone.describe_maps(graph, x, &self.maps);
        let heads =
            self.head.classification_head.module_list.iter().zip(&self.head.regression_head.module_list);
        maps.iter().zip(heads).map(|(map, (a, b))| [a.describe(graph, map), b.describe(graph, map)]).collect()
    }

    /// With the first parts of the backbone frozen, as [`Body::freeze_first`] counts them; of VGG-16 and MobileNetV3 the
    /// entries of `features`.
    pub fn freeze_first(mut self, parts: usize) -> Self {
        self.backbone = self.backbone.freeze_first(parts);
        self
    }

    /// With the norms of the backbone frozen.
    pub fn freeze_norms(mut self) -> Self {
        self.backbone = freeze_norms(self.backbone);
        self
    }
}
