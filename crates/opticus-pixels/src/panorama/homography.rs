//! The projective map between two pictures from pairs of points of which some are wrong: RANSAC (Fischler and Bolles
//! 1981) with the normalised direct linear transform (Hartley and Zisserman 2004, algorithms 4.2 and 4.6).

use super::matrix::{self, Matrix};

/// A point of one picture and the same of another.
pub type PointPair = [[f64; 2]; 2];

/// A map and the pairs that agree with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Homography {
    /// Takes points of the first picture to the second.
    pub matrix: Matrix,
    /// Whether each pair agrees.
    pub inliers: Vec<bool>,
}

/// Where a point comes to lie; `None` behind the horizon.
pub fn mapped(m: &Matrix, [x, y]: [f64; 2]) -> Option<[f64; 2]> {
    let [u, v, w] = matrix::apply(m, [x, y, 1.0]);
    (w > 1e-9).then(|| [u / w, v / w])
}

/// Most samples drawn; half of the pairs may be wrong, and four right ones are still drawn with near certainty.
const MOST_SAMPLES: usize = 2000;
/// Wanted certainty that one sample was without a wrong pair.
const CERTAINTY: f64 = 0.9999;

/// The map that most pairs agree with to `tolerance` pixels. What is drawn depends on `seed` only.
pub fn ransac(pairs: &[PointPair], tolerance: f64, seed: u64) -> Option<Homography> {
    if pairs.len() < 4 {
        return None;
    }
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    // Xorshift (Marsaglia 2003).
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 11) as usize) % below
    };
    let mut best: Option<(usize, Matrix)> = None;
    let (mut samples, mut wanted) = (0, MOST_SAMPLES);
    while samples < wanted {
        samples += 1;
        let mut chosen = [0usize; 4];
        for i in 0..4 {
            loop {
                chosen[i] = draw(pairs.len());
                if !chosen[..i].contains(&chosen[i]) {
                    break;
                }
            }
        }
        let Some(matrix) = direct_linear(&chosen.map(|i| pairs[i])) else { continue };
        if !keeps_orientation(&matrix, &chosen.map(|i| pairs[i][0])) {
            continue;
        }
        let count = pairs.iter().filter(|pair| agrees(&matrix, pair, tolerance)).count();
        if best.is_none_or(|(most, _)| count > most) {
            best = Some((count, matrix));
            let share = (count as f64 / pairs.len() as f64).powi(4);
            let needed = (1.0 - CERTAINTY).ln() / (1.0 - share).max(1e-12).ln();
            wanted = (needed.ceil().max(20.0) as usize).min(MOST_SAMPLES);
        }
    }
    let (_, mut matrix) = best?;
    // From all that agree, and again those that then agree.
    let select =
        |matrix: &Matrix| pairs.iter().map(|pair| agrees(matrix, pair, tolerance)).collect::<Vec<_>>();
    let mut inliers = select(&matrix);
    for _ in 0..4 {
        let chosen: Vec<PointPair> =
            pairs.iter().zip(&inliers).filter(|(_, inside)| **inside).map(|(pair, _)| *pair).collect();
        let Some(better) = direct_linear(&chosen) else { break };
        let now = select(&better);
        let count = |inliers: &[bool]| inliers.iter().filter(|inside| **inside).count();
        if count(&now) < count(&inliers) {
            break;
        }
        (matrix, inliers) = (better, now);
    }
    Some(Homography { matrix, inliers })
}

/// Whether both ways the error is at most `tolerance`.
fn agrees(m: &Matrix, [a, b]: &PointPair, tolerance: f64) -> bool {
    mapped(m, *a).is_some_and(|[x, y]| (x - b[0]).hypot(y - b[1]) <= tolerance)
}

/// A turned camera never shows a mirrored picture: the Jacobian's determinant is positive.
fn keeps_orientation(m: &Matrix, points: &[[f64; 2]]) -> bool {
    let [a, b, c] = [[m[0], m[1], m[2]], [m[3], m[4], m[5]], [m[6], m[7], m[8]]];
    let determinant = matrix::dot(a, matrix::cross(b, c));
    points.iter().all(|p| {
        let w = matrix::apply(m, [p[0], p[1], 1.0])[2];
        w > 1e-9 && determinant / w.powi(3) > 0.02 && determinant / w.powi(3) < 50.0
    })
}

