//! Sizes of a convolution, checked once before any memory is touched.

use std::fmt;

/// What a convolution is, independent of its input size. Pairs are `[vertical, horizontal]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Conv2d {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Size of the window, in taps.
    pub kernel: [usize; 2],
    /// Pixels from one window to the next.
    pub stride: [usize; 2],
    /// Zeros added on each side of the input.
    pub padding: [usize; 2],
    /// Pixels from one tap to the next.
    pub dilation: [usize; 2],
    /// Independent groups of channels: divides both channel counts.
    pub groups: usize,
}

impl Conv2d {
    /// A convolution with stride 1, no padding, no dilation, one group.
    pub fn new(in_channels: usize, out_channels: usize, kernel: [usize; 2]) -> Conv2d {
        Conv2d {
            in_channels,
            out_channels,
            kernel,
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
        }
    }

    /// All sizes of this convolution of an input of shape `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// If the shapes cannot work: see [`ShapeError`].
    pub fn check(&self, input: [usize; 4]) -> Result<ConvShape, ShapeError> {
        let error = |fault| ShapeError::new(fault, *self, input);
        let [batch, channels, height, width] = input;
        self.check_parameters().map_err(error)?;
        if channels != self.in_channels {
            return Err(error(Fault::Channels));
        }
        let size = [height, width];
        let mut output = [0; 2];
        for axis in 0..2 {
            let (Some(padded), Some(window)) = (
                self.padding[axis].checked_mul(2).and_then(|p| p.checked_add(size[axis])),
                (self.kernel[axis] - 1).checked_mul(self.dilation[axis]).and_then(|w| w.checked_add(1)),
            ) else {
                return Err(error(Fault::TooLarge));
            };
            if window > padded {
                return Err(error(Fault::WindowLargerThanInput));
            }
            output[axis] = (padded - window) / self.stride[axis] + 1;
        }
        let shape = ConvShape { conv: *self, batch, input: size, output };
        if shape.fits() { Ok(shape) } else { Err(error(Fault::TooLarge)) }
    }

    pub(crate) fn check_parameters(&self) -> Result<(), Fault> {
        if self.in_channels == 0 || self.out_channels == 0 {
            return Err(Fault::NoChannels);
        }
        let divides = |channels: usize| self.groups > 0 && channels.is_multiple_of(self.groups);
        if !divides(self.in_channels) || !divides(self.out_channels) {
            return Err(Fault::Groups);
        }
        if self.kernel.contains(&0) || self.stride.contains(&0) || self.dilation.contains(&0) {
            return Err(Fault::ZeroParameter);
        }
        Ok(())
    }
}

/// All sizes of one convolution of one input. Made by [`Conv2d::check`]; every size in it is known to fit.
///
/// Tensors are contiguous: input `[batch, in_channels, height, width]`, weights
/// `[out_channels, in_channels / groups, kernel height, kernel width]`, output
/// `[batch, out_channels, output height, output width]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ConvShape {
    pub(crate) conv: Conv2d,
    pub(crate) batch: usize,
    pub(crate) input: [usize; 2],
    pub(crate) output: [usize; 2],
}

impl ConvShape {
    /// The convolution.
    pub fn conv(&self) -> &Conv2d {
        &self.conv
    }

    /// Shape of the input: `[batch, channels, height, width]`.
    pub fn input_shape(&self) -> [usize; 4] {
        [self.batch, self.conv.in_channels, self.input[0], self.input[1]]
    }

    /// Shape of the weights: `[out_channels, in_channels / groups, kernel height, kernel width]`.
    pub fn weight_shape(&self) -> [usize; 4] {
        let c = &self.conv;
        [c.out_channels, c.in_channels / c.groups, c.kernel[0], c.kernel[1]]
    }

    /// Shape of the output: `[batch, channels, height, width]`.
    pub fn output_shape(&self) -> [usize; 4] {
        [self.batch, self.conv.out_channels, self.output[0], self.output[1]]
    }

    /// Multiplications of the definition; twice as many floating-point operations.
    pub fn multiplications(&self) -> u64 {
        let per_output: usize = self.weight_shape()[1..].iter().product();
        per_output as u64 * self.output_shape().iter().map(|&d| d as u64).product::<u64>()
    }

