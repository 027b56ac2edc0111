//! Which algorithm for which shape.

use crate::ConvShape;

/// A way to compute a convolution or one of its gradients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Algorithm {
    /// A matrix product whose right matrix is made panel by panel: any shape.
    Implicit,
    /// Winograd's minimal filtering, four by four outputs at a time: three by three taps, stride one.
    Winograd,
    /// Vectors of pixels under one weight each: one input channel a group.
    Depthwise,
    /// A plain matrix product: the window is the whole input.
    Dense,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 4] =
        [Algorithm::Implicit, Algorithm::Winograd, Algorithm::Depthwise, Algorithm::Dense];

    /// Whether the algorithm can compute this pass of this shape.
    pub fn supports(self, shape: &ConvShape, pass: Pass) -> bool {
        let conv = &shape.conv;
        match self {
            Algorithm::Implicit => true,
            Algorithm::Depthwise => conv.groups == conv.in_channels,
            Algorithm::Dense => {
                conv.groups == 1
                    && conv.kernel == shape.input
                    && shape.output == [1, 1]
                    && conv.padding == [0, 0]
                    && conv.dilation == [1, 1]
            }
            Algorithm::Winograd => {
                conv.kernel == [3, 3]
                    && conv.stride == [1, 1]
                    && conv.dilation == [1, 1]
                    && conv.groups == 1
                    // The gradient of the input is padded by what the forward pass leaves of two.
                    && (pass != Pass::BackwardData || conv.padding.iter().all(|&p| p <= 2))
            }
        }
    }

    /// The algorithm with the least expected time.
    pub fn choose(shape: &ConvShape, pass: Pass) -> Algorithm {
        let conv = &shape.conv;
        if Algorithm::Depthwise.supports(shape, pass) && conv.groups > 1 {
            return Algorithm::Depthwise;
        }
        if Algorithm::Dense.supports(shape, pass) {
            return Algorithm::Dense;
        }
        let winograd = Algorithm::Winograd.supports(shape, pass);
        if winograd && conv.in_channels >= 16 && conv.out_channels >= 16 {
            Algorithm::Winograd
        } else {
            Algorithm::Implicit
        }
    }
}

/// One of the three passes over a convolution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Pass {
    /// The output.
    Forward,
    /// The gradient of the input.
    BackwardData,
    /// The gradient of the weights.
    BackwardWeight,
}

impl Pass {
    /// All of them.
    pub const ALL: [Pass; 3] = [Pass::Forward, Pass::BackwardData, Pass::BackwardWeight];
}
