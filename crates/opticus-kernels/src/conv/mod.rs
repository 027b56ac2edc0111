//! Convolution and its two gradients.

pub(crate) mod algorithm;
mod depthwise;
pub(crate) mod gradient;
pub(crate) mod implicit;
pub(crate) mod windows;
pub(crate) mod winograd;

use algorithm::{Algorithm, Pass};
use depthwise::{Depthwise, DepthwiseGradient};
use gradient::Gradient;
use implicit::{Implicit, Phase, WeightOrder};
use windows::Windows;
use winograd::{Filter, Winograd, WinogradGradient};

use crate::gemm::{Matrix, gemm_at};
use crate::simd::{Level, SharedMut};
use crate::{Activation, ConvShape};

/// How to compute: the instruction set, and the algorithm where it is not left to the cost model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Method {
    level: Level,
    algorithm: Option<Algorithm>,
}

impl Default for Method {
    fn default() -> Method {
        Method { level: Level::best(), algorithm: None }
    }
}

/// `out = activation(x ∗ w + bias)`, with the fastest method for the shape.
///
/// # Panics
/// If a slice has another length than `shape` says.
pub fn conv2d(
    shape: &ConvShape,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    out: &mut [f32],
) {
    Method::default().conv2d(shape, x, w, bias, activation, out);
}

/// Gradient of the input: `dx` from the weights and the gradient of the output.
///
/// # Panics
/// If a slice has another length than `shape` says.
pub fn conv2d_backward_data(shape: &ConvShape, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    Method::default().backward_data(shape, w, dy, dx);
}

/// Gradient of the weights: `dw` from the input and the gradient of the output.
///
/// # Panics
/// If a slice has another length than `shape` says.
pub fn conv2d_backward_weight(shape: &ConvShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    Method::default().backward_weight(shape, x, dy, dw);
}

/// Gradient of the bias: the sum of the output gradient over images and pixels, for each of the channels of
/// `output_shape` (`[batch, channels, height, width]`).
///
/// # Panics
/// If a slice has another length than `output_shape` says.
pub fn conv2d_backward_bias(output_shape: [usize; 4], dy: &[f32], db: &mut [f32]) {
    use rayon::prelude::*;
    let [batch, channels, height, width] = output_shape;
    let plane = height * width;
    check_len("output gradient", dy.len(), batch * channels * plane);
    check_len("bias gradient", db.len(), channels);
    db.par_iter_mut().enumerate().for_each(|(channel, db)| {
        let mut sum = 0.0f64;
        for image in 0..batch {
            let values = &dy[(image * channels + channel) * plane..][..plane];
            // Sixteen sums side by side: vectorised, and closer to the true sum than one after the other.
            let mut lanes = [0.0f32; 16];
            let chunks = values.chunks_exact(16);
            for (lane, value) in lanes.iter_mut().zip(chunks.remainder()) {
                *lane = *value;
            }
            for chunk in chunks {
                for (lane, value) in lanes.iter_mut().zip(chunk) {
                    *lane += *value;
                }
            }
            sum += lanes.iter().map(|&v| f64::from(v)).sum::<f64>();
        }
        *db = sum as f32;
    });
}

fn check_len(what: &str, got: usize, wanted: usize) {
    assert!(got == wanted, "{what} has {got} values, its shape has {wanted}");
}

impl Method {
    /// This method at another instruction set.
    ///
    /// # Panics
    /// If the processor lacks it.
    pub fn at(self, level: Level) -> Method {
        assert!(Level::available().contains(&level), "{level:?} is not available on this processor");
        Method { level, ..self }
    }

    /// This method with one algorithm, wherever that [supports](Algorithm::supports) the pass and the shape.
    pub fn by(self, algorithm: Algorithm) -> Method {
        Method { algorithm: Some(algorithm), ..self }
    }

    fn algorithm(self, shape: &ConvShape, pass: Pass) -> Algorithm {
        match self.algorithm {
            Some(algorithm) if algorithm.supports(shape, pass) => algorithm,
            _ => Algorithm::choose(shape, pass),
        }
    }

