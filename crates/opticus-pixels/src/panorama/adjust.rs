//! Bundle adjustment: all cameras at once, so that the points that pairs of pictures share come to lie on each other
//! (Brown and Lowe 2007, "Automatic Panoramic Image Stitching using Invariant Features", section 4), by Levenberg and
//! Marquardt.

use rayon::prelude::*;

use super::camera::Camera;
use super::homography::PointPair;
use super::matrix::{self, Matrix, Vector};
use crate::align::linear::solve;

/// Points that two pictures share.
#[derive(Clone, Debug)]
pub struct Link {
    /// Number of the first picture.
    pub first: usize,
    /// Number of the second.
    pub second: usize,
    /// The points, relative to the middle of each picture.
    pub points: Vec<PointPair>,
}

/// Unknowns a camera: three of its turn, the logarithm of its focal length.
const UNKNOWNS: usize = 4;
/// Spread of the logarithms of focal lengths of pictures of one size: one lens, refocused.
const LENS: f64 = 0.03;
const STEPS: usize = 60;

/// Turns and focal lengths of least squared error; beyond `tolerance` pixels the error counts linearly (Huber).
/// `alike[i]` is the number of the first picture that has the size of picture `i`.
pub fn adjust(cameras: &mut [Camera], links: &[Link], alike: &[usize], tolerance: f64) {
    let n = cameras.len() * UNKNOWNS;
    let mut damping = 1e-3;
    let lens = Lens {
        alike,
        weight: links.iter().map(|l| l.points.len()).sum::<usize>() as f64 * 0.05
            / cameras.len().max(1) as f64,
    };
    let mut now = cost(cameras, links, tolerance) + lens.cost(cameras);
    for _ in 0..STEPS {
        let (matrix, vector) = equations(cameras, links, tolerance, &lens);
        let mut better = false;
        for _ in 0..8 {
            let mut damped = matrix.clone();
            for i in 0..n {
                damped[i * n + i] += damping * matrix[i * n + i] + 1e-9;
            }
            let step = solve(&damped, &vector);
            let next = step.map(|step| moved(cameras, &step));
            let then = next.as_ref().map_or(f64::INFINITY, |c| cost(c, links, tolerance) + lens.cost(c));
            if let Some(next) = next.filter(|_| then < now) {
                cameras.copy_from_slice(&next);
                damping = (damping * 0.2).max(1e-9);
                better = now - then > 1e-9 * now;
                now = then;
                break;
            }
            damping *= 5.0;
        }
        if !better {
            return;
        }
    }
}

/// Mean distance in pixels of where a point is and where its partner says, both ways.
pub fn mean_error(cameras: &[Camera], links: &[Link]) -> f64 {
    let errors = links.iter().flat_map(|link| {
        link.points.iter().flat_map(|&[a, b]| {
            let there = |from: usize, to: usize, p: [f64; 2], q: [f64; 2]| {
                cameras[to].project(cameras[from].ray(p)).map(|[x, y]| (x - q[0]).hypot(y - q[1]))
            };
            [there(link.first, link.second, a, b), there(link.second, link.first, b, a)]
        })
    });
    let (sum, count) = errors.flatten().fold((0.0, 0.0), |(sum, n), e| (sum + e, n + 1.0));
    sum / f64::max(count, 1.0)
}

/// Pictures of one size come of one lens, more or less.
struct Lens<'a> {
    alike: &'a [usize],
    weight: f64,
}

impl Lens<'_> {
    /// What each focal length's logarithm has more than the mean of its like.
    fn excess(&self, cameras: &[Camera]) -> Vec<f64> {
        let logs: Vec<f64> = cameras.iter().map(|c| c.focal.ln()).collect();
        self.alike
            .iter()
            .zip(&logs)
            .map(|(group, log)| {
                let same = self.alike.iter().zip(&logs).filter(|(other, _)| *other == group);
                let (sum, count) = same.fold((0.0, 0.0), |(sum, n), (_, log)| (sum + log, n + 1.0));
                log - sum / count
            })
            .collect()
    }

    fn cost(&self, cameras: &[Camera]) -> f64 {
        self.excess(cameras).iter().map(|e| self.weight * (e / LENS).powi(2)).sum()
    }
}

fn moved(cameras: &[Camera], step: &[f64]) -> Vec<Camera> {
    cameras
        .iter()
        .zip(step.chunks_exact(UNKNOWNS))
        .map(|(camera, d)| Camera {
            rotation: matrix::product(&matrix::rotation([d[0], d[1], d[2]]), &camera.rotation),
            focal: camera.focal * d[3].clamp(-0.5, 0.5).exp(),
        })
        .collect()
}

/// The error of a point that should be seen where it is not even ahead, in tolerances.
const BEHIND: f64 = 100.0;

fn huber(error: f64, tolerance: f64) -> f64 {
    if error <= tolerance { error * error } else { tolerance * (2.0 * error - tolerance) }
}

fn cost(cameras: &[Camera], links: &[Link], tolerance: f64) -> f64 {
    let one = |link: &Link| -> f64 {
        let [first, second] = [&cameras[link.first], &cameras[link.second]];
        let error = |from: &Camera, to: &Camera, p: [f64; 2], q: [f64; 2]| match to.project(from.ray(p)) {
            Some([x, y]) => huber((x - q[0]).hypot(y - q[1]), tolerance),
            None => huber(BEHIND * tolerance, tolerance),
        };
        link.points.iter().map(|&[a, b]| error(first, second, a, b) + error(second, first, b, a)).sum()
    };
    links.par_iter().map(one).collect::<Vec<f64>>().iter().sum()
}

