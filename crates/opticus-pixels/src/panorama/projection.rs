//! The surface that a panorama is laid on, and where each picture lies on it.

use super::camera::Camera;
use super::level::facing;
use super::matrix::{self, Matrix};
use crate::geometry::Size;

/// The surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// A plane: straight lines stay straight; for narrow views.
    Planar,
    /// A cylinder: all the way round, not far up or down.
    Cylindrical,
    /// A sphere: longitude and latitude.
    Spherical,
}

/// Whole pixels, the far edges not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// A surface at one scale.
#[derive(Clone, Copy, Debug)]
pub struct Surface {
    pub projection: Projection,
    /// Pixels to a radian, or to the distance of the plane.
    pub scale: f64,
    /// Of the first pixel's top left corner, in pixels.
    pub left: f64,
    pub top: f64,
    pub size: [usize; 2],
}

/// Field of view in degrees across and down.
pub type Degrees = [f64; 2];

/// Rays along a picture's border, and inside.
fn rays(camera: &Camera, size: Size) -> impl Iterator<Item = [f64; 3]> {
    const STEPS: usize = 24;
    let [w, h] = [f64::from(size.width), f64::from(size.height)];
    (0..=STEPS).flat_map(move |j| {
        (0..=STEPS).map(move |i| {
            let [u, v] = [i, j].map(|k| k as f64 / STEPS as f64 - 0.5);
            camera.ray([u * w, v * h])
        })
    })
}

/// What the pictures see together, in degrees.
pub fn field_of_view(cameras: &[Camera], sizes: &[Size]) -> Degrees {
    let extents: Vec<[f64; 4]> =
        cameras.iter().zip(sizes).map(|(c, s)| extent(Projection::Spherical, 1.0, c, *s)).collect();
    let [left, right, top, bottom] = united(&extents);
    [(right - left).to_degrees().min(360.0), (bottom - top).to_degrees().min(180.0)]
}

/// Left, right, top and bottom of all.
pub fn united(extents: &[[f64; 4]]) -> [f64; 4] {
    extents.iter().fold([f64::MAX, f64::MIN, f64::MAX, f64::MIN], |a, b| {
        [a[0].min(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].max(b[3])]
    })
}

/// Left, right, top and bottom of a picture on the surface.
pub fn extent(projection: Projection, scale: f64, camera: &Camera, size: Size) -> [f64; 4] {
    use std::f64::consts::{FRAC_PI_2, PI, TAU};
    let [x, _, z] = camera.ray([0.0, 0.0]);
    let middle = x.atan2(z);
    let points: Vec<[f64; 2]> = rays(camera, size)
        .map(|[x, y, z]| match projection {
            Projection::Planar if z > 0.05 * (x * x + y * y + z * z).sqrt() => [x / z, y / z],
            Projection::Planar => [f64::INFINITY; 2],
            _ => {
                let turn = (x.atan2(z) - middle + PI).rem_euclid(TAU) - PI;
                let out = x.hypot(z).max(1e-3 * y.abs());
                let up = if projection == Projection::Cylindrical { y / out } else { y.atan2(x.hypot(z)) };
                [middle + turn, up]
            }
        })
        .collect();
    let mut found = united(&points.iter().map(|[u, v]| [*u, *u, *v, *v]).collect::<Vec<_>>());
    if projection != Projection::Planar {
        // A picture that shows a pole goes all the way round.
        for (pole, side) in [(-1.0, 2), (1.0, 3)] {
            let seen = camera.project([0.0, pole, 0.0]);
            let inside =
                |[x, y]: [f64; 2]| x.abs() * 2.0 < size.width.into() && y.abs() * 2.0 < size.height.into();
            if seen.is_some_and(inside) {
                (found[0], found[1]) = (-PI, PI);
                found[side] = if projection == Projection::Spherical { pole * FRAC_PI_2 } else { pole * 1e3 };
            }
        }
    }
    found.map(|v| v * scale)
}

