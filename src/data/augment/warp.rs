//! Moving pixels: an affine map and an elastic field in one bilinear resampling.

use opticus_pixels::{Image8, Size};
use rand::RngExt;

use super::config::{Affine, Elastic};
use super::regions::{about_zero, uniform};
use crate::data::sampler::DataRng;

/// From a pixel of the result to the place in the picture it is taken from, both about the picture's middle:
/// `x' = a x + b y + c`, `y' = d x + e y + f`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AffineMap(pub [f64; 6]);

impl AffineMap {
    /// Everything stays.
    pub const IDENTITY: Self = Self([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
}

impl Affine {
    /// A random map for a picture of `size`.
    pub fn draw(&self, size: Size, rng: &mut DataRng) -> AffineMap {
        let angle = about_zero(self.degrees, rng);
        let x = about_zero(self.translate_x, rng) * f64::from(size.width);
        let y = about_zero(self.translate_y, rng) * f64::from(size.height);
        let scale = uniform(self.scale, rng);
        Self::map(angle, [x, y], scale, about_zero(self.shear, rng))
    }

    /// The map that shears along x, magnifies by `scale` and turns clockwise by `angle` (degrees both) about the
    /// middle, and shifts by (`tx`, `ty`) pixels: torchvision's inverse affine matrix.
    pub fn map(angle: f64, [tx, ty]: [f64; 2], scale: f64, shear: f64) -> AffineMap {
        let (sin, cos) = angle.to_radians().sin_cos();
        let slant = shear.to_radians().tan();
        let (a, b) = (cos, -cos * slant - sin);
        let (c, d) = (sin, -sin * slant + cos);
        // The determinant of [a b; c d] is 1.
        let [ia, ib, ic, id] = [d / scale, -b / scale, -c / scale, a / scale];
        AffineMap([ia, ib, -ia * tx - ib * ty, ic, id, -ic * tx - id * ty])
    }
}

/// How far each pixel is moved, in pixels, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    dx: Vec<f32>,
    dy: Vec<f32>,
}

impl Elastic {
    /// A random field for a picture of `size`; `None` if this picture is left alone.
    pub fn draw(&self, size: Size, rng: &mut DataRng) -> Option<Field> {
        if !rng.random_bool(self.probability) {
            return None;
        }
        let mut plane = || {
            let noise = (0..size.area()).map(|_| rng.random_range(-1.0..1.0f32)).collect();
            let mut plane = smooth(noise, size, self.sigma);
            plane.iter_mut().for_each(|v| *v *= self.alpha as f32);
            plane
        };
        Some(Field { dx: plane(), dy: plane() })
    }
}

/// A separable Gaussian of total weight 1, nothing beyond the edges.
fn smooth(plane: Vec<f32>, size: Size, sigma: f64) -> Vec<f32> {
    let (width, height) = (size.width as usize, size.height as usize);
    let radius = (3.0 * sigma).ceil() as usize;
    let weights: Vec<f64> = (0..=radius).map(|d| (-((d * d) as f64) / (2.0 * sigma * sigma)).exp()).collect();
    let total = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
    let kernel: Vec<f32> = weights.iter().map(|w| (w / total) as f32).collect();
    // Whole rows at a time, in both directions, so that the compiler can use its vectors.
    let add = |to: &mut [f32], from: &[f32], weight: f32| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
    };
    let mut across = vec![0f32; plane.len()];
    for (from, to) in plane.chunks_exact(width).zip(across.chunks_exact_mut(width)) {
        add(to, from, kernel[0]);
        for (d, weight) in kernel.iter().enumerate().take(width).skip(1) {
            add(&mut to[d..], from, *weight);
            add(to, &from[d..], *weight);
        }
    }
    let mut both = vec![0f32; plane.len()];
    for (y, to) in both.chunks_exact_mut(width).enumerate() {
        for i in y.saturating_sub(radius)..(y + radius + 1).min(height) {
            add(to, &across[i * width..][..width], kernel[i.abs_diff(y)]);
        }
    }
    both
}

