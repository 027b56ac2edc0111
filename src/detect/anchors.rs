//! Boxes of fixed shapes at every position of feature maps: where a detector looks first.

use opticus_pixels::Size;
use opticus_pixels::geometry::Box2d;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Anchors of a Faster R-CNN (Ren et al. 2015, section 3.1.1), as torchvision's `AnchorGenerator` makes them: for each
/// map some sizes (side of the square of equal area, in pixels of the network's input) in some aspect ratios (height
/// to width), centred on the corner of each cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorGrid {
    /// For each map its sizes.
    pub sizes: Vec<Vec<f64>>,
    /// Height to width; the same for all maps.
    pub ratios: Vec<f64>,
}

impl AnchorGrid {
    /// Checks every value, which may come from a hostile file.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value.
    pub fn validate(&self) -> Result<()> {
        let sizes = self.sizes.iter().flatten();
        match sizes.chain(&self.ratios).find(|v| !(**v > 0.0 && **v <= 1e5)) {
            Some(bad) => Err(Error::Config(format!("anchors: {bad} is no size or ratio; give more than 0"))),
            None if self.sizes.len() > 16 || self.sizes.iter().any(|s| s.len() * self.ratios.len() > 64) => {
                Err(Error::Config("anchors: more than 16 maps or 64 anchors a position".to_owned()))
            }
            None => Ok(()),
        }
    }

    /// Anchors at each position of map `level`.
    pub fn per_position(&self, level: usize) -> usize {
        self.sizes[level].len() * self.ratios.len()
    }

    /// The anchors of map `level` around the origin, ratio by ratio, edges rounded to whole pixels.
    fn cell(&self, level: usize) -> Vec<Box2d> {
        let mut cell = Vec::new();
        for ratio in &self.ratios {
            // In single precision, as the reference: where an edge rounds to must not depend on us.
            let tall = (*ratio as f32).sqrt();
            let wide = 1.0 / tall;
            for &size in &self.sizes[level] {
                let half = |side: f32| f64::from((side * size as f32 / 2.0).round_ties_even());
                let [w, h] = [half(wide), half(tall)];
                cell.push(Box2d::new(-w, -h, w, h));
            }
        }
        cell
    }

    /// All anchors of maps with these sizes for an input of this size: map by map, row by row, position by position.
    pub fn anchors(&self, input: Size, maps: &[Size]) -> Vec<Box2d> {
        let mut anchors = Vec::new();
        for (level, map) in maps.iter().enumerate() {
            let cell = self.cell(level);
            let step = |input: u32, map: u32| f64::from(input / map.max(1));
            let (down, right) = (step(input.height, map.height), step(input.width, map.width));
            for y in 0..map.height {
                for x in 0..map.width {
                    let (dx, dy) = (f64::from(x) * right, f64::from(y) * down);
                    anchors
                        .extend(cell.iter().map(|b| Box2d::new(b.x1 + dx, b.y1 + dy, b.x2 + dx, b.y2 + dy)));
                }
            }
        }
        anchors
    }
}

/// Default boxes of SSD (Liu et al. 2016, section 2.2), as torchvision's `DefaultBoxGenerator` makes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultBoxes {
    /// For each map the aspect ratios beside 1; each also upside down.
    pub ratios: Vec<Vec<f64>>,
    /// Side of the square of each map as a part of the picture, and one more for what follows the last map.
    pub scales: Vec<f64>,
    /// Pixels between the positions of each map; without it, the input's size over the map's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<f64>>,
}

impl DefaultBoxes {
    /// Checks every value, which may come from a hostile file.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value.
    pub fn validate(&self) -> Result<()> {
        let levels = self.ratios.len();
        let steps = self.steps.as_deref().unwrap_or_default();
        let numbers = self.ratios.iter().flatten().chain(&self.scales).chain(steps);
        match numbers.copied().find(|v| !(*v > 0.0 && *v <= 1e5)) {
            Some(bad) => {
                Err(Error::Config(format!("boxes: {bad} is no ratio, scale or step; give more than 0")))
            }
            None if !(1..=16).contains(&levels) || self.ratios.iter().any(|r| r.len() > 30) => {
                Err(Error::Config("boxes: give 1 to 16 maps with at most 30 ratios each".to_owned()))
            }
            None if self.scales.len() != levels + 1 || (!steps.is_empty() && steps.len() != levels) => {
                Err(Error::Config(format!(
                    "boxes: {levels} maps need {} scales and as many steps as maps, or none",
                    levels + 1
                )))
            }
            None => Ok(()),
        }
    }

    /// Scales at equal distances from `least` to `most`, for as many maps as there are lists of ratios.
    pub fn evenly(ratios: Vec<Vec<f64>>, least: f64, most: f64) -> Self {
        let last = ratios.len().saturating_sub(1).max(1) as f64;
        let scale = |k: usize| least + (most - least) * k as f64 / last;
        let scales = (0..ratios.len()).map(scale).chain([1.0]).collect();
        Self { ratios, scales, steps: None }
    }

    /// Boxes at each position of map `level`.
    pub fn per_position(&self, level: usize) -> usize {
        2 + 2 * self.ratios[level].len()
    }

    /// Widths and heights of the boxes of map `level`, as parts of the picture.
    fn shapes(&self, level: usize) -> Vec<[f64; 2]> {
        let (scale, next) = (self.scales[level], self.scales[level + 1]);
        let between = (scale * next).sqrt();
        let mut shapes = vec![[scale; 2], [between; 2]];
        for ratio in &self.ratios[level] {
            let root = ratio.sqrt();
            let (long, short) = (scale * root, scale / root);
            shapes.extend([[long, short], [short, long]]);
        }
        shapes.into_iter().map(|shape| shape.map(|side| side.clamp(0.0, 1.0))).collect()
    }

    /// All boxes of maps with these sizes for an input of this size, in pixels: map by map, row by row, position by
    /// position.
    pub fn boxes(&self, input: Size, maps: &[Size]) -> Vec<Box2d> {
        let [width, height] = [input.width, input.height].map(f64::from);
        let mut boxes = Vec::new();
        for (level, map) in maps.iter().enumerate() {
            let shapes = self.shapes(level);
            let positions = match &self.steps {
                Some(steps) => [width / steps[level], height / steps[level]],
                None => [f64::from(map.width), f64::from(map.height)],
            };
            for y in 0..map.height {
                for x in 0..map.width {
                    let cx = (f64::from(x) + 0.5) / positions[0];
                    let cy = (f64::from(y) + 0.5) / positions[1];
                    boxes.extend(
                        shapes.iter().map(|[w, h]| {
                            Box2d::from_center([cx * width, cy * height, w * width, h * height])
                        }),
                    );
                }
            }
        }
        boxes
    }
}