impl Projection {
    /// By what the pictures see: a plane stretches what is more than about 35 degrees aside, a cylinder what is as far
    /// above or below.
    pub fn suited([across, down]: Degrees) -> Self {
        match (across, down) {
            (a, d) if a < 72.0 && d < 72.0 => Self::Planar,
            (_, d) if d < 80.0 => Self::Cylindrical,
            _ => Self::Spherical,
        }
    }

    /// Cameras as the surface wants them: a plane faces the scene.
    pub fn turned(self, cameras: &[Camera]) -> Vec<Camera> {
        if self == Self::Planar { facing(cameras) } else { cameras.to_vec() }
    }
}

impl Surface {
    /// The part of each row and column that a direction is made of: `factor · column + row`.
    pub fn column(&self, x: f64) -> [f64; 3] {
        let u = (self.left + x + 0.5) / self.scale;
        match self.projection {
            Projection::Planar => [u, 0.0, 1.0],
            _ => [u.sin(), 0.0, u.cos()],
        }
    }

    /// Factor and row.
    pub fn row(&self, y: f64) -> (f64, [f64; 3]) {
        let v = (self.top + y + 0.5) / self.scale;
        match self.projection {
            Projection::Planar | Projection::Cylindrical => (1.0, [0.0, v, 0.0]),
            Projection::Spherical => (v.cos(), [0.0, v.sin(), 0.0]),
        }
    }

    /// Where the pixels of a rectangle lie in a picture, row by row.
    pub fn map(&self, camera: &Camera, rect: Rect) -> Map {
        let matrix = camera.projection();
        let columns = (rect.x..rect.x + rect.width).map(|x| matrix::apply(&matrix, self.column(x as f64)));
        Map { columns: columns.collect(), matrix, surface: *self, top: rect.y }
    }

    /// The same surface with another size of pixels.
    pub fn scaled(&self, by: f64) -> Self {
        let size = self.size.map(|side| ((side as f64 * by).ceil() as usize).max(1));
        Self { scale: self.scale * by, left: self.left * by, top: self.top * by, size, ..*self }
    }

    /// The pixels that a picture may cover, or nothing. What goes past one end comes in again at the other.
    pub fn rect(&self, camera: &Camera, size: Size) -> Option<Rect> {
        let [left, right, top, bottom] = extent(self.projection, self.scale, camera, size);
        let round = std::f64::consts::TAU * self.scale;
        let [w, h] = self.size.map(|v| v as f64);
        let turns: &[f64] = if self.projection == Projection::Planar { &[0.0] } else { &[-1.0, 0.0, 1.0] };
        let parts = turns.iter().filter_map(|turn| {
            let from = (left + turn * round - self.left - 1.0).max(0.0);
            let to = (right + turn * round - self.left + 1.0).min(w);
            (from < to).then_some([from, to])
        });
        let all = parts.reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])])?;
        let [y1, y2] = [(top - self.top - 1.0).max(0.0), (bottom - self.top + 1.0).min(h)];
        let [x1, x2] = [all[0].floor() as usize, all[1].ceil() as usize];
        let (y1, y2) = (y1.floor() as usize, y2.max(0.0).ceil() as usize);
        (y1 < y2 && x1 < x2).then(|| Rect { x: x1, y: y1, width: x2 - x1, height: y2 - y1 })
    }
}

/// Places of a picture that pixels of the panorama show.
pub struct Map {
    columns: Vec<[f64; 3]>,
    matrix: Matrix,
    surface: Surface,
    top: usize,
}

impl Map {
    /// For a row of the rectangle, from 0, the places in pixels relative to the picture's middle; not a number where the
    /// camera does not look.
    pub fn row(&self, row: usize) -> impl Iterator<Item = [f64; 2]> {
        let (factor, row) = self.surface.row((self.top + row) as f64);
        let row = matrix::apply(&self.matrix, row);
        self.columns.iter().map(move |c| {
            let [x, y, z] = [factor * c[0] + row[0], factor * c[1] + row[1], factor * c[2] + row[2]];
            if z > 1e-6 { [x / z, y / z] } else { [f64::NAN; 2] }
        })
    }
}