/// Least squares of the equations `b × H a = 0` in coordinates of mean 0 and mean length √2.
pub fn direct_linear(pairs: &[PointPair]) -> Option<Matrix> {
    let frame = |side: usize| {
        let n = pairs.len() as f64;
        let mean: [f64; 2] = std::array::from_fn(|d| pairs.iter().map(|p| p[side][d]).sum::<f64>() / n);
        let spread =
            pairs.iter().map(|p| (p[side][0] - mean[0]).hypot(p[side][1] - mean[1])).sum::<f64>() / n;
        (mean, std::f64::consts::SQRT_2 / spread.max(1e-9))
    };
    let ((ma, sa), (mb, sb)) = (frame(0), frame(1));
    // Eight unknowns; the ninth is 1, as no horizon passes through the points' middle.
    let mut system = [[0.0f64; 9]; 8];
    for [a, b] in pairs {
        let [x, y] = [(a[0] - ma[0]) * sa, (a[1] - ma[1]) * sa];
        let [u, v] = [(b[0] - mb[0]) * sb, (b[1] - mb[1]) * sb];
        for row in
            [[x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, u], [0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, v]]
        {
            for (i, line) in system.iter_mut().enumerate() {
                line.iter_mut().zip(&row).for_each(|(sum, r)| *sum += row[i] * r);
            }
        }
    }
    let h = eliminated(system)?;
    let normal = [h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], 1.0];
    let to = [sa, 0.0, -sa * ma[0], 0.0, sa, -sa * ma[1], 0.0, 0.0, 1.0];
    let back = [1.0 / sb, 0.0, mb[0], 0.0, 1.0 / sb, mb[1], 0.0, 0.0, 1.0];
    let m = matrix::product(&back, &matrix::product(&normal, &to));
    // The sign that puts the points before the horizon.
    let middle = matrix::apply(&m, [ma[0], ma[1], 1.0])[2];
    (m.iter().all(|v| v.is_finite()) && middle.abs() > 1e-12).then(|| m.map(|v| v / middle))
}

/// Gaussian elimination with the greatest pivot; `None` for a singular system.
fn eliminated(mut a: [[f64; 9]; 8]) -> Option<[f64; 8]> {
    for i in 0..8 {
        let pivot = (i..8).max_by(|&p, &q| a[p][i].abs().total_cmp(&a[q][i].abs()))?;
        a.swap(i, pivot);
        if a[i][i].abs() < 1e-10 {
            return None;
        }
        for j in i + 1..8 {
            let (row, factor) = (a[i], a[j][i] / a[i][i]);
            a[j].iter_mut().zip(row).skip(i).for_each(|(value, above)| *value -= factor * above);
        }
    }
    let mut x = [0.0; 8];
    for i in (0..8).rev() {
        let rest: f64 = (i + 1..8).map(|k| a[i][k] * x[k]).sum();
        x[i] = (a[i][8] - rest) / a[i][i];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TRUE: Matrix = [0.9, -0.1, 120.0, 0.08, 1.1, -40.0, 1e-4, -2e-4, 1.0];

    fn points(wrong: usize) -> Vec<PointPair> {
        let place = |i: usize| [((i * 7919) % 641) as f64 - 320.0, ((i * 104_729) % 479) as f64 - 240.0];
        let right = (0..40).map(|i| [place(i), mapped(&TRUE, place(i)).unwrap()]);
        right.chain((0..wrong).map(|i| [place(100 + i), place(500 + 3 * i)])).collect()
    }

    #[test]
    fn a_homography_is_found_from_exact_points_and_among_as_many_wrong_ones() {
        let same =
            |m: &Matrix| m.iter().zip(&TRUE).all(|(a, b)| (a / m[8] - b).abs() < 1e-6 * b.abs().max(1e-2));
        assert!(same(&direct_linear(&points(0)).unwrap()));
        let found = ransac(&points(40), 3.0, 5).unwrap();
        assert!(found.inliers[..40].iter().all(|inside| *inside));
        assert!(found.inliers[40..].iter().filter(|inside| **inside).count() <= 2);
        assert_eq!(Some(found), ransac(&points(40), 3.0, 5));
    }

    #[test]
    fn what_determines_no_map_gives_none() {
        assert_eq!(ransac(&points(0)[..3], 3.0, 1), None);
        let line: Vec<PointPair> = (0..10).map(|i| [[f64::from(i); 2], [f64::from(i); 2]]).collect();
        assert_eq!(ransac(&line, 3.0, 1), None);
    }
}
