//! Which algorithm for which shape.

use crate::{Conv2d, ConvShape};

/// Values in one vector.
const LANES: f64 = 16.0;
/// Multiply-adds of vectors in one cycle.
const FMA: f64 = 2.0;
/// Rows below which a register tile waits for its own sums.
const FEW_ROWS: f64 = 8.0;
/// Cycles to read one vector of pixels through a window, and write it to a panel.
const READ: f64 = 3.0;
/// Cycles to lay out one weight in the order of its tensor, and in another order.
const PACK: f64 = 1.0;
const PICK: f64 = 3.0;
/// Cycles to turn sixteen vectors of pixels into sixteen of channels.
const TURN: f64 = 100.0;
/// Cycles to turn and transform one tile of sixteen channels.
const TILE: f64 = 260.0;
/// Cycles to transform a filter of one input channel for sixteen output channels.
const FILTER: f64 = 150.0;
/// Of the products of transformed tiles, which come from the second and third cache.
const TRAFFIC: f64 = 1.2;

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

    /// The algorithm with the least expected [cost](Algorithm::cost).
    pub fn choose(shape: &ConvShape, pass: Pass) -> Algorithm {
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| algorithm.supports(shape, pass))
            .min_by(|a, b| a.cost(shape, pass).total_cmp(&b.cost(shape, pass)))
            .unwrap_or(Algorithm::Implicit)
    }

    /// Expected time of this pass, in cycles of one processor with vectors of sixteen. Only differences between
    /// algorithms matter; an ignored test holds them against measured times.
    pub fn cost(self, shape: &ConvShape, pass: Pass) -> f64 {
        let Conv2d { in_channels, out_channels, groups, .. } = shape.conv;
        let [inputs, outputs] = [in_channels / groups, out_channels / groups].map(|n| n as f64);
        let taps = shape.taps() as f64;
        let pixels = |plane: [usize; 2]| (shape.batch * plane[0] * plane[1]) as f64;
        // One of each pair is summed over, the other one is the result's; pixels of the result.
        let (inner, rows, plane) = match pass {
            Pass::BackwardData => (outputs, inputs, shape.input),
            _ => (inputs, outputs, shape.output),
        };
        match self {
            Algorithm::Implicit => {
                let vectors = (pixels(shape.output) / LANES).ceil();
                let weights = inner * rows * taps;
                let one = match pass {
                    Pass::Forward => {
                        vectors * inner * taps * (rows.max(FEW_ROWS) / FMA + READ) + PACK * weights
                    }
                    Pass::BackwardData => {
                        vectors * inner * taps * (rows.max(FEW_ROWS) / FMA + READ) + PICK * weights
                    }
                    // Pixels are summed over; rows lie side by side in the vectors.
                    Pass::BackwardWeight => {
                        let products = LANES * (rows / LANES).ceil() / FMA;
                        vectors * (inner * taps * (products + READ) + TURN / LANES * rows) + PICK * weights
                    }
                };
                groups as f64 * one
            }
            Algorithm::Winograd => {
                let tiles = shape.batch as f64 * plane.iter().map(|d| d.div_ceil(4) as f64).product::<f64>();
                let [inner_blocks, row_blocks] = [inner, rows].map(|n| (n / LANES).ceil());
                let products = 36.0 * tiles.max(FEW_ROWS) * inner * row_blocks / FMA;
                let (transforms, filters) = match pass {
                    Pass::BackwardWeight => (
                        inner_blocks * (rows / 64.0).ceil() + row_blocks * (inner / 64.0).ceil(),
                        // Each part of the tiles has its own sums.
                        inner * row_blocks * (16.0 / (inner * rows) * 4096.0).min(tiles / 56.0).max(1.0),
                    ),
                    _ => (inner_blocks + row_blocks, inner * row_blocks),
                };
                products * TRAFFIC + TILE * tiles * transforms + FILTER * filters
            }
            // Pixels are read for each product, which nothing else does.
            Algorithm::Depthwise => READ * pixels(shape.output) / LANES * taps * out_channels as f64,
            Algorithm::Dense => shape.multiplications() as f64 / LANES / FMA,
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
