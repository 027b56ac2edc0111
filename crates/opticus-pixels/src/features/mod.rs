//! Points of a picture that are found again in another one of the same scene, whatever its size, turn and exposure:
//! the scale-invariant feature transform (Lowe 2004, "Distinctive Image Features from Scale-Invariant Keypoints").

mod describe;
mod detect;
mod matching;
mod scales;

pub use matching::{Match, match_features};

use pulp::Arch;

use crate::geometry::Size;

/// Numbers of a descriptor: 4×4 parts of the surroundings, 8 directions of gradients in each.
pub const DIMENSIONS: usize = 128;

/// A point, where it lies and how large it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keypoint {
    /// Column in pixels; the middle of the first pixel is 0.
    pub x: f32,
    /// Row in pixels; the middle of the first pixel is 0.
    pub y: f32,
    /// Standard deviation in pixels of the Gaussian at which it stands out.
    pub scale: f32,
    /// Direction of the surrounding gradients in radians.
    pub angle: f32,
    /// How much it stands out, in grey levels of 0 to 1.
    pub strength: f32,
}

/// What was found in one picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// The points, the strongest first.
    pub keypoints: Vec<Keypoint>,
    /// What each one looks like: [`DIMENSIONS`] numbers of length 1 for each.
    pub descriptors: Vec<f32>,
}

impl Features {
    /// The first, strongest points.
    #[must_use]
    pub fn strongest(&self, most: usize) -> Self {
        let count = most.min(self.keypoints.len());
        Self {
            keypoints: self.keypoints[..count].to_vec(),
            descriptors: self.descriptors[..count * DIMENSIONS].to_vec(),
        }
    }
}

/// The strongest `most` points of a grey picture of `height * width` values, 0 to 1.
pub fn find(grey: &[f32], size: Size, most: usize) -> Features {
    if size.width.min(size.height) < SMALLEST || grey.len() as u64 != size.area() {
        return Features::default();
    }
    let arch = Arch::new();
    let octaves = scales::Octaves::of(grey, size, arch);
    let mut found = detect::extrema(&octaves);
    // The order is one of values, so that it does not depend on threads.
    found.sort_by(|a, b| {
        b.strength.total_cmp(&a.strength).then(a.y.total_cmp(&b.y)).then(a.x.total_cmp(&b.x))
    });
    found.truncate(most);
    let mut features = Features::default();
    let falling = detect::Falling::new();
    for candidate in &found {
        for angle in detect::orientations(&octaves, candidate, &falling) {
            features.keypoints.push(Keypoint {
                x: candidate.x * octaves.step(candidate.octave),
                y: candidate.y * octaves.step(candidate.octave),
                scale: candidate.scale * octaves.step(candidate.octave),
                angle,
                strength: candidate.strength,
            });
            features.descriptors.extend(describe::descriptor(&octaves, candidate, angle, &falling));
        }
    }
    features
}

/// Pixels a side below which nothing can be found.
const SMALLEST: u32 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    /// Soft spots of several sizes, where none is like another.
    fn spots(size: Size, map: impl Fn(f64, f64) -> [f64; 2]) -> Vec<f32> {
        let mut state = 7u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1u32 << 24)
        };
        let all: Vec<[f64; 4]> = (0..160)
            .map(|_| [random() * 200.0, random() * 160.0, 2.0 + 4.0 * random(), random() - 0.5])
            .collect();
        let value = |x: f64, y: f64| {
            let [x, y] = map(x, y);
            let sum: f64 = all
                .iter()
                .map(|[u, v, r, a]| a * (-((x - u).powi(2) + (y - v).powi(2)) / (2.0 * r * r)).exp())
                .sum();
            (0.5 + 0.4 * sum).clamp(0.0, 1.0) as f32
        };
        let [w, h] = [size.width, size.height];
        (0..h).flat_map(|y| (0..w).map(move |x| (x, y))).map(|(x, y)| value(x.into(), y.into())).collect()
    }

    #[test]
    fn points_are_found_again_when_turned_shrunk_and_darkened() {
        let size = Size::new(200, 160);
        let first = find(&spots(size, |x, y| [x, y]), size, 500);
        let (sin, cos) = 0.6f64.sin_cos();
        // Where a point of the second picture lies in the first.
        let map = |x: f64, y: f64| {
            let [x, y] = [(x - 100.0) * 1.25, (y - 80.0) * 1.25];
            [cos * x - sin * y + 100.0, sin * x + cos * y + 80.0]
        };
        let dark: Vec<f32> = spots(size, map).iter().map(|v| 0.6 * v + 0.1).collect();
        let second = find(&dark, size, 500);
        let matches = match_features(&first, &second);
        let right = matches.iter().filter(|m| {
            let (a, b) = (first.keypoints[m.first], second.keypoints[m.second]);
            let [x, y] = map(b.x.into(), b.y.into());
            (x - f64::from(a.x)).hypot(y - f64::from(a.y)) < 1.5
        });
        let right = right.count();
        assert!(right > 20 && right * 10 > matches.len() * 9, "{right} of {}", matches.len());
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let size = Size::new(64, 48);
        assert!(find(&[0.5; 64 * 48], size, 100).keypoints.is_empty());
        assert!(find(&[0.5; 9], Size::new(3, 3), 100).keypoints.is_empty());
        let slope: Vec<f32> = (0..64 * 48).map(|i| (i % 64) as f32 / 64.0).collect();
        assert!(find(&slope, size, 100).keypoints.is_empty());
    }
}
