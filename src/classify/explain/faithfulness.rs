//! Does the network really look where the heat is? Deletion and insertion (Petsiuk et al. 2018, "RISE").

use opticus_pixels::Size;
use opticus_pixels::preprocess::Planes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::heat::{Grid, HeatMap, mean_colour};
use crate::error::Result;

/// Steps of a curve: each changes a twentieth of the pixels.
const STEPS: usize = 20;
/// Random orders that the heat is compared with.
const RANDOM_ORDERS: u64 = 3;

/// Probability of the class while pixels are changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Share of the pixels that have been changed, 0 to 1.
    pub fractions: Vec<f64>,
    /// Probability of the class after it.
    pub probabilities: Vec<f64>,
}

impl Curve {
    /// Area under the curve by the trapezoid rule, 0..=1: the mean probability on the way.
    pub fn area(&self) -> f64 {
        let spans = self.fractions.windows(2).zip(self.probabilities.windows(2));
        spans.map(|(f, p)| (f[1] - f[0]) * (p[0] + p[1]) / 2.0).sum()
    }
}

/// How well a heat map tells what the network needs.
///
/// *Deletion*: pixels, the hottest first, are replaced by the picture's mean colour; the sooner the probability of the
/// class falls, the better the heat, so a small area is good. *Insertion*: pixels, the hottest first, of the picture
/// replace those of a heavily blurred one; a large area is good.
///
/// Both are compared with the mean of three random heat maps. These are as coarse as the heat itself: scattered single
/// pixels would destroy any picture at once and make every heat map look bad (or, inserted, good). Among pixels of
/// equal heat the order follows such a random map, too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Faithfulness {
    /// Area under the deletion curve; small is good.
    pub deletion: f64,
    /// The same for random orders.
    pub deletion_random: f64,
    /// Area under the insertion curve; large is good.
    pub insertion: f64,
    /// The same for random orders.
    pub insertion_random: f64,
    /// The deletion curve.
    pub deletion_curve: Curve,
    /// The insertion curve.
    pub insertion_curve: Curve,
}

impl Faithfulness {
    /// By how much the heat beats chance at deletion: 0 is chance, negative is worse.
    pub fn deletion_gain(&self) -> f64 {
        self.deletion_random - self.deletion
    }

    /// By how much the heat beats chance at insertion.
    pub fn insertion_gain(&self) -> f64 {
        self.insertion - self.insertion_random
    }
}

/// Measures `heat` with `probability`, which gives the class's probability for each of some pictures.
pub(super) fn measure(
    planes: &Planes,
    heat: &HeatMap,
    seed: u64,
    probability: impl Fn(&[Vec<f32>]) -> Result<Vec<f64>>,
) -> Result<Faithfulness> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut random_map = || random_field(&heat.grid, heat.size, &mut random);
    let ours = order(&heat.values, &random_map());
    let others: Vec<Vec<usize>> = (0..RANDOM_ORDERS)
        .map(|_| {
            let map = random_map();
            order(&map, &map)
        })
        .collect();

    let area = planes.size.area() as usize;
    let flat: Vec<f32> = mean_colour(planes).into_iter().flat_map(|v| std::iter::repeat_n(v, area)).collect();
    let blurred = blur(planes);
    let deletion = |order: &[usize]| trace(&planes.data, &flat, order, &probability);
    let insertion = |order: &[usize]| trace(&blurred, &planes.data, order, &probability);
    let mean_area = |curve: &dyn Fn(&[usize]) -> Result<Curve>| -> Result<f64> {
        let areas = others.iter().map(|order| Ok(curve(order)?.area())).collect::<Result<Vec<f64>>>()?;
        Ok(areas.iter().sum::<f64>() / areas.len() as f64)
    };
    let (deletion_curve, insertion_curve) = (deletion(&ours)?, insertion(&ours)?);
    Ok(Faithfulness {
        deletion: deletion_curve.area(),
        deletion_random: mean_area(&deletion)?,
        insertion: insertion_curve.area(),
        insertion_random: mean_area(&insertion)?,
        deletion_curve,
        insertion_curve,
    })
}

/// The probability while the pixels of `from` become those of `to`, in this order.
fn trace(
    from: &[f32],
    to: &[f32],
    order: &[usize],
    probability: impl Fn(&[Vec<f32>]) -> Result<Vec<f64>>,
) -> Result<Curve> {
    let area = order.len();
    let mut picture = from.to_vec();
    let mut pictures = vec![picture.clone()];
    let mut fractions = vec![0.0];
    let mut done = 0;
    for step in 1..=STEPS {
        let until = (area * step).div_ceil(STEPS);
        for &pixel in &order[done..until] {
            for (now, then) in picture.chunks_exact_mut(area).zip(to.chunks_exact(area)) {
                now[pixel] = then[pixel];
            }
        }
        done = until;
        fractions.push(done as f64 / area as f64);
        pictures.push(picture.clone());
    }
    Ok(Curve { fractions, probabilities: probability(&pictures)? })
}

/// Pixels from the hottest to the coldest; equal heat in order of `ties`.
fn order(heat: &[f32], ties: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..heat.len()).collect();
    order.sort_by(|&a, &b| heat[b].total_cmp(&heat[a]).then(ties[b].total_cmp(&ties[a])));
    order
}

