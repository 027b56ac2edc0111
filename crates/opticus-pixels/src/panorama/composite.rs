//! The pictures put together, one at a time: memory is that of the panorama and of one picture.

use rayon::prelude::*;

use super::camera::Camera;
use super::fault::PanoramaError;
use super::pairs::Registration;
use super::projection::{Degrees, Projection, Rect, Surface, extent, field_of_view, united};
use super::seam::{NOTHING, seams};
use super::view::View;
use super::{Panorama, warp};
use crate::geometry::Size;
use crate::photo::{Depth, Photo};
use crate::preprocess::Planes;
use crate::pyramid::{self, Border};

/// Pixels of the largest result: about 5 GB while it is made.
pub const MOST_PIXELS: u64 = 200_000_000;
/// Pixels of a picture among which seams are sought.
const SEAMS: f64 = 0.04e6;
/// Width of the transition of the coarsest structure, in parts of the panorama's mean side.
const TRANSITION: f64 = 0.05;
const BORDER: Border = Border::Repeated;

/// One level of the sum: weighted colours and weights, of one size.
struct Level {
    size: [usize; 2],
    /// Three or one plane of colours, then that of the weights.
    planes: Vec<Vec<f32>>,
}

/// A panorama being put together by multi-band blending (Burt and Adelson 1983): each picture's Laplacian pyramid,
/// weighted by the smoothed mask of where it is shown.
pub struct Composite {
    surface: Surface,
    /// The surface that was taken, and what is seen.
    pub projection: Projection,
    /// Field of view in degrees across and down.
    pub field_of_view: Degrees,
    cameras: Vec<Camera>,
    gains: Vec<f32>,
    labels: Vec<u16>,
    levels: Vec<Level>,
    channels: usize,
    alpha: Option<Vec<f32>>,
    depth: Depth,
    profile: Option<Vec<u8>>,
}

impl Composite {
    /// Finds size, brightness and seams.
    ///
    /// # Errors
    /// [`PanoramaError::Wide`] or [`PanoramaError::Large`] if the surface cannot hold the pictures.
    pub fn new(
        views: &[View],
        registration: &Registration,
        options: &Panorama,
    ) -> Result<Self, PanoramaError> {
        let sizes: Vec<Size> = views.iter().map(|v| v.size).collect();
        let field_of_view = field_of_view(&registration.cameras, &sizes);
        let projection = options.projection.unwrap_or_else(|| Projection::suited(field_of_view));
        let cameras = projection.turned(&registration.cameras);
        let mut focals: Vec<f64> = cameras.iter().map(|c| c.focal).collect();
        focals.sort_by(f64::total_cmp);
        let scale = focals[focals.len() / 2];
        let surface = surface(projection, scale, &cameras, &sizes, field_of_view, options.most_pixels)?;
        let mean_area = sizes.iter().map(|s| s.area() as f64).sum::<f64>() / sizes.len() as f64;
        // Not more for many pictures than for a few dozen.
        let whole = (surface.size[0] * surface.size[1]) as f64;
        let shrink = (SEAMS / mean_area).min(4e6 / whole).sqrt().min(1.0);
        let small = surface.scaled(shrink);
        let found = seams(views, &cameras, &small, shrink, &order(&cameras));
        let labels = enlarged(&found.labels, &small, &surface, &cameras, &sizes);
        let mut composite = Self {
            surface,
            projection,
            field_of_view,
            cameras,
            gains: found.gains,
            labels,
            levels: Vec::new(),
            channels: 0,
            alpha: None,
            depth: Depth::Eight,
            profile: None,
        };
        if options.crop {
            composite.crop();
        }
        Ok(composite)
    }

    /// Width and height.
    pub fn size(&self) -> Size {
        Size::new(self.surface.size[0] as u32, self.surface.size[1] as u32)
    }

