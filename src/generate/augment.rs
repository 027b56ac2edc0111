//! Changes to what the discriminator sees, real and made alike, through which gradients flow: differentiable augmentation
//! (Zhao et al. 2020, "DiffAugment") at a probability that may adapt to how certain the discriminator is of the
//! training pictures (Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 3).

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use super::config::AugmentSection;
use crate::data::sampler::DataRng;

/// The largest shift, as a part of the side; Zhao et al., appendix.
const SHIFT: f64 = 0.125;
/// Side of the hole, as a part of the picture's.
const HOLE: f64 = 0.5;

/// Changes drawn for each picture of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// Brightness added, saturation and contrast multiplied.
    colour: Option<Vec<[f32; 3]>>,
    /// Pixels to the right and down.
    shifts: Option<Vec<[i64; 2]>>,
    /// Left and top of a hole, if there is one.
    holes: Option<Vec<Option<[i64; 2]>>>,
}

impl Changes {
    /// Draws for `n` pictures of a side; each kind of change falls on a picture with this probability.
    pub fn draw(n: usize, side: usize, probability: f64, config: &AugmentSection, rng: &mut DataRng) -> Self {
        let hit = |rng: &mut DataRng| rng.random::<f64>() < probability;
        let colour = config.colour.then(|| {
            let mut one = || {
                let [b, s, c] = [rng.random::<f32>(), rng.random::<f32>(), rng.random::<f32>()];
                if hit(rng) { [b - 0.5, s * 2.0, c + 0.5] } else { [0.0, 1.0, 1.0] }
            };
            (0..n).map(|_| one()).collect()
        });
        let most = (side as f64 * SHIFT + 0.5) as i64;
        let shifts = config.translation.then(|| {
            let mut one = || {
                let shift = [rng.random_range(-most..=most), rng.random_range(-most..=most)];
                if hit(rng) { shift } else { [0, 0] }
            };
            (0..n).map(|_| one()).collect()
        });
        let half = (side as f64 * HOLE / 2.0) as i64;
        let holes = config.cutout.then(|| {
            let mut one = || {
                let centre = [0; 2].map(|_: i32| rng.random_range(0..side.max(1) as i64));
                hit(rng).then(|| centre.map(|c| c - half))
            };
            (0..n).map(|_| one()).collect()
        });
        Self { colour, shifts, holes }
    }

    /// The pictures [n, c, h, w] in [-1, 1], changed. What comes in from outside is the least value: black, or
    /// nothing at all where there is alpha.
    pub fn apply(&self, mut x: Tensor<4>) -> Tensor<4> {
        let [n, c, h, w] = x.dims();
        let device = x.device();
        if let Some(values) = &self.colour {
            x = recolour(x, values);
        }
        if self.shifts.is_none() && self.holes.is_none() {
            return x;
        }
        // From 0 on, so that zeros are nothing.
        x = x + 1.0;
        if let Some(shifts) = &self.shifts {
            // Shifts as products with matrices of zeros and ones: gradients for free, and one kernel.
            let across: Tensor<4> = Tensor::from_data(shifters(shifts, 0, w, false), &device); // [n, 1, w, w]
            let down: Tensor<4> = Tensor::from_data(shifters(shifts, 1, h, true), &device); // [n, 1, h, h]
            x = down.expand([n, c, h, h]).matmul(x).matmul(across.expand([n, c, w, w]));
        }
        if let Some(holes) = &self.holes {
            x = x * masks(holes, h, w, &device);
        }
        x - 1.0
    }
}

/// Brightness, saturation, contrast of the colour channels; alpha stays, and brightness is multiplied by it.
fn recolour(x: Tensor<4>, values: &[[f32; 3]]) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let device = x.device();
    let column = |k: usize| {
        let values: Vec<f32> = values.iter().map(|v| v[k]).collect();
        Tensor::<4>::from_data(TensorData::new(values, [n, 1, 1, 1]), &device)
    };
    let (mut colour, alpha) = match c {
        4 => (x.clone().slice([0..n, 0..3, 0..h, 0..w]), Some(x.slice([0..n, 3..4, 0..h, 0..w]))),
        _ => (x, None),
    };
    colour = match &alpha {
        Some(alpha) => colour + (alpha.clone() + 1.0) * 0.5 * column(0),
        None => colour + column(0),
    };
    if c >= 3 {
        let grey = colour.clone().mean_dim(1);
        colour = (colour - grey.clone()) * column(1) + grey;
    }
    let mean = colour.clone().mean_dim(1).mean_dim(2).mean_dim(3);
    colour = (colour - mean.clone()) * column(2) + mean;
    match alpha {
        Some(alpha) => Tensor::cat(vec![colour, alpha], 1),
        None => colour,
    }
}

