//! Extremes of differences of Gaussians, and the directions of what surrounds them (Lowe 2004, sections 3 to 5).

use std::f32::consts::{PI, TAU};

use super::scales::{Octave, Octaves, SCALES, SIGMA};

/// Least difference that counts, of grey levels 0 to 1, over an octave.
const CONTRAST: f32 = 0.03;
/// Greatest ratio of the principal curvatures: what is longer is an edge.
const EDGE: f32 = 10.0;
/// Pixels at the border of an octave in which nothing is sought.
const BORDER: usize = 5;
/// Steps by which a place may wander while it is made more exact.
const STEPS: usize = 4;

/// An extreme in space and scale.
pub struct Candidate {
    pub octave: usize,
    /// The plane of the octave nearest in scale.
    pub level: usize,
    /// In pixels of the octave.
    pub x: f32,
    pub y: f32,
    pub scale: f32,
    pub strength: f32,
}

pub fn extrema(octaves: &Octaves) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (number, octave) in octaves.0.iter().enumerate() {
        let differences: Vec<Vec<f32>> = octave
            .levels
            .windows(2)
            .map(|pair| pair[1].iter().zip(&pair[0]).map(|(b, a)| b - a).collect())
            .collect();
        let (w, h) = (octave.width, octave.height);
        for level in 1..=SCALES {
            for y in BORDER..h.saturating_sub(BORDER) {
                for x in BORDER..w.saturating_sub(BORDER) {
                    if is_extreme(&differences[level - 1..=level + 1], w, y * w + x)
                        && let Some(candidate) = refined(&differences, octave, number, [x, y, level])
                    {
                        found.push(candidate);
                    }
                }
            }
        }
    }
    found
}

/// Whether a value is above or below all 26 around it.
fn is_extreme(planes: &[Vec<f32>], w: usize, at: usize) -> bool {
    let value = planes[1][at];
    if value.abs() < 0.5 * CONTRAST / SCALES as f32 {
        return false;
    }
    let rows = [at - w - 1, at - 1, at + w - 1];
    // Most are ruled out by their own plane.
    [1, 0, 2].iter().all(|&p| {
        rows.iter().all(|&start| {
            planes[p][start..start + 3].iter().enumerate().all(|(i, &v)| {
                let itself = p == 1 && start + i == at;
                itself || if value > 0.0 { value > v } else { value < v }
            })
        })
    })
}

/// The top of the parabola through the values around (Brown and Lowe 2002), unless it is faint or an edge.
fn refined(
    planes: &[Vec<f32>],
    octave: &Octave,
    number: usize,
    [mut x, mut y, mut level]: [usize; 3],
) -> Option<Candidate> {
    let (w, h) = (octave.width, octave.height);
    for _ in 0..STEPS {
        let at = y * w + x;
        let [before, here, after] = [&planes[level - 1], &planes[level], &planes[level + 1]];
        let value = here[at];
        let gradient = [
            (here[at + 1] - here[at - 1]) / 2.0,
            (here[at + w] - here[at - w]) / 2.0,
            (after[at] - before[at]) / 2.0,
        ];
        let dxx = here[at + 1] + here[at - 1] - 2.0 * value;
        let dyy = here[at + w] + here[at - w] - 2.0 * value;
        let dss = after[at] + before[at] - 2.0 * value;
        let dxy = (here[at + w + 1] - here[at + w - 1] - here[at - w + 1] + here[at - w - 1]) / 4.0;
        let dxs = (after[at + 1] - after[at - 1] - before[at + 1] + before[at - 1]) / 4.0;
        let dys = (after[at + w] - after[at - w] - before[at + w] + before[at - w]) / 4.0;
        let [dx, dy, ds] = newton([dxx, dyy, dss, dxy, dxs, dys], gradient)?;
        if dx.abs() < 0.6 && dy.abs() < 0.6 && ds.abs() < 0.6 {
            let strength = (value + 0.5 * (gradient[0] * dx + gradient[1] * dy + gradient[2] * ds)).abs();
            let (trace, determinant) = (dxx + dyy, dxx * dyy - dxy * dxy);
            let edge = determinant <= 0.0 || trace * trace * EDGE >= (EDGE + 1.0).powi(2) * determinant;
            if strength < CONTRAST / SCALES as f32 || edge {
                return None;
            }
            let scale = SIGMA * 2f32.powf((level as f32 + ds) / SCALES as f32);
            return Some(Candidate {
                octave: number,
                level,
                x: x as f32 + dx,
                y: y as f32 + dy,
                scale,
                strength,
            });
        }
        let moved = |at: usize, d: f32, low: usize, high: usize| {
            let to = at as i64 + d.round().clamp(-2.0, 2.0) as i64;
            (low as i64..=high as i64).contains(&to).then_some(to as usize)
        };
        x = moved(x, dx, BORDER, w - BORDER - 1)?;
        y = moved(y, dy, BORDER, h - BORDER - 1)?;
        level = moved(level, ds, 1, SCALES)?;
    }
    None
}

