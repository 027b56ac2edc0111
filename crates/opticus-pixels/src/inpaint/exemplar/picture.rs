//! The picture at one resolution, with what patches are compared by.

use super::super::distance::distances;
use super::super::pyramid::Level;
use super::super::relax::{self, Order};
use super::super::{Field, Range};

/// Three colours and two texture features, the mean strengths of change across and down.
pub(super) const FEATURES: usize = 5;
/// Weight of a texture feature against a colour: the root of Newson's λ = 50.
const TEXTURE: f32 = 7.07;
/// Marks pixels whose patch does not touch the hole.
pub(super) const NO_TARGET: u32 = u32::MAX;

pub(super) struct Picture {
    pub width: usize,
    pub height: usize,
    pub patch: usize,
    pub pixels: Vec<[f32; FEATURES]>,
    pub lost: Vec<u32>,
    /// Distance from what is known.
    pub depth: Vec<f32>,
    /// Middles of the whole patches without a lost pixel.
    pub sources: Vec<u32>,
    pub is_source: Vec<bool>,
    /// Middles of the patches with one.
    pub targets: Vec<u32>,
    /// The number of each target.
    pub numbers: Vec<u32>,
}

impl Picture {
    pub fn of(field: &Field, mask: &[bool], patch: usize) -> Self {
        let (width, height) = (field.size.width as usize, field.size.height as usize);
        let mut pixels = vec![[0.0; FEATURES]; mask.len()];
        for (i, pixel) in pixels.iter_mut().enumerate() {
            for (value, plane) in pixel.iter_mut().zip(&field.planes) {
                *value = plane[i];
            }
        }
        let level = |pixel: &[f32; FEATURES]| match field.planes.len() {
            1 => pixel[0],
            _ => 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2],
        };
        let levels: Vec<f32> = pixels.iter().map(level).collect();
        for (i, pixel) in pixels.iter_mut().enumerate().filter(|(i, _)| !mask[*i]) {
            // Towards whichever neighbour is known.
            let change = |before: Option<usize>, after: Option<usize>| {
                let other = [after, before].into_iter().flatten().find(|q| !mask[*q]);
                other.map_or(0.0, |q| (levels[q] - levels[i]).abs() * TEXTURE)
            };
            let (x, y) = (i % width, i / width);
            pixel[3] = change((x > 0).then(|| i - 1), (x + 1 < width).then_some(i + 1));
            pixel[4] = change((y > 0).then(|| i - width), (y + 1 < height).then_some(i + width));
        }
        Self::new(width, height, pixels, mask, patch)
    }

    fn new(width: usize, height: usize, pixels: Vec<[f32; FEATURES]>, mask: &[bool], patch: usize) -> Self {
        let half = patch / 2;
        // Sums of lost pixels left of and above each corner.
        let stride = width + 1;
        let mut sums = vec![0u32; stride * (height + 1)];
        for y in 0..height {
            let mut row = 0;
            for x in 0..width {
                row += u32::from(mask[y * width + x]);
                sums[(y + 1) * stride + x + 1] = sums[y * stride + x + 1] + row;
            }
        }
        let (mut sources, mut targets) = (Vec::new(), Vec::new());
        let (mut is_source, mut numbers) = (vec![false; mask.len()], vec![NO_TARGET; mask.len()]);
        for y in half..height.saturating_sub(half) {
            for x in half..width.saturating_sub(half) {
                let (top, bottom) = ((y - half) * stride, (y + half + 1) * stride);
                let (left, right) = (x - half, x + half + 1);
                let lost = sums[bottom + right] + sums[top + left] - sums[top + right] - sums[bottom + left];
                let at = y * width + x;
                if lost == 0 {
                    is_source[at] = true;
                    sources.push(at as u32);
                } else {
                    numbers[at] = targets.len() as u32;
                    targets.push(at as u32);
                }
            }
        }
        let size = crate::Size::new(width as u32, height as u32);
        let depth = distances(size, |i| !mask[i]);
        let lost = (0u32..).zip(mask).filter_map(|(i, lost)| lost.then_some(i)).collect();
        Self { width, height, patch, pixels, lost, depth, sources, is_source, targets, numbers }
    }

    fn planes(&self) -> Vec<Vec<f32>> {
        (0..FEATURES).map(|f| self.pixels.iter().map(|p| p[f]).collect()).collect()
    }

    /// Half the resolution: means of what is known.
    pub fn halved(&self, level: &Level, half: &Level, patch: usize) -> Self {
        let mut pixels = vec![[0.0; FEATURES]; half.mask.len()];
        for (f, plane) in self.planes().iter().enumerate() {
            for (pixel, value) in pixels.iter_mut().zip(level.shrink(plane, half)) {
                pixel[f] = value;
            }
        }
        Self::new(half.size.width as usize, half.size.height as usize, pixels, &half.mask, patch)
    }

    /// Fills the hole smoothly, to begin with.
    pub fn smooth(&mut self, level: &Level) {
        let ranges = vec![Range { least: 0.0, most: 1.0 }; FEATURES];
        let mut field = Field { size: level.size, planes: self.planes(), ranges };
        relax::fill(&mut field, &level.mask, Order::Harmonic);
        for (f, plane) in field.planes.iter().enumerate() {
            for at in &self.lost {
                self.pixels[*at as usize][f] = plane[*at as usize];
            }
        }
    }

    /// Sum of squared differences between two patches, given by their middles; stops at `most` or a little above.
    pub fn unlikeness(&self, a: usize, b: usize, most: f32) -> f32 {
        let half = self.patch / 2;
        let corner = half * self.width + half;
        let (mut a, mut b) = (a - corner, b - corner);
        let mut total = 0.0;
        for _ in 0..self.patch {
            let row = |at: usize| self.pixels[at..at + self.patch].as_flattened();
            total += squares(row(a), row(b));
            if total >= most {
                break;
            }
            (a, b) = (a + self.width, b + self.width);
        }
        total
    }

    pub fn write(&self, field: &mut Field) {
        for at in &self.lost {
            for (plane, value) in field.planes.iter_mut().zip(self.pixels[*at as usize]) {
                plane[*at as usize] = value;
            }
        }
    }
}

/// Sum of squared differences, in eight sums so that vector instructions apply.
fn squares(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            sums[i] += (a[i] - b[i]) * (a[i] - b[i]);
        }
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f32>() + rest
}
