//! The R-CNN family: each network is a step from the one before.
//!
//! | family | regions come from | what the heads see of a region |
//! |---|---|---|
//! | R-CNN (Girshick et al. 2014) | outside | the backbone's map of the region cut out of the picture |
//! | Fast R-CNN (Girshick 2015) | outside | the region cut out of the maps of the whole picture |
//! | Faster R-CNN (Ren et al. 2015) | a network that proposes, on the same maps | the same |
//!
//! Two heads say of each region what it is and where exactly. Names and shapes of all parameters are those of
//! torchvision's `FasterRCNN` with a feature pyramid, of which the first two lack parts.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use serde::{Deserialize, Serialize};

use super::{Body, Fpn};
use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{ActivationKind, Conv2d, Conv2dConfig, Layer, Linear, describe, freeze_norms, run};
use crate::nets::{NetKind, state};
use crate::tensors::TensorMap;
use crate::{Error, Result};

/// Rows and columns of a region for the heads.
pub const REGION: usize = 7;
/// Bounds that keep a hostile card from asking for absurd memory.
const MAX_CLASSES: usize = 10_000;
const MAX_WIDTH: usize = 8192;

/// Which network of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Girshick et al. 2014.
    Rcnn,
    /// Girshick 2015.
    FastRcnn,
    /// Ren et al. 2015.
    FasterRcnn,
}

/// What fixes the layers of a network of the R-CNN family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionNetConfig {
    /// Which network of the family.
    pub family: Family,
    /// The network whose feature maps are used.
    pub backbone: NetKind,
    /// Which of its maps, by the numbers of [`Body`], from fine to coarse; R-CNN takes one.
    pub maps: Vec<usize>,
    /// Classes of objects, without background.
    pub classes: usize,
    /// Anchors at each position of each map; only Faster R-CNN has any.
    pub anchors: usize,
    /// Channels of the pyramid's maps; R-CNN has no pyramid.
    pub channels: usize,
    /// Values between the two dense layers of the heads.
    pub hidden: usize,
    /// What MobileNetV3's norms add to the variance, where it is not the classifier's: see [`Body::new`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
}

/// A backbone with its pyramid, the network that proposes, and the heads.
#[derive(Module, Debug)]
pub struct RegionNet {
    backbone: Trunk,
    rpn: Option<Proposer>,
    roi_heads: Heads,
    maps: Vec<usize>,
}

/// The part of a backbone that makes maps, and the pyramid over them.
#[derive(Module, Debug)]
pub struct Trunk {
    body: Body,
    fpn: Option<Fpn>,
}

/// What holds the head under its published name.
#[derive(Module, Debug)]
pub struct Proposer {
    head: Rpn,
}

/// The region proposal network: for each anchor of each position whether an object is there, and how the anchor is to
/// be corrected. The same for every map.
#[derive(Module, Debug)]
pub struct Rpn {
    conv: Vec<Vec<Layer>>,
    cls_logits: Conv2d,
    bbox_pred: Conv2d,
}

/// What a region of the maps is, and how its box is to be corrected.
#[derive(Module, Debug)]
pub struct Heads {
    box_head: Dense,
    box_predictor: Predictor,
}

/// Two dense layers.
#[derive(Module, Debug)]
pub struct Dense {
    fc6: Linear,
    fc7: Linear,
}

/// Logits of background and the classes, and a correction for each of them.
#[derive(Module, Debug)]
pub struct Predictor {
    cls_score: Linear,
    bbox_pred: Linear,
}

