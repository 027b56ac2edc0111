//! One picture of a panorama as registration sees it.

use crate::draw;
use crate::features::{self, Features};
use crate::geometry::Size;
use crate::image::Image8;
use crate::photo::Photo;
use crate::resize::{Filter, resize};

/// Pixels at which points are sought, as in OpenCV's stitcher: more find no more of use.
const REGISTERED: f64 = 0.6e6;
/// Most points of a picture.
const MOST_POINTS: usize = 600;

/// A picture made small, and its points.
#[derive(Clone, Debug)]
pub struct View {
    /// The picture's own size.
    pub size: Size,
    /// The picture in RGB, of at most 0.6 million pixels.
    pub small: Image8,
    /// Where alpha is above 0 in `small`; none for an opaque picture.
    pub(super) opaque: Option<Vec<bool>>,
    /// Points found in `small`.
    pub features: Features,
}

impl View {
    /// Finds the points of a picture.
    pub fn of(photo: &Photo) -> Self {
        let size = photo.size();
        let scale = (REGISTERED / (size.area() as f64).max(1.0)).sqrt().min(1.0);
        let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).clamp(1, side.max(1));
        let to = Size::new(scaled(size.width), scaled(size.height));
        let colours = photo.to_image8().into_mode(crate::codec::ColorMode::Rgb);
        let shrunk =
            |image: &Image8| if to == size { image.clone() } else { resize(image, to, Filter::Bilinear) };
        let small = shrunk(&colours);
        let opaque = photo.alpha.as_ref().map(|alpha| {
            let data = alpha.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0) as u8).collect();
            shrunk(&Image8 { size, channels: 1, data }).data.iter().map(|v| *v > 0).collect()
        });
        let weights = [0.299 / 255.0, 0.587 / 255.0, 0.114 / 255.0];
        let grey: Vec<f32> = small
            .data
            .as_chunks::<3>()
            .0
            .iter()
            .map(|p| p.iter().zip(weights).map(|(v, w)| f32::from(*v) * w).sum())
            .collect();
        let features = features::find(&grey, to, MOST_POINTS);
        Self { size, small, opaque, features }
    }

    /// Pixels of the picture to one of `small`, along x and y.
    pub(super) fn scale(&self) -> [f64; 2] {
        let Size { width, height } = self.small.size;
        [f64::from(self.size.width) / f64::from(width), f64::from(self.size.height) / f64::from(height)]
    }

    /// A point in pixels of the picture, relative to its middle.
    pub(super) fn point(&self, number: usize) -> [f64; 2] {
        let point = &self.features.keypoints[number];
        let [sx, sy] = self.scale();
        [
            (f64::from(point.x) + 0.5) * sx - f64::from(self.size.width) / 2.0,
            (f64::from(point.y) + 0.5) * sy - f64::from(self.size.height) / 2.0,
        ]
    }
}

/// Two pictures side by side with their matches: those that agree in green, the others in red. Lines are given in
/// pixels of the pictures, from their top left corners.
pub fn draw_pair(first: &View, second: &View, lines: &[([f64; 2], [f64; 2], bool)]) -> Image8 {
    let small = |view: &View, [x, y]: [f64; 2]| {
        let [sx, sy] = view.scale();
        [x / sx, y / sy]
    };
    let lines: Vec<_> =
        lines.iter().map(|(p, q, agrees)| (small(first, *p), small(second, *q), *agrees)).collect();
    draw::matches(&first.small, &second.small, &lines)
}
