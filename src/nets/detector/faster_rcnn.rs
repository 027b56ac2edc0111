//! Faster R-CNN (Ren et al. 2015) with a feature pyramid, as torchvision defines it: a backbone, a network that
//! proposes regions on each map, and two heads that say of each region what it is and where exactly.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use serde::{Deserialize, Serialize};

use super::Fpn;
use crate::nets::backbone::resnet::Resnet;
use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{ActivationKind, Conv2d, Conv2dConfig, Layer, Linear, describe, run};
use crate::nets::{NetKind, state};
use crate::tensors::TensorMap;
use crate::{Error, Result};

/// Channels of the pyramid's maps.
const CHANNELS: usize = 256;
/// Rows and columns of a region for the heads.
pub const REGION: usize = 7;
/// Bounds that keep a hostile card from asking for absurd memory.
const MAX_CLASSES: usize = 10_000;
const MAX_HIDDEN: usize = 8192;

/// What fixes the layers of a Faster R-CNN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FasterRcnnConfig {
    /// The network whose feature maps are used: a residual network.
    pub backbone: NetKind,
    /// Classes of objects, without background.
    pub classes: usize,
    /// Anchors at each position of each map.
    pub anchors: usize,
    /// Values between the two dense layers of the heads.
    #[serde(default = "hidden")]
    pub hidden: usize,
}

fn hidden() -> usize {
    1024
}

/// A backbone with its pyramid, the network that proposes, and the heads.
#[derive(Module, Debug)]
pub struct FasterRcnn {
    backbone: Body,
    rpn: Proposer,
    roi_heads: Heads,
}

/// The part of a backbone that makes maps, and the pyramid over them.
#[derive(Module, Debug)]
pub struct Body {
    body: Resnet,
    fpn: Fpn,
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

impl FasterRcnnConfig {
    /// Checks that the network can be built.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::Config(format!("faster-rcnn: {what}")));
        if !self.backbone.is_resnet() {
            return refuse(format!("{} is no residual network; give resnet18 to resnet101", self.backbone));
        }
        if !(1..=MAX_CLASSES).contains(&self.classes) {
            return refuse(format!("{} classes; give 1 to {MAX_CLASSES}", self.classes));
        }
        if !(1..=64).contains(&self.anchors) {
            return refuse(format!("{} anchors a position; give 1 to 64", self.anchors));
        }
        if !(1..=MAX_HIDDEN).contains(&self.hidden) {
            return refuse(format!("{} hidden values; give 1 to {MAX_HIDDEN}", self.hidden));
        }
        Ok(())
    }

    /// The network with initial weights that depend on the seed only, on this device.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn init(&self, seed: u64, device: &Device) -> Result<FasterRcnn> {
        self.build(&Scope::seeded(seed, device))
    }

    /// The network with all parameters zero, for weights that come later.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn blank(&self, device: &Device) -> Result<FasterRcnn> {
        self.build(&Scope::blank(device))
    }

    /// The network with these weights, on this device.
    ///
    /// # Errors
    /// As [`Self::validate`] and [`state::load_map`].
    pub fn load(&self, weights: &TensorMap, device: &Device) -> Result<FasterRcnn> {
        state::load_map(self.blank(device)?, weights)
    }

    fn build(&self, scope: &Scope) -> Result<FasterRcnn> {
        self.validate()?;
        let backbone = scope.at("backbone");
        let body = Resnet::body(&backbone.at("body"), self.backbone);
        let fpn = Fpn::new(&backbone.at("fpn"), &body.channels(), CHANNELS);
        Ok(FasterRcnn {
            backbone: Body { body, fpn },
            rpn: Proposer { head: Rpn::new(&scope.at("rpn").at("head"), CHANNELS, self.anchors) },
            roi_heads: Heads::new(&scope.at("roi_heads"), CHANNELS, self.hidden, self.classes),
        })
    }
}

impl FasterRcnn {
    /// The pyramid's maps [n, 256, h, w], from fine to coarse; the last one is for proposals only.
    pub fn maps(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        self.backbone.fpn.forward(self.backbone.body.maps(x))
    }

    /// The network that proposes.
    pub fn rpn(&self) -> &Rpn {
        &self.rpn.head
    }

    /// The heads.
    pub fn heads(&self) -> &Heads {
        &self.roi_heads
    }

    /// All that comes before the regions, written down: the maps, and for each of them logits and corrections of
    /// anchors.
    pub fn describe_maps(&self, graph: &mut Graph, x: &Value) -> (Vec<Value>, Vec<[Value; 2]>) {
        let maps = self.backbone.body.describe_maps(graph, x);
        let maps = self.backbone.fpn.describe(graph, &maps);
        let proposals = maps.iter().map(|map| self.rpn.head.describe(graph, map)).collect();
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
