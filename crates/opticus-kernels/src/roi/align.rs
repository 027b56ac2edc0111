//! RoIAlign (He et al. 2017, "Mask R-CNN", section 3): means of samples read between pixels.

use rayon::prelude::*;

use super::{Roi, check};
use crate::scratch::Scratch;

/// How regions are sampled. The definition is torchvision's `roi_align`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RoiAlign {
    /// Rows and columns of the result.
    pub bins: [usize; 2],
    /// Positions of the map to one pixel of the picture: 1/16 for a map of stride 16.
    pub scale: f32,
    /// Samples along each side of a bin; `None` for as many as the bin has positions, rounded up.
    pub samples: Option<usize>,
    /// Whether pixel centres lie at one half, as they should; the original does not, and makes a region of no size
    /// one position large.
    pub aligned: bool,
}

/// Samples along each side of a bin beyond which nothing is gained: a bound on the work of huge regions.
const MOST_SAMPLES: usize = 64;

/// One pixel that a bin reads, and its share.
#[derive(Clone, Copy)]
struct Share {
    pixel: u32,
    weight: f32,
}

/// What the bins of one region read: `starts[bin]..starts[bin + 1]` of the shares.
#[derive(Default)]
struct Reads {
    shares: Vec<Share>,
    starts: Vec<usize>,
}

impl RoiAlign {
    /// Calls `f` with each bin, position of the map and share that the bin reads of it, for one region of a map of
    /// this size.
    #[cfg(feature = "engine")]
    pub(crate) fn each_share(
        &self,
        corners: [f32; 4],
        size: [usize; 2],
        mut f: impl FnMut(usize, usize, f32),
    ) {
        let mut reads = Reads::default();
        self.describe(&mut reads, corners, size);
        for bin in 0..self.bins[0] * self.bins[1] {
            for share in &reads.shares[reads.starts[bin]..reads.starts[bin + 1]] {
                f(bin, share.pixel as usize, share.weight);
            }
        }
    }

    /// Describes a region of a map of this size.
    fn describe(&self, reads: &mut Reads, corners: [f32; 4], size: [usize; 2]) {
        reads.shares.clear();
        reads.starts.clear();
        let offset = if self.aligned { 0.5 } else { 0.0 };
        let [left, top, right, bottom] = corners.map(|edge| edge * self.scale - offset);
        let side = |from: f32, to: f32| if self.aligned { to - from } else { (to - from).max(1.0) };
        let starts = [top, left];
        let bin = [side(top, bottom) / self.bins[0] as f32, side(left, right) / self.bins[1] as f32];
        let grid = bin.map(|bin| match self.samples {
            Some(samples) => samples,
            None => (bin.ceil().max(0.0) as usize).min(MOST_SAMPLES),
        });
        let share = 1.0 / (grid[0] * grid[1]).max(1) as f32;
        // The two positions along an axis that a sample lies between.
        let between = |axis: usize, index: usize, sample: usize| {
            let at = starts[axis]
                + index as f32 * bin[axis]
                + (sample as f32 + 0.5) * bin[axis] / grid[axis] as f32;
            let last = size[axis] - 1;
            // More than one position outside nothing is seen; NaN sees nothing either.
            if !(at >= -1.0 && at <= size[axis] as f32) {
                return None;
            }
            let at = at.max(0.0);
            let low = at as usize;
            if low >= last { Some(([last, last], 0.0)) } else { Some(([low, low + 1], at - low as f32)) }
        };
        for y in 0..self.bins[0] {
            for x in 0..self.bins[1] {
                reads.starts.push(reads.shares.len());
                for sample_y in 0..grid[0] {
                    let Some((rows, down)) = between(0, y, sample_y) else { continue };
                    for sample_x in 0..grid[1] {
                        let Some((cols, right)) = between(1, x, sample_x) else { continue };
                        for (row, vertical) in rows.into_iter().zip([1.0 - down, down]) {
                            for (col, horizontal) in cols.into_iter().zip([1.0 - right, right]) {
                                let weight = vertical * horizontal * share;
                                if weight != 0.0 {
                                    reads.shares.push(Share { pixel: (row * size[1] + col) as u32, weight });
                                }
                            }
                        }
                    }
                }
            }
        }
        reads.starts.push(reads.shares.len());
    }
}

