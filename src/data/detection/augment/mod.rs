//! Random changes to a picture together with what is in it.

use opticus_pixels::{Box2d, Image8};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Annotation;
use crate::data::sampler::DataRng;
use crate::error::{Error, Result};

/// A picture with what is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The picture.
    pub image: Image8,
    /// The objects, in its pixels.
    pub annotations: Vec<Annotation>,
    /// Regions that may hold an object, in its pixels; they move along.
    pub proposals: Vec<Box2d>,
}

/// Random changes to training pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SceneAugment {
    /// Probability of a mirror image, left for right.
    pub flip: f64,
}

impl Default for SceneAugment {
    fn default() -> Self {
        Self { flip: 0.5 }
    }
}

impl SceneAugment {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value out of range.
    pub fn validate(&self) -> Result<()> {
        match (0.0..=1.0).contains(&self.flip) {
            true => Ok(()),
            false => Err(Error::Config(format!("augment.flip is {}; give 0 to 1", self.flip))),
        }
    }

    /// Scene `index` as it is seen this time. `scene` gives any scene of the data set as it is.
    ///
    /// # Errors
    /// Those of `scene`.
    pub fn apply(
        &self,
        scene: &dyn Fn(usize) -> Result<Scene>,
        index: usize,
        rng: &mut DataRng,
    ) -> Result<Scene> {
        let mut scene = scene(index)?;
        if rng.random::<f64>() < self.flip {
            let width = f64::from(scene.image.size.width);
            let flip = |b: &mut Box2d| (b.x1, b.x2) = (width - b.x2, width - b.x1);
            scene.annotations.iter_mut().for_each(|a| flip(&mut a.bounds));
            scene.proposals.iter_mut().for_each(flip);
            let (row, pixel) = (scene.image.size.width as usize * scene.image.channels, scene.image.channels);
            for row in scene.image.data.chunks_exact_mut(row.max(1)) {
                row.reverse();
                row.chunks_exact_mut(pixel).for_each(<[u8]>::reverse);
            }
        }
        Ok(scene)
    }
}
