//! Completion by patches, after Wexler, Shechtman and Irani ("Space-time completion of video", PAMI 29, 2007), with
//! the search of Barnes, Shechtman, Finkelstein and Goldman ("PatchMatch", SIGGRAPH 2009) and the texture features and
//! last step of Newson, Almansa, Gousseau and Pérez ("Non-local patch-based image inpainting", IPOL 7, 2017).
//!
//! From coarse to fine, two steps alternate: each patch that touches the hole finds the whole patch of the picture
//! that is most like it, and each lost pixel becomes a weighted mean of what the patches over it say.

mod picture;
mod search;

use rayon::prelude::*;

use super::distance::distances;
use super::pyramid::{Level, levels};
use super::{Field, InpaintError};
use picture::{FEATURES, Picture};
use search::{Matches, Round};

/// Settings of the completion by patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// Side of a patch in pixels: 3, 5, 7, … to 15. Usually 7.
    pub patch: usize,
    /// Alternations of searching and voting at the coarsest resolution, 1 to 100; finer ones need fewer.
    pub rounds: usize,
    /// Another one gives another of the possible completions.
    pub seed: u64,
}

impl Default for Exemplar {
    fn default() -> Self {
        Self { patch: 7, rounds: 16, seed: 0 }
    }
}

/// How much more the rim of a hole is trusted than one pixel further in (Wexler et al., section 3.2, who take 1.3; this
/// much keeps horizons together across holes of a hundred pixels).
const TRUST: f32 = 1.6;
/// Passes of the search in each round.
const PASSES: usize = 3;
/// And at the coarsest resolution, where matches begin at random.
const COARSE_PASSES: usize = 12;

/// Fills what the mask marks.
pub(super) fn fill(field: &mut Field, mask: &[bool], settings: &Exemplar) -> Result<(), InpaintError> {
    let Exemplar { patch, rounds, seed } = *settings;
    if !(3..=15).contains(&patch) || patch.is_multiple_of(2) {
        return Err(InpaintError::Setting {
            setting: "patch",
            got: patch.to_string(),
            range: "odd, 3 to 15 pixels",
        });
    }
    if !(1..=100).contains(&rounds) {
        return Err(InpaintError::Setting { setting: "rounds", got: rounds.to_string(), range: "1 to 100" });
    }
    let levels = levels(field.size, mask);
    let mut pictures = vec![Picture::of(field, mask, patch)];
    if pictures[0].sources.is_empty() {
        return Err(InpaintError::NoSource(patch));
    }
    // As coarse as the hole is deeper than a patch's half and something is left to copy.
    while let (Some(level), Some(half), Some(last)) =
        (levels.get(pictures.len() - 1), levels.get(pictures.len()), pictures.last())
        && deepest(level) > patch as f32 / 2.0
    {
        let coarse = last.halved(level, half, patch);
        if coarse.sources.len() < 4 * patch * patch || coarse.targets.is_empty() {
            break;
        }
        pictures.push(coarse);
    }
    let mut below: Option<(Picture, Matches)> = None;
    while let Some(mut picture) = pictures.pop() {
        let number = pictures.len() as u64;
        let mut round = Round { seed: seed ^ (number << 56), number: 0 };
        let mut matches = match &below {
            Some((coarse, matches)) => {
                let matches = Matches::enlarged(&picture, coarse, matches, &mut round);
                vote(&mut picture, &matches, false);
                matches
            }
            None => {
                picture.smooth(&levels[pictures.len()]);
                Matches::random(&picture, &mut round)
            }
        };
        // Coarse pictures decide what goes where and cost next to nothing; fine ones only sharpen.
        let rounds = if below.is_none() { rounds } else { (rounds / 2).min(2 + 2 * pictures.len()).max(1) };
        let passes = if below.is_none() { COARSE_PASSES } else { PASSES };
        for _ in 0..rounds {
            matches.measure(&picture);
            for pass in 0..passes {
                matches.search(&picture, &mut round, pass);
            }
            let change = vote(&mut picture, &matches, false);
            if change < 2e-4 {
                break;
            }
        }
        if pictures.is_empty() {
            vote(&mut picture, &matches, true);
            picture.write(field);
        }
        below = Some((picture, matches));
    }
    Ok(())
}

/// The hole's greatest depth in pixels.
fn deepest(level: &Level) -> f32 {
    let depths = distances(level.size, |i| !level.mask[i]);
    depths.into_iter().filter(|d| d.is_finite()).fold(0.0, f32::max)
}

/// Gives each lost pixel the weighted mean of what the patches over it say, or, in the end, what the patch in whose
/// middle it lies says. Returns the mean change.
fn vote(picture: &mut Picture, matches: &Matches, last: bool) -> f32 {
    let (width, height, half) = (picture.width, picture.height, picture.patch / 2);
    let voted: Vec<[f32; FEATURES]> = picture
        .lost
        .par_iter()
        .map_init(Vec::new, |votes: &mut Vec<(f32, f32, usize)>, at| {
            let (x, y) = (*at as usize % width, *at as usize / width);
            let within = |x: usize, side: usize| x.clamp(half, side - 1 - half);
            let own = within(y, height) * width + within(x, width);
            let from = |centre: usize, source: usize| (*at as usize + source) - centre;
            if last && let Some((source, _)) = matches.of(picture, own) {
                return picture.pixels[from(own, source)];
            }
            votes.clear();
            for cy in y.saturating_sub(half).max(half)..=(y + half).min(height - 1 - half) {
                for cx in x.saturating_sub(half).max(half)..=(x + half).min(width - 1 - half) {
                    let centre = cy * width + cx;
                    if let Some((source, cost)) = matches.of(picture, centre) {
                        votes.push((cost, TRUST.powf(-picture.depth[centre]), from(centre, source)));
                    }
                }
            }
            let quartile = votes.len() * 3 / 4;
            if quartile >= votes.len() {
                return picture.pixels[*at as usize];
            }
            votes.select_nth_unstable_by(quartile, |a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
            let scale = 1.0 / (2.0 * votes[quartile].0).max(1e-9);
            votes.sort_unstable_by_key(|vote| vote.2);
            let mut sum = [0.0f32; FEATURES];
            let mut weights = 0.0;
            for (cost, trust, source) in &*votes {
                let weight = trust * (-cost * scale).exp();
                weights += weight;
                for (sum, value) in sum.iter_mut().zip(picture.pixels[*source]) {
                    *sum += weight * value;
                }
            }
            if weights > 0.0 { sum.map(|s| s / weights) } else { picture.pixels[*at as usize] }
        })
        .collect();
    let mut change = 0.0f64;
    for (at, value) in picture.lost.iter().zip(&voted) {
        let pixel = &mut picture.pixels[*at as usize];
        change += pixel.iter().zip(value).take(3).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
        *pixel = *value;
    }
    (change / (3.0 * voted.len().max(1) as f64)) as f32
}
