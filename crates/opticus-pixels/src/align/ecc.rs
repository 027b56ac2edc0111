//! Alignment by the enhanced correlation coefficient (Evangelidis and Psarakis 2008, "Parametric Image Alignment Using
//! Enhanced Correlation Coefficient Maximization"), from coarse to fine.

use rayon::prelude::*;

use super::linear::solve;
use super::warp::frame;
use super::{AlignError, Motion, MotionModel};
use crate::blend::luma;
use crate::geometry::Size;
use crate::preprocess::Planes;
use crate::pyramid::{Border, Pyramid, half};

/// How to align.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alignment {
    /// What may lie between the pictures.
    pub model: MotionModel,
    /// Steps at each scale at most.
    pub steps: usize,
    /// Pixels of the finest scale at most; coarser is faster.
    pub most_pixels: u64,
    /// Correlation below which the pictures do not show the same.
    pub least_correlation: f64,
}

impl Default for Alignment {
    fn default() -> Self {
        Self { model: MotionModel::Similarity, steps: 50, most_pixels: 2_000_000, least_correlation: 0.3 }
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aligned {
    /// From the reference to the other picture.
    pub motion: Motion,
    /// The correlation reached, at most 1.
    pub correlation: f64,
}

/// Where what the reference shows lies in `picture`, which has its size.
///
/// # Errors
/// [`AlignError`] for tiny pictures, and where no motion makes them alike.
pub fn align(reference: &Planes, picture: &Planes, options: &Alignment) -> Result<Aligned, AlignError> {
    let size = reference.size;
    if size.width.min(size.height) < 16 || picture.size != size {
        return Err(AlignError::Small(if picture.size == size { size } else { picture.size }));
    }
    let scales = |picture: &Planes| {
        let mut levels = 1;
        let mut at = size;
        // About 24 pixels are enough to begin with.
        while at.width.min(at.height) >= 48 {
            at = half(at);
            levels += 1;
        }
        Pyramid::gaussian(Planes { channels: 1, size, data: luma(picture) }, levels, Border::Repeated).levels
    };
    let (template, moving) = (scales(reference), scales(picture));
    // The simplest first: at the coarse scales only the shift is certain.
    let mut found = Aligned { motion: Motion::IDENTITY, correlation: 0.0 };
    let coarsest = template.len() - 1;
    for level in (0..template.len()).rev() {
        if level < coarsest && template[level].size.area() > options.most_pixels {
            break;
        }
        let gradients = gradients(&moving[level]);
        let (middle, unit) = frame(size);
        // A pixel of a level stands where every 2^level-th pixel of the picture does.
        let shrunk = (1u64 << level) as f64;
        let scale = Scale { middle: middle.map(|m| m / shrunk), unit: unit / shrunk };
        if level == coarsest {
            found = climb(&template[level], &gradients, found, MotionModel::Translation, &scale, options)?;
        }
        found = climb(&template[level], &gradients, found, options.model, &scale, options)?;
    }
    if found.correlation < options.least_correlation {
        return Err(lost(format!(
            "it correlates with the reference by {:.2} only, {:.2} is needed; does it show the same?",
            found.correlation, options.least_correlation
        )));
    }
    Ok(found)
}

/// Where the coordinates of a motion have their origin at one scale, and their unit, in its pixels.
struct Scale {
    middle: [f64; 2],
    unit: f64,
}

fn lost(why: String) -> AlignError {
    AlignError::Lost { number: 0, why }
}

/// The values of a picture and their changes to the right and downwards, pixel by pixel.
struct Gradients {
    size: Size,
    values: Vec<[f32; 3]>,
}

fn gradients(picture: &Planes) -> Gradients {
    let [w, h] = [picture.size.width as usize, picture.size.height as usize];
    let v = &picture.data;
    let mut values = vec![[0.0; 3]; w * h];
    values.par_chunks_mut(w).enumerate().for_each(|(y, row)| {
        let (above, under) = (y.saturating_sub(1), (y + 1).min(h - 1));
        for (x, out) in row.iter_mut().enumerate() {
            let (left, right) = (x.saturating_sub(1), (x + 1).min(w - 1));
            let across = (v[y * w + right] - v[y * w + left]) / (right - left).max(1) as f32;
            let down = (v[under * w + x] - v[above * w + x]) / (under - above).max(1) as f32;
            *out = [v[y * w + x], across, down];
        }
    });
    Gradients { size: picture.size, values }
}

/// Sums over the pixels that both pictures have.
#[derive(Clone, Default)]
struct Sums {
    count: f64,
    /// Of the warped picture, the template, their squares and product.
    picture: f64,
    template: f64,
    picture2: f64,
    template2: f64,
    product: f64,
    /// Of the Jacobian, and of its products with picture and template.
    j: [f64; 8],
    j_picture: [f64; 8],
    j_template: [f64; 8],
    /// Of the Jacobian's products with itself, from the diagonal on.
    jj: [[f64; 8]; 8],
}

impl Sums {
    fn add(&mut self, other: &Self) {
        for (a, b) in [
            (&mut self.count, other.count),
            (&mut self.picture, other.picture),
            (&mut self.template, other.template),
            (&mut self.picture2, other.picture2),
            (&mut self.template2, other.template2),
            (&mut self.product, other.product),
        ] {
            *a += b;
        }
        let add = |a: &mut [f64], b: &[f64]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        add(&mut self.j, &other.j);
        add(&mut self.j_picture, &other.j_picture);
        add(&mut self.j_template, &other.j_template);
        self.jj.iter_mut().zip(&other.jj).for_each(|(a, b)| add(a, b));
    }

    fn correlation(&self) -> f64 {
        let n = self.count.max(1.0);
        let covariance = self.product - self.picture * self.template / n;
        let (a, b) = (self.picture2 - self.picture.powi(2) / n, self.template2 - self.template.powi(2) / n);
        if a > 1e-9 && b > 1e-9 { covariance / (a * b).sqrt() } else { 0.0 }
    }

    /// The step that the paper's equation 20 gives.
    fn step(&self, parameters: usize) -> Option<Vec<f64>> {
        let n = self.count.max(1.0);
        let (mean_picture, mean_template) = (self.picture / n, self.template / n);
        let mut hessian = vec![0.0; parameters * parameters];
        for i in 0..parameters {
            for j in i..parameters {
                hessian[i * parameters + j] = self.jj[i][j];
                hessian[j * parameters + i] = self.jj[i][j];
            }
        }
        let centred = |sums: &[f64; 8], mean: f64| -> Vec<f64> {
            sums.iter().zip(&self.j).take(parameters).map(|(s, j)| s - mean * j).collect()
        };
        let of_picture = centred(&self.j_picture, mean_picture);
        let of_template = centred(&self.j_template, mean_template);
        let (solved_picture, solved_template) =
            (solve(&hessian, &of_picture)?, solve(&hessian, &of_template)?);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let above = self.picture2 - n * mean_picture.powi(2) - dot(&of_picture, &solved_picture);
        let below = self.product - n * mean_picture * mean_template - dot(&of_template, &solved_picture);
        let factor = if below > 0.0 { above / below } else { return None };
        Some(solved_template.iter().zip(&solved_picture).map(|(t, p)| factor * t - p).collect())
    }
}

/// Steps at one scale until the motion stands still.
fn climb(
    template: &Planes,
    moving: &Gradients,
    from: Aligned,
    model: MotionModel,
    scale: &Scale,
    options: &Alignment,
) -> Result<Aligned, AlignError> {
    let mut best = Aligned { motion: from.motion, correlation: f64::MIN };
    let mut motion = from.motion;
    for _ in 0..options.steps {
        let sums = sums(template, moving, &motion, model, scale);
        if sums.count < 0.1 * template.data.len() as f64 {
            return Err(lost("hardly any of it lies in the reference".to_owned()));
        }
        let correlation = sums.correlation();
        if correlation > best.correlation {
            best = Aligned { motion, correlation };
        } else if correlation < best.correlation - 0.02 {
            break;
        }
        let Some(step) = sums.step(model.parameters()) else { break };
        motion = motion.moved(model, &step);
        // Far below a tenth of a pixel anywhere in the picture.
        if step.iter().all(|s| (s * scale.unit).abs() < 0.003) {
            break;
        }
        if motion.0.iter().any(|v| !v.is_finite()) || !(0.25..4.0).contains(&motion.scale()) {
            break;
        }
    }
    Ok(best)
}

fn sums(template: &Planes, moving: &Gradients, motion: &Motion, model: MotionModel, scale: &Scale) -> Sums {
    let width = template.size.width as usize;
    let Scale { middle, unit } = *scale;
    let rows: Vec<Sums> = (template.data.par_chunks(width).enumerate())
        .map(|(y, row)| {
            let mut sums = Sums::default();
            let v = (y as f64 - middle[1]) / unit;
            for (x, t) in row.iter().enumerate() {
                let u = (x as f64 - middle[0]) / unit;
                let Some([a, b]) = motion.apply([u, v]) else { continue };
                let at = [a * unit + middle[0], b * unit + middle[1]];
                let Some([value, across, down]) = sample(moving, at) else { continue };
                let (gx, gy) = (f64::from(across) * unit, f64::from(down) * unit);
                pixel(&mut sums, model, [u, v], [a, b], [gx, gy], motion, f64::from(value), f64::from(*t));
            }
            sums
        })
        .collect();
    // In the order of rows, whatever thread made them.
    let mut all = Sums::default();
    rows.iter().for_each(|row| all.add(row));
    all
}

#[expect(clippy::too_many_arguments, reason = "one pixel's part of the sums, in the innermost loop")]
#[inline(always)]
fn pixel(
    sums: &mut Sums,
    model: MotionModel,
    [u, v]: [f64; 2],
    [a, b]: [f64; 2],
    [gx, gy]: [f64; 2],
    motion: &Motion,
    value: f64,
    template: f64,
) {
    let j: [f64; 8] = match model {
        MotionModel::Translation => [gx, gy, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        MotionModel::Similarity => [gx * u + gy * v, gy * u - gx * v, gx, gy, 0.0, 0.0, 0.0, 0.0],
        MotionModel::Affine => [gx * u, gy * u, gx * v, gy * v, gx, gy, 0.0, 0.0],
        MotionModel::Homography => {
            let m = &motion.0;
            let z = 1.0 / (m[6] * u + m[7] * v + m[8]);
            let (gx, gy) = (gx * z, gy * z);
            let away = -(gx * a + gy * b);
            [gx * u, gy * u, away * u, gx * v, gy * v, away * v, gx, gy]
        }
    };
    sums.count += 1.0;
    sums.picture += value;
    sums.template += template;
    sums.picture2 += value * value;
    sums.template2 += template * template;
    sums.product += value * template;
    let n = model.parameters();
    for i in 0..n {
        sums.j[i] += j[i];
        sums.j_picture[i] += j[i] * value;
        sums.j_template[i] += j[i] * template;
        for k in i..n {
            sums.jj[i][k] += j[i] * j[k];
        }
    }
}

/// Value and gradient between four pixels; none beyond the edge.
#[inline(always)]
fn sample(moving: &Gradients, [x, y]: [f64; 2]) -> Option<[f32; 3]> {
    let w = moving.size.width as usize;
    let [right, bottom] = [f64::from(moving.size.width) - 1.0, f64::from(moving.size.height) - 1.0];
    if !(x >= 0.0 && y >= 0.0 && x < right && y < bottom) {
        return None;
    }
    let at = y as usize * w + x as usize;
    let (s, t) = (x.fract() as f32, y.fract() as f32);
    let (a, b) = (moving.values.get(at)?, moving.values.get(at + 1)?);
    let (c, d) = (moving.values.get(at + w)?, moving.values.get(at + w + 1)?);
    Some(std::array::from_fn(|k| {
        let (top, under) = (a[k] + (b[k] - a[k]) * s, c[k] + (d[k] - c[k]) * s);
        top + (under - top) * t
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::align::warp;

    /// Waves of many lengths: a picture whose value is known between its pixels.
    fn scene(size: Size, place: impl Fn(f64, f64) -> [f64; 2], gain: f64) -> Planes {
        let data = (0..size.area())
            .map(|i| {
                let [x, y] = place((i % u64::from(size.width)) as f64, (i / u64::from(size.width)) as f64);
                let wave = |a: f64, b: f64, c: f64| ((a * x + b * y) / 10.0 + c).sin();
                let sum = wave(1.0, 0.2, 0.0)
                    + wave(0.3, -0.8, 1.0)
                    + wave(-0.11, 0.37, 2.0)
                    + wave(0.05, 0.04, 0.5);
                ((0.5 + sum / 10.0) * gain) as f32
            })
            .collect();
        Planes { channels: 1, size, data }
    }

    #[test]
    fn known_motions_are_found_to_a_tenth_of_a_pixel_in_another_exposure() {
        let size = Size::new(240, 180);
        let (sin, cos) = 0.04f64.sin_cos();
        let middle = [119.5, 89.5];
        for (model, matrix) in [
            (MotionModel::Translation, [1.0, 0.0, 5.3, 0.0, 1.0, -7.6, 0.0, 0.0]),
            (MotionModel::Similarity, [1.05 * cos, -1.05 * sin, 3.2, 1.05 * sin, 1.05 * cos, 2.1, 0.0, 0.0]),
            (MotionModel::Affine, [1.03, 0.02, -2.5, -0.01, 0.97, 1.5, 0.0, 0.0]),
            (MotionModel::Homography, [1.02, 0.01, 2.0, -0.02, 0.99, -3.0, 1e-4, -5e-5]),
        ] {
            // Where a point of the reference, from its middle, lies in the other picture.
            let there = |x: f64, y: f64| {
                let (x, y) = (x - middle[0], y - middle[1]);
                let z = matrix[6] * x + matrix[7] * y + 1.0;
                [
                    (matrix[0] * x + matrix[1] * y + matrix[2]) / z + middle[0],
                    (matrix[3] * x + matrix[4] * y + matrix[5]) / z + middle[1],
                ]
            };
            let reference = scene(size, there, 1.0);
            let moving = scene(size, |x, y| [x, y], 0.6);
            let options = Alignment { model, ..Alignment::default() };
            let found = align(&reference, &moving, &options).unwrap();
            let unit = frame(size).1;
            for corner in [[0.0, 0.0], [239.0, 0.0], [0.0, 179.0], [239.0, 179.0], [100.0, 50.0]] {
                let wanted = there(corner[0], corner[1]);
                let point = [(corner[0] - middle[0]) / unit, (corner[1] - middle[1]) / unit];
                let [u, v] = found.motion.apply(point).unwrap();
                let got = [u * unit + middle[0], v * unit + middle[1]];
                let off = (got[0] - wanted[0]).hypot(got[1] - wanted[1]);
                assert!(off < 0.1, "{model:?} at {corner:?}: {got:?}, not {wanted:?}");
            }
            assert!(found.correlation > 0.999, "{model:?}: {}", found.correlation);
            let (warped, inside) = warp(&moving, &found.motion, size);
            let worst = (0..warped.data.len())
                .filter(|i| inside[*i])
                .map(|i| (warped.data[i] - 0.6 * reference.data[i]).abs())
                .fold(0.0, f32::max);
            assert!(worst < 0.02, "{model:?}: {worst}");
        }
    }

    #[test]
    fn what_shows_something_else_is_refused() {
        let size = Size::new(64, 64);
        let one = scene(size, |x, y| [x, y], 1.0);
        let noise = Planes {
            data: (0..64 * 64u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as f32 / 255.0).collect(),
            ..one.clone()
        };
        assert!(align(&one, &noise, &Alignment::default()).unwrap_err().to_string().contains("correlates"));
        let blank = Planes { data: vec![0.5; 64 * 64], ..one.clone() };
        assert!(align(&one, &blank, &Alignment::default()).is_err());
        let tiny = scene(Size::new(8, 8), |x, y| [x, y], 1.0);
        assert!(align(&tiny, &tiny, &Alignment::default()).is_err());
    }
}
