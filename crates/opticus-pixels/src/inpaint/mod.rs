//! Restoration under a mask: scratches, stamps and objects are replaced by what the rest of the picture suggests.
//!
//! - [`Method::Predictive`]: each lost pixel is predicted linearly from its neighbours, with weights learnt from the
//!   picture around; the best for scratches, text and other thin damage, and the default.
//! - [`Method::Biharmonic`], [`Method::Harmonic`]: the smoothest surfaces through the surroundings.
//! - [`Method::FastMarching`]: Telea's one pass from the rim inwards; the fastest.
//! - [`Method::Exemplar`]: patches copied from elsewhere in the picture; for objects and texture.

mod distance;
mod error;
mod exemplar;
mod march;
mod predict;
mod pyramid;
mod relax;

pub use error::InpaintError;
pub use exemplar::Exemplar;

use rayon::prelude::*;

use crate::geometry::Size;
use crate::preprocess::Planes;

/// How lost pixels are filled.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// From the rim inwards, each pixel as a weighted mean of first-order estimates of the known ones around it
    /// (Telea, "An image inpainting technique based on the fast marching method", 2004).
    FastMarching {
        /// Radius of the neighbourhood in pixels, 1 to 64: ε of the paper. Usually 3 to 10.
        radius: u32,
    },
    /// The surface of least slope (Laplace's equation) through the known pixels.
    Harmonic,
    /// The surface of least bending (the biharmonic equation) through the known pixels.
    Biharmonic,
    /// Linear prediction from the known pixels within 4, learnt around each lost pixel, after the biharmonic surface:
    /// the best for thin damage. What lies deeper is left as the biharmonic surface.
    Predictive,
    /// Patches from elsewhere in the picture, chosen from coarse to fine so that every part of the hole looks like some
    /// part of the picture: for objects and texture.
    Exemplar(Exemplar),
}

impl Method {
    /// Fast marching within 5 pixels.
    pub const MARCH: Self = Self::FastMarching { radius: 5 };
}

/// Settings of [`inpaint`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How lost pixels are filled.
    pub method: Method,
}

impl Default for Options {
    fn default() -> Self {
        Self { method: Method::Predictive }
    }
}

/// The picture with its lost pixels restored. `mask` has one entry per pixel, row by row; `true` is lost.
///
/// Pictures are grey or RGB, with or without alpha, which is not touched. Values are usually 0 to 1 in display
/// (sRGB-coded) terms; whatever they are, restored ones stay within the range of the known ones of their channel.
/// Known pixels are returned to the bit, and what stands under the mask has no influence (not even if it is not a
/// number). The result does not depend on the number of threads.
///
/// # Errors
/// If the numbers of samples, channels or mask entries do not fit, if nothing is known, if a known colour is not
/// finite, or if a setting is out of range.
pub fn inpaint(planes: &Planes, mask: &[bool], options: &Options) -> Result<Planes, InpaintError> {
    let scene = Scene::new(planes, mask)?;
    let mut restored = planes.clone();
    if scene.lost.is_empty() || scene.colours == 0 {
        return Ok(restored);
    }
    let mut field = Field::of(&scene, planes);
    match options.method {
        Method::FastMarching { radius } => {
            if !(1..=64).contains(&radius) {
                let (got, range) = (radius.to_string(), "1 to 64 pixels");
                return Err(InpaintError::Setting { setting: "radius", got, range });
            }
            march::fill(&mut field, mask, radius);
        }
        Method::Harmonic => relax::fill(&mut field, mask, relax::Order::Harmonic),
        Method::Biharmonic => relax::fill(&mut field, mask, relax::Order::Biharmonic),
        Method::Predictive => {
            relax::fill(&mut field, mask, relax::Order::Biharmonic);
            predict::refine(&mut field, mask);
        }
        Method::Exemplar(settings) => exemplar::fill(&mut field, mask, &settings)?,
    }
    let area = mask.len();
    let planes = restored.data.chunks_exact_mut(area).zip(&field.planes).zip(&field.ranges);
    for ((to, from), range) in planes {
        for i in &scene.lost {
            to[*i as usize] = range.hold(from[*i as usize]);
        }
    }
    Ok(restored)
}

/// What is asked, checked.
struct Scene {
    /// Channels that are restored.
    colours: usize,
    /// Pixels under the mask, in order.
    lost: Vec<u32>,
    /// Of each colour.
    ranges: Vec<Range>,
}

/// Least and greatest known value of a colour.
#[derive(Clone, Copy)]
struct Range {
    least: f32,
    most: f32,
}

impl Range {
    /// The nearest value within; the middle for what sums beyond all numbers have left.
    fn hold(self, value: f32) -> f32 {
        let value = if value.is_nan() { 0.5 * self.least + 0.5 * self.most } else { value };
        value.clamp(self.least, self.most)
    }
}

impl Scene {
    fn new(planes: &Planes, mask: &[bool]) -> Result<Self, InpaintError> {
        let Planes { channels, size, ref data } = *planes;
        if !(1..=4).contains(&channels) {
            return Err(InpaintError::Channels(channels));
        }
        if size.area() > 1 << 28 {
            return Err(InpaintError::TooLarge(size));
        }
        let want = size.area() * channels as u64;
        if data.len() as u64 != want {
            return Err(InpaintError::Samples { size, want, got: data.len() });
        }
        if mask.len() as u64 != size.area() {
            return Err(InpaintError::Mask { size, got: mask.len() });
        }
        let lost: Vec<u32> = (0u32..).zip(mask).filter_map(|(i, lost)| lost.then_some(i)).collect();
        if !lost.is_empty() && lost.len() == mask.len() {
            return Err(InpaintError::NothingKnown);
        }
        let colours = if channels.is_multiple_of(2) { channels - 1 } else { channels };
        let mut ranges = Vec::with_capacity(colours);
        if !lost.is_empty() {
            for (channel, plane) in data.chunks_exact(mask.len()).take(colours).enumerate() {
                let range = known_range(plane, mask).map_err(|i| InpaintError::NotFinite {
                    channel,
                    x: (i % size.width as usize) as u32,
                    y: (i / size.width as usize) as u32,
                })?;
                ranges.push(range);
            }
        }
        Ok(Self { colours, lost, ranges })
    }
}

/// The least and the greatest known value, or where one is not finite.
fn known_range(plane: &[f32], mask: &[bool]) -> Result<Range, usize> {
    let mut range = Range { least: f32::INFINITY, most: f32::NEG_INFINITY };
    for (i, (value, lost)) in plane.iter().zip(mask).enumerate() {
        if !lost {
            if !value.is_finite() {
                return Err(i);
            }
            range = Range { least: range.least.min(*value), most: range.most.max(*value) };
        }
    }
    Ok(range)
}

/// The colours while they are worked on.
struct Field {
    size: Size,
    /// What is lost holds the middle of the range at first.
    planes: Vec<Vec<f32>>,
    ranges: Vec<Range>,
}

impl Field {
    fn of(scene: &Scene, planes: &Planes) -> Self {
        let area = planes.size.area() as usize;
        let work = |(plane, range): (&[f32], &Range)| {
            let mut plane = plane.to_vec();
            for i in &scene.lost {
                plane[*i as usize] = range.hold(f32::NAN);
            }
            plane
        };
        let planes_ = planes.data.par_chunks_exact(area).take(scene.colours).zip(&scene.ranges).map(work);
        Self { size: planes.size, planes: planes_.collect(), ranges: scene.ranges.clone() }
    }
}
