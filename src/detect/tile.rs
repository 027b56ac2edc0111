//! Large pictures with small objects: looked at tile by tile, and once as a whole (as in Akyon et al. 2022, "Slicing
//! Aided Hyper Inference", section 3).

use opticus_pixels::Image8;
use opticus_pixels::geometry::{Box2d, Placement, Size};
use opticus_pixels::resize::{Filter, place};
use opticus_pixels::suppress::Candidate;

use crate::error::{Error, Result};

/// How a picture is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tiling {
    /// Side of a tile in pixels.
    pub side: u32,
    /// Part of a tile's side that it shares with its neighbour, 0 to below 1: objects smaller than that are whole in
    /// one tile at least.
    pub overlap: f64,
    /// Overlap (IoU) above which two boxes of a class are one object's.
    pub iou: f64,
}

/// Pixels from an inner edge of a tile within which a box counts as cut off by it.
const EDGE: f64 = 2.0;
/// Part of the smaller box that another of its class must cover for a cut one to be its rest.
const COVERED: f64 = 0.6;

impl Tiling {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value out of range.
    pub fn validate(&self) -> Result<()> {
        let Self { side, overlap, iou } = *self;
        match () {
            () if side < 32 => Err(Error::Config(format!("--tile {side}: give at least 32 pixels"))),
            () if !(0.0..=0.9).contains(&overlap) => {
                Err(Error::Config(format!("--overlap {overlap}: give 0 to 0.9 of a tile's side")))
            }
            () if !(0.0..=1.0).contains(&iou) => Err(Error::Config(format!("an IoU of {iou}; give 0 to 1"))),
            () => Ok(()),
        }
    }

    /// Where tiles begin along a side of the picture: evenly spread, the last one at the end.
    fn starts(&self, length: u32) -> Vec<u32> {
        if length <= self.side {
            return vec![0];
        }
        let step = (f64::from(self.side) * (1.0 - self.overlap)).floor().max(1.0);
        let gaps = (f64::from(length - self.side) / step).ceil();
        (0..=gaps as u32)
            .map(|i| (f64::from(length - self.side) * f64::from(i) / gaps).floor() as u32)
            .collect()
    }

    /// Left, top and size of the tiles, row by row.
    pub fn tiles(&self, size: Size) -> Vec<(u32, u32, Size)> {
        let tile = Size::new(self.side.min(size.width), self.side.min(size.height));
        let columns = self.starts(size.width);
        let rows = self.starts(size.height).into_iter();
        rows.flat_map(|y| columns.iter().map(move |&x| (x, y, tile))).collect()
    }

    /// What `detect` finds in the picture's tiles and in the whole, each object once: best first, in pixels of the
    /// picture.
    ///
    /// # Errors
    /// Those of `detect`.
    pub fn detect(
        &self,
        image: &Image8,
        detect: impl Fn(&Image8) -> Result<Vec<Candidate>>,
    ) -> Result<Vec<Candidate>> {
        let size = image.size;
        let tiles = self.tiles(size);
        let mut found: Vec<(bool, Candidate)> = Vec::new();
        if tiles.len() > 1 {
            for (x, y, tile) in tiles {
                let placement = Placement {
                    picture: size,
                    scaled: size,
                    frame: tile,
                    x: -i64::from(x),
                    y: -i64::from(y),
                };
                let part = place(image, &placement, Filter::Bilinear, 0);
                let within = Box2d::whole(tile).translated([x.into(), y.into()]);
                for c in detect(&part)? {
                    let bounds = c.bounds.translated([x.into(), y.into()]);
                    found.push((is_cut(bounds, within, size), Candidate { bounds, ..c }));
                }
            }
        }
        found.extend(detect(image)?.into_iter().map(|c| (false, c)));
        Ok(self.merged(found))
    }

    /// Each object once. Whole boxes go before those that a tile's edge cuts.
    fn merged(&self, mut found: Vec<(bool, Candidate)>) -> Vec<Candidate> {
        found.retain(|(_, c)| c.bounds.valid() && !c.score.is_nan());
        found.sort_by(|(a_cut, a), (b_cut, b)| a_cut.cmp(b_cut).then(b.score.total_cmp(&a.score)));
        let mut kept: Vec<(bool, Candidate)> = Vec::new();
        for (cut, c) in found {
            let same = |(other_cut, k): &(bool, Candidate)| {
                let (a, b) = (c.bounds, k.bounds);
                let smaller = a.area().min(b.area());
                k.class == c.class
                    && (a.iou(b) > self.iou
                        || ((cut || *other_cut) && a.intersection_area(b) > COVERED * smaller))
            };
            if !kept.iter().any(same) {
                kept.push((cut, c));
            }
        }
        let mut kept: Vec<Candidate> = kept.into_iter().map(|(_, c)| c).collect();
        kept.sort_by(|a, b| b.score.total_cmp(&a.score));
        kept
    }
}

