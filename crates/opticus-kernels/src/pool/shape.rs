//! Sizes of a pooling, checked once before any memory is touched.

use std::fmt;

use crate::simd::Level;

/// What a pooling is, independent of its input size. Pairs are `[vertical, horizontal]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Pool2d {
    /// Size of the window, in taps.
    pub kernel: [usize; 2],
    /// Pixels from one window to the next.
    pub stride: [usize; 2],
    /// Pixels added on each side of the input; at most half of the window. They never win a maximum.
    pub padding: [usize; 2],
    /// Pixels from one tap to the next. Averages have none: 1.
    pub dilation: [usize; 2],
    /// Whether a last window that begins inside the input (or its padding before it) but ends past it counts.
    pub ceil: bool,
}

impl Pool2d {
    /// A pooling whose windows lie side by side, without padding.
    pub fn new(kernel: [usize; 2]) -> Pool2d {
        Pool2d { kernel, stride: kernel, padding: [0, 0], dilation: [1, 1], ceil: false }
    }

    /// All sizes of this pooling of an input of shape `[batch, channels, height, width]`, by PyTorch's rules.
    ///
    /// # Errors
    /// If the shapes cannot work: see [`PoolFault`].
    pub fn check(&self, input: [usize; 4]) -> Result<PoolShape, PoolShapeError> {
        let error = |fault| PoolShapeError { fault, shapes: Box::new((*self, input)) };
        if [self.kernel, self.stride, self.dilation].iter().any(|pair| pair.contains(&0)) {
            return Err(error(PoolFault::ZeroParameter));
        }
        let [batch, channels, height, width] = input;
        let size = [height, width];
        let mut output = [0; 2];
        for axis in 0..2 {
            let window =
                (self.kernel[axis] - 1).checked_mul(self.dilation[axis]).and_then(|w| w.checked_add(1));
            let window = window.filter(|&w| w <= LARGEST && self.stride[axis] <= LARGEST);
            let (Some(window), true) = (window, size[axis] <= LARGEST) else {
                return Err(error(PoolFault::TooLarge));
            };
            if self.padding[axis] > window / 2 {
                return Err(error(PoolFault::Padding));
            }
            let padded = size[axis] + 2 * self.padding[axis];
            if size[axis] == 0 || (window > padded && !self.ceil) {
                return Err(error(PoolFault::WindowLargerThanInput));
            }
            let stride = self.stride[axis];
            output[axis] = if self.ceil {
                let windows = padded.saturating_sub(window).div_ceil(stride) + 1;
                // The last one must not begin in the padding after the input.
                if (windows - 1) * stride >= size[axis] + self.padding[axis] { windows - 1 } else { windows }
            } else {
                (padded - window) / stride + 1
            };
        }
        let shape = PoolShape { pool: *self, batch, channels, input: size, output, level: Level::best() };
        let fits = [shape.input_shape(), shape.output_shape()].into_iter().all(|shape| {
            let volume = shape.iter().try_fold(1usize, |all, &d| all.checked_mul(d));
            volume.is_some_and(|v| v <= isize::MAX as usize / 256)
        });
        let taps = self.kernel[0].checked_mul(self.kernel[1]).is_some_and(|taps| taps < LARGEST);
        if fits && taps { Ok(shape) } else { Err(error(PoolFault::TooLarge)) }
    }
}

/// Sides are no longer than this, so that positions can be counted below zero and past the end.
const LARGEST: usize = i32::MAX as usize / 64;

/// All sizes of one pooling of one input. Made by [`Pool2d::check`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolShape {
    pub(super) pool: Pool2d,
    pub(super) batch: usize,
    pub(super) channels: usize,
    pub(super) input: [usize; 2],
    pub(super) output: [usize; 2],
    pub(super) level: Level,
}

impl PoolShape {
    /// The pooling.
    pub fn pool(&self) -> &Pool2d {
        &self.pool
    }

    /// Shape of the input: `[batch, channels, height, width]`.
    pub fn input_shape(&self) -> [usize; 4] {
        [self.batch, self.channels, self.input[0], self.input[1]]
    }

    /// Shape of the output: `[batch, channels, height, width]`.
    pub fn output_shape(&self) -> [usize; 4] {
        [self.batch, self.channels, self.output[0], self.output[1]]
    }

    /// Taps of one window.
    pub fn taps(&self) -> usize {
        self.pool.kernel[0] * self.pool.kernel[1]
    }

    /// The same sizes, computed with another instruction set.
    ///
    /// # Panics
    /// If the processor lacks it.
    pub fn at(self, level: Level) -> PoolShape {
        assert!(Level::available().contains(&level), "{level:?} is not available on this processor");
        PoolShape { level, ..self }
    }

    /// These sizes for no more images than there are.
    #[cfg(feature = "engine")]
    pub(crate) fn with_batch(self, batch: usize) -> PoolShape {
        PoolShape { batch: batch.min(self.batch), ..self }
    }

    pub(super) fn input_len(&self) -> usize {
        self.input_shape().iter().product()
    }

    pub(super) fn output_len(&self) -> usize {
        self.output_shape().iter().product()
    }

    /// Input position of a tap of a window along an axis, if it is inside the input.
    #[inline(always)]
    pub(super) fn position(&self, axis: usize, window: usize, tap: usize) -> Option<usize> {
        let position = window * self.pool.stride[axis] + tap * self.pool.dilation[axis];
        position.checked_sub(self.pool.padding[axis]).filter(|&p| p < self.input[axis])
    }
}

/// Shapes that cannot be pooled. The message names them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolShapeError {
    fault: PoolFault,
    /// The pooling and the shape of its input; boxed, as errors travel by value.
    shapes: Box<(Pool2d, [usize; 4])>,
}

/// What is wrong with the shapes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolFault {
    /// A kernel side, stride or dilation of zero.
    ZeroParameter,
    /// More padding than half of the window: there would be windows of nothing else.
    Padding,
    /// The input has no pixels, or the window, with dilation, is larger than the padded input.
    WindowLargerThanInput,
    /// A size overflows, or is larger than the kernels count.
    TooLarge,
}

impl PoolShapeError {
    /// What is wrong.
    pub fn fault(&self) -> PoolFault {
        self.fault
    }
}

impl fmt::Display for PoolShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pool2d { kernel, stride, padding, dilation, ceil } = self.shapes.0;
        let [batch, channels, height, width] = self.shapes.1;
        let why = match self.fault {
            PoolFault::ZeroParameter => "kernel, stride and dilation must be at least 1",
            PoolFault::Padding => "the padding is more than half of the window",
            PoolFault::WindowLargerThanInput => "the window is larger than the padded input",
            PoolFault::TooLarge => "the sizes are too large",
        };
        write!(
            f,
            "pooling with kernel {}×{}, stride {}×{}, padding {}×{}, dilation {}×{}{} of an input \
             {batch}×{channels}×{height}×{width}: {why}",
            kernel[0],
            kernel[1],
            stride[0],
            stride[1],
            padding[0],
            padding[1],
            dilation[0],
            dilation[1],
            if ceil { ", ceil" } else { "" },
        )
    }
}

impl std::error::Error for PoolShapeError {}
