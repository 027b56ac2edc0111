//! Forms as signed distance functions: negative inside, positive outside, in the form's own units, y down.
//!
//! The distance gives the anti-aliased edge, the soft shadow, the rim and the bevel alike. Formulas after
//! Inigo Quilez, "2D distance functions".

use std::f32::consts::{FRAC_PI_2, TAU};

use rand::RngExt;

use crate::data::sampler::DataRng;

/// Names of the ten classes, in the order of their labels (sorted, as a folder of them would be).
pub const CLASSES: [&str; 10] =
    ["arrow", "circle", "crescent", "cross", "heart", "pentagon", "ring", "square", "star", "triangle"];

/// A point or a vector.
pub(super) type Vec2 = [f32; 2];

pub(super) fn sub(a: Vec2, b: Vec2) -> Vec2 {
    [a[0] - b[0], a[1] - b[1]]
}

pub(super) fn dot(a: Vec2, b: Vec2) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

pub(super) fn length(a: Vec2) -> f32 {
    dot(a, a).sqrt()
}

pub(super) fn turn(p: Vec2, (sin, cos): (f32, f32)) -> Vec2 {
    [cos * p[0] - sin * p[1], sin * p[0] + cos * p[1]]
}

/// Something with an inside.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// Radius 1 about the origin.
    Disc,
    /// Between radius 1 and `1 - width`.
    Ring { width: f32 },
    /// The unit disc without a disc of `radius` at `(offset, 0)`.
    Crescent { offset: f32, radius: f32 },
    /// A heart within the unit disc.
    Heart,
    /// A closed polygon whose corners are rounded by `round`.
    Polygon { corners: Vec<Vec2>, round: f32 },
    /// A stroke of half-width `half` along the points.
    Stroke { points: Vec<Vec2>, half: f32 },
}

impl Form {
    /// A form of the class `label`, within the unit disc, with its proportions drawn at random.
    pub(super) fn of_class(label: usize, rng: &mut DataRng) -> Self {
        let mut within = |low: f32, high: f32| rng.random_range(low..high);
        match CLASSES[label] {
            "arrow" => {
                let (head, shaft, neck) = (within(0.62, 0.8), within(0.2, 0.3), within(-0.05, 0.2));
                let half = vec![[1.0, 0.0], [neck, head], [neck, shaft], [-0.95, shaft]];
                let mirrored: Vec<Vec2> = half.iter().skip(1).rev().map(|[x, y]| [*x, -*y]).collect();
                Self::Polygon { corners: [half, mirrored].concat(), round: 0.03 }
            }
            "circle" => Self::Disc,
            "crescent" => {
                let radius = within(0.72, 0.86);
                Self::Crescent { offset: within(0.4, 0.52), radius }
            }
            "cross" => {
                let arm = within(0.24, 0.34);
                let quarter = [[0.95, -arm], [0.95, arm], [arm, arm]];
                let corners =
                    (0..4).flat_map(|i| quarter.map(|p| turn(p, (i as f32 * FRAC_PI_2).sin_cos()))).collect();
                Self::Polygon { corners, round: within(0.0, 0.06) }
            }
            "heart" => Self::Heart,
            "pentagon" => Self::Polygon { corners: regular(5, 0.95), round: within(0.0, 0.06) },
            "ring" => Self::Ring { width: within(0.26, 0.45) },
            "square" => Self::Polygon { corners: regular(4, 1.0), round: within(0.0, 0.1) },
            "star" => {
                let inner = within(0.4, 0.52);
                let corners = (0..10)
                    .map(|i| {
                        let (sin, cos) = (i as f32 * TAU / 10.0).sin_cos();
                        let r = if i % 2 == 0 { 1.0 } else { inner };
                        [r * cos, r * sin]
                    })
                    .collect();
                Self::Polygon { corners, round: within(0.0, 0.05) }
            }
            _ => Self::Polygon { corners: regular(3, 1.0), round: within(0.0, 0.08) },
        }
    }