/// Matrices [n, 1, side, side] that shift along one axis: to the right of a picture's rows, or (`rows`) to their left.
fn shifters(shifts: &[[i64; 2]], axis: usize, side: usize, rows: bool) -> TensorData {
    let mut values = vec![0.0f32; shifts.len() * side * side];
    for (matrix, shift) in values.chunks_exact_mut(side * side).zip(shifts) {
        for to in 0..side {
            let from = to as i64 - shift[axis];
            if (0..side as i64).contains(&from) {
                let from = from as usize;
                matrix[if rows { to * side + from } else { from * side + to }] = 1.0;
            }
        }
    }
    TensorData::new(values, [shifts.len(), 1, side, side])
}

/// Zero inside the holes, one elsewhere, [n, 1, h, w].
fn masks(holes: &[Option<[i64; 2]>], h: usize, w: usize, device: &Device) -> Tensor<4> {
    let mut values = vec![1.0f32; holes.len() * h * w];
    let extent = |side: usize| (side as f64 * HOLE) as i64;
    for (mask, hole) in values.chunks_exact_mut(h * w).zip(holes) {
        let Some([left, top]) = hole else { continue };
        let range = |from: i64, side: usize| {
            from.clamp(0, side as i64) as usize..(from + extent(side)).clamp(0, side as i64) as usize
        };
        for y in range(*top, h) {
            mask[y * w..][range(*left, w)].fill(0.0);
        }
    }
    Tensor::from_data(TensorData::new(values, [holes.len(), 1, h, w]), device)
}

/// How often pictures are changed, adapting to the discriminator's certainty (Karras et al. 2020, section 3): the
/// probability rises while the mean sign of its verdicts on training pictures is above the target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive {
    /// The probability now.
    pub probability: f64,
}

impl Adaptive {
    /// Pictures in which the probability can go from 0 to 1; the paper's 500,000 is for runs of millions.
    const PICTURES: f64 = 100_000.0;

    /// Takes in the verdicts of a step on real pictures.
    pub fn observe(&mut self, verdicts: &[f32], target: f64) {
        if verdicts.is_empty() {
            return;
        }
        let certainty = verdicts.iter().map(|v| f64::from(v.signum())).sum::<f64>() / verdicts.len() as f64;
        let step = verdicts.len() as f64 / Self::PICTURES;
        let direction = if certainty > target { 1.0 } else { -1.0 };
        self.probability = (self.probability + direction * step).clamp(0.0, 0.85);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::sampler::{Purpose, rng_for};
    use crate::nets::state::host;

    fn ramp(c: usize, side: usize) -> Tensor<4> {
        let values: Vec<f32> = (0..c * side * side).map(|i| (i as f32 * 0.37).sin() * 0.5).collect();
        Tensor::from_data(TensorData::new(values, [1, c, side, side]), &Device::flex())
    }

    #[test]
    fn a_shift_moves_every_pixel_and_leaves_black() {
        let x = ramp(2, 5);
        let changes = Changes { colour: None, shifts: Some(vec![[1, -2]]), holes: None };
        let (from, to) = (host(x.clone()), host(changes.apply(x)));
        for c in 0..2 {
            for y in 0..5i64 {
                for x in 0..5i64 {
                    let (fx, fy) = (x - 1, y + 2);
                    let inside = (0..5).contains(&fx) && (0..5).contains(&fy);
                    let expected = if inside { from[c * 25 + (fy * 5 + fx) as usize] } else { -1.0 };
                    assert!((to[c * 25 + (y * 5 + x) as usize] - expected).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn a_hole_is_black_and_colours_keep_alpha() {
        let x = ramp(4, 8);
        let changes = Changes { colour: None, shifts: None, holes: Some(vec![Some([-1, 6])]) };
        let (from, to) = (host(x.clone()), host(changes.apply(x.clone())));
        for i in 0..4 * 64 {
            let (column, row) = (i % 8, i / 8 % 8);
            let expected = if column < 3 && row >= 6 { -1.0 } else { from[i] };
            assert!((to[i] - expected).abs() < 1e-6);
        }
        let changes = Changes { colour: Some(vec![[0.3, 0.5, 1.2]]), shifts: None, holes: None };
        let to = host(changes.apply(x));
        assert_eq!(to[3 * 64..], from[3 * 64..]);
        assert!(to[..3 * 64].iter().zip(&from).any(|(a, b)| (a - b).abs() > 0.05));
    }

    #[test]
    fn probability_decides() {
        let config = AugmentSection::default();
        let mut rng = rng_for(0, Purpose::Augment, 0, 0);
        let x = ramp(3, 16);
        let never = Changes::draw(1, 16, 0.0, &config, &mut rng);
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close(&host(never.apply(x.clone())), &host(x.clone())));
        let always = Changes::draw(1, 16, 1.0, &config, &mut rng);
        assert!(!close(&host(always.apply(x.clone())), &host(x)));
        let mut adaptive = Adaptive { probability: 0.5 };
        adaptive.observe(&[3.0; 100], 0.6);
        assert!((adaptive.probability - 0.501).abs() < 1e-9);
        adaptive.observe(&[-3.0; 100], 0.6);
        assert!((adaptive.probability - 0.5).abs() < 1e-9);
    }
}
