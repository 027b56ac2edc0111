//! Regions of feature maps brought to one size, with gradients.

mod align;
mod pool;

pub use align::{RoiAlign, roi_align, roi_align_backward};
pub use pool::{RoiPool, roi_pool, roi_pool_backward};

use crate::partition::check_len;

/// A region of one picture of a batch.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Roi {
    /// Which picture of the batch.
    pub image: usize,
    /// Left, top, right and bottom edge, in pixels of the picture (not of the map). Need not be inside.
    pub corners: [f32; 4],
}

/// Lengths and pictures that the regions need.
fn check(map: [usize; 4], rois: &[Roi], bins: [usize; 2], map_len: usize, rois_len: usize) {
    let [batch, channels, height, width] = map;
    check_len("feature map", map_len, batch * channels * height * width);
    check_len("regions", rois_len, rois.len() * channels * bins[0] * bins[1]);
    assert!(
        rois.iter().all(|roi| roi.image < batch),
        "a region of a picture outside of the batch of {batch}"
    );
    assert!(height > 0 && width > 0 || rois.is_empty(), "regions of an empty map");
}
