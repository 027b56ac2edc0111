//! Sizes of a normalised tensor, checked once before any memory is touched.

use std::fmt;

use crate::simd::Level;

/// Sizes of a contiguous tensor `[batch, channels, plane]` that is normalised channel by channel; `plane` is height
/// times width, or 1 for vectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NormShape {
    pub(super) batch: usize,
    pub(super) channels: usize,
    pub(super) plane: usize,
    pub(super) level: Level,
}

/// Values of one run: what the first cache holds, and few enough for sums in single precision.
pub(super) const RUN: usize = 2048;

impl NormShape {
    /// Sizes for statistics of the batch itself.
    ///
    /// # Errors
    /// As [`NormShape::inference`], and if a channel has no values to measure.
    pub fn training(shape: [usize; 3]) -> Result<NormShape, NormShapeError> {
        let checked = NormShape::inference(shape)?;
        if checked.per_channel() == 0 {
            return Err(NormShapeError { fault: NormFault::NoValues, shape });
        }
        Ok(checked)
    }

    /// Sizes for statistics that are given; there may be no values.
    ///
    /// # Errors
    /// If there are no channels, or the sizes overflow.
    pub fn inference(shape: [usize; 3]) -> Result<NormShape, NormShapeError> {
        let [batch, channels, plane] = shape;
        let error = |fault| Err(NormShapeError { fault, shape });
        if channels == 0 {
            return error(NormFault::NoChannels);
        }
        let len = shape.iter().try_fold(1usize, |all, &d| all.checked_mul(d));
        if len.is_none_or(|len| len > isize::MAX as usize / 256) {
            return error(NormFault::TooLarge);
        }
        Ok(NormShape { batch, channels, plane, level: Level::best() })
    }

    /// The same sizes, computed with another instruction set.
    ///
    /// # Panics
    /// If the processor lacks it.
    pub fn at(self, level: Level) -> NormShape {
        assert!(Level::available().contains(&level), "{level:?} is not available on this processor");
        NormShape { level, ..self }
    }

    pub(super) fn len(&self) -> usize {
        self.batch * self.channels * self.plane
    }

    pub(super) fn per_channel(&self) -> usize {
        self.batch * self.plane
    }

    /// Images of one run, and runs of one plane: one of both is 1.
    fn run_sizes(&self) -> (usize, usize) {
        ((RUN / self.plane.max(1)).max(1), self.plane.div_ceil(RUN).max(1))
    }

    /// Runs that make up a channel.
    pub(super) fn runs(&self) -> usize {
        let (images, segments) = self.run_sizes();
        if self.plane == 0 { 0 } else { self.batch.div_ceil(images) * segments }
    }

    /// The `index`-th run of a channel.
    #[inline(always)]
    pub(super) fn run(&self, channel: usize, index: usize) -> Run {
        let (images, segments) = self.run_sizes();
        let first = index / segments * images;
        let start = index % segments * RUN;
        Run {
            start: (first * self.channels + channel) * self.plane + start,
            images: images.min(self.batch - first),
            stride: self.channels * self.plane,
            len: (self.plane - start).min(RUN),
        }
    }
}

/// A part of one channel: `len` values of each of `images` images that follow each other.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub start: usize,
    pub images: usize,
    pub stride: usize,
    pub len: usize,
}

impl Run {
    /// Number of values.
    #[inline(always)]
    pub fn count(&self) -> usize {
        self.images * self.len
    }
}

/// Sizes that cannot be normalised. The message names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NormShapeError {
    fault: NormFault,
    shape: [usize; 3],
}

/// What is wrong with the sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NormFault {
    /// There are no channels.
    NoChannels,
    /// A channel has no values, so that it has no mean.
    NoValues,
    /// The sizes overflow.
    TooLarge,
}

impl NormShapeError {
    /// What is wrong.
    pub fn fault(&self) -> NormFault {
        self.fault
    }
}

impl fmt::Display for NormShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [batch, channels, plane] = self.shape;
        let why = match self.fault {
            NormFault::NoChannels => "there are no channels",
            NormFault::NoValues => "a channel has no values to take the mean of",
            NormFault::TooLarge => "the sizes are too large",
        };
        write!(f, "batch norm of {batch} images × {channels} channels × {plane} pixels: {why}")
    }
}

impl std::error::Error for NormShapeError {}
