//! One picture brought onto another of the same scene: by enhanced correlation (ECC), which does not mind other
//! exposures.

mod ecc;
pub(crate) mod linear;
mod warp;

pub use ecc::{Aligned, Alignment, align};
pub use warp::{Motion, warp};

use crate::geometry::Size;

/// What may lie between two pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MotionModel {
    /// A shift.
    Translation,
    /// Shift, turn and scale: hand-held series, focus breathing.
    #[default]
    Similarity,
    /// Any linear map and a shift.
    Affine,
    /// A plane seen from elsewhere, or a turned camera.
    Homography,
}

impl MotionModel {
    /// Number of parameters.
    pub const fn parameters(self) -> usize {
        match self {
            Self::Translation => 2,
            Self::Similarity => 4,
            Self::Affine => 6,
            Self::Homography => 8,
        }
    }
}

/// Why two pictures could not be brought onto each other.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AlignError {
    /// Nothing to go by.
    #[error("picture {number} could not be aligned: {why}")]
    Lost {
        /// Which picture, from 1; 0 where the caller knows.
        number: usize,
        /// What went wrong.
        why: String,
    },
    /// A picture without pixels.
    #[error("a picture of {}x{} pixels cannot be aligned; at least 16 a side are needed", .0.width, .0.height)]
    Small(Size),
}