/// A map without meaning, as coarse as the one it is compared with.
fn random_field(grid: &Grid, size: Size, random: &mut ChaCha8Rng) -> Vec<f32> {
    // One cell alone has no order; two by two is the coarsest that does.
    let grid = Grid { columns: grid.columns.max(2), rows: grid.rows.max(2), stride: grid.stride };
    let cells: Vec<f32> = (0..grid.columns * grid.rows).map(|_| random.random::<f32>()).collect();
    grid.spread(&cells, size)
}

/// Gaussian blur with a deviation of a twentieth of the shorter side: shapes go, colours stay. Beyond the border the
/// outermost pixels go on.
fn blur(planes: &Planes) -> Vec<f32> {
    let (width, height) = (planes.size.width as usize, planes.size.height as usize);
    let deviation = (width.min(height) as f64 / 20.0).max(1.0);
    let reach = (3.0 * deviation).ceil() as isize;
    let weights: Vec<f64> = (-reach..=reach).map(|d| (-0.5 * (d as f64 / deviation).powi(2)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let weighted = |at: &dyn Fn(usize) -> f32, centre: usize, length: usize| {
        let sample = |d: isize| at((centre as isize + d).clamp(0, length as isize - 1) as usize);
        let sum: f64 = (-reach..=reach).zip(&weights).map(|(d, w)| w * f64::from(sample(d))).sum();
        (sum / total) as f32
    };
    let mut out = planes.data.clone();
    for plane in out.chunks_exact_mut(width * height) {
        for row in plane.chunks_exact_mut(width) {
            let before = row.to_vec();
            (0..width).for_each(|x| row[x] = weighted(&|i| before[i], x, width));
        }
        for x in 0..width {
            let before: Vec<f32> = (0..height).map(|y| plane[y * width + x]).collect();
            (0..height).for_each(|y| plane[y * width + x] = weighted(&|i| before[i], y, height));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planes(width: u32, height: u32, value: impl Fn(usize) -> f32) -> Planes {
        let size = Size::new(width, height);
        Planes { channels: 1, size, data: (0..size.area() as usize).map(value).collect() }
    }

    #[test]
    fn area_under_a_straight_fall_is_a_half() {
        let curve = Curve { fractions: vec![0.0, 0.25, 1.0], probabilities: vec![1.0, 0.75, 0.0] };
        assert!((curve.area() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn blur_keeps_a_flat_picture_and_the_mean_of_a_dot_and_forgets_where_it_was() {
        assert!(blur(&planes(9, 7, |_| 0.5)).iter().all(|v| (v - 0.5).abs() < 1e-6));
        let dot = blur(&planes(41, 41, |i| if i == 20 * 41 + 20 { 1.0 } else { 0.0 }));
        let sum: f64 = dot.iter().map(|&v| f64::from(v)).sum();
        // All weight lies inside; a two-dimensional Gaussian of deviation 2.05 peaks at 1 / (2π · 2.05²).
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        assert!((f64::from(dot[20 * 41 + 20]) - 0.0379).abs() < 0.001, "{}", dot[20 * 41 + 20]);
    }

    #[test]
    fn the_truth_deletes_sooner_and_inserts_sooner_than_chance_and_the_reverse_does_neither() -> Result<()> {
        // The probability is the brightness inside a square that the heat knows.
        let inside = |i: usize| (4..10).contains(&(i % 32)) && (20..26).contains(&(i / 32));
        let picture = planes(32, 32, |i| if inside(i) { 1.0 } else { 0.0 });
        let brightness = |pictures: &[Vec<f32>]| -> Result<Vec<f64>> {
            let mean =
                |p: &Vec<f32>| (0..1024).filter(|&i| inside(i)).map(|i| f64::from(p[i])).sum::<f64>() / 36.0;
            Ok(pictures.iter().map(mean).collect())
        };
        let grid = Grid { columns: 8, rows: 8, stride: 4 };
        let heat = |value: fn(bool) -> f32| HeatMap {
            size: picture.size,
            values: (0..1024).map(|i| value(inside(i))).collect(),
            grid,
        };
        let good = measure(&picture, &heat(|hot| if hot { 1.0 } else { 0.0 }), 7, brightness)?;
        assert!(good.deletion < 0.12 && good.deletion_gain() > 0.2, "{good:?}");
        assert!(good.insertion > 0.9 && good.insertion_gain() > 0.1, "{good:?}");
        let bad = measure(&picture, &heat(|hot| if hot { 0.0 } else { 1.0 }), 7, brightness)?;
        assert!(bad.deletion_gain() < 0.0 && bad.insertion_gain() < 0.0, "{bad:?}");
        // Whatever the order, both curves begin and end at the same pictures.
        let ends = |c: &Curve| (c.probabilities.first().copied(), c.probabilities.last().copied());
        assert_eq!(ends(&good.deletion_curve), ends(&bad.deletion_curve));
        assert_eq!(good.deletion_curve.fractions.len(), STEPS + 1);
        // The same seed asks the same questions.
        assert_eq!(good, measure(&picture, &heat(|hot| if hot { 1.0 } else { 0.0 }), 7, brightness)?);
        Ok(())
    }

    #[test]
    fn equal_heat_is_ordered_by_the_second_map() {
        assert_eq!(order(&[0.0, 1.0, 0.0, 0.0], &[0.1, 0.0, 0.9, 0.5]), [1, 2, 3, 0]);
    }
}
