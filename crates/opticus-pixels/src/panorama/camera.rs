//! A camera that turns about its middle: which way it looks, and its focal length.

use super::homography::mapped;
use super::matrix::{self, Matrix};
use super::pairs::Pair;

/// A picture's camera. The middle of the picture is the principal point; pixels are square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Camera {
    /// From the world (x right, y down, z ahead) to the camera's axes; rows of a matrix.
    pub rotation: Matrix,
    /// Focal length in pixels.
    pub focal: f64,
}

impl Camera {
    /// Which way a point of the picture lies, in the world; points are relative to the picture's middle.
    pub fn ray(&self, [x, y]: [f64; 2]) -> [f64; 3] {
        matrix::apply(&matrix::transposed(&self.rotation), [x / self.focal, y / self.focal, 1.0])
    }

    /// From directions of the world to the picture, in homogeneous coordinates relative to its middle.
    pub fn projection(&self) -> Matrix {
        let (r, f) = (&self.rotation, self.focal);
        [f * r[0], f * r[1], f * r[2], f * r[3], f * r[4], f * r[5], r[6], r[7], r[8]]
    }

    /// Where a direction is seen; `None` behind the camera.
    pub fn project(&self, direction: [f64; 3]) -> Option<[f64; 2]> {
        let [x, y, z] = matrix::apply(&self.projection(), direction);
        (z > 1e-9).then(|| [x / z, y / z])
    }
}

/// Focal lengths of the first and of the second camera, where the map between their pictures tells (Szeliski and Shum
/// 1997, "Creating Full View Panoramic Image Mosaics and Environment Maps", section 5).
pub fn focals(h: &Matrix) -> [Option<f64>; 2] {
    let first = [
        (-h[2] * h[5], h[0] * h[3] + h[1] * h[4]),
        (h[5] * h[5] - h[2] * h[2], h[0] * h[0] + h[1] * h[1] - h[3] * h[3] - h[4] * h[4]),
    ];
    let second = [
        (-(h[0] * h[1] + h[3] * h[4]), h[6] * h[7]),
        (h[0] * h[0] + h[3] * h[3] - h[1] * h[1] - h[4] * h[4], h[7] * h[7] - h[6] * h[6]),
    ];
    [first, second].map(|mut ways| {
        ways.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        ways.iter().map(|(above, below)| above / below).find(|v| v.is_finite() && *v > 0.0).map(f64::sqrt)
    })
}