/// Regions of a map `[batch, channels, height, width]`, brought to `[regions, channels, bins, bins]`.
///
/// # Panics
/// If a slice has another length than its shape, or a region is of a picture outside of the batch.
pub fn roi_align(align: &RoiAlign, map: [usize; 4], x: &[f32], rois: &[Roi], out: &mut [f32]) {
    check(map, rois, align.bins, x.len(), out.len());
    let [_, channels, height, width] = map;
    let bins = align.bins[0] * align.bins[1];
    if out.is_empty() {
        return;
    }
    let turned = channels_last(map, x);
    out.par_chunks_mut(channels * bins).zip(rois).for_each_init(Reads::default, |reads, (out, roi)| {
        align.describe(reads, roi.corners, [height, width]);
        let picture = &turned[roi.image * channels * height * width..][..channels * height * width];
        let mut sums = Scratch::new(channels);
        for bin in 0..bins {
            sums.fill(0.0);
            for share in &reads.shares[reads.starts[bin]..reads.starts[bin + 1]] {
                let pixel = &picture[share.pixel as usize * channels..][..channels];
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += share.weight * value;
                }
            }
            for (channel, sum) in sums.iter().enumerate() {
                out[channel * bins + bin] = *sum;
            }
        }
    });
}

/// Channels summed at a time: a cache line.
const LINE: usize = 16;

/// Gradient of the map from that of the regions. All of `dx` is written; regions are added in their order, so that
/// the result does not depend on the threads.
///
/// # Panics
/// If a slice has another length than its shape, or a region is of a picture outside of the batch.
pub fn roi_align_backward(align: &RoiAlign, map: [usize; 4], dy: &[f32], rois: &[Roi], dx: &mut [f32]) {
    check(map, rois, align.bins, dx.len(), dy.len());
    let [_, channels, height, width] = map;
    let (bins, plane) = (align.bins[0] * align.bins[1], height * width);
    dx.fill(0.0);
    if dx.is_empty() || dy.is_empty() {
        return;
    }
    let reads: Vec<Reads> = rois
        .par_iter()
        .map(|roi| {
            let mut reads = Reads::default();
            align.describe(&mut reads, roi.corners, [height, width]);
            reads
        })
        .collect();
    let by_image = |image: usize, dx: &mut [f32]| {
        dx.par_chunks_mut(LINE * plane).enumerate().for_each(|(block, dx)| {
            let here = dx.len() / plane;
            let mut sums = Scratch::zeroed(plane * LINE);
            for (i, (roi, reads)) in rois.iter().zip(&reads).enumerate() {
                if roi.image != image {
                    continue;
                }
                let dy = &dy[(i * channels + block * LINE) * bins..][..here * bins];
                let mut values = [0.0f32; LINE];
                for bin in 0..bins {
                    for (channel, value) in values[..here].iter_mut().enumerate() {
                        *value = dy[channel * bins + bin];
                    }
                    for share in &reads.shares[reads.starts[bin]..reads.starts[bin + 1]] {
                        let pixel = &mut sums[share.pixel as usize * LINE..][..LINE];
                        for (sum, value) in pixel.iter_mut().zip(&values) {
                            *sum += share.weight * value;
                        }
                    }
                }
            }
            for (channel, dx) in dx.chunks_exact_mut(plane).enumerate() {
                for (pixel, dx) in dx.iter_mut().enumerate() {
                    *dx = sums[pixel * LINE + channel];
                }
            }
        });
    };
    dx.par_chunks_mut(channels * plane).enumerate().for_each(|(image, dx)| by_image(image, dx));
}

/// The map as `[batch][height][width][channels]`: a sample then reads whole vectors.
fn channels_last([batch, channels, height, width]: [usize; 4], x: &[f32]) -> Scratch {
    let plane = height * width;
    let mut turned = Scratch::new(batch * channels * plane);
    // Some pixels of all channels at a time stay in the first cache.
    turned.par_chunks_mut((LINE * channels).max(1)).enumerate().for_each(|(i, turned)| {
        let first = i * LINE;
        for (j, pixel) in turned.chunks_exact_mut(channels).enumerate() {
            let (image, at) = ((first + j) / plane, (first + j) % plane);
            for (channel, value) in pixel.iter_mut().enumerate() {
                *value = x[(image * channels + channel) * plane + at];
            }
        }
    });
    turned
}