    /// Which way a pixel of the panorama looks: right, down, ahead; of length 1.
    pub fn direction(&self, x: f64, y: f64) -> [f64; 3] {
        let (factor, row) = self.surface.row(y);
        let column = self.surface.column(x);
        let v: [f64; 3] = std::array::from_fn(|i| factor * column[i] + row[i]);
        super::matrix::unit(v).unwrap_or([0.0, 0.0, 1.0])
    }

    /// Whether any of a picture is shown.
    pub fn shows(&self, number: usize) -> bool {
        self.labels.par_iter().any(|l| usize::from(*l) == number)
    }

    /// Cut to the largest rectangle in which every pixel is covered.
    fn crop(&mut self) {
        let [w, _] = self.surface.size;
        let Some(rect) = largest(&self.labels, w) else { return };
        let rows = self.labels.chunks_exact(w).skip(rect.y).take(rect.height);
        self.labels = rows.flat_map(|row| &row[rect.x..rect.x + rect.width]).copied().collect();
        self.surface.left += rect.x as f64;
        self.surface.top += rect.y as f64;
        self.surface.size = [rect.width, rect.height];
    }

    /// Bands, so that the coarsest one's transition has the width wanted.
    fn bands(&self) -> usize {
        let [w, h] = self.surface.size.map(|v| v as f64);
        let width = (w * h).sqrt() * TRANSITION;
        (width.log2().ceil() as i64 - 1).clamp(1, 10) as usize
    }

    /// Adds a picture; the order does not matter. The depth is the greatest of all, the profile the first one's.
    pub fn push(&mut self, number: usize, photo: &Photo) {
        self.depth = self.depth.max(photo.depth);
        if self.profile.is_none() {
            self.profile.clone_from(&photo.profile);
        }
        let bands = self.bands();
        if self.levels.is_empty() {
            self.channels = photo.colour.channels;
            self.levels = levels(self.surface.size, self.channels, bands);
        } else if self.channels < photo.colour.channels {
            // Grey so far.
            for level in &mut self.levels {
                let grey = level.planes[0].clone();
                level.planes.splice(0..1, [grey.clone(), grey.clone(), grey]);
            }
            self.channels = photo.colour.channels;
        }
        let Some(rect) = self.rect(number, bands) else { return };
        let gain = self.gains[number];
        let w = self.surface.size[0];
        let mut mask = vec![0.0f32; rect.width * rect.height];
        let inside = |x: usize, y: usize| x < w && y < self.surface.size[1];
        mask.par_chunks_mut(rect.width).enumerate().for_each(|(y, row)| {
            for (x, v) in row.iter_mut().enumerate() {
                let (gx, gy) = (rect.x + x, rect.y + y);
                let shown = inside(gx, gy) && usize::from(self.labels[gy * w + gx]) == number;
                *v = f32::from(u8::from(shown));
            }
        });
        let mut warped = warp::warped(photo, &self.surface, &self.cameras[number], rect, &mask);
        if let Some(alpha) = &warped.alpha {
            let whole = self.alpha.get_or_insert_with(|| vec![1.0; self.labels.len()]);
            for (i, (v, alpha)) in mask.iter_mut().zip(alpha).enumerate() {
                if *v > 0.0 {
                    whole[(rect.y + i / rect.width) * w + rect.x + i % rect.width] = *alpha;
                    *v = f32::from(u8::from(*alpha > 0.0));
                }
            }
        }
        let size = Size::new(rect.width as u32, rect.height as u32);
        let mut shares = vec![mask];
        let mut side = size;
        for _ in 0..bands {
            let next = pyramid::down(&shares[shares.len() - 1], side, BORDER);
            shares.push(next);
            side = pyramid::half(side);
        }
        // Grey among colours.
        while warped.planes.len() < self.channels {
            warped.planes.push(warped.planes[0].clone());
        }
        for channel in 0..self.channels {
            let mut plane = std::mem::take(&mut warped.planes[channel]);
            plane.par_iter_mut().for_each(|v| *v *= gain);
            let mut side = size;
            for (band, share) in shares.iter().enumerate() {
                let coarse = (band < bands).then(|| pyramid::down(&plane, side, BORDER));
                if let Some(coarse) = &coarse {
                    pyramid::add_up(&mut plane, side, coarse, -1.0, BORDER);
                }
                add(&mut self.levels[band], channel, rect, band, &plane, share);
                side = pyramid::half(side);
                plane = coarse.unwrap_or_default();
            }
        }
        for (band, share) in shares.iter().enumerate() {
            let weights = self.channels;
            add_weights(&mut self.levels[band], weights, rect, band, share);
        }
    }