    /// As [`conv2d`].
    ///
    /// # Panics
    /// If a slice has another length than `shape` says.
    pub fn conv2d(
        self,
        shape: &ConvShape,
        x: &[f32],
        w: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        out: &mut [f32],
    ) {
        check_len("input", x.len(), shape.input_len());
        check_len("weights", w.len(), shape.weight_len());
        check_len("output", out.len(), shape.output_len());
        if let Some(bias) = bias {
            check_len("bias", bias.len(), shape.conv.out_channels);
        }
        let conv = &shape.conv;
        let (channels, rows) = (conv.in_channels / conv.groups, conv.out_channels / conv.groups);
        let taps = shape.taps();
        let algorithm = self.algorithm(shape, Pass::Forward);
        if algorithm == Algorithm::Dense {
            let x = Matrix::new(x, shape.batch, channels * taps);
            let w = Matrix::new(w, rows, channels * taps);
            return gemm_at(self.level, x, w.transpose(), bias, activation, out);
        }
        if algorithm == Algorithm::Depthwise {
            return Depthwise {
                phases: vec![Phase { windows: forward_windows(shape), taps: (0..taps).collect() }],
                input: x,
                weights: w,
                multiplier: rows,
                gradient: false,
                channels: conv.out_channels,
                out: SharedMut(out.as_mut_ptr()),
                out_plane: shape.output,
                step: [1, 1],
                bias,
                activation,
            }
            .run(self.level, taps);
        }
        if algorithm == Algorithm::Winograd {
            let filter = Filter { values: w, row: channels * taps, channel: taps, turned: false };
            return Winograd {
                input: x,
                input_plane: shape.input,
                output_plane: shape.output,
                padding: conv.padding,
                images: shape.batch,
                channels,
                rows,
                filter,
                bias,
                activation,
            }
            .run(self.level, out);
        }
        Implicit {
            phases: vec![Phase { windows: forward_windows(shape), taps: (0..taps).collect() }],
            input: x,
            weights: w,
            order: WeightOrder { row: channels * taps, channel: taps, group: rows * channels * taps },
            groups: conv.groups,
            channels,
            rows,
            out: SharedMut(out.as_mut_ptr()),
            out_plane: shape.output,
            step: [1, 1],
            bias,
            activation,
        }
        .run(self.level);
    }

    /// As [`conv2d_backward_data`].
    ///
    /// # Panics
    /// If a slice has another length than `shape` says.
    pub fn backward_data(self, shape: &ConvShape, w: &[f32], dy: &[f32], dx: &mut [f32]) {
        self.scatter_back(shape, w, dy, None, Activation::None, dx);
    }

    /// The gradient of the input, plus a bias, through an activation: also the transposed convolution.
    pub(crate) fn scatter_back(
        self,
        shape: &ConvShape,
        w: &[f32],
        dy: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        dx: &mut [f32],
    ) {
        check_len("weights", w.len(), shape.weight_len());
        check_len("output gradient", dy.len(), shape.output_len());
        check_len("input gradient", dx.len(), shape.input_len());
        let conv = &shape.conv;
        let (channels, rows) = (conv.out_channels / conv.groups, conv.in_channels / conv.groups);
        let taps = shape.taps();
        let algorithm = self.algorithm(shape, Pass::BackwardData);
        if algorithm == Algorithm::Dense {
            let dy = Matrix::new(dy, shape.batch, channels);
            let w = Matrix::new(w, channels, rows * taps);
            let spread: Option<Vec<f32>> =
                bias.map(|bias| bias.iter().flat_map(|&b| std::iter::repeat_n(b, taps)).collect());
            return gemm_at(self.level, dy, w, spread.as_deref(), activation, dx);
        }
        if algorithm == Algorithm::Depthwise {
            return Depthwise {
                phases: backward_phases(shape),
                input: dy,
                weights: w,
                multiplier: channels,
                gradient: true,
                channels: conv.in_channels,
                out: SharedMut(dx.as_mut_ptr()),
                out_plane: shape.input,
                step: conv.stride,
                bias,
                activation,
            }
            .run(self.level, taps);
        }
        if algorithm == Algorithm::Winograd {
            let filter = Filter { values: w, row: taps, channel: rows * taps, turned: true };
            return Winograd {
                input: dy,
                input_plane: shape.output,
                output_plane: shape.input,
                padding: conv.padding.map(|p| 2 - p),
                images: shape.batch,
                channels,
                rows,
                filter,
                bias,
                activation,
            }
            .run(self.level, dx);
        }
        Implicit {
            phases: backward_phases(shape),
            input: dy,
            weights: w,
            order: WeightOrder { row: taps, channel: rows * taps, group: channels * rows * taps },
            groups: conv.groups,
            channels,
            rows,
            out: SharedMut(dx.as_mut_ptr()),
            out_plane: shape.input,
            step: conv.stride,
            bias,
            activation,
        }
        .run(self.level);
    }

