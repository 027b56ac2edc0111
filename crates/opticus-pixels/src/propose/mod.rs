//! Where objects may be: selective search (Uijlings, van de Sande, Gevers, Smeulders: "Selective Search for Object
//! Recognition", IJCV 104, 2013), the proposals of R-CNN and Fast R-CNN.
//!
//! A picture is cut into small regions ([`segment`](crate::segment)), and the two most similar neighbours are merged
//! time and again until one region is left; the box around every region on the way is a proposal. Several
//! strategies, different in colour space, similarity and first cut, find what one would miss.

mod colour;
mod features;
mod group;

use std::collections::HashSet;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::codec::ColorMode;
use crate::geometry::{Box2d, Size};
use crate::image::Image8;
use crate::resize::{Filter, resize};
use crate::segment::Graph;

pub use colour::ColorSpace;
use features::Features;
use group::group;

/// What makes two regions similar: the sum of the terms switched on (equation 6 of the paper).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Similarity {
    /// Their colours (equation 2).
    pub color: bool,
    /// Their textures (equation 3).
    pub texture: bool,
    /// Both are small (equation 4).
    pub size: bool,
    /// They fill the box around them (equation 5).
    pub fill: bool,
}

impl Similarity {
    /// All four terms.
    pub const ALL: Self = Self { color: true, texture: true, size: true, fill: true };
    /// All but colour.
    pub const NO_COLOR: Self = Self { color: false, ..Self::ALL };
    /// Only how they fill their box.
    pub const FILL: Self = Self { color: false, texture: false, size: false, fill: true };
    /// Only size.
    pub const SIZE: Self = Self { color: false, texture: false, size: true, fill: false };
}

/// One way of grouping.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Strategy {
    /// In which colours are compared and regions cut.
    pub space: ColorSpace,
    /// Which regions merge first.
    pub similarity: Similarity,
    /// How coarse the first cut is: [`Segmenting::scale`](crate::segment::Segmenting::scale), and the least size of a
    /// region in pixels.
    pub scale: u32,
}

/// Sets of strategies (section 5.4 and table 5 of the paper).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// One strategy.
    Single,
    /// 8 strategies: 2 colour spaces, 2 similarities, 2 first cuts.
    #[default]
    Fast,
    /// 80 strategies: 5 colour spaces, 4 similarities, 4 first cuts.
    Quality,
}

impl Effort {
    /// The strategies.
    pub fn strategies(self) -> Vec<Strategy> {
        use ColorSpace::{Hsv, Hue, Intensity, Lab, Rgi};
        let (spaces, similarities, scales): (&[_], &[_], &[_]) = match self {
            Self::Single => (&[Hsv], &[Similarity::ALL], &[100]),
            Self::Fast => (&[Hsv, Lab], &[Similarity::ALL, Similarity::NO_COLOR], &[50, 100]),
            Self::Quality => (
                &[Hsv, Lab, Rgi, Hue, Intensity],
                &[Similarity::ALL, Similarity::NO_COLOR, Similarity::FILL, Similarity::SIZE],
                &[50, 100, 150, 300],
            ),
        };
        let mut strategies = Vec::new();
        for space in spaces.iter().copied() {
            for scale in scales.iter().copied() {
                let same = similarities.iter().copied();
                strategies.extend(same.map(|similarity| Strategy { space, similarity, scale }));
            }
        }
        strategies
    }
}

/// Settings of [`propose`].
#[derive(Clone, Debug, PartialEq)]
pub struct Proposing {
    /// The strategies whose regions are taken together.
    pub strategies: Vec<Strategy>,
    /// Larger pictures are searched at this length of their longer side: regions are of the same kind then in
    /// pictures of any size, in bounded time. R-CNN searches pictures 500 wide.
    pub longest_side: u32,
    /// Boxes narrower or lower than this in the picture searched are left out, in pixels.
    pub min_side: u32,
    /// At most so many boxes.
    pub most: usize,
    /// Chooses the order, see [`propose`].
    pub seed: u64,
}

impl Proposing {
    /// The usual settings, with a set of strategies.
    pub fn new(effort: Effort) -> Self {
        Self { strategies: effort.strategies(), longest_side: 500, min_side: 10, most: 2000, seed: 0 }
    }
}

/// Width of the smoothing before the first cut, in pixels (section 3.1).
const SIGMA: f32 = 0.8;

