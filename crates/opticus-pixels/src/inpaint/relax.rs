//! Smooth surfaces through known pixels: membranes (harmonic) and thin plates (biharmonic).
//!
//! The picture's pixels are a graph with an edge between neighbours by a side, and L its Laplacian,
//! (L u)(p) = Σ (u(p) − u(q)) over p's neighbours q. What is lost is chosen so that uᵀ L u (a membrane) or |L u|² (a
//! plate) is least, which is a symmetric positive definite system in the lost pixels, solved by conjugate gradients
//! from the solution at half the resolution. At the picture's rim edges are missing, so that surfaces end level there.

use rayon::prelude::*;

use super::Field;
use super::pyramid::{Level, levels};

/// What is least in the surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Slope.
    Harmonic,
    /// Bending.
    Biharmonic,
}

/// Fills what the mask marks.
pub(super) fn fill(field: &mut Field, mask: &[bool], order: Order) {
    let levels = levels(field.size, mask);
    let systems: Vec<System> = levels.iter().map(|level| System::new(level, order)).collect();
    field.planes.par_iter_mut().for_each(|plane| solve(plane, &levels, &systems));
}

fn solve(plane: &mut [f32], levels: &[Level], systems: &[System]) {
    let (Some((level, rest)), Some((system, systems))) = (levels.split_first(), systems.split_first()) else {
        return;
    };
    if let Some(half) = rest.first() {
        let mut coarse = level.shrink(plane, half);
        solve(&mut coarse, rest, systems);
        level.enlarge(plane, &coarse, half.size);
    }
    system.solve(plane);
}

/// The equations of one level, without the values. What takes part is numbered: the lost pixels and, for plates, the
/// known ones beside them.
struct System {
    order: Order,
    /// The pixel of each number: lost ones first.
    pixels: Vec<u32>,
    lost: usize,
    /// Neighbours of each number among the numbers; `pixels.len()` for one that takes no part or does not exist.
    neighbours: Vec<[u32; 4]>,
    /// How many neighbours each has in the picture.
    degrees: Vec<f64>,
    /// Neighbouring pixels of each number; the pixel itself for one beyond the rim.
    around: Vec<[u32; 4]>,
}

/// Residual, relative to that of the start, at which a solution is good, and the most steps there.
const TOLERANCE: f64 = 1e-4;
const STEPS: usize = 1000;

impl System {
    fn new(level: &Level, order: Order) -> Self {
        let (width, height) = (level.size.width as usize, level.size.height as usize);
        let beside = |i: usize| {
            let (x, y) = (i % width, i / width);
            [
                if x > 0 { i - 1 } else { i },
                if x + 1 < width { i + 1 } else { i },
                if y > 0 { i - width } else { i },
                if y + 1 < height { i + width } else { i },
            ]
        };
        let mut pixels: Vec<u32> =
            (0u32..).zip(&level.mask).filter_map(|(i, lost)| lost.then_some(i)).collect();
        let lost = pixels.len();
        const NONE: u32 = u32::MAX;
        let mut numbers = vec![NONE; level.mask.len()];
        for (number, i) in (0u32..).zip(&pixels) {
            numbers[*i as usize] = number;
        }
        if order == Order::Biharmonic {
            for number in 0..lost {
                for q in beside(pixels[number] as usize) {
                    if numbers[q] == NONE {
                        numbers[q] = pixels.len() as u32;
                        pixels.push(q as u32);
                    }
                }
            }
        }
        let none = pixels.len() as u32;
        let around: Vec<[u32; 4]> = pixels.iter().map(|i| beside(*i as usize).map(|q| q as u32)).collect();
        let neighbours = pixels
            .iter()
            .zip(&around)
            .map(|(i, around)| around.map(|q| if q == *i { none } else { numbers[q as usize].min(none) }));
        let degrees =
            pixels.iter().zip(&around).map(|(i, around)| around.iter().filter(|q| *q != i).count() as f64);
        Self { order, lost, neighbours: neighbours.collect(), degrees: degrees.collect(), around, pixels }
    }

    /// L restricted to what takes part, of `x` with a zero at the end, for the first `count` numbers.
    fn laplacian(&self, x: &[f64], out: &mut [f64], count: usize) {
        let rows = self.neighbours.iter().zip(&self.degrees).zip(x).zip(out).take(count);
        for (((neighbours, degree), here), out) in rows {
            let [a, b, c, d] = neighbours.map(|q| x[q as usize]);
            *out = degree * here - ((a + b) + (c + d));
        }
    }

    /// The system's matrix times `x`, which is zero beyond the lost pixels.
    fn apply(&self, x: &[f64], between: &mut [f64], out: &mut [f64]) {
        match self.order {
            Order::Harmonic => self.laplacian(x, out, self.lost),
            Order::Biharmonic => {
                self.laplacian(x, between, self.pixels.len());
                self.laplacian(between, out, self.lost);
            }
        }
    }

    /// What the picture as it is leaves over: minus the gradient of half the energy.
    fn residual(&self, plane: &[f32]) -> Vec<f64> {
        let at = |i: u32| f64::from(plane[i as usize]);
        let curvature = self.pixels.iter().zip(&self.around);
        let mut first: Vec<f64> =
            curvature.map(|(i, around)| around.iter().map(|q| at(*i) - at(*q)).sum()).collect();
        first.push(0.0);
        let mut out = vec![0.0; self.pixels.len() + 1];
        match self.order {
            Order::Harmonic => out[..self.lost].copy_from_slice(&first[..self.lost]),
            Order::Biharmonic => self.laplacian(&first, &mut out, self.lost),
        }
        out.iter_mut().for_each(|r| *r = -*r);
        out
    }

    /// Conjugate gradients, preconditioned by the diagonal.
    fn solve(&self, plane: &mut [f32]) {
        let n = self.lost;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).take(n).map(|(a, b)| a * b).sum::<f64>();
        let scale: Vec<f64> = match self.order {
            Order::Harmonic => self.degrees[..n].iter().map(|d| 1.0 / d).collect(),
            Order::Biharmonic => self.degrees[..n].iter().map(|d| 1.0 / (d * d + d)).collect(),
        };
        let mut residual = self.residual(plane);
        let length = residual.len();
        let (mut x, mut step, mut image, mut between) =
            (vec![0.0; n], vec![0.0; length], vec![0.0; length], vec![0.0; length]);
        let mut before = 0.0;
        let first = dot(&residual, &residual);
        for _ in 0..STEPS {
            // Relative to the start, and never below what 16 bits could show.
            if dot(&residual, &residual) <= (TOLERANCE * TOLERANCE * first).max(1e-14 * n as f64) {
                break;
            }
            let now: f64 = residual.iter().zip(&scale).map(|(r, s)| r * r * s).sum();
            let keep = if before > 0.0 { now / before } else { 0.0 };
            for ((step, r), s) in step.iter_mut().zip(&residual).zip(&scale) {
                *step = s * r + keep * *step;
            }
            self.apply(&step, &mut between, &mut image);
            let length = now / dot(&step, &image);
            if !length.is_finite() {
                break;
            }
            for (((x, r), step), image) in x.iter_mut().zip(&mut residual).zip(&step).zip(&image) {
                *x += length * step;
                *r -= length * image;
            }
            before = now;
        }
        for (i, x) in self.pixels[..n].iter().zip(&x) {
            plane[*i as usize] += *x as f32;
        }
    }
}
