//! Which true box, if any, each anchor or proposal stands for in training.

use opticus_pixels::geometry::Box2d;
use rand::Rng;
use rayon::prelude::*;

/// What an anchor or proposal stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// The true box of this number.
    Object(usize),
    /// Background.
    Background,
    /// Neither clearly: it takes no part in training.
    Neither,
}

/// Rules of matching by overlap (intersection over union).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Matcher {
    /// From this overlap on it is an object.
    pub object: f64,
    /// Below this overlap it is background.
    pub background: f64,
    /// What happens to true boxes that no one overlaps enough.
    pub rescue: Rescue,
}

/// What happens to true boxes that no one overlaps enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rescue {
    /// Nothing.
    None,
    /// Those that overlap it most, ties included, stand for the true box that *they* overlap most (Faster R-CNN's
    /// anchors).
    Ties,
    /// The one that overlaps it most stands for it; for the last one, if it is so for several (SSD).
    Best,
}

impl Matcher {
    /// Of a region proposal network.
    pub const PROPOSALS: Self = Self { object: 0.7, background: 0.3, rescue: Rescue::Ties };
    /// Of the heads of Fast and Faster R-CNN.
    pub const HEADS: Self = Self { object: 0.5, background: 0.5, rescue: Rescue::None };
    /// Of SSD.
    pub const SSD: Self = Self { object: 0.5, background: 0.5, rescue: Rescue::Best };

    /// What each of `boxes` stands for. Of equal overlaps the first true box counts.
    pub fn run(&self, truth: &[Box2d], boxes: &[Box2d]) -> Vec<Match> {
        let best: Vec<(f64, usize)> = boxes
            .par_iter()
            .map(|b| {
                truth.iter().enumerate().fold((0.0, 0), |best, (i, t)| {
                    let overlap = t.iou(*b);
                    if overlap > best.0 { (overlap, i) } else { best }
                })
            })
            .collect();
        let mut matches: Vec<Match> = best
            .iter()
            .map(|&(overlap, i)| match overlap {
                _ if truth.is_empty() => Match::Background,
                o if o >= self.object => Match::Object(i),
                o if o < self.background => Match::Background,
                _ => Match::Neither,
            })
            .collect();
        if self.rescue == Rescue::None {
            return matches;
        }
        for (i, t) in truth.iter().enumerate() {
            let overlaps: Vec<f64> = boxes.par_iter().map(|b| t.iou(*b)).collect();
            let most = overlaps.iter().copied().fold(0.0, f64::max);
            // A true box that nobody touches stays alone.
            if most <= 0.0 {
                continue;
            }
            for (b, _) in overlaps.iter().enumerate().filter(|(_, overlap)| **overlap == most) {
                if self.rescue == Rescue::Best {
                    matches[b] = Match::Object(i);
                    break;
                }
                matches[b] = Match::Object(best[b].1);
            }
        }
        matches
    }
}

/// A random choice of objects and background: at most `share` of `count` objects, the rest background. Gives the
/// numbers of the objects and of the background, in order.
pub fn sample(matches: &[Match], count: usize, share: f64, rng: &mut impl Rng) -> (Vec<usize>, Vec<usize>) {
    let of = |wanted: fn(&Match) -> bool| -> Vec<usize> {
        matches.iter().enumerate().filter(|(_, m)| wanted(m)).map(|(i, _)| i).collect()
    };
    let objects = of(|m| matches!(m, Match::Object(_)));
    let background = of(|m| *m == Match::Background);
    let most = (count as f64 * share) as usize;
    let objects = choose(objects, most, rng);
    let background = choose(background, count - objects.len(), rng);
    (objects, background)
}

/// `count` of the numbers at random, in order.
fn choose(mut numbers: Vec<usize>, count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let count = count.min(numbers.len());
    for i in 0..count {
        let j = i + ((u64::from(rng.next_u32()) * (numbers.len() - i) as u64) >> 32) as usize;
        numbers.swap(i, j);
    }
    numbers.truncate(count);
    numbers.sort_unstable();
    numbers
}