    /// As [`conv2d_backward_weight`].
    ///
    /// # Panics
    /// If a slice has another length than `shape` says.
    pub fn backward_weight(self, shape: &ConvShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        check_len("input", x.len(), shape.input_len());
        check_len("output gradient", dy.len(), shape.output_len());
        check_len("weight gradient", dw.len(), shape.weight_len());
        let conv = &shape.conv;
        let algorithm = self.algorithm(shape, Pass::BackwardWeight);
        if algorithm == Algorithm::Dense {
            let x = Matrix::new(x, shape.batch, conv.in_channels * shape.taps());
            let dy = Matrix::new(dy, shape.batch, conv.out_channels);
            return gemm_at(self.level, dy.transpose(), x, None, Activation::None, dw);
        }
        if algorithm == Algorithm::Depthwise {
            return DepthwiseGradient {
                windows: forward_windows(shape),
                input: x,
                output: dy,
                multiplier: conv.out_channels / conv.groups,
                rows: conv.out_channels,
            }
            .run(self.level, dw);
        }
        if algorithm == Algorithm::Winograd {
            return WinogradGradient {
                input: x,
                output: dy,
                input_plane: shape.input,
                output_plane: shape.output,
                padding: conv.padding,
                images: shape.batch,
                channels: conv.in_channels,
                rows: conv.out_channels,
            }
            .run(self.level, dw);
        }
        Gradient {
            windows: forward_windows(shape),
            input: x,
            output: dy,
            groups: conv.groups,
            channels: conv.in_channels / conv.groups,
            rows: conv.out_channels / conv.groups,
        }
        .run(self.level, dw);
    }
}

/// The windows of the forward pass.
fn forward_windows(shape: &ConvShape) -> Windows {
    let conv = &shape.conv;
    let taps = |axis: usize| {
        (0..conv.kernel[axis])
            .map(|tap| (tap * conv.dilation[axis]) as isize - conv.padding[axis] as isize)
            .collect()
    };
    Windows {
        grid: shape.output,
        step: conv.stride,
        plane: shape.input,
        image_stride: conv.in_channels * shape.input[0] * shape.input[1],
        images: shape.batch,
        tap_rows: taps(0),
        tap_cols: taps(1),
    }
}

/// The gradient of the input: for each phase of the stride a convolution of the output gradient with the taps that
/// reach it.
fn backward_phases(shape: &ConvShape) -> Vec<Phase> {
    let conv = &shape.conv;
    let mut phases = Vec::new();
    for phase_y in 0..conv.stride[0] {
        let vertical = phase_taps(shape, 0, phase_y);
        for phase_x in 0..conv.stride[1] {
            let horizontal = phase_taps(shape, 1, phase_x);
            let windows = Windows {
                grid: [0, 1].map(|axis| shape.input[axis].div_ceil(conv.stride[axis])),
                step: [1, 1],
                plane: shape.output,
                image_stride: conv.out_channels * shape.output[0] * shape.output[1],
                images: shape.batch,
                tap_rows: vertical.iter().map(|t| t.1).collect(),
                tap_cols: horizontal.iter().map(|t| t.1).collect(),
            };
            let taps = (vertical.iter())
                .flat_map(|r| horizontal.iter().map(|s| r.0 * conv.kernel[1] + s.0))
                .collect();
            phases.push(Phase { windows, taps });
        }
    }
    phases
}

/// The taps that reach input pixels `stride * i + phase` along one axis, each with the distance from `i` to the
/// output pixel it comes from: `output * stride = stride * i + phase + padding - tap * dilation`.
fn phase_taps(shape: &ConvShape, axis: usize, phase: usize) -> Vec<(usize, isize)> {
    let conv = &shape.conv;
    let stride = conv.stride[axis] as isize;
    (0..conv.kernel[axis])
        .map(|tap| (tap, (phase + conv.padding[axis]) as isize - (tap * conv.dilation[axis]) as isize))
        .filter(|(_, distance)| distance % stride == 0)
        .map(|(tap, distance)| (tap, distance / stride))
        .collect()
}