/// Boxes that may hold objects, likelier ones first, no two the same.
///
/// The order is that of section 4.3: the regions of a strategy count from the whole picture (1) down to the first
/// cut, and all are sorted by that number times a random one of 0..1, which depends on the seed, the strategy and
/// the region only. The boxes have whole edges where the picture is searched at its own size.
pub fn propose(image: &Image8, settings: &Proposing) -> Vec<Box2d> {
    if image.size.area() == 0 {
        return Vec::new();
    }
    let searched = searched_size(image.size, settings.longest_side);
    let rgb = image.to_mode(ColorMode::Rgb);
    let rgb = if searched == image.size { rgb } else { resize(&rgb, searched, Filter::Bilinear) };
    let mut ranked: Vec<(f64, Region)> = hierarchies(&rgb, &settings.strategies)
        .into_iter()
        .enumerate()
        .flat_map(|(strategy, hierarchy)| {
            let chance = move |place: usize| random(settings.seed, strategy as u64, place as u64);
            // The whole picture comes last in a hierarchy.
            let counted = hierarchy.into_iter().rev().enumerate();
            counted.map(move |(place, region)| ((place + 1) as f64 * chance(place), region))
        })
        .collect();
    ranked.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut seen = HashSet::new();
    let large = |region: &Region| region.width() >= settings.min_side && region.height() >= settings.min_side;
    let scale = |from: u32, to: u32| f64::from(to) / f64::from(from);
    let factors = [scale(searched.width, image.size.width), scale(searched.height, image.size.height)];
    let regions = ranked.into_iter().map(|(_, region)| region).filter(|r| large(r) && seen.insert(*r));
    regions.take(settings.most).map(|region| region.bounds().scaled(factors)).collect()
}

/// The boxes of each strategy's regions in the order in which they came to be, first cut first.
fn hierarchies(rgb: &Image8, strategies: &[Strategy]) -> Vec<Vec<Region>> {
    let mut found = vec![Vec::new(); strategies.len()];
    // What strategies have in common is done once: colours, graph and texture of a space, and a first cut's regions.
    let mut spaces: Vec<ColorSpace> = Vec::new();
    for strategy in strategies {
        if !spaces.contains(&strategy.space) {
            spaces.push(strategy.space);
        }
    }
    let results: Vec<(usize, Vec<Region>)> = spaces
        .into_par_iter()
        .flat_map(|space| {
            let planes = space.planes(rgb);
            let graph = Graph::new(&planes.smoothed(SIGMA));
            let features = Features::of(&planes);
            let mut scales: Vec<u32> =
                strategies.iter().filter(|s| s.space == space).map(|s| s.scale).collect();
            scales.sort_unstable();
            scales.dedup();
            let cut = |scale: u32| {
                let regions = features.regions(&graph.cut(scale as f32, scale));
                let same =
                    strategies.iter().enumerate().filter(|(_, s)| s.space == space && s.scale == scale);
                let same: Vec<(usize, Similarity)> = same.map(|(i, s)| (i, s.similarity)).collect();
                let grouped = same.into_par_iter().map(|(i, similarity)| (i, group(&regions, similarity)));
                grouped.collect::<Vec<_>>()
            };
            scales.into_par_iter().flat_map(cut).collect::<Vec<_>>()
        })
        .collect();
    for (strategy, regions) in results {
        found[strategy] = regions;
    }
    found
}

/// A region's box in whole pixels, the far edges not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Region {
    x1: u32,
    y1: u32,
    x2: u32,
    y2: u32,
}

impl Region {
    fn width(self) -> u32 {
        self.x2 - self.x1
    }

    fn height(self) -> u32 {
        self.y2 - self.y1
    }

    fn area(self) -> f32 {
        self.width() as f32 * self.height() as f32
    }

    fn around(self, other: Self) -> Self {
        Self {
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
            x2: self.x2.max(other.x2),
            y2: self.y2.max(other.y2),
        }
    }

    fn bounds(self) -> Box2d {
        Box2d::new(self.x1.into(), self.y1.into(), self.x2.into(), self.y2.into())
    }
}

fn searched_size(size: Size, longest: u32) -> Size {
    let longest = longest.max(1);
    let side = size.width.max(size.height);
    if side <= longest {
        return size;
    }
    let scaled = |v: u32| (f64::from(v) * f64::from(longest) / f64::from(side)).round().max(1.0) as u32;
    Size::new(scaled(size.width), scaled(size.height))
}

/// A number of 0..1 for each place: the mixing function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn random(seed: u64, strategy: u64, place: u64) -> f64 {
    let mix = |v: u64| {
        let v = v.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let v = (v ^ (v >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let v = (v ^ (v >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        v ^ (v >> 31)
    };
    let bits = mix(mix(mix(seed) ^ strategy) ^ place);
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