/// The picture with every pixel taken from `map` (then moved by `field`), bilinear between four neighbours, as
/// Pillow's `transform`: a place outside the picture gives `fill`, or the nearest pixel of the edge; so do the
/// neighbours, beyond the edge, of a place just inside.
pub fn warp(picture: &Image8, map: AffineMap, field: Option<&Field>, fill: Option<u8>) -> Image8 {
    let (width, height) = (picture.size.width as usize, picture.size.height as usize);
    let channels = picture.channels;
    let AffineMap([a, b, c, d, e, f]) = map;
    let (mid_x, mid_y) = (width as f64 / 2.0, height as f64 / 2.0);
    let mut data = Vec::with_capacity(picture.data.len());
    for y in 0..height {
        for x in 0..width {
            let (px, py) = (x as f64 + 0.5 - mid_x, y as f64 + 0.5 - mid_y);
            let (mut sx, mut sy) = (a * px + b * py + c + mid_x, d * px + e * py + f + mid_y);
            if let Some(field) = field {
                sx += f64::from(field.dx[y * width + x]);
                sy += f64::from(field.dy[y * width + x]);
            }
            let inside = (0.0..width as f64).contains(&sx) && (0.0..height as f64).contains(&sy);
            if let Some(fill) = fill.filter(|_| !inside) {
                data.extend(std::iter::repeat_n(fill, channels));
                continue;
            }
            // From edges to middles of pixels; all places beyond the outermost are alike.
            let (sx, sy) =
                ((sx - 0.5).clamp(0.0, width as f64 - 1.0), (sy - 0.5).clamp(0.0, height as f64 - 1.0));
            let (x0, y0) = (sx as usize, sy as usize);
            let (tx, ty) = ((sx - x0 as f64) as f32, (sy - y0 as f64) as f32);
            let (x1, y1) = ((x0 + 1).min(width - 1), (y0 + 1).min(height - 1));
            for channel in 0..channels {
                let at = |x: usize, y: usize| f32::from(picture.data[(y * width + x) * channels + channel]);
                let top = at(x0, y0) + (at(x1, y0) - at(x0, y0)) * tx;
                let bottom = at(x0, y1) + (at(x1, y1) - at(x0, y1)) * tx;
                data.push((top + (bottom - top) * ty + 0.5) as u8);
            }
        }
    }
    Image8 { size: picture.size, channels, data }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::sampler::{Purpose, rng_for};

    fn picture(width: u32, height: u32, channels: usize) -> Image8 {
        let data = (0..(width * height) as usize * channels).map(|i| (i * 53 % 251) as u8).collect();
        Image8 { size: Size::new(width, height), channels, data }
    }

    fn rng() -> DataRng {
        rng_for(1, Purpose::Augment, 0, 0)
    }

    fn exactly(degrees: f64, shift: f64) -> Affine {
        Affine { degrees, translate_x: shift, translate_y: 0.0, scale: [1.0, 1.0], shear: 0.0, fill: Some(0) }
    }

    #[test]
    fn no_change_is_no_change() {
        for channels in [1, 3] {
            let picture = picture(13, 9, channels);
            assert_eq!(warp(&picture, AffineMap::IDENTITY, None, Some(0)), picture);
            assert_eq!(warp(&picture, exactly(0.0, 0.0).draw(picture.size, &mut rng()), None, None), picture);
        }
    }

    /// A quarter turn of a square picture permutes its pixels.
    #[test]
    fn a_quarter_turn_is_exact() {
        let picture = picture(8, 8, 1);
        let turned = warp(&picture, AffineMap([0.0, 1.0, 0.0, -1.0, 0.0, 0.0]), None, Some(0));
        for y in 0..8 {
            for x in 0..8 {
                assert_eq!(turned.data[y * 8 + x], picture.data[(7 - x) * 8 + y]);
            }
        }
    }

    #[test]
    fn shifts_are_within_range_and_leave_fill_behind() {
        let white = Image8 { size: Size::new(20, 20), channels: 1, data: vec![255; 400] };
        let mut rng = rng();
        for _ in 0..50 {
            let map = exactly(0.0, 0.2).draw(white.size, &mut rng);
            let shifted = warp(&white, map, None, Some(0));
            let lost =
                (400 * 255 - shifted.data.iter().map(|v| u32::from(*v)).sum::<u32>()) as f64 / 255.0 / 20.0;
            assert!((lost - map.0[2].abs()).abs() <= 0.5, "{lost} {map:?}");
            assert!(map.0[2].abs() <= 4.0);
            assert_eq!(warp(&white, map, None, None), white, "the edge goes on");
        }
    }

    #[test]
    fn magnifying_keeps_the_middle() {
        let picture = picture(9, 9, 1);
        let twice = Affine { scale: [2.0, 2.0], ..exactly(0.0, 0.0) }.draw(picture.size, &mut rng());
        let larger = warp(&picture, twice, None, Some(0));
        assert_eq!(larger.data[4 * 9 + 4], picture.data[4 * 9 + 4]);
        assert_eq!(larger.data[4 * 9 + 6], picture.data[4 * 9 + 5]);
    }

    /// Smoothing uniform noise (variance 1/3) by a Gaussian leaves a standard deviation of
    /// `alpha / (sqrt(3) * 2 sqrt(pi) sigma)`.
    #[test]
    fn the_elastic_field_is_as_strong_as_the_paper_says() {
        let elastic = Elastic { alpha: 34.0, sigma: 4.0, probability: 1.0 };
        let size = Size::new(200, 200);
        let field = elastic.draw(size, &mut rng()).unwrap();
        let inner: Vec<f64> = (20..180)
            .flat_map(|y| field.dx[y * 200 + 20..y * 200 + 180].iter().map(|v| f64::from(*v)))
            .collect();
        let deviation = (inner.iter().map(|v| v * v).sum::<f64>() / inner.len() as f64).sqrt();
        let expected = 34.0 / (3f64.sqrt() * 2.0 * std::f64::consts::PI.sqrt() * 4.0);
        assert!((deviation / expected - 1.0).abs() < 0.15, "{deviation} {expected}");
        assert!(Elastic { probability: 0.0, ..elastic }.draw(size, &mut rng()).is_none());
    }
}