/// `-H⁻¹ g` for the symmetric H of xx, yy, ss, xy, xs, ys.
fn newton([a, b, c, d, e, f]: [f32; 6], g: [f32; 3]) -> Option<[f32; 3]> {
    let (p, q, r) = (b * c - f * f, e * f - d * c, d * f - b * e);
    let determinant = a * p + d * q + e * r;
    if determinant.abs() < 1e-15 {
        return None;
    }
    let (s, t, u) = (a * c - e * e, d * e - a * f, a * b - d * d);
    let row = |m: [f32; 3]| -(m[0] * g[0] + m[1] * g[1] + m[2] * g[2]) / determinant;
    Some([row([p, q, r]), row([q, s, t]), row([r, t, u])])
}

/// Bins of the histogram of directions.
const BINS: usize = 36;

/// The main direction of the gradients around, and others of at least 0.8 of its weight.
pub fn orientations(octaves: &Octaves, candidate: &Candidate, falling: &Falling) -> Vec<f32> {
    let octave = &octaves.0[candidate.octave];
    let sigma = 1.5 * candidate.scale;
    let radius = (3.0 * sigma).round() as i64;
    let narrow = 1.0 / (2.0 * sigma * sigma);
    let mut bins = [0.0f32; BINS];
    let [cx, cy] = [candidate.x.round() as i64, candidate.y.round() as i64];
    for y in (cy - radius).max(1)..=(cy + radius).min(octave.height as i64 - 2) {
        for x in (cx - radius).max(1)..=(cx + radius).min(octave.width as i64 - 2) {
            let [length, turn] = gradient(octave, candidate.level, x as usize, y as usize);
            let square = ((x - cx).pow(2) + (y - cy).pow(2)) as f32;
            let bin = (turn * BINS as f32 + 0.5) as usize;
            bins[bin % BINS] += falling.at(square * narrow) * length;
        }
    }
    let turned = |i: usize, d: usize| (i + d) % BINS;
    for _ in 0..2 {
        let old = bins;
        for (i, bin) in bins.iter_mut().enumerate() {
            *bin = 0.25 * (old[turned(i, BINS - 1)] + old[turned(i, 1)]) + 0.5 * old[i];
        }
    }
    let top = bins.iter().copied().fold(0.0, f32::max);
    let mut angles = Vec::new();
    for i in 0..BINS {
        let [before, here, after] = [bins[turned(i, BINS - 1)], bins[i], bins[turned(i, 1)]];
        if here > before && here >= after && here >= 0.8 * top {
            let shift = 0.5 * (before - after) / (before - 2.0 * here + after);
            let angle = (i as f32 + shift) * TAU / BINS as f32;
            angles.push(if angle > PI { angle - TAU } else { angle });
        }
    }
    angles.truncate(2);
    angles
}

/// Length and direction (in turns, 0 to 1) of the gradient by half differences of the neighbours.
pub fn gradient(octave: &Octave, level: usize, x: usize, y: usize) -> [f32; 2] {
    let (plane, w) = (&octave.levels[level], octave.width);
    let at = y * w + x;
    let [dx, dy] = [(plane[at + 1] - plane[at - 1]) / 2.0, (plane[at + w] - plane[at - w]) / 2.0];
    [(dx * dx + dy * dy).sqrt(), turn(dx, dy)]
}

/// The arc tangent in turns, to 1e-5 (Abramowitz and Stegun 1964, 4.4.49): exact enough, and many times faster.
fn turn(x: f32, y: f32) -> f32 {
    let (a, b) = (x.abs(), y.abs());
    let t = a.min(b) / a.max(b).max(1e-20);
    let s = t * t;
    let arc = ((((0.020_835_1 * s - 0.085_133) * s + 0.180_141) * s - 0.330_299_5) * s + 0.999_866) * t / TAU;
    let arc = if b > a { 0.25 - arc } else { arc };
    let arc = if x < 0.0 { 0.5 - arc } else { arc };
    // A hair below 0 would round to a whole turn.
    if y < 0.0 { (1.0 - arc).min(0.999_999_9) } else { arc.max(0.0) }
}

/// `exp(-x)` for x of 0 to 8, to the nearest of a few values.
pub struct Falling([f32; 513]);

impl Falling {
    pub fn new() -> Self {
        Self(std::array::from_fn(|i| (-(i as f32) / 64.0).exp()))
    }

    pub fn at(&self, x: f32) -> f32 {
        self.0[((x * 64.0) as usize).min(512)]
    }
}
