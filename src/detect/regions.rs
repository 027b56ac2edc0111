//! What of the maps, or of the picture, the heads see of a region: the same in training and in prediction.

use opticus_kernels::{Roi, RoiAlign};
use opticus_pixels::geometry::{Box2d, Size};

use crate::nets::detector::REGION;

/// Side of the region that the pyramid's level 4 is for (Lin et al. 2017, equation 1).
const CANONICAL: f64 = 224.0;
/// Samples along each side of a bin of a map.
const SAMPLES: usize = 2;
/// Part of R-CNN's cut-out that lies around the region on each side: 16 of 227 pixels (Girshick et al. 2014, appendix
/// A).
const CONTEXT: f64 = 16.0 / 227.0;

/// Where regions are read: from the maps of a pyramid, or from the picture itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// From the map that suits the region's size; the exponents of the maps' scales, from fine to coarse.
    Maps(Vec<i32>),
    /// Cut out of the picture and brought to this side (R-CNN).
    Picture(usize),
}

impl Reading {
    /// From maps of these sizes for an input of which `scaled` is picture. Scales are powers of two of the scaled
    /// picture, not of its frame (torchvision's `MultiScaleRoIAlign`).
    pub fn of_maps(maps: impl IntoIterator<Item = Size>, scaled: Size) -> Self {
        let scale =
            |map: Size| (f64::from(map.height) / f64::from(scaled.height.max(1))).log2().round() as i32;
        Self::Maps(maps.into_iter().map(scale).collect())
    }

    /// Which map a region is read from (Lin et al. 2017, equation 1).
    fn map_of(&self, region: Box2d) -> usize {
        match self {
            Self::Picture(_) => 0,
            Self::Maps(scales) => {
                let (Some(finest), Some(coarsest)) = (scales.first(), scales.last()) else { return 0 };
                let level = (4.0 + (region.area().sqrt() / CANONICAL).log2() + 1e-6).floor();
                (level.clamp(f64::from(-finest), f64::from(-coarsest)) + f64::from(*finest)) as usize
            }
        }
    }

    /// For each map how it is read, and the numbers of the regions that are read from it, in order.
    pub fn parts(&self, regions: &[Box2d]) -> Vec<(RoiAlign, Vec<usize>)> {
        let mut parts: Vec<(RoiAlign, Vec<usize>)> = match self {
            Self::Picture(side) => {
                let align = RoiAlign { bins: [*side; 2], scale: 1.0, samples: None, aligned: true };
                vec![(align, Vec::new())]
            }
            Self::Maps(scales) => {
                let align = |scale: &i32| RoiAlign {
                    bins: [REGION; 2],
                    scale: f64::from(*scale).exp2() as f32,
                    samples: Some(SAMPLES),
                    aligned: false,
                };
                scales.iter().map(|scale| (align(scale), Vec::new())).collect()
            }
        };
        for (number, region) in regions.iter().enumerate() {
            if let Some((_, numbers)) = parts.get_mut(self.map_of(*region)) {
                numbers.push(number);
            }
        }
        parts
    }

    /// The region as it is read of picture `image` of a batch.
    pub fn roi(&self, image: usize, region: Box2d) -> Roi {
        let region = match self {
            Self::Maps(_) => region,
            Self::Picture(_) => {
                let [x, y, w, h] = region.to_center();
                let larger = 1.0 / (1.0 - 2.0 * CONTEXT);
                Box2d::from_center([x, y, w * larger, h * larger])
            }
        };
        Roi { image, corners: region.to_corners().map(|edge| edge as f32) }
    }
}
