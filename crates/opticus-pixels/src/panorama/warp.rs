//! A picture as it lies on the surface.

use rayon::prelude::*;

use super::camera::Camera;
use super::projection::{Rect, Surface};
use crate::photo::Photo;

/// Pixels beyond a picture's border that mirror it; further out, the last of them is repeated.
const MIRRORED: f32 = 1e4;

/// A rectangle of the surface.
pub struct Warped {
    /// Colours, a plane each.
    pub planes: Vec<Vec<f32>>,
    /// Alpha, if the picture has one.
    pub alpha: Option<Vec<f32>>,
}

/// The picture seen through its camera, mirrored beyond its borders: by Keys' cubic interpolation (a = −1/2) where it is
/// `shown`, by the nearest pixel beyond the border and linearly elsewhere, as only coarse structure comes from there.
pub fn warped(photo: &Photo, surface: &Surface, camera: &Camera, rect: Rect, shown: &[f32]) -> Warped {
    let size = photo.size();
    let [w, h] = [size.width as usize, size.height as usize];
    let sources: Vec<&[f32]> = photo.colour.data.chunks_exact(w * h).chain(photo.alpha.as_deref()).collect();
    let map = surface.map(camera, rect);
    let mut planes = vec![vec![0.0f32; rect.width * rect.height]; sources.len()];
    let middle = [w as f64 / 2.0 - 0.5, h as f64 / 2.0 - 0.5];
    let mut rows: Vec<Vec<&mut [f32]>> =
        (0..rect.height).map(|_| Vec::with_capacity(sources.len())).collect();
    for plane in &mut planes {
        rows.iter_mut().zip(plane.chunks_exact_mut(rect.width)).for_each(|(rows, row)| rows.push(row));
    }
    rows.par_iter_mut().zip(shown.par_chunks(rect.width)).enumerate().for_each(|(y, (rows, shown))| {
        for (x, ([px, py], shown)) in map.row(y).zip(shown).enumerate() {
            let [px, py] = [(px + middle[0]) as f32, (py + middle[1]) as f32];
            let (px, py) = if px.is_finite() && py.is_finite() { (px, py) } else { (0.0, 0.0) };
            let (px, py) =
                (px.clamp(-MIRRORED, w as f32 + MIRRORED), py.clamp(-MIRRORED, h as f32 + MIRRORED));
            let (left, top) = (px.floor(), py.floor());
            let (across, down) =
                if *shown > 0.0 { (weights(px - left), weights(py - top)) } else { Default::default() };
            let (left, top) = (left as isize - 1, top as isize - 1);
            let frame = FRAME as isize;
            let whole = left >= frame
                && top >= frame
                && left + 4 + frame <= w as isize
                && top + 4 + frame <= h as isize;
            if whole && *shown > 0.0 {
                let start = top as usize * w + left as usize;
                for (row, source) in rows.iter_mut().zip(&sources) {
                    let mut sum = 0.0;
                    for (j, weight) in down.iter().enumerate() {
                        if let Some([a, b, c, d]) = source[start + j * w..].first_chunk::<4>() {
                            sum += weight * (a * across[0] + b * across[1] + c * across[2] + d * across[3]);
                        }
                    }
                    row[x] = sum;
                }
                continue;
            }
            if whole {
                let start = (top as usize + 1) * w + left as usize + 1;
                let (tx, ty) = (px - px.floor(), py - py.floor());
                for (row, source) in rows.iter_mut().zip(&sources) {
                    let line = |at: usize| source[at] + tx * (source[at + 1] - source[at]);
                    row[x] = line(start) + ty * (line(start + w) - line(start));
                }
                continue;
            }
            if *shown == 0.0 {
                let at = mirrored(py.round() as isize, h) * w + mirrored(px.round() as isize, w);
                rows.iter_mut().zip(&sources).for_each(|(row, source)| row[x] = source[at]);
                continue;
            }
            let columns: [usize; 4] = std::array::from_fn(|i| mirrored(left + i as isize, w));
            let lines: [usize; 4] = std::array::from_fn(|j| mirrored(top + j as isize, h) * w);
            for (row, source) in rows.iter_mut().zip(&sources) {
                let line = |start: usize| -> f32 {
                    columns.iter().zip(&across).map(|(c, a)| source[start + c] * a).sum()
                };
                row[x] = lines.iter().zip(&down).map(|(start, weight)| weight * line(*start)).sum();
            }
        }
    });
    let alpha = photo.alpha.is_some().then(|| planes.pop()).flatten().map(|mut alpha| {
        alpha.iter_mut().for_each(|v| *v = if *v < 0.5 / 255.0 { 0.0 } else { v.min(1.0) });
        alpha
    });
    Warped { planes, alpha }
}

/// Pixels at the border that are not used: there, scaling and developing leave frames.
pub const FRAME: usize = 1;

/// The pixel that stands for one beyond the border, which lies within the frame.
fn mirrored(at: isize, length: usize) -> usize {
    let frame = if length > 4 * FRAME { FRAME as isize } else { 0 };
    let n = length as isize - 2 * frame;
    let at = (at - frame).rem_euclid(2 * n);
    (frame + if at < n { at } else { 2 * n - 1 - at }) as usize
}

fn weights(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [-0.5 * t3 + t2 - 0.5 * t, 1.5 * t3 - 2.5 * t2 + 1.0, -1.5 * t3 + 2.0 * t2 + 0.5 * t, 0.5 * t3 - 0.5 * t2]
}
