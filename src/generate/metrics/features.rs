//! What the measures read: one row of numbers a picture.

use std::ops::Range;

use crate::error::{Error, Result};

/// Features of pictures: `count` rows of `width` finite numbers. Also similarities and probabilities, one row a
/// picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    count: usize,
    width: usize,
    data: Vec<f32>,
}

impl Features {
    /// Features of `count` pictures, row by row.
    ///
    /// # Errors
    /// [`Error::Input`] if there are no pictures or no numbers of each, if the numbers do not fill the rows, or one is
    /// not finite.
    pub fn new(count: usize, width: usize, data: Vec<f32>) -> Result<Self> {
        if count == 0 || width == 0 {
            return Err(Error::Input(format!(
                "{count} pictures with {width} features each cannot be measured; give at least one of both"
            )));
        }
        if count.checked_mul(width) != Some(data.len()) {
            return Err(Error::Input(format!(
                "{} values are not the features of {count} pictures with {width} each; give one row a picture",
                data.len()
            )));
        }
        if let Some(bad) = data.iter().position(|value| !value.is_finite()) {
            return Err(Error::Input(format!(
                "feature {} of picture {} is {}, which cannot be measured; check that picture, and the network that \
                 made the features",
                bad % width,
                bad / width,
                data[bad]
            )));
        }
        Ok(Self { count, width, data })
    }

    /// Number of pictures.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Number of features of each picture.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All numbers, row by row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The features of each picture, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.width)
    }

    /// The numbers of some pictures that follow one another.
    pub(super) fn part(&self, pictures: Range<usize>) -> &[f32] {
        &self.data[pictures.start * self.width..pictures.end * self.width]
    }
}

/// That two sets can be compared: features of one kind, and at least `least` pictures in each.
pub(super) fn check_pair(real: &Features, fake: &Features, least: usize, measure: &str) -> Result<()> {
    if real.width != fake.width {
        return Err(Error::Input(format!(
            "real pictures have {} features each and made ones {}; take both from the same network and layer",
            real.width, fake.width
        )));
    }
    for (set, name) in [(real, "real"), (fake, "made")] {
        if set.count < least {
            return Err(Error::Input(format!(
                "{measure} of {} {name} pictures is not defined; give at least {least}",
                set.count
            )));
        }
    }
    Ok(())
}

/// The pictures in blocks of at most `size`, in order.
pub(super) fn blocks(count: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(size).map(move |first| first..(first + size).min(count))
}