type Block = [[f64; 2 * UNKNOWNS + 1]; 2 * UNKNOWNS];

/// Normal equations `JᵀWJ x = −JᵀWr`.
fn equations(cameras: &[Camera], links: &[Link], tolerance: f64, lens: &Lens) -> (Vec<f64>, Vec<f64>) {
    let n = cameras.len() * UNKNOWNS;
    let (mut matrix, mut vector) = (vec![0.0; n * n], vec![0.0; n]);
    // Blocks in parallel, their sum in one order, so that threads change nothing.
    let blocks: Vec<[(usize, usize, Block); 2]> = links
        .par_iter()
        .map(|link| {
            let (a, b) = (link.first, link.second);
            let turned: Vec<PointPair> = link.points.iter().map(|&[p, q]| [q, p]).collect();
            [
                (a, b, block(&cameras[a], &cameras[b], &link.points, tolerance)),
                (b, a, block(&cameras[b], &cameras[a], &turned, tolerance)),
            ]
        })
        .collect();
    for (from, to, block) in blocks.iter().flatten() {
        let place = |i: usize| if i < UNKNOWNS { from * UNKNOWNS + i } else { to * UNKNOWNS + i - UNKNOWNS };
        for (i, row) in block.iter().enumerate() {
            for (j, value) in row[..2 * UNKNOWNS].iter().enumerate() {
                matrix[place(i) * n + place(j)] += value;
            }
            vector[place(i)] -= row[2 * UNKNOWNS];
        }
    }
    for (i, excess) in lens.excess(cameras).iter().enumerate() {
        let at = i * UNKNOWNS + 3;
        matrix[at * n + at] += lens.weight / (LENS * LENS);
        vector[at] -= lens.weight * excess / (LENS * LENS);
    }
    (matrix, vector)
}

/// What the points of one picture, seen in another, say of both cameras.
fn block(from: &Camera, to: &Camera, points: &[PointPair], tolerance: f64) -> Block {
    let mut block = [[0.0; 2 * UNKNOWNS + 1]; 2 * UNKNOWNS];
    let turn: Matrix = matrix::product(&to.rotation, &matrix::transposed(&from.rotation));
    let axes: [Vector; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for &[p, q] in points {
        let v = [p[0] / from.focal, p[1] / from.focal, 1.0];
        let y = matrix::apply(&turn, v);
        if y[2] < 1e-6 {
            continue;
        }
        let [px, py] = [to.focal * y[0] / y[2], to.focal * y[1] / y[2]];
        let error = [px - q[0], py - q[1]];
        let length = error[0].hypot(error[1]);
        let weight = if length <= tolerance { 1.0 } else { tolerance / length };
        // How the point seen moves with the direction it is seen in.
        let seen = |d: Vector| {
            let z = y[2];
            [to.focal * (d[0] - y[0] * d[2] / z) / z, to.focal * (d[1] - y[1] * d[2] / z) / z]
        };
        let mut rows = [[0.0; 2 * UNKNOWNS + 1]; 2];
        let mut put = |i: usize, d: [f64; 2]| (rows[0][i], rows[1][i]) = (d[0], d[1]);
        for (i, axis) in axes.iter().enumerate() {
            put(i, seen(matrix::apply(&turn, matrix::cross(*axis, v)).map(|x| -x)));
            put(UNKNOWNS + i, seen(matrix::cross(*axis, y)));
        }
        put(3, seen(matrix::apply(&turn, [-v[0], -v[1], 0.0])));
        put(UNKNOWNS + 3, [px, py]);
        put(2 * UNKNOWNS, error);
        for row in &rows {
            for (i, line) in block.iter_mut().enumerate() {
                line.iter_mut().zip(row).for_each(|(sum, r)| *sum += weight * row[i] * r);
            }
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_turns_and_focal_length_are_found_again() {
        let truth: Vec<Camera> = [-0.35, 0.0, 0.4]
            .iter()
            .map(|y| Camera { rotation: matrix::rotation([0.03 * y + 0.02, *y, 0.05 * y]), focal: 700.0 })
            .collect();
        let mut links = Vec::new();
        for (first, second) in [(0, 1), (1, 2)] {
            let points = (0..60)
                .map(|i| [f64::from((i * 37) % 641) - 320.0, f64::from((i * 91) % 481) - 240.0])
                .filter_map(|p| Some([p, truth[second].project(truth[first].ray(p))?]))
                .filter(|[_, q]| q[0].abs() < 320.0 && q[1].abs() < 240.0)
                .collect();
            links.push(Link { first, second, points });
        }
        // One wrong pair, which must not decide.
        links[0].points.push([[0.0, 0.0], [100.0, -30.0]]);
        let mut cameras: Vec<Camera> = truth
            .iter()
            .enumerate()
            .map(|(i, c)| Camera {
                rotation: matrix::product(&matrix::rotation([0.02, -0.03 * i as f64, 0.01]), &c.rotation),
                focal: 560.0,
            })
            .collect();
        adjust(&mut cameras, &links, &[0, 0, 0], 1.0);
        for (camera, truth_of) in cameras.iter().zip(&truth) {
            assert!((camera.focal - 700.0).abs() < 2.0, "{}", camera.focal);
            let between = matrix::product(&camera.rotation, &matrix::transposed(&cameras[1].rotation));
            let wanted = matrix::product(&truth_of.rotation, &matrix::transposed(&truth[1].rotation));
            assert!(between.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 2e-3));
        }
        links[0].points.pop();
        assert!(mean_error(&cameras, &links) < 0.2);
    }
}
