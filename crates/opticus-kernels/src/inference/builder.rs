//! A network written down, one operation after another.

use std::fmt;
use std::sync::Arc;

use super::{Program, ProgramError, fuse};
use crate::{Activation, Averaged, Conv2d, Function, Pool2d};

/// What an operation of a [`Builder`] gives: `[batch, channels, height, width]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value(pub(super) usize);

/// Weights that are read when they are packed, and need not be held twice before.
#[derive(Clone)]
pub struct Source {
    len: usize,
    read: Arc<dyn Fn() -> Vec<f32> + Send + Sync>,
}

impl Source {
    /// `len` values that `read` gives, the same ones each time.
    pub fn new(len: usize, read: impl Fn() -> Vec<f32> + Send + Sync + 'static) -> Source {
        Source { len, read: Arc::new(read) }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The values.
    ///
    /// # Panics
    /// If they are not as many as was said.
    pub(super) fn values(&self) -> Vec<f32> {
        let values = (self.read)();
        assert!(values.len() == self.len, "{} weights were announced, {} came", self.len, values.len());
        values
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({} values)", self.len)
    }
}

impl From<Vec<f32>> for Source {
    fn from(values: Vec<f32>) -> Source {
        Source::new(values.len(), move || values.clone())
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// The batch of pictures, with so many channels.
    Input(usize),
    Conv(Conv),
    /// Per channel `scale · x + shift`.
    Affine {
        x: usize,
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    Apply {
        x: usize,
        function: Function,
    },
    MaxPool {
        x: usize,
        pool: Pool2d,
    },
    AvgPool {
        x: usize,
        pool: Pool2d,
        averaged: Averaged,
    },
    AdaptiveAvgPool {
        x: usize,
        size: [usize; 2],
    },
    Linear(Linear),
    Add {
        a: usize,
        b: usize,
    },
    Mul {
        a: usize,
        b: usize,
    },
    Concat(Vec<usize>),
    Every {
        x: usize,
        step: [usize; 2],
    },
    PadChannels {
        x: usize,
        before: usize,
        after: usize,
    },
    Nearest {
        x: usize,
        like: usize,
    },
    /// Channels over their norm.
    Normalize {
        x: usize,
        scale: Vec<f32>,
    },
}

/// Weights `[outputs, values]` with what was folded into them.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    pub source: Source,
    /// For each output what its weights are multiplied by, if anything.
    pub scale: Option<Vec<f32>>,
    /// For each output what is added.
    pub bias: Vec<f32>,
}

impl Weight {
    /// Follows them by `scale · y + shift`.
    pub fn fold(&mut self, scale: &[f32], shift: &[f32]) {
        for ((bias, scale), shift) in self.bias.iter_mut().zip(scale).zip(shift) {
            *bias = *bias * scale + shift;
        }
        match &mut self.scale {
            Some(known) => known.iter_mut().zip(scale).for_each(|(known, scale)| *known *= scale),
            None => self.scale = Some(scale.to_vec()),
        }
    }

    /// The weights as they are to be applied.
    pub fn values(&self) -> Vec<f32> {
        let mut values = self.source.values();
        if let Some(scale) = &self.scale {
            let row = (values.len() / scale.len().max(1)).max(1);
            for (row, scale) in values.chunks_exact_mut(row).zip(scale) {
                row.iter_mut().for_each(|weight| *weight *= scale);
            }
        }
        values
    }
}

/// A convolution with what follows it.
#[derive(Clone, Debug)]
pub(super) struct Conv {
    pub x: usize,
    pub conv: Conv2d,
    pub weight: Weight,
    /// Added before the activation.
    pub residual: Option<usize>,
    pub activation: Activation,
}

/// A dense layer with what follows it.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    pub x: usize,
    pub outputs: usize,
    pub weight: Weight,
    pub activation: Activation,
}

impl Conv {
    /// Whether nothing follows yet.
    pub fn plain(&self) -> bool {
        self.residual.is_none() && self.activation == Activation::None
    }
}

impl Node {
    /// Calls `f` with each value that is read.
    pub fn each_read(&mut self, mut f: impl FnMut(&mut usize)) {
        match self {
            Node::Input(_) => {}
            Node::Conv(conv) => {
                f(&mut conv.x);
                conv.residual.iter_mut().for_each(f);
            }
            Node::Linear(linear) => f(&mut linear.x),
            Node::Affine { x, .. }
            | Node::Apply { x, .. }
            | Node::MaxPool { x, .. }
            | Node::AvgPool { x, .. }
            | Node::AdaptiveAvgPool { x, .. }
            | Node::Every { x, .. }
            | Node::Normalize { x, .. }
            | Node::PadChannels { x, .. } => f(x),
            Node::Add { a, b } | Node::Mul { a, b } | Node::Nearest { x: a, like: b } => {
                f(a);
                f(b);
            }
            Node::Concat(values) => values.iter_mut().for_each(f),
        }
    }

    /// The values that are read.
    pub fn reads(&self) -> Vec<usize> {
        match self {
            Node::Input(_) => Vec::new(),
            Node::Conv(conv) => [conv.x].into_iter().chain(conv.residual).collect(),
            Node::Linear(linear) => vec![linear.x],
            Node::Affine { x, .. }
            | Node::Apply { x, .. }
            | Node::MaxPool { x, .. }
            | Node::AvgPool { x, .. }
            | Node::AdaptiveAvgPool { x, .. }
            | Node::Every { x, .. }
            | Node::Normalize { x, .. }
            | Node::PadChannels { x, .. } => vec![*x],
            Node::Add { a, b } | Node::Mul { a, b } | Node::Nearest { x: a, like: b } => vec![*a, *b],
            Node::Concat(values) => values.clone(),
        }
    }
}

/// Writes down a network. Shapes that do not fit are reported by [`Builder::finish`], with the first of them.
#[derive(Debug)]
pub struct Builder {
    nodes: Vec<Node>,
    fault: Option<ProgramError>,
}

impl Builder {
    /// A network of pictures with so many channels, and its input; height and width are known when it runs.
    pub fn new(channels: usize) -> (Builder, Value) {
        (Builder { nodes: vec![Node::Input(channels)], fault: None }, Value(0))
    }

