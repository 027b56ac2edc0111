//! Precision and recall (Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative
//! Models", eq. 1 and 2), density and coverage (Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for
//! Generative Models", eq. 3 and 4).

use opticus_kernels::dots;
use rayon::prelude::*;

use super::features::{Features, blocks, check_pair};
use crate::error::{Error, Result};

/// Pictures on each side of one block of the matrix of distances.
const BLOCK: [usize; 2] = [512, 2048];

/// How many neighbours make a picture's surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifoldOptions {
    /// For precision and recall; 3 in the paper.
    pub precision_neighbours: usize,
    /// For density and coverage; 5 in the paper.
    pub coverage_neighbours: usize,
}

impl Default for ManifoldOptions {
    fn default() -> Self {
        Self { precision_neighbours: 3, coverage_neighbours: 5 }
    }
}

/// Figures of surroundings: around each picture of a set lies the ball that its k-th nearest neighbour in the set, the
/// picture itself not counted, bounds (and does not belong to, as in `prdc`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ManifoldScores {
    /// Fraction of made pictures in the ball of a real one: are they like real ones?
    pub precision: f64,
    /// Fraction of real pictures in the ball of a made one: can all be made?
    pub recall: f64,
    /// Balls of real pictures that a made one is in, divided by their neighbours; 1 for two sets of one kind, and not
    /// bounded by it.
    pub density: f64,
    /// Fraction of real pictures with a made one in their ball.
    pub coverage: f64,
}

/// Precision, recall, density and coverage by the Euclidean distances of features, as `prdc` 0.2 gives them.
///
/// # Errors
/// [`Error::Config`] for no neighbours, [`Error::Input`] for features of different width, or sets with no more
/// pictures than neighbours.
pub fn manifold_scores(
    real: &Features,
    fake: &Features,
    options: &ManifoldOptions,
) -> Result<ManifoldScores> {
    let ManifoldOptions { precision_neighbours, coverage_neighbours } = *options;
    if precision_neighbours == 0 || coverage_neighbours == 0 {
        return Err(Error::Config(
            "the surroundings of a picture are bounded by a neighbour; ask for at least 1".into(),
        ));
    }
    check_pair(real, fake, precision_neighbours.max(coverage_neighbours) + 1, "a ball of neighbours")?;
    let (real, fake) = (Points::new(real), Points::new(fake));
    let of_real = real.radii(&[precision_neighbours, coverage_neighbours]);
    let of_fake = fake.radii(&[precision_neighbours]);
    let mut made_inside = vec![false; fake.count()];
    let mut real_inside = vec![false; real.count()];
    let mut nearest = vec![f64::INFINITY; real.count()];
    let mut balls = 0u64;
    real.distances(&fake, |rows, cols, squares| {
        let of_row = |(row, squares): (usize, &[f64])| {
            let radii = &of_real[rows.start + row];
            let least = squares.iter().fold(f64::INFINITY, |least, square| least.min(*square));
            let balls = squares.iter().filter(|square| **square < radii[1]).count() as u64;
            let inside =
                squares.iter().zip(&of_fake[cols.clone()]).any(|(square, radius)| *square < radius[0]);
            let made: Vec<usize> = cols
                .clone()
                .zip(squares)
                .filter(|(_, square)| **square < radii[0])
                .map(|(col, _)| col)
                .collect();
            (least, balls, inside, made)
        };
        let results: Vec<_> = squares.par_chunks_exact(cols.len()).enumerate().map(of_row).collect();
        for (row, (least, of_this, inside, made)) in rows.clone().zip(results) {
            nearest[row] = nearest[row].min(least);
            real_inside[row] |= inside;
            balls += of_this;
            made.into_iter().for_each(|col| made_inside[col] = true);
        }
    });
    let covered: Vec<bool> =
        nearest.iter().zip(&of_real).map(|(nearest, radii)| *nearest < radii[1]).collect();
    Ok(ManifoldScores {
        precision: fraction(&made_inside),
        recall: fraction(&real_inside),
        density: balls as f64 / (coverage_neighbours as f64 * fake.count() as f64),
        coverage: fraction(&covered),
    })
}

fn fraction(of: &[bool]) -> f64 {
    of.iter().filter(|one| **one).count() as f64 / of.len() as f64
}

/// Features with the squares of their lengths.
struct Points<'a> {
    features: &'a Features,
    lengths: Vec<f64>,
}

impl<'a> Points<'a> {
    fn new(features: &'a Features) -> Self {
        // By the same sums as the products of different rows, so that equal rows have the distance zero.
        const ROWS: usize = 32;
        let lengths = blocks(features.count(), ROWS).flat_map(|rows| {
            let (values, count) = (features.part(rows.clone()), rows.len());
            let mut products = vec![0.0; count * count];
            dots(values, values, features.width(), &mut products);
            products.into_iter().step_by(count + 1)
        });
        Self { features, lengths: lengths.collect() }
    }

    fn count(&self) -> usize {
        self.lengths.len()
    }

    /// Calls `visit` with blocks of the squared distances of these points (rows) and others (columns).
    fn distances(
        &self,
        other: &Self,
        mut visit: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>, &[f64]),
    ) {
        for rows in blocks(self.count(), BLOCK[0]) {
            for cols in blocks(other.count(), BLOCK[1]) {
                let mut squares = vec![0.0; rows.len() * cols.len()];
                let (left, right) = (self.features.part(rows.clone()), other.features.part(cols.clone()));
                dots(left, right, self.features.width(), &mut squares);
                squares.par_chunks_exact_mut(cols.len()).zip(&self.lengths[rows.clone()]).for_each(
                    |(squares, a)| {
                        for (square, b) in squares.iter_mut().zip(&other.lengths[cols.clone()]) {
                            *square = (a + b - 2.0 * *square).max(0.0);
                        }
                    },
                );
                visit(rows.clone(), cols, &squares);
            }
        }
    }

    /// For each point, the squared distances of its so-many-th nearest neighbours; there are enough of them.
    fn radii(&self, neighbours: &[usize]) -> Vec<Vec<f64>> {
        let most = neighbours.iter().copied().max().unwrap_or(1);
        let mut nearest = vec![Vec::with_capacity(most + 1); self.count()];
        self.distances(self, |rows, cols, squares| {
            nearest[rows.clone()]
                .par_iter_mut()
                .zip(squares.par_chunks_exact(cols.len()))
                .enumerate()
                .for_each(|(row, (nearest, squares))| {
                    for (col, square) in cols.clone().zip(squares) {
                        let full = nearest.len() == most;
                        if col == rows.start + row
                            || (full && nearest.last().is_some_and(|last| square >= last))
                        {
                            continue;
                        }
                        let place = nearest.partition_point(|near| near <= square);
                        nearest.insert(place, *square);
                        nearest.truncate(most);
                    }
                });
        });
        nearest
            .into_iter()
            .map(|nearest| neighbours.iter().map(|k| nearest.get(k - 1).copied().unwrap_or(0.0)).collect())
            .collect()
    }
}
