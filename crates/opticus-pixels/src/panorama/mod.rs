//! Panoramas: pictures taken by a turning camera joined into one (Brown and Lowe 2007, "Automatic Panoramic Image
//! Stitching using Invariant Features").
//!
//! Pictures come in any order. [`View::of`] finds the points of one, [`register`] where each camera looked,
//! [`Composite`] puts the pictures together, one at a time. [`stitch`] does all of it.

mod adjust;
mod camera;
mod composite;
mod cut;
mod fault;
mod gain;
mod homography;
mod level;
mod matrix;
mod pairs;
mod projection;
mod seam;
mod view;
mod warp;

pub use camera::Camera;
pub use composite::{Composite, MOST_PIXELS};
pub use fault::PanoramaError;
pub use homography::{Homography, PointPair, direct_linear, ransac};
pub use pairs::{Pair, Registration, register};
pub use projection::Projection;
pub use view::{View, draw_pair};

use rayon::prelude::*;

use crate::photo::Photo;

/// How a panorama is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panorama {
    /// The surface that the pictures are laid on; by the field of view if none is said.
    pub projection: Option<Projection>,
    /// Cut down to the largest rectangle without a gap.
    pub crop: bool,
    /// Most pixels of the result.
    pub most_pixels: u64,
}

impl Default for Panorama {
    fn default() -> Self {
        Self { projection: None, crop: false, most_pixels: MOST_PIXELS }
    }
}

/// All steps for pictures that are in memory: the panorama, and how it was found.
///
/// # Errors
/// [`PanoramaError`], which says which pictures could not be joined and why.
pub fn stitch(photos: &[Photo], options: &Panorama) -> Result<(Photo, Registration), PanoramaError> {
    let views: Vec<View> = photos.par_iter().map(View::of).collect();
    let registration = register(&views)?;
    let mut composite = Composite::new(&views, &registration, options)?;
    for (number, photo) in photos.iter().enumerate() {
        composite.push(number, photo);
    }
    Ok((composite.finish(), registration))
}
