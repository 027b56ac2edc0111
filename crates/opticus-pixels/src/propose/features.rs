//! What is measured of regions: histograms of colour and texture, size, box, neighbours.

use super::Region;
use crate::segment::{Planes, Segments};

/// Bins of a channel's colours.
pub(super) const COLORS: usize = 25;
/// Directions in which a channel rises.
const DIRECTIONS: usize = 8;
/// Bins of how steeply.
const STEPS: usize = 10;
/// Bins of a channel's texture.
pub(super) const TEXTURES: usize = DIRECTIONS * STEPS;

/// Which bins each pixel of a picture falls into.
pub(super) struct Features {
    channels: usize,
    /// For each pixel and channel: its colour's bin, then its bin in each direction.
    bins: Vec<[u8; 1 + DIRECTIONS]>,
}

/// Regions of a picture and what is measured of them.
pub(super) struct Regions {
    /// Pixels of the picture.
    pub area: f32,
    pub channels: usize,
    pub boxes: Vec<Region>,
    pub sizes: Vec<f32>,
    /// A row a region: the colour histograms of all channels, then those of texture, each of the two with sum 1.
    pub histograms: Vec<f32>,
    /// Touching regions, each pair once, the lower number first, in order.
    pub neighbours: Vec<[u32; 2]>,
}

impl Regions {
    /// Length of a histogram's row.
    pub fn row(&self) -> usize {
        self.channels * (COLORS + TEXTURES)
    }
}

impl Features {
    /// Bins of colour are of equal width over 0..=255. Texture is the slope of the picture smoothed by a Gaussian of
    /// width 1, in eight directions; downhill counts as level, since it is uphill in the opposite direction. Its bins
    /// are of equal width up to the channel's steepest slope.
    pub fn of(planes: &Planes) -> Self {
        let channels = planes.channels.len();
        let pixels = planes.size.area() as usize;
        let mut bins = vec![[0; 1 + DIRECTIONS]; pixels * channels];
        let [dx, dy] = planes.gradient(1.0);
        for (c, plane) in planes.channels.iter().enumerate() {
            let slopes = dx.channels[c].iter().zip(&dy.channels[c]);
            let steepest = slopes.clone().map(|(x, y)| x * x + y * y).fold(0.0, f32::max).sqrt();
            let per_step = if steepest > 0.0 { STEPS as f32 / steepest } else { 0.0 };
            let diagonal = std::f32::consts::FRAC_1_SQRT_2;
            let pixels = bins.iter_mut().skip(c).step_by(channels).zip(plane);
            for ((bins, value), (dx, dy)) in pixels.zip(slopes) {
                bins[0] = (value * (COLORS as f32 / 256.0)).clamp(0.0, COLORS as f32 - 1.0) as u8;
                let (x, y) = (dx * per_step, dy * per_step);
                let (up, down) = ((x + y) * diagonal, (x - y) * diagonal);
                let directions = [x, up, y, -down, -x, -up, -y, down];
                for (bin, slope) in bins[1..].iter_mut().zip(directions) {
                    *bin = slope.clamp(0.0, STEPS as f32 - 1.0) as u8;
                }
            }
        }
        Self { channels, bins }
    }

    pub fn regions(&self, segments: &Segments) -> Regions {
        let channels = self.channels;
        let row = channels * (COLORS + TEXTURES);
        let nowhere = Region { x1: u32::MAX, y1: u32::MAX, x2: 0, y2: 0 };
        let mut boxes = vec![nowhere; segments.regions];
        let mut sizes = vec![0u32; segments.regions];
        let mut counts = vec![0u32; segments.regions * row];
        let width = segments.size.width as usize;
        for (pixel, (label, bins)) in segments.labels.iter().zip(self.bins.chunks_exact(channels)).enumerate()
        {
            let label = *label as usize;
            let (x, y) = ((pixel % width) as u32, (pixel / width) as u32);
            boxes[label] = boxes[label].around(Region { x1: x, y1: y, x2: x + 1, y2: y + 1 });
            sizes[label] += 1;
            let (colors, textures) = counts[label * row..(label + 1) * row].split_at_mut(channels * COLORS);
            for (c, [color, slopes @ ..]) in bins.iter().enumerate() {
                colors[c * COLORS + usize::from(*color)] += 1;
                let textures = &mut textures[c * TEXTURES..(c + 1) * TEXTURES];
                for (direction, slope) in slopes.iter().enumerate() {
                    textures[direction * STEPS + usize::from(*slope)] += 1;
                }
            }
        }
        let mut histograms = vec![0.0; counts.len()];
        let rows = histograms.chunks_exact_mut(row.max(1)).zip(counts.chunks_exact(row.max(1)));
        for ((histogram, counts), size) in rows.zip(&sizes) {
            let (of_color, of_texture) =
                ((size * channels as u32) as f32, (size * (channels * DIRECTIONS) as u32) as f32);
            for (i, (bin, count)) in histogram.iter_mut().zip(counts).enumerate() {
                *bin = *count as f32 / if i < channels * COLORS { of_color } else { of_texture };
            }
        }
        Regions {
            area: segments.size.area() as f32,
            channels,
            boxes,
            sizes: sizes.into_iter().map(|size| size as f32).collect(),
            histograms,
            neighbours: neighbours(segments),
        }
    }
}

fn neighbours(segments: &Segments) -> Vec<[u32; 2]> {
    let width = segments.size.width as usize;
    let labels = &segments.labels;
    let mut pairs = Vec::new();
    for (y, row) in labels.chunks_exact(width.max(1)).enumerate() {
        let below = labels.get((y + 1) * width..(y + 2) * width).unwrap_or(&[]);
        for (x, label) in row.iter().enumerate() {
            let lower_left = x.checked_sub(1).and_then(|x| below.get(x));
            for other in [row.get(x + 1), below.get(x), below.get(x + 1), lower_left].into_iter().flatten() {
                if other != label {
                    pairs.push([*label.min(other), *label.max(other)]);
                }
            }
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}
