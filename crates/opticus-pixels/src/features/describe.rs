//! What a point looks like: histograms of gradients around it (Lowe 2004, section 6).

use std::f32::consts::TAU;

use super::DIMENSIONS;
use super::detect::{Candidate, Falling, gradient};
use super::scales::Octaves;

/// Parts a side.
const PARTS: usize = 4;
/// Directions in each part.
const DIRECTIONS: usize = 8;
/// A part's side, in standard deviations of the point.
const PART: f32 = 3.0;
/// Pixels from one gradient to the next: every plane is so smooth that those between say nothing new.
const STRIDE: usize = 2;
/// No value above this, so that one strong edge does not decide alone.
const CAP: f32 = 0.2;

/// Numbers of length 1.
pub fn descriptor(
    octaves: &Octaves,
    candidate: &Candidate,
    angle: f32,
    falling: &Falling,
) -> [f32; DIMENSIONS] {
    let octave = &octaves.0[candidate.octave];
    let part = PART * candidate.scale;
    let (sin, cos) = angle.sin_cos();
    let own_turn = (angle / TAU).rem_euclid(1.0);
    let radius = (part * std::f32::consts::SQRT_2 * (PARTS as f32 + 1.0) * 0.5).round() as i64;
    let [cx, cy] = [candidate.x.round() as i64, candidate.y.round() as i64];
    // One part more on every side takes what falls beyond the border.
    let mut bins = [[[0.0f32; DIRECTIONS]; PARTS + 2]; PARTS + 2];
    let half = PARTS as f32 / 2.0;
    let places = |centre: i64, side: usize| {
        let last = (side as i64 - 2).min(centre + radius);
        (centre - radius..=last).step_by(STRIDE).filter(|at| *at >= 1)
    };
    for y in places(cy, octave.height) {
        for x in places(cx, octave.width) {
            let [u, v] = [x as f32 - candidate.x, y as f32 - candidate.y];
            // In parts, along the point's own axes, from its middle.
            let [u, v] = [(cos * u + sin * v) / part, (cos * v - sin * u) / part];
            let [column, row] = [u + half + 0.5, v + half + 0.5];
            let limit = PARTS as f32 + 1.0;
            if column <= 0.0 || row <= 0.0 || column >= limit || row >= limit {
                continue;
            }
            let [length, turn] = gradient(octave, candidate.level, x as usize, y as usize);
            let weight = length * falling.at((u * u + v * v) / (2.0 * half * half));
            let turn = turn - own_turn;
            let direction = if turn < 0.0 { turn + 1.0 } else { turn } * DIRECTIONS as f32;
            let (c, r, d) = (column as usize, row as usize, direction as usize);
            let [fc, fr, fd] = [column - c as f32, row - r as f32, direction - d as f32];
            for (j, wr) in [(r, 1.0 - fr), (r + 1, fr)] {
                for (i, wc) in [(c, 1.0 - fc), (c + 1, fc)] {
                    let share = weight * wr * wc;
                    bins[j][i][d % DIRECTIONS] += share * (1.0 - fd);
                    bins[j][i][(d + 1) % DIRECTIONS] += share * fd;
                }
            }
        }
    }
    let mut out = [0.0f32; DIMENSIONS];
    let inside = bins[1..=PARTS].iter().flat_map(|row| &row[1..=PARTS]).flatten();
    out.iter_mut().zip(inside).for_each(|(out, v)| *out = *v);
    normalise(&mut out);
    out.iter_mut().for_each(|v| *v = v.min(CAP));
    normalise(&mut out);
    out
}

fn normalise(values: &mut [f32]) {
    let length = values.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
    values.iter_mut().for_each(|v| *v /= length);
}