impl RegionNetConfig {
    /// Checks that the network can be built.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::Config(format!("net: {what}")));
        let Some(available) = Body::channels(self.backbone) else {
            return refuse(format!("{} gives no maps to a detector; give {}", self.backbone, Body::KINDS));
        };
        let most = if self.family == Family::Rcnn { 1 } else { 8 };
        if !(1..=most).contains(&self.maps.len())
            || !self.maps.is_sorted_by(|a, b| a < b)
            || self.maps.iter().any(|&map| map >= available.len())
        {
            return refuse(format!(
                "maps {:?}; give 1 to {most} rising numbers below {} for {}",
                self.maps,
                available.len(),
                self.backbone
            ));
        }
        let ranges = [
            ("classes", self.classes, 1..=MAX_CLASSES),
            ("anchors", self.anchors, if self.family == Family::FasterRcnn { 1..=64 } else { 0..=0 }),
            ("channels", self.channels, if self.family == Family::Rcnn { 0..=0 } else { 1..=MAX_WIDTH }),
            ("hidden", self.hidden, 1..=MAX_WIDTH),
        ];
        if self.epsilon.is_some_and(|epsilon| !(1e-12..1.0).contains(&epsilon)) {
            return refuse("epsilon is above 0 and small, such as 1e-5".to_owned());
        }
        match ranges.into_iter().find(|(_, value, range)| !range.contains(value)) {
            Some((name, value, range)) => {
                refuse(format!("{name} is {value}; give {} to {}", range.start(), range.end()))
            }
            None => Ok(()),
        }
    }

    /// The network with initial weights that depend on the seed only, on this device.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn init(&self, seed: u64, device: &Device) -> Result<RegionNet> {
        self.build(&Scope::seeded(seed, device))
    }

    /// The network with all parameters zero, for weights that come later.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn blank(&self, device: &Device) -> Result<RegionNet> {
        self.build(&Scope::blank(device))
    }

    /// The network with these weights, on this device.
    ///
    /// # Errors
    /// As [`Self::validate`] and [`state::load_map`].
    pub fn load(&self, weights: &TensorMap, device: &Device) -> Result<RegionNet> {
        state::load_map(self.blank(device)?, weights)
    }

    /// Channels of what the heads see.
    pub fn region_channels(&self) -> usize {
        let of_body = || Body::channels(self.backbone)?.get(*self.maps.last()?).copied();
        if self.family == Family::Rcnn { of_body().unwrap_or(0) } else { self.channels }
    }

    fn build(&self, scope: &Scope) -> Result<RegionNet> {
        self.validate()?;
        let backbone = scope.at("backbone");
        let body = Body::new(&backbone.at("body"), self.backbone, self.epsilon)
            .ok_or_else(|| Error::Config(format!("{} gives no maps to a detector", self.backbone)))?;
        let all = Body::channels(self.backbone).unwrap_or_default();
        let inputs: Vec<usize> = self.maps.iter().map(|&map| all[map]).collect();
        let fpn =
            (self.family != Family::Rcnn).then(|| Fpn::new(&backbone.at("fpn"), &inputs, self.channels));
        let rpn = (self.family == Family::FasterRcnn)
            .then(|| Proposer { head: Rpn::new(&scope.at("rpn").at("head"), self.channels, self.anchors) });
        let channels = self.region_channels();
        Ok(RegionNet {
            backbone: Trunk { body, fpn },
            rpn,
            roi_heads: Heads::new(&scope.at("roi_heads"), channels, self.hidden, self.classes),
            maps: self.maps.clone(),
        })
    }
}

impl RegionNet {
    /// The maps of pictures [n, 3, h, w], from fine to coarse: the pyramid's, the last of which is for proposals only;
    /// of R-CNN, which has no pyramid, the body's one map.
    pub fn maps(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let maps = self.backbone.body.maps(x, &self.maps);
        match &self.backbone.fpn {
            Some(fpn) => fpn.forward(maps),
            None => maps,
        }
    }

    /// The network that proposes; only Faster R-CNN has one.
    pub fn rpn(&self) -> Option<&Rpn> {
        self.rpn.as_ref().map(|proposer| &proposer.head)
    }

    /// The heads.
    pub fn heads(&self) -> &Heads {
        &self.roi_heads
    }

    /// With the first parts of the backbone frozen, as [`Body::freeze_first`] counts them.
    pub fn freeze_first(mut self, parts: usize) -> Self {
        self.backbone.body = self.backbone.body.freeze_first(parts);
        self
    }

