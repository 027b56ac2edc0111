//! The part of a backbone that makes maps, for detectors.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::nets::NetKind;
use crate::nets::backbone::mobilenet_v3::{self, MobilenetV3, Norms};
use crate::nets::backbone::resnet::Resnet;
use crate::nets::backbone::small_cnn::{self, SmallCnn};
use crate::nets::backbone::squeezenet::{self, Squeezenet};
use crate::nets::graph::{Graph, Value};
use crate::nets::init::Scope;
use crate::nets::layers::transparent_module;

/// A classifier without its last layers, for colour pictures of any size. Its maps have numbers:
///
/// | backbone | maps, from fine to coarse |
/// |---|---|
/// | residual networks | 0 to 3: the four stages, of strides 4, 8, 16 and 32 |
/// | `squeezenet1_0` | 0 to 12: the outputs of `features`; 5, 10 and 12 are the last of strides 4, 8 and 16 |
/// | `small-cnn` | 0 to 5: the blocks; 0, 2 and 5 are the last of strides 2, 4 and 8 |
/// | `mobilenet_v3_*` | 0 to 12 or 16: the outputs of `features` |
///
/// Positions of a map lie at multiples of its stride: SqueezeNet's first convolution and its pools get the borders that
/// they lack in the classifier.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has one")]
pub enum Body {
    /// He et al. 2016.
    Resnet(Resnet),
    /// Ours: `blocks`.
    SmallCnn(Vec<small_cnn::Block>),
    /// Iandola et al. 2016: `features`.
    Squeezenet(Vec<squeezenet::Stage>),
    /// Howard et al. 2019: `features`.
    MobilenetV3(Vec<mobilenet_v3::Stage>),
}

transparent_module!(Body { Resnet, SmallCnn, Squeezenet, MobilenetV3 });

impl Body {
    /// The body of a backbone; `None` for backbones that have none. `epsilon` replaces what MobileNetV3's norms add to the
    /// variance: torchvision's detectors have 1e-5 there, its classifiers 1e-3.
    pub fn new(scope: &Scope, kind: NetKind, epsilon: Option<f64>) -> Option<Self> {
        match kind {
            kind if kind.is_resnet() => Some(Self::Resnet(Resnet::body(scope, kind))),
            NetKind::SmallCnn => Some(Self::SmallCnn(SmallCnn::body(scope))),
            NetKind::Squeezenet1_0 => Some(Self::Squeezenet(Squeezenet::body(scope))),
            NetKind::MobilenetV3Small | NetKind::MobilenetV3Large => {
                let usual = Norms::USUAL;
                let norms = Norms { epsilon: epsilon.unwrap_or(usual.epsilon), ..usual };
                Some(Self::MobilenetV3(MobilenetV3::body(scope, kind, norms)))
            }
            _ => None,
        }
    }

    /// The backbones that have one, for messages.
    pub const KINDS: &str =
        "resnet18 to resnet101, small-cnn, squeezenet1_0, mobilenet_v3_small, mobilenet_v3_large";

    /// Number of maps, of channels each; `None` if this backbone has no body.
    pub fn channels(kind: NetKind) -> Option<Vec<usize>> {
        match kind {
            kind if kind.is_resnet() => Some(Resnet::channels_of(kind).to_vec()),
            NetKind::SmallCnn => Some(small_cnn::channels()),
            NetKind::Squeezenet1_0 => Some(squeezenet::channels()),
            NetKind::MobilenetV3Small | NetKind::MobilenetV3Large => Some(mobilenet_v3::channels(kind)),
            _ => None,
        }
    }

    /// What a classifier's parameter is called here; `None` for those of its last layers.
    pub fn name(kind: NetKind, classifier: &str) -> Option<&str> {
        match kind {
            kind if kind.is_resnet() => (!classifier.starts_with("fc.")).then_some(classifier),
            NetKind::SmallCnn => classifier.strip_prefix("blocks."),
            _ => classifier.strip_prefix("features."),
        }
    }

    /// The maps of these numbers, which rise: [n, c, h, w].
    pub fn maps(&self, x: Tensor<4>, numbers: &[usize]) -> Vec<Tensor<4>> {
        match self {
            Self::Resnet(net) => chosen(net.maps(x), numbers),
            Self::SmallCnn(blocks) => through(blocks, x, numbers, |block, x| block.forward(x)),
            Self::Squeezenet(stages) => through(stages, x, numbers, |stage, x| stage.forward(x)),
            Self::MobilenetV3(stages) => through(stages, x, numbers, |stage, x| stage.forward(x)),
        }
    }

    /// [`Self::maps`] written down.
    pub fn describe_maps(&self, graph: &mut Graph, x: &Value, numbers: &[usize]) -> Vec<Value> {
        match self {
            Self::Resnet(net) => chosen(net.describe_maps(graph, x), numbers),
            Self::SmallCnn(blocks) => {
                through(blocks, x.clone(), numbers, |block, x| block.describe(graph, &x))
            }
            Self::Squeezenet(stages) => {
                through(stages, x.clone(), numbers, |stage, x| stage.describe(graph, &x))
            }
            Self::MobilenetV3(stages) => {
                through(stages, x.clone(), numbers, |stage, x| stage.describe(graph, &x))
            }
        }
    }

    /// With the first `stages` parts frozen: for residual networks the stem and the four stages, else the entries of
    /// `blocks` or `features`.
    pub fn freeze_first(self, stages: usize) -> Self {
        match self {
            Self::Resnet(net) => Self::Resnet(net.freeze_first(stages)),
            Self::SmallCnn(list) => Self::SmallCnn(freeze_first(list, stages)),
            Self::Squeezenet(list) => Self::Squeezenet(freeze_first(list, stages)),
            Self::MobilenetV3(list) => Self::MobilenetV3(freeze_first(list, stages)),
        }
    }
}

pub(super) fn freeze_first<M: Module>(list: Vec<M>, count: usize) -> Vec<M> {
    list.into_iter().enumerate().map(|(i, stage)| if i < count { stage.freeze() } else { stage }).collect()
}

fn chosen<T: Clone>(maps: Vec<T>, numbers: &[usize]) -> Vec<T> {
    numbers.iter().filter_map(|&number| maps.get(number).cloned()).collect()
}

fn through<S, T: Clone>(
    stages: &[S],
    mut x: T,
    numbers: &[usize],
    mut step: impl FnMut(&S, T) -> T,
) -> Vec<T> {
    let needed = numbers.last().map_or(0, |last| last + 1);
    let mut maps = Vec::with_capacity(numbers.len());
    for (number, stage) in stages.iter().enumerate().take(needed) {
        x = step(stage, x);
        if numbers.contains(&number) {
            maps.push(x.clone());
        }
    }
    maps
}