    /// These sizes for no more images than there are.
    #[cfg(feature = "engine")]
    pub(crate) fn with_batch(self, batch: usize) -> ConvShape {
        ConvShape { batch: batch.min(self.batch), ..self }
    }

    pub(crate) fn input_len(&self) -> usize {
        self.input_shape().iter().product()
    }

    pub(crate) fn weight_len(&self) -> usize {
        self.weight_shape().iter().product()
    }

    pub(crate) fn output_len(&self) -> usize {
        self.output_shape().iter().product()
    }

    /// Taps of one window.
    pub(crate) fn taps(&self) -> usize {
        self.conv.kernel[0] * self.conv.kernel[1]
    }

    /// A vector of pixels may run over the ends of images: its lanes lie less than 32 bits apart.
    fn crossings_fit(&self) -> bool {
        self.batch <= 1
            || (self.input_len() / self.batch).max(self.output_len() / self.batch) <= i32::MAX as usize / 32
    }

    /// Whether every size, also of the work memory (a multiple of these), stays far from the end of the numbers,
    /// and offsets within a tensor fit in 32 bits where the kernels keep them so.
    fn fits(&self) -> bool {
        let volume = |shape: [usize; 4]| {
            shape
                .iter()
                .try_fold(1usize, |all, &d| all.checked_mul(d))
                .filter(|&v| v <= isize::MAX as usize / 256)
        };
        let plane =
            |size: [usize; 2]| size[0].checked_mul(size[1]).is_some_and(|v| v <= i32::MAX as usize / 64);
        let padded = [0, 1].map(|axis| self.input[axis].saturating_add(2 * self.conv.padding[axis]));
        volume(self.input_shape()).is_some()
            && volume(self.weight_shape()).is_some()
            && volume(self.output_shape()).is_some()
            && plane(padded)
            && plane(self.output)
            && self.crossings_fit()
            && self.conv.in_channels.checked_mul(self.taps()).is_some_and(|v| v <= i32::MAX as usize / 64)
    }
}

/// Shapes that cannot work. The message names them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShapeError {
    fault: Fault,
    /// The layer and the shape of its input; boxed, as errors travel by value.
    shapes: Box<(Conv2d, [usize; 4])>,
}

/// What is wrong with the shapes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No input channels or no output channels.
    NoChannels,
    /// The groups do not divide the channels.
    Groups,
    /// A kernel side, stride or dilation of zero.
    ZeroParameter,
    /// The input has other channels than the layer takes.
    Channels,
    /// The window, with dilation, is larger than the padded input.
    WindowLargerThanInput,
    /// Output padding is not smaller than the stride, or the output is empty.
    OutputPadding,
    /// A size overflows, or is larger than the kernels count.
    TooLarge,
}

impl ShapeError {
    pub(crate) fn new(fault: Fault, conv: Conv2d, input: [usize; 4]) -> ShapeError {
        ShapeError { fault, shapes: Box::new((conv, input)) }
    }

    /// What is wrong.
    pub fn fault(&self) -> Fault {
        self.fault
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conv2d { in_channels, out_channels, kernel, stride, padding, dilation, groups } = self.shapes.0;
        let [batch, channels, height, width] = self.shapes.1;
        let why = match self.fault {
            Fault::NoChannels => "a channel count is zero".to_owned(),
            Fault::Groups => format!("{groups} groups do not divide the channels"),
            Fault::ZeroParameter => "kernel, stride and dilation must be at least 1".to_owned(),
            Fault::Channels => format!("the input has {channels} channels, the layer takes {in_channels}"),
            Fault::WindowLargerThanInput => "the window is larger than the padded input".to_owned(),
            Fault::OutputPadding => {
                "output padding must be smaller than the stride, and the output not empty".to_owned()
            }
            Fault::TooLarge => "the sizes are too large".to_owned(),
        };
        write!(
            f,
            "convolution {in_channels}→{out_channels} channels, kernel {}×{}, stride {}×{}, padding {}×{}, \
             dilation {}×{}, {groups} group(s) of an input {batch}×{channels}×{height}×{width}: {why}",
            kernel[0], kernel[1], stride[0], stride[1], padding[0], padding[1], dilation[0], dilation[1],
        )
    }
}

impl std::error::Error for ShapeError {}
