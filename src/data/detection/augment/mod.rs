//! Random changes to a picture together with what is in it.
//!
//! Every change of geometry is a [`Placement`](opticus_pixels::geometry::Placement) or a mirror image, so that the
//! picture and its boxes move by the same numbers. All that is random comes from the generator given.

mod config;
mod crop;
mod mosaic;
mod scene;
#[cfg(test)]
mod tests;

use rand::RngExt;

pub use config::{Expand, IouCrop, Keep, Photometric, ScaleJitter, SceneAugment};
pub use scene::Scene;

use crate::data::sampler::DataRng;
use crate::error::Result;

/// The scenes of a data set as they are, by number.
pub trait Scenes {
    /// Number of scenes.
    fn count(&self) -> usize;

    /// One of them.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) naming the picture that cannot be read.
    fn scene(&self, index: usize) -> Result<Scene>;
}

impl SceneAugment {
    /// Scene `index` as it is seen this time: a mosaic or the scene itself; then colours, a wider frame, a part, another
    /// size, mirror images.
    ///
    /// # Errors
    /// Those of `scenes`.
    pub fn apply(&self, scenes: &impl Scenes, index: usize, rng: &mut DataRng) -> Result<Scene> {
        let mut scene = if chance(self.mosaic, rng) {
            mosaic::mosaic(scenes, index, self, rng)?
        } else {
            scenes.scene(index)?.clipped(&self.keep)
        };
        if let Some(photometric) = &self.photometric {
            scene.image = photometric.apply(scene.image, rng);
        }
        if let Some(expand) = &self.expand {
            scene = expand.apply(scene, self, rng);
        }
        if let Some(crop) = &self.crop {
            scene = crop.apply(scene, &self.keep, rng);
        }
        if let Some(jitter) = &self.scale_jitter {
            scene = jitter.apply(scene, self, rng);
        }
        if chance(self.flip, rng) {
            scene = scene.mirrored();
        }
        if chance(self.vertical_flip, rng) {
            scene = scene.upside_down();
        }
        Ok(scene)
    }
}

/// Whether something of this probability happens. Always draws, so that one setting does not shift the others' draws.
fn chance(probability: f64, rng: &mut DataRng) -> bool {
    rng.random::<f64>() < probability
}
