//! Pictures seen through a motion.

use rayon::prelude::*;

use super::MotionModel;
use crate::geometry::Size;
use crate::preprocess::Planes;

/// A projective map between two pictures in coordinates whose origin is the middle of each and whose unit is half the
/// longer side of the first, so that it means the same at every scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion(
    /// Rows of the matrix that takes a point of the reference to the point of the other picture that belongs there.
    pub [f64; 9],
);

impl Motion {
    /// Nothing moves.
    pub const IDENTITY: Self = Self([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);

    /// Where a point lies in the other picture; `None` behind the horizon.
    pub fn apply(&self, [x, y]: [f64; 2]) -> Option<[f64; 2]> {
        let m = &self.0;
        let z = m[6] * x + m[7] * y + m[8];
        (z > 1e-6).then(|| [(m[0] * x + m[1] * y + m[2]) / z, (m[3] * x + m[4] * y + m[5]) / z])
    }

    /// Its scale at the middle: above 1 where the other picture shows things larger.
    pub fn scale(&self) -> f64 {
        let m = &self.0;
        (m[0] * m[4] - m[1] * m[3]).abs().sqrt()
    }

    pub(super) fn moved(&self, model: MotionModel, by: &[f64]) -> Self {
        let mut m = self.0;
        match (model, by) {
            (MotionModel::Translation, &[tx, ty]) => {
                m[2] += tx;
                m[5] += ty;
            }
            (MotionModel::Similarity, &[a, b, tx, ty]) => {
                m[0] += a;
                m[4] += a;
                m[1] -= b;
                m[3] += b;
                m[2] += tx;
                m[5] += ty;
            }
            (MotionModel::Affine, &[a, b, c, d, tx, ty]) => {
                for (at, by) in [(0, a), (3, b), (1, c), (4, d), (2, tx), (5, ty)] {
                    m[at] += by;
                }
            }
            (MotionModel::Homography, &[a, b, p, c, d, q, tx, ty]) => {
                for (at, by) in [(0, a), (3, b), (6, p), (1, c), (4, d), (7, q), (2, tx), (5, ty)] {
                    m[at] += by;
                }
            }
            _ => {}
        }
        Self(m)
    }
}

/// The middle of a picture and the unit of its coordinates, in pixels.
pub(super) fn frame(size: Size) -> ([f64; 2], f64) {
    let [w, h] = [f64::from(size.width), f64::from(size.height)];
    ([(w - 1.0) / 2.0, (h - 1.0) / 2.0], w.max(h) / 2.0)
}

/// `picture` as the reference of this size sees it (Keys' cubic interpolation), the edge pixel repeated beyond its
/// edges; and which pixels lie within it.
pub fn warp(picture: &Planes, motion: &Motion, reference: Size) -> (Planes, Vec<bool>) {
    let [w, h] = [picture.size.width as usize, picture.size.height as usize];
    let width = reference.width as usize;
    let area = reference.area() as usize;
    let (middle, unit) = frame(reference);
    let (own_middle, _) = frame(picture.size);
    let mut places = vec![[0.0f32; 2]; area];
    let mut inside = vec![false; area];
    places.par_chunks_mut(width).zip(inside.par_chunks_mut(width)).enumerate().for_each(
        |(y, (row, inside))| {
            for (x, (place, inside)) in row.iter_mut().zip(inside).enumerate() {
                let point = [(x as f64 - middle[0]) / unit, (y as f64 - middle[1]) / unit];
                if let Some([u, v]) = motion.apply(point) {
                    let at = [u * unit + own_middle[0], v * unit + own_middle[1]];
                    *inside =
                        (-0.5..=w as f64 - 0.5).contains(&at[0]) && (-0.5..=h as f64 - 0.5).contains(&at[1]);
                    *place = at.map(|v| v as f32);
                }
            }
        },
    );
    let mut data = vec![0.0f32; area * picture.channels];
    for (out, plane) in data.chunks_exact_mut(area).zip(picture.data.chunks_exact(w * h)) {
        out.par_chunks_mut(width).zip(places.par_chunks(width)).for_each(|(out, places)| {
            out.iter_mut().zip(places).for_each(|(out, at)| *out = cubic(plane, w, h, *at));
        });
    }
    (Planes { channels: picture.channels, size: reference, data }, inside)
}

/// Keys' cubic convolution with a = −1/2 between the four by four pixels around a place.
fn cubic(plane: &[f32], w: usize, h: usize, [x, y]: [f32; 2]) -> f32 {
    let x = x.clamp(-1.0, w as f32);
    let y = y.clamp(-1.0, h as f32);
    let (left, top) = (x.floor(), y.floor());
    let (across, down) = (weights(x - left), weights(y - top));
    let column = |i: isize| (left as isize + i - 1).clamp(0, w as isize - 1) as usize;
    let columns = [column(0), column(1), column(2), column(3)];
    let mut sum = 0.0;
    for (j, weight) in down.iter().enumerate() {
        let row = (top as isize + j as isize - 1).clamp(0, h as isize - 1) as usize;
        let row = &plane[row * w..][..w];
        sum += weight * columns.iter().zip(&across).map(|(c, a)| row[*c] * a).sum::<f32>();
    }
    sum.clamp(0.0, 1.0)
}

fn weights(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [-0.5 * t3 + t2 - 0.5 * t, 1.5 * t3 - 2.5 * t2 + 1.0, -1.5 * t3 + 2.0 * t2 + 0.5 * t, 0.5 * t3 - 0.5 * t2]
}