/// First guesses: focal lengths by the median of what the pairs say, rotations along the tree of the surest pairs, from
/// its middle. `sides` are the sums of the pictures' sides in pixels.
pub fn guess(sides: &[f64], pairs: &[&Pair]) -> Vec<Camera> {
    let mut said: Vec<f64> = Vec::new();
    let mut own: Vec<Vec<f64>> = vec![Vec::new(); sides.len()];
    for pair in pairs {
        for (picture, focal) in [pair.first, pair.second].into_iter().zip(focals(&pair.matrix)) {
            // What is far from any lens comes of noise.
            let sensible = 0.15 * sides[picture]..12.0 * sides[picture];
            if let Some(focal) = focal.filter(|f| sensible.contains(f)) {
                said.push(focal / sides[picture]);
                own[picture].push(focal);
            }
        }
    }
    // Where nothing is said, nothing shows perspective: a long lens.
    let usual = median(&mut said).unwrap_or(3.0);
    let alike =
        said.len() < 2 * pairs.len().min(8) || sides.iter().all(|s| (s / sides[0] - 1.0).abs() < 0.02);
    let mut cameras: Vec<Camera> = sides
        .iter()
        .zip(&mut own)
        .map(|(side, own)| {
            let focal = if alike { None } else { median(own) };
            Camera { rotation: matrix::IDENTITY, focal: focal.unwrap_or(usual * side) }
        })
        .collect();
    let tree = spanning_tree(sides.len(), pairs);
    let order = from_the_middle(sides.len(), &tree);
    for (number, from) in order {
        let Some((from, pair)) = from else { continue };
        let between = if pair.first == from { Some(pair.matrix) } else { matrix::inverse(&pair.matrix) };
        let (f, g) = (cameras[from].focal, cameras[number].focal);
        let to_rays = |h: Matrix| {
            let right = matrix::product(&h, &[f, 0.0, 0.0, 0.0, f, 0.0, 0.0, 0.0, 1.0]);
            matrix::product(&[1.0 / g, 0.0, 0.0, 0.0, 1.0 / g, 0.0, 0.0, 0.0, 1.0], &right)
        };
        let turn = between.and_then(|h| matrix::nearest_rotation(&to_rays(h))).unwrap_or(matrix::IDENTITY);
        cameras[number].rotation = matrix::product(&turn, &cameras[from].rotation);
    }
    cameras
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The pairs with the most agreeing points that join all pictures (Kruskal 1956).
fn spanning_tree<'a>(count: usize, pairs: &[&'a Pair]) -> Vec<&'a Pair> {
    let mut sorted = pairs.to_vec();
    sorted.sort_by_key(|p| (std::cmp::Reverse(p.inliers.len()), p.first, p.second));
    let mut group: Vec<usize> = (0..count).collect();
    sorted.retain(|pair| {
        let [a, b] = [group[pair.first], group[pair.second]];
        group.iter_mut().filter(|g| **g == b).for_each(|g| *g = a);
        a != b
    });
    sorted
}

/// Every picture and from which one it is reached, the tree's middle first.
fn from_the_middle<'a>(count: usize, tree: &[&'a Pair]) -> Vec<(usize, Option<(usize, &'a Pair)>)> {
    let walk = |start: usize| {
        let mut order = vec![(start, None)];
        let mut depth = vec![usize::MAX; count];
        depth[start] = 0;
        let mut at = 0;
        while at < order.len() {
            let here = order[at].0;
            for &pair in tree {
                for (a, b) in [(pair.first, pair.second), (pair.second, pair.first)] {
                    if a == here && depth[b] == usize::MAX {
                        depth[b] = depth[a] + 1;
                        order.push((b, Some((a, pair))));
                    }
                }
            }
            at += 1;
        }
        let deepest = depth.iter().filter(|d| **d != usize::MAX).max().copied().unwrap_or(0);
        (deepest, order)
    };
    let best = (0..count).map(walk).min_by_key(|(depth, _)| *depth);
    best.map(|(_, order)| order).unwrap_or_default()
}

/// How far apart, in parts of the picture's longer side, the map moves the corners of a picture at most.
pub fn movement(pair: &Pair, [width, height]: [f64; 2]) -> f64 {
    let corners = [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]];
    let moved = corners.map(|[x, y]| {
        let at = [x * width / 2.0, y * height / 2.0];
        mapped(&pair.matrix, at).map_or(f64::INFINITY, |[u, v]| (u - at[0]).hypot(v - at[1]))
    });
    moved.into_iter().fold(0.0, f64::max) / width.max(height)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_map_between_two_views_tells_their_focal_lengths() {
        let a = Camera { rotation: matrix::rotation([0.05, -0.3, 0.02]), focal: 500.0 };
        let b = Camera { rotation: matrix::rotation([-0.06, 0.25, 0.04]), focal: 620.0 };
        let h = matrix::product(&b.projection(), &matrix::inverse(&a.projection()).unwrap());
        let [first, second] = focals(&h);
        assert!((first.unwrap() - 500.0).abs() < 1e-6 && (second.unwrap() - 620.0).abs() < 1e-6);
        assert_eq!(focals(&matrix::IDENTITY), [None; 2]);
        let p = a.project(a.ray([30.0, -20.0])).unwrap();
        assert!((p[0] - 30.0).abs() < 1e-9 && (p[1] + 20.0).abs() < 1e-9);
    }
}