    /// The operations as they were written down.
    #[cfg(test)]
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn push(&mut self, node: Node) -> Value {
        self.nodes.push(node);
        Value(self.nodes.len() - 1)
    }

    fn expect_len(&mut self, what: &str, got: usize, wanted: usize) {
        if got != wanted && self.fault.is_none() {
            self.fault = Some(ProgramError::parameters(self.nodes.len(), what, got, wanted));
        }
    }

    /// Convolution with weights `[out, in / groups, kernel height, kernel width]` and a bias per output channel.
    pub fn conv(&mut self, x: Value, conv: Conv2d, weight: impl Into<Source>, bias: Option<&[f32]>) -> Value {
        let wanted =
            [conv.out_channels, conv.in_channels / conv.groups.max(1), conv.kernel[0], conv.kernel[1]];
        let wanted = wanted.iter().try_fold(1usize, |all, &d| all.checked_mul(d)).unwrap_or(usize::MAX);
        let source: Source = weight.into();
        self.expect_len("weights of a convolution", source.len(), wanted);
        let bias = bias.map_or_else(|| vec![0.0; conv.out_channels.min(source.len())], <[f32]>::to_vec);
        self.expect_len("bias of a convolution", bias.len(), conv.out_channels);
        let weight = Weight { source, scale: None, bias };
        self.push(Node::Conv(Conv { x: x.0, conv, weight, residual: None, activation: Activation::None }))
    }

    /// Per channel `scale · x + shift`: a batch normalisation by its running statistics.
    pub fn affine(&mut self, x: Value, scale: &[f32], shift: &[f32]) -> Value {
        self.expect_len("shift of channels", shift.len(), scale.len());
        self.push(Node::Affine { x: x.0, scale: scale.to_vec(), shift: shift.to_vec() })
    }

    /// A function of each value.
    pub fn apply(&mut self, x: Value, function: Function) -> Value {
        self.push(Node::Apply { x: x.0, function })
    }

    /// The greatest value of each window.
    pub fn max_pool(&mut self, x: Value, pool: Pool2d) -> Value {
        self.push(Node::MaxPool { x: x.0, pool })
    }

    /// The mean of each window.
    pub fn avg_pool(&mut self, x: Value, pool: Pool2d, averaged: Averaged) -> Value {
        self.push(Node::AvgPool { x: x.0, pool, averaged })
    }

    /// Means of windows that share the plane out evenly to a fixed `[height, width]`.
    pub fn adaptive_avg_pool(&mut self, x: Value, size: [usize; 2]) -> Value {
        self.push(Node::AdaptiveAvgPool { x: x.0, size })
    }

    /// Fully connected layer of all values of a picture in the order channel, row, column; weights
    /// `[outputs, values]`. Gives `[batch, outputs, 1, 1]`.
    pub fn linear(
        &mut self,
        x: Value,
        outputs: usize,
        weight: impl Into<Source>,
        bias: Option<&[f32]>,
    ) -> Value {
        let source: Source = weight.into();
        let bias = bias.map_or_else(|| vec![0.0; outputs.min(source.len())], <[f32]>::to_vec);
        self.expect_len("bias of a dense layer", bias.len(), outputs);
        let weight = Weight { source, scale: None, bias };
        self.push(Node::Linear(Linear { x: x.0, outputs, weight, activation: Activation::None }))
    }

    /// Sum of two values of one shape.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.push(Node::Add { a: a.0, b: b.0 })
    }

    /// Product of two values of one shape, or of `a` with one value a channel: `b` is `[batch, channels, 1, 1]`.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.push(Node::Mul { a: a.0, b: b.0 })
    }

    /// Maps one after another along the channels.
    pub fn concat(&mut self, values: &[Value]) -> Value {
        self.push(Node::Concat(values.iter().map(|value| value.0).collect()))
    }

    /// Every `step[0]`-th row and `step[1]`-th column, from the first on.
    pub fn every(&mut self, x: Value, step: [usize; 2]) -> Value {
        self.push(Node::Every { x: x.0, step })
    }

    /// Channels of zeros before and after the map's own.
    pub fn pad_channels(&mut self, x: Value, before: usize, after: usize) -> Value {
        self.push(Node::PadChannels { x: x.0, before, after })
    }

    /// The map at the height and width of `like`, each position from the nearest one: row `y` of `n` comes from row
    /// `⌊y · rows / n⌋`.
    pub fn nearest(&mut self, x: Value, like: Value) -> Value {
        self.push(Node::Nearest { x: x.0, like: like.0 })
    }

    /// The channels of each position divided by their Euclidean norm (no less than 1e-12), then times one number a
    /// channel.
    pub fn normalize(&mut self, x: Value, scale: &[f32]) -> Value {
        self.push(Node::Normalize { x: x.0, scale: scale.to_vec() })
    }

    /// The program that computes these values.
    ///
    /// # Errors
    /// Parameters that do not fit their operation.
    pub fn finish(self, outputs: &[Value]) -> Result<Program, ProgramError> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(Program::new(fuse::fuse(self.nodes, outputs))),
        }
    }
}
