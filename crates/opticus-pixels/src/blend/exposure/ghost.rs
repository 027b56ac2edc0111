//! What moved between exposures: found by what the reference lets expect.

use rayon::prelude::*;

use super::super::luma;
use super::Deghost;
use crate::preprocess::Planes;
use crate::pyramid::{self, Border};

/// Levels of luma that are told apart.
const LEVELS: usize = 256;
/// Luma below and above which the reference says nothing about the others.
const CLIPPED: [f32; 2] = [0.02, 0.98];

/// For each picture, at every pixel, how far it may be trusted: 1 down to 0.
///
/// Exposures of one scene differ by an increasing function of luma; the one that brings the reference's histogram to
/// the other picture's is that function if little moved (Grossberg and Nayar 2003, section 4). What departs from it has moved.
pub fn trust(pictures: &[&Planes], deghost: Deghost) -> Vec<Vec<f32>> {
    let lumas: Vec<Vec<f32>> = pictures.par_iter().map(|picture| luma(picture)).collect();
    let reference = deghost.reference.unwrap_or(pictures.len() / 2);
    let base = &lumas[reference];
    let (size, tolerance) = (pictures[reference].size, deghost.tolerance as f32);
    let of_picture = |(number, luma): (usize, &Vec<f32>)| {
        if number == reference {
            return vec![1.0; luma.len()];
        }
        let expected = matching(base, luma);
        let differences: Vec<f32> = base
            .iter()
            .zip(luma)
            .map(|(base, seen)| match (CLIPPED[0]..=CLIPPED[1]).contains(base) {
                true => (seen - expected[level(*base)]).abs(),
                false => 0.0,
            })
            .collect();
        // A moved object is larger than a pixel, noise is not.
        let coarse = pyramid::down(&differences, size, Border::Repeated);
        let mut smooth = vec![0.0; differences.len()];
        pyramid::add_up(&mut smooth, size, &coarse, 1.0, Border::Repeated);
        smooth.iter().map(|d| (-0.5 * (d / tolerance).powi(2)).exp()).collect()
    };
    lumas.iter().enumerate().map(of_picture).collect()
}

fn level(luma: f32) -> usize {
    ((luma.clamp(0.0, 1.0) * (LEVELS - 1) as f32).round() as usize).min(LEVELS - 1)
}

/// For each level of `from` the luma of `to` with as many pixels below it.
fn matching(from: &[f32], to: &[f32]) -> Vec<f32> {
    let cumulated = |values: &[f32]| {
        let mut counts = vec![0u64; LEVELS];
        values.iter().for_each(|v| counts[level(*v)] += 1);
        let mut sum = 0;
        counts
            .into_iter()
            .map(|count| {
                // The middle of a level's pixels stands for it.
                let middle = 2 * sum + count;
                sum += count;
                middle
            })
            .collect::<Vec<u64>>()
    };
    let (a, b) = (cumulated(from), cumulated(to));
    a.iter()
        .map(|rank| b.partition_point(|r| r < rank).min(LEVELS - 1) as f32 / (LEVELS - 1) as f32)
        .collect()
}
