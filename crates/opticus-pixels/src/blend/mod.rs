//! Several pictures into one, pixel by pixel and scale by scale: without tensors, usable by any program.

mod average;
mod clone;
mod colour;
mod exposure;
mod fault;
mod focus;
mod mask;
mod multiband;
mod poisson;
mod transform;

pub use average::{Reduction, alpha8, reduce, weighted};
pub use clone::{Gradients, change_colour, change_illumination, clone_into};
pub use colour::carry_colour;
pub use exposure::{Deghost, Exposure, Extended, Weights, fuse_exposures, stretch};
pub use fault::BlendError;
pub use focus::{Focus, FocusStack, Stacked};
pub use mask::Mask;
pub use multiband::{multiband, seam};
pub use transform::{Transform, fuse_transform};

use crate::preprocess::Planes;

/// Checks that there is at least one picture and that all have the size and channels of the first.
fn alike<'a>(pictures: &'a [&Planes]) -> Result<&'a Planes, BlendError> {
    let first = pictures.first().ok_or(BlendError::None)?;
    for (number, picture) in pictures.iter().enumerate() {
        if picture.size != first.size {
            return Err(BlendError::Sizes { number: number + 1, size: picture.size, first: first.size });
        }
        if picture.channels != first.channels {
            return Err(BlendError::Channels {
                number: number + 1,
                channels: picture.channels,
                first: first.channels,
            });
        }
        let wanted = picture.size.area() as usize * picture.channels;
        if picture.data.len() != wanted || wanted == 0 {
            return Err(BlendError::Empty { number: number + 1 });
        }
    }
    Ok(first)
}

/// Luma of red, green and blue planes (ITU-R BT.601, as MATLAB's `rgb2gray` rounds its weights); of one plane itself.
pub fn luma(picture: &Planes) -> Vec<f32> {
    let area = picture.size.area() as usize;
    match &picture.data.chunks_exact(area.max(1)).collect::<Vec<_>>()[..] {
        [r, g, b, ..] => r
            .iter()
            .zip(*g)
            .zip(*b)
            .map(|((r, g), b)| 0.298_936 * r + 0.587_043 * g + 0.114_021 * b)
            .collect(),
        [one, ..] => one.to_vec(),
        [] => Vec::new(),
    }
}
