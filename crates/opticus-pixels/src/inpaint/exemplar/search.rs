//! The nearest patch of each patch, approximately (Barnes et al. 2009).
//!
//! Passes read the matches of the pass before, so that patches are independent and threads do not show; what the
//! paper's scan order carries along a row in one pass is carried by longer steps here, as in jump flooding.

use rayon::prelude::*;

use super::picture::{NO_TARGET, Picture};

/// The middle of the source of each target, and how unlike the two are.
pub(super) struct Matches(Vec<(u32, f32)>);

/// Where randomness comes from: a function of the seed, the pass and the place.
pub(super) struct Round {
    pub seed: u64,
    pub number: u64,
}

impl Round {
    fn next(&mut self) -> u64 {
        self.number += 1;
        mix(self.seed ^ mix(self.number))
    }
}

/// SplitMix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `count` from 32 random bits.
fn below(bits: u64, count: usize) -> usize {
    (((bits & u64::from(u32::MAX)) * count as u64) >> 32) as usize
}

fn any_source(picture: &Picture, bits: u64) -> u32 {
    picture.sources[below(bits, picture.sources.len())]
}

impl Matches {
    pub fn random(picture: &Picture, round: &mut Round) -> Self {
        let seed = round.next();
        let any = |at: &u32| (any_source(picture, mix(seed ^ u64::from(*at))), f32::INFINITY);
        Self(picture.targets.iter().map(any).collect())
    }

    /// The matches of half the resolution, at twice the distances.
    pub fn enlarged(picture: &Picture, coarse: &Picture, matches: &Self, round: &mut Round) -> Self {
        let seed = round.next();
        let half = coarse.patch / 2;
        let enlarge = |at: &u32| {
            let (x, y) = (*at as usize % picture.width, *at as usize / picture.width);
            let within = |x: usize, side: usize| (x / 2).clamp(half, side - 1 - half);
            let (cx, cy) = (within(x, coarse.width), within(y, coarse.height));
            let found = matches.of(coarse, cy * coarse.width + cx).and_then(|(source, _)| {
                let (sx, sy) = (source % coarse.width, source / coarse.width);
                let x = (x + 2 * sx).checked_sub(2 * cx).filter(|x| *x < picture.width)?;
                let y = (y + 2 * sy).checked_sub(2 * cy).filter(|y| *y < picture.height)?;
                let source = y * picture.width + x;
                picture.is_source[source].then_some(source as u32)
            });
            (found.unwrap_or_else(|| any_source(picture, mix(seed ^ u64::from(*at)))), 0.0)
        };
        Self(picture.targets.iter().map(enlarge).collect())
    }

    /// The match of the patch around a pixel.
    pub fn of(&self, picture: &Picture, centre: usize) -> Option<(usize, f32)> {
        let number = picture.numbers[centre];
        (number != NO_TARGET).then(|| {
            let (source, cost) = self.0[number as usize];
            (source as usize, cost)
        })
    }

    /// Compares again, after the picture changed.
    pub fn measure(&mut self, picture: &Picture) {
        self.0.par_iter_mut().zip(&picture.targets).for_each(|((source, cost), at)| {
            *cost = picture.unlikeness(*at as usize, *source as usize, f32::INFINITY);
        });
    }

    /// One pass: each patch tries what its neighbours found, and places around its own find.
    pub fn search(&mut self, picture: &Picture, round: &mut Round, pass: usize) {
        let seed = round.next();
        let found = &self.0;
        let (width, height) = (picture.width as i64, picture.height as i64);
        let better = picture.targets.par_iter().zip(found).with_min_len(32).map(|(at, own)| {
            let mut best = *own;
            let mut attempt = |x: i64, y: i64| {
                if (0..width).contains(&x) && (0..height).contains(&y) {
                    let source = (y * width + x) as usize;
                    if picture.is_source[source] && source as u32 != best.0 {
                        let cost = picture.unlikeness(*at as usize, source, best.1);
                        if cost < best.1 {
                            best = (source as u32, cost);
                        }
                    }
                }
                best.0
            };
            let (x, y) = (i64::from(*at) % width, i64::from(*at) / width);
            let step = [1i64, 4, 2][pass % 3];
            let mut source = own.0;
            for (dx, dy) in [(1, 0), (-1, 0), (0, 1), (0, -1)] {
                for step in [1, step] {
                    let (nx, ny) = (x + dx * step, y + dy * step);
                    if (0..width).contains(&nx) && (0..height).contains(&ny) {
                        let number = picture.numbers[(ny * width + nx) as usize];
                        if number != NO_TARGET {
                            let there = i64::from(found[number as usize].0);
                            source = attempt(there % width - dx * step, there / width - dy * step);
                        }
                    }
                }
            }
            let mut bits = mix(seed ^ u64::from(*at));
            let mut radius = width.max(height);
            while radius >= 1 {
                bits = mix(bits);
                let side = 2 * radius as usize + 1;
                let (dx, dy) = (below(bits, side) as i64 - radius, below(bits >> 32, side) as i64 - radius);
                let (sx, sy) = (i64::from(source) % width, i64::from(source) / width);
                source = attempt(sx + dx, sy + dy);
                radius /= 2;
            }
            best
        });
        self.0 = better.collect();
    }
}
