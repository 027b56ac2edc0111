//! Which pixels are meant.

use super::BlendError;
use crate::geometry::Size;
use crate::photo::Photo;

/// How much each pixel is meant: 0 not, 1 wholly.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// Extent.
    pub size: Size,
    /// `height * width` values, 0 to 1.
    pub data: Vec<f32>,
}

impl Mask {
    /// From a picture: white is meant, black is not. Of a picture that is one colour throughout, its alpha.
    pub fn from_photo(photo: &Photo) -> Self {
        let luma = super::luma(&photo.colour);
        let plain = luma.iter().all(|v| Some(v) == luma.first());
        let data = match &photo.alpha {
            Some(alpha) if plain => alpha.clone(),
            _ => luma,
        };
        Self { size: photo.size(), data }
    }

    /// Whether each pixel is meant at all: what is not black, as OpenCV reads masks.
    pub fn inside(&self) -> Vec<bool> {
        self.data.iter().map(|v| *v > 0.0).collect()
    }

    /// # Errors
    /// [`BlendError::Mask`] if it is not of this size, or nothing is meant.
    pub fn check(&self, size: Size, of_what: &str) -> Result<(), BlendError> {
        if self.size != size || self.data.len() as u64 != size.area() {
            return Err(BlendError::Mask(format!(
                "the mask is {}x{}, {of_what} {}x{}; they must be of one size",
                self.size.width, self.size.height, size.width, size.height
            )));
        }
        if !self.data.iter().any(|v| *v > 0.0) {
            return Err(BlendError::Mask("the mask is empty: all of it is black".into()));
        }
        Ok(())
    }
}