    /// Where a picture is shown, with what its coarsest band reaches, in whole pixels of the coarsest band.
    fn rect(&self, number: usize, bands: usize) -> Option<Rect> {
        let w = self.surface.size[0];
        let rows: Vec<[usize; 3]> = self
            .labels
            .par_chunks(w)
            .enumerate()
            .filter_map(|(y, row)| {
                let own = |l: &u16| usize::from(*l) == number;
                Some([y, row.iter().position(own)?, row.iter().rposition(own)?])
            })
            .collect();
        let (first, last) = (rows.first()?[0], rows.last()?[0] + 1);
        let left = rows.iter().map(|r| r[1]).min()?;
        let right = rows.iter().map(|r| r[2]).max()? + 1;
        let unit = 1usize << bands;
        let [tw, th] = self.levels[0].size;
        let low = |v: usize| v.saturating_sub(2 * unit) / unit * unit;
        let high = |v: usize, most: usize| ((v + 2 * unit).div_ceil(unit) * unit).min(most);
        let (x, y) = (low(left), low(first));
        Some(Rect { x, y, width: high(right, tw) - x, height: high(last, th) - y })
    }

    /// The picture. Where none was is transparent.
    pub fn finish(mut self) -> Photo {
        let [w, h] = self.surface.size;
        let size = Size::new(w as u32, h as u32);
        for level in &mut self.levels {
            let Some(weights) = level.planes.pop() else { continue };
            for plane in &mut level.planes {
                plane.par_iter_mut().zip(&weights).for_each(|(v, weight)| {
                    *v = if *weight > 1e-5 { *v / weight } else { 0.0 };
                });
            }
        }
        let mut coarse: Option<Level> = None;
        while let Some(mut fine) = self.levels.pop() {
            if let Some(coarse) = &coarse {
                let side = Size::new(fine.size[0] as u32, fine.size[1] as u32);
                for (fine, coarse) in fine.planes.iter_mut().zip(&coarse.planes) {
                    pyramid::add_up(fine, side, coarse, 1.0, BORDER);
                }
            }
            coarse = Some(fine);
        }
        let mut data = Vec::with_capacity(w * h * self.channels);
        if let Some(mut whole) = coarse {
            let stride = whole.size[0];
            for plane in &mut whole.planes {
                let plane = std::mem::take(plane);
                for (row, labels) in plane.chunks_exact(stride).zip(self.labels.chunks_exact(w)) {
                    let shown = row.iter().zip(labels);
                    data.extend(shown.map(|(v, l)| if *l == NOTHING { 0.0 } else { v.clamp(0.0, 1.0) }));
                }
            }
        }
        let gaps = self.labels.contains(&NOTHING);
        let alpha = self.alpha.take().or_else(|| gaps.then(|| vec![1.0; w * h])).map(|mut alpha| {
            alpha.iter_mut().zip(&self.labels).filter(|(_, l)| **l == NOTHING).for_each(|(a, _)| *a = 0.0);
            alpha
        });
        let colour = Planes { channels: self.channels, size, data };
        Photo { colour, alpha, depth: self.depth, profile: self.profile }
    }
}

