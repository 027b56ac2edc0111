//! RoIPool (Girshick 2015, "Fast R-CNN", section 2.1): the greatest value of each bin, its edges rounded.

use rayon::prelude::*;

use super::{Roi, check};

/// How regions are pooled. The definition is torchvision's `roi_pool`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RoiPool {
    /// Rows and columns of the result.
    pub bins: [usize; 2],
    /// Positions of the map to one pixel of the picture: 1/16 for a map of stride 16.
    pub scale: f32,
}

/// What [`roi_pool`] writes where a bin is empty.
const NOBODY: u32 = u32::MAX;

impl RoiPool {
    /// Rows (axis 0) or columns of bin `index` of a region from `from` to `to`, inside a map of `size` positions.
    fn range(&self, axis: usize, index: usize, [from, to]: [f32; 2], size: usize) -> std::ops::Range<usize> {
        // Half away from zero, as C's `round`. Positions past any map are as good as far ones.
        let round = |edge: f32| f64::from((edge * self.scale).round()).clamp(-1e9, 1e9);
        let (first, last) = (round(from), round(to));
        let bin = (last - first + 1.0).max(1.0) as f32 / self.bins[axis] as f32;
        let edge = |edge: f32| (f64::from(edge) + first).clamp(0.0, size as f64) as usize;
        edge((index as f32 * bin).floor())..edge(((index + 1) as f32 * bin).ceil())
    }
}

/// Regions of a map `[batch, channels, height, width]`, brought to `[regions, channels, bins, bins]`; empty bins are
/// zero. `winners` gets the position in its plane that each value came from, for the gradient.
///
/// # Panics
/// If a slice has another length than its shape, or a region is of a picture outside of the batch.
pub fn roi_pool(
    pool: &RoiPool,
    map: [usize; 4],
    x: &[f32],
    rois: &[Roi],
    out: &mut [f32],
    winners: &mut [u32],
) {
    check(map, rois, pool.bins, x.len(), out.len());
    assert!(winners.len() == out.len(), "winners have {} values, not {}", winners.len(), out.len());
    let [_, channels, height, width] = map;
    let bins = pool.bins[0] * pool.bins[1];
    if out.is_empty() {
        return;
    }
    out.par_chunks_mut(channels * bins).zip(winners.par_chunks_mut(channels * bins)).zip(rois).for_each(
        |((out, winners), roi)| {
            let [left, top, right, bottom] = roi.corners;
            for bin in 0..bins {
                let (y, x_bin) = (bin / pool.bins[1], bin % pool.bins[1]);
                let rows = pool.range(0, y, [top, bottom], height);
                let cols = pool.range(1, x_bin, [left, right], width);
                for channel in 0..channels {
                    let plane = &x[(roi.image * channels + channel) * height * width..][..height * width];
                    let (mut best, mut winner) = (f32::NEG_INFINITY, NOBODY);
                    for row in rows.clone() {
                        for col in cols.clone() {
                            let value = plane[row * width + col];
                            if value > best || winner == NOBODY {
                                (best, winner) = (value, (row * width + col) as u32);
                            }
                        }
                    }
                    out[channel * bins + bin] = if winner == NOBODY { 0.0 } else { best };
                    winners[channel * bins + bin] = winner;
                }
            }
        },
    );
}

/// Gradient of the map: each value's goes to the position that it came from. All of `dx` is written.
///
/// # Panics
/// If a slice has another length than its shape, or a winner is outside of the map.
pub fn roi_pool_backward(
    pool: &RoiPool,
    map: [usize; 4],
    dy: &[f32],
    rois: &[Roi],
    winners: &[u32],
    dx: &mut [f32],
) {
    check(map, rois, pool.bins, dx.len(), dy.len());
    assert!(winners.len() == dy.len(), "winners have {} values, not {}", winners.len(), dy.len());
    let [_, channels, height, width] = map;
    let (bins, plane) = (pool.bins[0] * pool.bins[1], height * width);
    dx.fill(0.0);
    if dx.is_empty() || dy.is_empty() {
        return;
    }
    dx.par_chunks_mut(plane).enumerate().for_each(|(i, dx)| {
        let (image, channel) = (i / channels, i % channels);
        for (r, _) in rois.iter().enumerate().filter(|(_, roi)| roi.image == image) {
            let at = (r * channels + channel) * bins;
            for (dy, &winner) in dy[at..at + bins].iter().zip(&winners[at..at + bins]) {
                if winner != NOBODY {
                    dx[winner as usize] += dy;
                }
            }
        }
    });
}
