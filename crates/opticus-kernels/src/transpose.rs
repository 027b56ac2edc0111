//! Transposed convolution ("deconvolution") and its two gradients, through the kernels of the convolution that it
//! transposes: no zeros are inserted and multiplied.

use crate::shape::Fault;
use crate::{Activation, Conv2d, ConvShape, Method, ShapeError};

/// What a transposed convolution is, independent of its input size. Pairs are `[vertical, horizontal]`.
///
/// Weights have shape `[in_channels, out_channels / groups, kernel height, kernel width]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ConvTranspose2d {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Size of the window, in taps.
    pub kernel: [usize; 2],
    /// Output pixels from one input pixel to the next.
    pub stride: [usize; 2],
    /// Output pixels cut off on each side.
    pub padding: [usize; 2],
    /// Output pixels added at the bottom and the right; less than the stride.
    pub output_padding: [usize; 2],
    /// Pixels from one tap to the next.
    pub dilation: [usize; 2],
    /// Independent groups of channels: divides both channel counts.
    pub groups: usize,
}

/// All sizes of one transposed convolution of one input. Made by [`ConvTranspose2d::check`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ConvTransposeShape {
    /// The convolution from the output to the input.
    mirror: ConvShape,
}

impl ConvTranspose2d {
    /// All sizes of this transposed convolution of an input of shape `[batch, channels, height, width]`; the output
    /// has side `(input - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1`.
    ///
    /// # Errors
    /// If the shapes cannot work: see [`ShapeError`]; its message names the convolution that is transposed.
    pub fn check(&self, input: [usize; 4]) -> Result<ConvTransposeShape, ShapeError> {
        let conv = Conv2d {
            in_channels: self.out_channels,
            out_channels: self.in_channels,
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        };
        let error = |fault| ShapeError::new(fault, conv, input);
        conv.check_parameters().map_err(error)?;
        let [batch, channels, height, width] = input;
        if channels != self.in_channels {
            return Err(error(Fault::Channels));
        }
        let size = [height, width];
        let mut output = [0; 2];
        for axis in 0..2 {
            if self.output_padding[axis] >= self.stride[axis] || size[axis] == 0 {
                return Err(error(Fault::OutputPadding));
            }
            let spread = (size[axis] - 1).checked_mul(self.stride[axis]);
            let window = (self.kernel[axis] - 1).checked_mul(self.dilation[axis]);
            let whole = spread.zip(window).and_then(|(spread, window)| {
                spread.checked_add(window)?.checked_add(1 + self.output_padding[axis])
            });
            let cut = self.padding[axis].checked_mul(2);
            match whole.zip(cut) {
                None => return Err(error(Fault::TooLarge)),
                Some((whole, cut)) if whole <= cut => return Err(error(Fault::OutputPadding)),
                Some((whole, cut)) => output[axis] = whole - cut,
            }
        }
        let mirror = conv.check([batch, self.out_channels, output[0], output[1]])?;
        // An output padding within the stride gives back the very input size.
        if mirror.output == size {
            Ok(ConvTransposeShape { mirror })
        } else {
            Err(error(Fault::OutputPadding))
        }
    }
}

impl ConvTransposeShape {
    /// Shape of the input: `[batch, channels, height, width]`.
    pub fn input_shape(&self) -> [usize; 4] {
        self.mirror.output_shape()
    }

    /// Shape of the weights: `[in_channels, out_channels / groups, kernel height, kernel width]`.
    pub fn weight_shape(&self) -> [usize; 4] {
        self.mirror.weight_shape()
    }

    /// Shape of the output: `[batch, channels, height, width]`.
    pub fn output_shape(&self) -> [usize; 4] {
        self.mirror.input_shape()
    }

    /// Multiplications of the definition; twice as many floating-point operations.
    pub fn multiplications(&self) -> u64 {
        self.mirror.multiplications()
    }
}

/// `out = activation(x ∗ᵀ w + bias)`.
///
/// # Panics
/// If a slice has another length than `shape` says.
pub fn conv_transpose2d(
    shape: &ConvTransposeShape,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    out: &mut [f32],
) {
    Method::default().conv_transpose2d(shape, x, w, bias, activation, out);
}

/// Gradient of the input.
///
/// # Panics
/// If a slice has another length than `shape` says.
pub fn conv_transpose2d_backward_data(shape: &ConvTransposeShape, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    Method::default().conv2d(&shape.mirror, dy, w, None, Activation::None, dx);
}

/// Gradient of the weights.
///
/// # Panics
/// If a slice has another length than `shape` says.
pub fn conv_transpose2d_backward_weight(shape: &ConvTransposeShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    Method::default().backward_weight(&shape.mirror, dy, x, dw);
}

impl Method {
    /// As [`conv_transpose2d`].
    ///
    /// # Panics
    /// If a slice has another length than `shape` says.
    pub fn conv_transpose2d(
        self,
        shape: &ConvTransposeShape,
        x: &[f32],
        w: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        out: &mut [f32],
    ) {
        self.scatter_back(&shape.mirror, w, x, bias, activation, out);
    }
}