fn levels(size: [usize; 2], channels: usize, bands: usize) -> Vec<Level> {
    let padded = size.map(|side| side.div_ceil(1 << bands) << bands);
    (0..=bands)
        .map(|band| {
            let size = padded.map(|side| side >> band);
            Level { size, planes: vec![vec![0.0; size[0] * size[1]]; channels + 1] }
        })
        .collect()
}

fn add(level: &mut Level, plane: usize, rect: Rect, band: usize, values: &[f32], share: &[f32]) {
    let (x, y, width) = (rect.x >> band, rect.y >> band, rect.width >> band);
    let rows = level.planes[plane].par_chunks_mut(level.size[0]).skip(y);
    rows.zip(values.par_chunks(width).zip(share.par_chunks(width))).for_each(|(row, (values, share))| {
        row[x..x + width].iter_mut().zip(values.iter().zip(share)).for_each(|(sum, (v, s))| *sum += v * s);
    });
}

fn add_weights(level: &mut Level, plane: usize, rect: Rect, band: usize, share: &[f32]) {
    let (x, y, width) = (rect.x >> band, rect.y >> band, rect.width >> band);
    let rows = level.planes[plane].par_chunks_mut(level.size[0]).skip(y);
    rows.zip(share.par_chunks(width)).for_each(|(row, share)| {
        row[x..x + width].iter_mut().zip(share).for_each(|(sum, s)| *sum += s);
    });
}

/// The surface's pixels that hold all pictures.
fn surface(
    projection: Projection,
    scale: f64,
    cameras: &[Camera],
    sizes: &[Size],
    field_of_view: Degrees,
    most: u64,
) -> Result<Surface, PanoramaError> {
    let extents: Vec<[f64; 4]> =
        cameras.iter().zip(sizes).map(|(c, s)| extent(projection, scale, c, *s)).collect();
    let [mut left, mut right, top, bottom] = united(&extents);
    let round = std::f64::consts::TAU * scale;
    if projection != Projection::Planar && right - left > round {
        (left, right) = (-round / 2.0, round / 2.0);
    }
    if ![left, right, top, bottom].iter().all(|v| v.is_finite()) {
        return Err(PanoramaError::Wide { degrees: field_of_view[0].max(field_of_view[1]) });
    }
    let (left, top) = (left.floor(), top.floor());
    let [width, height] = [right - left, bottom - top].map(|v| v.ceil().max(1.0));
    if width * height > most as f64 || width.max(height) > 1e6 {
        return Err(PanoramaError::Large { width: width as u64, height: height as u64, most });
    }
    Ok(Surface { projection, scale, left, top, size: [width as usize, height as usize] })
}

/// From the middle outwards.
fn order(cameras: &[Camera]) -> Vec<usize> {
    let aside = |c: &Camera| -c.rotation[8];
    let mut order: Vec<usize> = (0..cameras.len()).collect();
    order.sort_by(|&a, &b| aside(&cameras[a]).total_cmp(&aside(&cameras[b])).then(a.cmp(&b)));
    order
}