    /// With the norms of the backbone frozen.
    pub fn freeze_norms(mut self) -> Self {
        self.backbone.body = freeze_norms(self.backbone.body);
        self
    }

    /// [`Self::maps`] written down, and for each map logits and corrections of anchors, if the network proposes.
    pub fn describe_maps(&self, graph: &mut Graph, x: &Value) -> (Vec<Value>, Vec<[Value; 2]>) {
        let mut maps = self.backbone.body.describe_maps(graph, x, &self.maps);
        if let Some(fpn) = &self.backbone.fpn {
            maps = fpn.describe(graph, &maps);
        }
        let proposals = match self.rpn() {
            Some(rpn) => maps.iter().map(|map| rpn.describe(graph, map)).collect(),
            None => Vec::new(),
        };
        (maps, proposals)
    }
}

impl Rpn {
    fn new(scope: &Scope, channels: usize, anchors: usize) -> Self {
        let normal = WeightInit::Normal(0.01);
        let conv =
            |name: &str, outputs| Conv2dConfig::new(channels, outputs, 1).init(normal).build(&scope.at(name));
        let first = Conv2dConfig::new(channels, channels, 3).padding(1).init(normal);
        let first = first.build(&scope.at("conv").at(0).at(0));
        Self {
            conv: vec![vec![Layer::Conv2d(first), Layer::activation(ActivationKind::Relu)]],
            cls_logits: conv("cls_logits", anchors),
            bbox_pred: conv("bbox_pred", 4 * anchors),
        }
    }

    /// Of a map [n, c, h, w]: logits [n, anchors, h, w] and corrections [n, 4 · anchors, h, w].
    pub fn forward(&self, map: Tensor<4>) -> [Tensor<4>; 2] {
        let x = self.conv.iter().fold(map, |x, layers| run(layers, x));
        [self.cls_logits.forward(x.clone()), self.bbox_pred.forward(x)]
    }

    fn describe(&self, graph: &mut Graph, map: &Value) -> [Value; 2] {
        let x = self.conv.iter().fold(map.clone(), |x, layers| describe(layers, graph, &x));
        [self.cls_logits.describe(graph, &x), self.bbox_pred.describe(graph, &x)]
    }
}

impl Heads {
    fn new(scope: &Scope, channels: usize, hidden: usize, classes: usize) -> Self {
        let dense =
            |scope: Scope, inputs, outputs| Linear::new(&scope, inputs, outputs, WeightInit::TorchDefault);
        let (head, predictor) = (scope.at("box_head"), scope.at("box_predictor"));
        Self {
            box_head: Dense {
                fc6: dense(head.at("fc6"), channels * REGION * REGION, hidden),
                fc7: dense(head.at("fc7"), hidden, hidden),
            },
            box_predictor: Predictor {
                cls_score: dense(predictor.at("cls_score"), hidden, classes + 1),
                bbox_pred: dense(predictor.at("bbox_pred"), hidden, 4 * (classes + 1)),
            },
        }
    }

    /// Of regions [n, c, 7, 7]: logits [n, 1 + classes], background first, and corrections [n, 4 · (1 + classes)].
    pub fn forward(&self, regions: Tensor<4>) -> [Tensor<2>; 2] {
        let x = relu(self.box_head.fc6.forward(regions.flatten(1, 3)));
        let x = relu(self.box_head.fc7.forward(x));
        [self.box_predictor.cls_score.forward(x.clone()), self.box_predictor.bbox_pred.forward(x)]
    }

    /// [`Self::forward`] written down.
    pub fn describe(&self, graph: &mut Graph, regions: &Value) -> [Value; 2] {
        let x = graph.flatten(regions);
        let x = self.box_head.fc6.describe(graph, &x);
        let x = graph.relu(&x);
        let x = self.box_head.fc7.describe(graph, &x);
        let x = graph.relu(&x);
        [self.box_predictor.cls_score.describe(graph, &x), self.box_predictor.bbox_pred.describe(graph, &x)]
    }
}