    /// Signed distance of a point from the edge.
    pub(super) fn distance(&self, p: Vec2) -> f32 {
        match self {
            Self::Disc => length(p) - 1.0,
            Self::Ring { width } => (length(p) - (1.0 - width / 2.0)).abs() - width / 2.0,
            Self::Crescent { offset, radius } => {
                (length(p) - 1.0).max(radius - length(sub(p, [*offset, 0.0])))
            }
            Self::Heart => heart(p),
            Self::Polygon { corners, round } => polygon(corners, p) - round,
            Self::Stroke { points, half } => {
                let nearest = points.windows(2).map(|w| segment(p, w[0], w[1])).fold(f32::INFINITY, f32::min);
                nearest.sqrt() - half
            }
        }
    }

    /// No point of the form is farther from the origin.
    pub(super) fn reach(&self) -> f32 {
        match self {
            Self::Polygon { corners, round } => {
                corners.iter().map(|c| length(*c)).fold(0.0, f32::max) + round
            }
            Self::Stroke { points, half } => points.iter().map(|c| length(*c)).fold(0.0, f32::max) + half,
            _ => 1.0,
        }
    }
}

fn regular(corners: usize, radius: f32) -> Vec<Vec2> {
    let at = |i: usize| (i as f32 * TAU / corners as f32).sin_cos();
    (0..corners).map(at).map(|(sin, cos)| [radius * cos, radius * sin]).collect()
}

/// Squared distance from a segment.
fn segment(p: Vec2, a: Vec2, b: Vec2) -> f32 {
    let (along, to) = (sub(b, a), sub(p, a));
    let t = (dot(to, along) / dot(along, along).max(1e-12)).clamp(0.0, 1.0);
    let off = [to[0] - along[0] * t, to[1] - along[1] * t];
    dot(off, off)
}

fn polygon(corners: &[Vec2], p: Vec2) -> f32 {
    let mut nearest = f32::INFINITY;
    let mut inside = false;
    let mut previous = corners[corners.len() - 1];
    for &corner in corners {
        nearest = nearest.min(segment(p, corner, previous));
        if (corner[1] > p[1]) != (previous[1] > p[1]) {
            let x = corner[0] + (p[1] - corner[1]) / (previous[1] - corner[1]) * (previous[0] - corner[0]);
            inside ^= p[0] < x;
        }
        previous = corner;
    }
    if inside { -nearest.sqrt() } else { nearest.sqrt() }
}

fn heart(p: Vec2) -> f32 {
    /// Brings Quilez's heart, 1.2 wide and 1.1 high above the origin, into the unit disc.
    const SCALE: f32 = 0.665;
    let (x, y) = (p[0].abs() * SCALE, 0.57 - p[1] * SCALE);
    let distance = if x + y > 1.0 {
        length([x - 0.25, y - 0.75]) - std::f32::consts::SQRT_2 / 4.0
    } else {
        let on_diagonal = 0.5 * (x + y).max(0.0);
        let to_tip = dot([x, y - 1.0], [x, y - 1.0]);
        let off = [x - on_diagonal, y - on_diagonal];
        to_tip.min(dot(off, off)).sqrt() * (x - y).signum()
    };
    distance / SCALE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sampler::{Purpose, rng_for};

    /// Each class, several times: within the unit disc, of a size worth seeing, and with a distance that never
    /// grows faster than the way walked (else edges would not be anti-aliased).
    #[test]
    fn forms_fill_their_disc_and_have_true_distances() {
        for (label, name) in CLASSES.iter().enumerate() {
            for draw in 0..8 {
                let form = Form::of_class(label, &mut rng_for(1, Purpose::Synth, label as u64, draw));
                assert!(form.reach() <= 1.12, "{name} reaches {}", form.reach());
                let (n, mut inside) = (200, 0);
                let at = |i: i32| i as f32 / 100.0 - 1.25;
                for y in 0..n * 5 / 4 {
                    for x in 0..n * 5 / 4 {
                        let (p, q) = ([at(x), at(y)], [at(x + 1), at(y + 1)]);
                        let (d, e) = (form.distance(p), form.distance(q));
                        assert!((d - e).abs() <= length(sub(p, q)) * 1.01, "{name} at {p:?}");
                        assert!(d > 0.0 || length(p) <= form.reach() + 1e-3, "{name} at {p:?}");
                        inside += i32::from(d < 0.0);
                    }
                }
                let share = f64::from(inside) / (std::f64::consts::PI * 1e4);
                assert!((0.2..=1.1).contains(&share), "{name} fills {share}");
            }
        }
    }

    #[test]
    fn class_names_are_sorted() {
        assert!(CLASSES.is_sorted());
    }
}