/// Labels of the small surface for every pixel: of the pictures that are there, the one with the most of the four labels
/// around.
fn enlarged(small: &[u16], from: &Surface, to: &Surface, cameras: &[Camera], sizes: &[Size]) -> Vec<u16> {
    let [w, h] = to.size;
    let [sw, sh] = from.size;
    let columns: Vec<[f64; 3]> = (0..w).map(|x| to.column(x as f64)).collect();
    let matrices: Vec<[f64; 9]> = cameras.iter().map(Camera::projection).collect();
    let rects: Vec<Option<Rect>> = cameras.iter().zip(sizes).map(|(c, s)| to.rect(c, *s)).collect();
    let [rx, ry] = [from.scale / to.scale; 2];
    let mut labels = vec![NOTHING; w * h];
    labels.par_chunks_mut(w).enumerate().for_each(|(y, out)| {
        let (factor, row) = to.row(y as f64);
        let there = |x: usize, label: u16| {
            let Some(m) = matrices.get(usize::from(label)) else { return false };
            let size = sizes[usize::from(label)];
            let c = columns[x];
            let [px, py, pz] = super::matrix::apply(m, std::array::from_fn(|i| factor * c[i] + row[i]));
            // Within the middles of the outermost pixels that are used.
            let [hw, hh] = [size.width, size.height]
                .map(|side| (f64::from(side) - 1.0) / 2.0 - if side > 8 { warp::FRAME as f64 } else { 0.0 });
            pz > 1e-6 && px.abs() <= hw * pz && py.abs() <= hh * pz
        };
        let sy = ((y as f64 + 0.5) * ry - 0.5).clamp(0.0, sh as f64 - 1.0);
        let (y0, ty) = (sy as usize, sy - sy.floor());
        let y1 = (y0 + 1).min(sh - 1);
        for (x, out) in out.iter_mut().enumerate() {
            let sx = ((x as f64 + 0.5) * rx - 0.5).clamp(0.0, sw as f64 - 1.0);
            let (x0, tx) = (sx as usize, sx - sx.floor());
            let x1 = (x0 + 1).min(sw - 1);
            let around = [
                (small[y0 * sw + x0], (1.0 - tx) * (1.0 - ty)),
                (small[y0 * sw + x1], tx * (1.0 - ty)),
                (small[y1 * sw + x0], (1.0 - tx) * ty),
                (small[y1 * sw + x1], tx * ty),
            ];
            let first = around[0].0;
            if around.iter().all(|(l, _)| *l == first) && there(x, first) {
                *out = first;
                continue;
            }
            let total = |label: u16| around.iter().filter(|(l, _)| *l == label).map(|(_, s)| s).sum::<f64>();
            let best = around
                .iter()
                .map(|(l, _)| *l)
                .filter(|l| there(x, *l))
                .max_by(|a, b| total(*a).total_cmp(&total(*b)).then(b.cmp(a)));
            let any = || {
                let within =
                    |r: &Rect| (r.x..r.x + r.width).contains(&x) && (r.y..r.y + r.height).contains(&y);
                (0..cameras.len() as u16)
                    .find(|l| rects[usize::from(*l)].as_ref().is_some_and(within) && there(x, *l))
            };
            *out = best.or_else(any).unwrap_or(NOTHING);
        }
    });
    labels
}

/// The largest rectangle without a gap: under the histogram of each row.
fn largest(labels: &[u16], width: usize) -> Option<Rect> {
    let mut heights = vec![0usize; width + 1];
    let mut best: Option<Rect> = None;
    for (y, row) in labels.chunks_exact(width).enumerate() {
        for (height, label) in heights.iter_mut().zip(row) {
            *height = if *label == NOTHING { 0 } else { *height + 1 };
        }
        // Columns where higher rectangles began.
        let mut open: Vec<(usize, usize)> = Vec::new();
        for (x, &height) in heights.iter().enumerate() {
            let mut start = x;
            while let Some(&(from, high)) = open.last()
                && high >= height
            {
                open.pop();
                start = from;
                if best.is_none_or(|b| high * (x - from) > b.width * b.height) {
                    best = Some(Rect { x: from, y: y + 1 - high, width: x - from, height: high });
                }
            }
            open.push((start, height));
        }
    }
    best.filter(|b| b.width * b.height > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_rectangle_has_no_gap() {
        let rows = ["..xxxxx.", ".xxxxxx.", "xxxxxxxx", "x.xxxxxx"];
        let labels: Vec<u16> =
            rows.iter().flat_map(|r| r.bytes()).map(|b| if b == b'x' { 0 } else { NOTHING }).collect();
        let rect = largest(&labels, 8);
        assert_eq!(rect, Some(Rect { x: 2, y: 0, width: 5, height: 4 }));
        assert_eq!(largest(&[NOTHING; 6], 3), None);
    }
}