/// Whether a box ends at an edge of its tile that is not the picture's.
fn is_cut(bounds: Box2d, tile: Box2d, picture: Size) -> bool {
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    (tile.x1 > 0.0 && bounds.x1 < tile.x1 + EDGE)
        || (tile.y1 > 0.0 && bounds.y1 < tile.y1 + EDGE)
        || (tile.x2 < width && bounds.x2 > tile.x2 - EDGE)
        || (tile.y2 < height && bounds.y2 > tile.y2 - EDGE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Finds the painted rectangle, or what there is of it, if it is large enough in the picture given.
    fn find(image: &Image8, least: f64) -> Vec<Candidate> {
        let mut around: Option<Box2d> = None;
        for (i, v) in image.data.iter().enumerate().filter(|(_, v)| **v > 0) {
            let (x, y) = (i as u32 % image.size.width, i as u32 / image.size.width);
            let here = Box2d::from_xywh([x.into(), y.into(), 1.0, 1.0]);
            around = Some(around.map_or(here, |b| b.enclosing(here)));
            assert_eq!(*v, 9);
        }
        let share = |b: &Box2d| b.area().sqrt() / f64::from(image.size.width.max(image.size.height));
        let found = around.filter(|b| share(b) >= least);
        found.map(|bounds| Candidate { bounds, score: 0.5, class: 3 }).into_iter().collect()
    }

    proptest! {
        #[test]
        fn an_object_is_found_once_and_whole_wherever_it_lies(
            [width, height] in [100u32..300, 100u32..300],
            [right, down] in [0.0f64..1.0, 0.0f64..1.0],
            [w, h] in [4u32..12, 4u32..12],
            // Whether the detector is blind to what is small in a large picture.
            least in prop_oneof![Just(0.0), Just(0.05)],
        ) {
            let tiling = Tiling { side: 64, overlap: 0.25, iou: 0.5 };
            let [x, y] = [right * f64::from(width - w), down * f64::from(height - h)].map(|v| v as u32);
            let mut data = vec![0u8; (width * height) as usize];
            for row in y..y + h {
                data[(row * width + x) as usize..][..w as usize].fill(9);
            }
            let image = Image8 { size: Size::new(width, height), channels: 1, data };
            let found = tiling.detect(&image, |part| Ok(find(part, least))).unwrap();
            let wanted = Box2d::from_xywh([x, y, w, h].map(f64::from));
            prop_assert_eq!(found.iter().map(|c| c.bounds).collect::<Vec<_>>(), vec![wanted]);
        }

        #[test]
        fn tiles_cover_the_picture_and_share_what_they_should(
            [width, height] in [1u32..500, 1u32..500],
            side in 32u32..200,
            overlap in 0.0f64..0.8,
        ) {
            let tiling = Tiling { side, overlap, iou: 0.5 };
            let starts = tiling.starts(width);
            prop_assert_eq!(starts[0], 0);
            prop_assert_eq!(starts[starts.len() - 1] + side.min(width), width);
            let most = (f64::from(side) * (1.0 - overlap)).floor().max(1.0) as u32;
            prop_assert!(starts.windows(2).all(|pair| pair[1] - pair[0] <= most && pair[1] > pair[0]));
            let tiles = tiling.tiles(Size::new(width, height));
            prop_assert!(tiles.iter().all(|(x, y, s)| x + s.width <= width && y + s.height <= height));
        }
    }

    #[test]
    fn neighbours_of_one_class_stay_two() {
        let tiling = Tiling { side: 64, overlap: 0.25, iou: 0.5 };
        let boxes = [[0.0, 0.0, 10.0, 10.0], [8.0, 0.0, 18.0, 10.0]];
        let found = boxes.map(|b| (false, Candidate { bounds: b.into(), score: 0.9, class: 0 })).to_vec();
        assert_eq!(tiling.merged(found).len(), 2);
    }
}
