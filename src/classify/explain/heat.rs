//! Heat maps: from weighted feature maps to a value for every pixel.

use opticus_pixels::Size;
use opticus_pixels::preprocess::Planes;

/// How strongly each pixel of the network's input speaks for a class.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// Size of the network's input.
    pub size: Size,
    /// Rows top to bottom, 0..=1 with the hottest pixel at 1; all 0 where nothing speaks for the class.
    pub values: Vec<f32>,
    /// How coarse the evidence behind it is.
    pub(super) grid: Grid,
}

impl HeatMap {
    /// Cuts negative values and scales the largest to 1.
    pub(super) fn scaled(size: Size, mut values: Vec<f32>, grid: Grid) -> Self {
        let largest = values.iter().copied().fold(0.0, f32::max);
        for value in &mut values {
            *value = if largest > 0.0 { (*value / largest).max(0.0) } else { 0.0 };
        }
        Self { size, values, grid }
    }

    /// The hottest pixel as (x, y); `None` where there is no heat. Of equals the one nearest to the middle: beyond the
    /// outermost cells their heat goes on to the border, and the cell itself is where it comes from.
    pub fn peak(&self) -> Option<(u32, u32)> {
        let Size { width, height } = self.size;
        let from_middle = |x: u32, y: u32| {
            // In half pixels, so that the middle is a whole number.
            let (dx, dy) =
                (i64::from(2 * x) - i64::from(width - 1), i64::from(2 * y) - i64::from(height - 1));
            dx * dx + dy * dy
        };
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let nearest_of_hottest = |&((ax, ay), a): &((u32, u32), f32), &((bx, by), b): &((u32, u32), f32)| {
            a.total_cmp(&b).then_with(|| from_middle(bx, by).cmp(&from_middle(ax, ay)))
        };
        let hot = pixels.zip(self.values.iter().copied()).filter(|&(_, value)| value > 0.0);
        hot.max_by(nearest_of_hottest).map(|(at, _)| at)
    }

    /// Share of all heat inside the rectangle `left..right`, `top..bottom`; 0 where there is no heat.
    pub fn share_inside(&self, left: u32, top: u32, right: u32, bottom: u32) -> f64 {
        let mut inside = 0.0;
        let mut all = 0.0;
        for (row, y) in self.values.chunks_exact(self.size.width as usize).zip(0..) {
            for (&value, x) in row.iter().zip(0..) {
                all += f64::from(value);
                if (left..right).contains(&x) && (top..bottom).contains(&y) {
                    inside += f64::from(value);
                }
            }
        }
        if all > 0.0 { inside / all } else { 0.0 }
    }
}

/// The cells that evidence comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub columns: usize,
    pub rows: usize,
    /// Input pixels from one cell to the next.
    pub stride: usize,
}

impl Grid {
    /// Bilinear interpolation of one value a cell, the grid lying in the middle of the picture with its cells `stride`
    /// pixels apart; beyond the outermost centres their value goes on.
    pub fn spread(&self, cells: &[f32], size: Size) -> Vec<f32> {
        let across = places(size.width, self.columns, self.stride);
        let down = places(size.height, self.rows, self.stride);
        let mut out = Vec::with_capacity(size.area() as usize);
        for &(top, bottom, v) in &down {
            let (upper, lower) = (&cells[top * self.columns..], &cells[bottom * self.columns..]);
            for &(left, right, u) in &across {
                let high = upper[left] + (upper[right] - upper[left]) * u;
                let low = lower[left] + (lower[right] - lower[left]) * u;
                out.push(high + (low - high) * v);
            }
        }
        out
    }
}

/// For each pixel of an axis, the two cells it lies between and how far towards the second.
fn places(side: u32, cells: usize, stride: usize) -> Vec<(usize, usize, f32)> {
    let last = (cells - 1) as f64;
    (0..side)
        .map(|pixel| {
            let from_middle = f64::from(pixel) - (f64::from(side) - 1.0) / 2.0;
            let position = (last / 2.0 + from_middle / stride as f64).clamp(0.0, last);
            let first = position.floor();
            (first as usize, (first as usize + 1).min(cells - 1), (position - first) as f32)
        })
        .collect()
}

/// Selvaraju et al. 2017, eqs. 1 and 2: `ReLU(Σₖ (mean of ∂y/∂Aₖ) · Aₖ)`, the cut left to [`HeatMap::scaled`].
/// `maps` and `gradients` hold channels of `area` cells each.
pub(super) fn grad_cam(maps: &[f32], gradients: &[f32], area: usize) -> Vec<f32> {
    weighted_sum(maps, gradients, area, |_, gradients| {
        gradients.iter().map(|&g| f64::from(g)).sum::<f64>() / gradients.len() as f64
    })
}

/// Chattopadhay et al. 2018 with `Y = exp(y)`, for which their eq. 19 needs first derivatives only:
/// `αᵢⱼ = g² / (2 g² + Σ A · g³)` and the weight of a map is `Σ αᵢⱼ · ReLU(g)`. The factor `exp(y)`, common to all
/// weights, is left out: heat is relative.
pub(super) fn grad_cam_plus_plus(maps: &[f32], gradients: &[f32], area: usize) -> Vec<f32> {
    weighted_sum(maps, gradients, area, |map, gradients| {
        let sum: f64 = map.iter().map(|&a| f64::from(a)).sum();
        let term = |&g: &f32| {
            let g = f64::from(g);
            let divisor = 2.0 * g * g + sum * g * g * g;
            // Where the divisor vanishes the weight has no value; the reference implementation, too, takes none.
            if divisor == 0.0 { 0.0 } else { g * g / divisor * g.max(0.0) }
        };
        gradients.iter().map(term).sum()
    })
}

fn weighted_sum(
    maps: &[f32],
    gradients: &[f32],
    area: usize,
    weight: impl Fn(&[f32], &[f32]) -> f64,
) -> Vec<f32> {
    let mut sum = vec![0.0_f64; area];
    for (map, gradients) in maps.chunks_exact(area).zip(gradients.chunks_exact(area)) {
        let weight = weight(map, gradients);
        for (sum, &a) in sum.iter_mut().zip(map) {
            *sum += weight * f64::from(a);
        }
    }
    sum.into_iter().map(|v| v as f32).collect()
}

/// Mean of each plane: the colour that says least about a picture.
pub(super) fn mean_colour(planes: &Planes) -> Vec<f32> {
    let area = planes.size.area() as usize;
    let mean = |plane: &[f32]| (plane.iter().map(|&v| f64::from(v)).sum::<f64>() / area as f64) as f32;
    planes.data.chunks_exact(area).map(mean).collect()
}
