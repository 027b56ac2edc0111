//! Regions of like colour: the graph segmentation of Felzenszwalb and Huttenlocher ("Efficient Graph-Based Image
//! Segmentation", IJCV 59, 2004).

mod graph;
mod planes;

pub(crate) use graph::Graph;
pub(crate) use planes::Planes;

use crate::codec::ColorMode;
use crate::geometry::Size;
use crate::image::Image8;

/// Settings of [`segment`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segmenting {
    /// Width of the Gaussian that smooths the picture first, in pixels; 0 for none. The paper uses 0.8.
    pub sigma: f32,
    /// How readily regions merge: `k` of equation 4, in levels of 0..=255 times pixels. Larger gives larger regions.
    pub scale: f32,
    /// Smaller regions are merged with a neighbour, in pixels.
    pub min_size: u32,
}

impl Default for Segmenting {
    fn default() -> Self {
        Self { sigma: 0.8, scale: 300.0, min_size: 50 }
    }
}

/// A picture cut into regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Extent in pixels.
    pub size: Size,
    /// The region of each pixel, row by row, from 0 in the order in which regions first appear.
    pub labels: Vec<u32>,
    /// Number of regions.
    pub regions: usize,
}

/// Cuts a picture into regions by its RGB colours (a grey one by its levels). Every region is connected, by sides
/// or corners of pixels; `sigma` beyond 100 counts as 100.
pub fn segment(image: &Image8, settings: &Segmenting) -> Segments {
    let mode = if image.channels == 1 { ColorMode::Grey } else { ColorMode::Rgb };
    Graph::new(&Planes::of(&image.to_mode(mode)).smoothed(settings.sigma))
        .cut(settings.scale, settings.min_size)
}
