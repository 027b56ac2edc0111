//! Symmetric matrices in `f64`: products, pivoted Cholesky factors, eigenvalues.

use std::cmp::Ordering;

use opticus_kernels::dots;
use rayon::prelude::*;

/// Rows of a product that are computed at a time.
const ROWS: usize = 256;
/// Columns of a factor between updates of the rest of the matrix.
const PANEL: usize = 64;
/// Shorter rows are not worth handing to another thread.
const SHORT: usize = 192;

/// A symmetric matrix, all of it stored, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Symmetric {
    size: usize,
    values: Vec<f64>,
}

impl Symmetric {
    /// All zeros.
    pub fn zero(size: usize) -> Self {
        Self { size, values: vec![0.0; size * size] }
    }

    /// Row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The sum of the diagonal.
    pub fn trace(&self) -> f64 {
        self.values.iter().step_by(self.size + 1).sum()
    }

    /// Adds `scale` times the scalar product of row `i` of `a` and row `j` of `b`, which must be symmetric in `i` and
    /// `j`; both have as many rows as this matrix.
    pub fn add_products(&mut self, a: &[f64], b: &[f64], scale: f64) {
        let size = self.size;
        let inner = a.len() / size;
        for first in (0..size).step_by(ROWS) {
            let end = (first + ROWS).min(size);
            // Up to the diagonal; what lies beyond is its mirror image.
            let mut products = vec![0.0; (end - first) * end];
            dots(&a[first * inner..end * inner], &b[..end * inner], inner, &mut products);
            for (i, row) in (first..end).zip(products.chunks_exact(end)) {
                for (j, product) in row[..=i].iter().enumerate() {
                    self.values[i * size + j] += scale * product;
                }
            }
        }
        self.mirror();
    }

    /// Copies what is below the diagonal to above it, tile by tile: a whole column at a time would miss the cache.
    fn mirror(&mut self) {
        const TILE: usize = 32;
        let size = self.size;
        for top in (0..size).step_by(TILE) {
            for left in (0..=top).step_by(TILE) {
                for i in top..(top + TILE).min(size) {
                    for j in left..(left + TILE).min(i) {
                        self.values[j * size + i] = self.values[i * size + j];
                    }
                }
            }
        }
    }

    /// All eigenvalues, in no order: Householder's reduction to three diagonals, then implicit QL steps (Golub and
    /// Van Loan, "Matrix Computations", 4th edition, sections 8.3.1 and 8.3.3).
    pub fn eigenvalues(self) -> Vec<f64> {
        let (diagonal, beside) = self.three_diagonals();
        of_three_diagonals(diagonal, beside)
    }

    /// The diagonal, and what stands beside it, of a matrix of three diagonals with the same eigenvalues.
    ///
    /// Step `k` reflects the rest of the matrix with a vector `v`: `A −= v wᵀ + w vᵀ`. The update is put off until
    /// the next step reads the matrix for its product `A v`, so that each step passes over the memory once.
    fn three_diagonals(mut self) -> (Vec<f64>, Vec<f64>) {
        let size = self.size;
        let (mut diagonal, mut beside) = (vec![0.0; size], vec![0.0; size]);
        let (mut v, mut w) = (vec![0.0; size], vec![0.0; size]);
        for k in 0..size {
            // Column k as the pending update leaves it, of the rows from k on.
            let row = &self.values[k * size + k..(k + 1) * size];
            let column: Vec<f64> = row
                .iter()
                .zip(v[k..].iter().zip(&w[k..]))
                .map(|(a, (vi, wi))| a - v[k] * wi - w[k] * vi)
                .collect();
            diagonal[k] = column[0];
            let below = &column[1..];
            let Some(&head) = below.first() else { break };
            let (next, reach) = reflection(below, head);
            beside[k] = reach;
            let length = dot(&next, &next);
            let weight = if length > 0.0 { 2.0 / length } else { 0.0 };
            let (old_v, old_w) = (&v[k + 1..], &w[k + 1..]);
            let step = |(i, row): (usize, &mut [f64])| {
                let row = &mut row[k + 1..];
                update(row, old_v, old_w, old_v[i], old_w[i]);
                dot(row, &next)
            };
            let rest = &mut self.values[(k + 1) * size..];
            let products: Vec<f64> = if next.len() < SHORT {
                rest.chunks_exact_mut(size).enumerate().map(step).collect()
            } else {
                rest.par_chunks_exact_mut(size).enumerate().with_min_len(32).map(step).collect()
            };
            let half = 0.5 * weight * weight * dot(&products, &next);
            for (i, (product, next)) in products.iter().zip(&next).enumerate() {
                w[k + 1 + i] = weight * product - half * next;
                v[k + 1 + i] = *next;
            }
        }
        (diagonal, beside)
    }
}

/// The vector that reflects `below` onto its first axis, and the length with its sign that is left there.
fn reflection(below: &[f64], head: f64) -> (Vec<f64>, f64) {
    let largest = below.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let tail = below[1..].iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    if tail == 0.0 {
        return (vec![0.0; below.len()], head);
    }
    // Scaled, so that no square overflows or vanishes.
    let mut next: Vec<f64> = below.iter().map(|value| value / largest).collect();
    let length = dot(&next, &next).sqrt();
    let reach = if head > 0.0 { -length } else { length };
    next[0] -= reach;
    (next, reach * largest)
}

/// `Σ a b`, in eight sums side by side, so that it is fast and always the same.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// `row −= vi w + wi v`.
fn update(row: &mut [f64], v: &[f64], w: &[f64], vi: f64, wi: f64) {
    for (value, (v, w)) in row.iter_mut().zip(v.iter().zip(w)) {
        *value -= vi * w + wi * v;
    }
}

/// The eigenvalues of a symmetric matrix of three diagonals; `beside[i]` stands between `i` and `i + 1`.
fn of_three_diagonals(mut diagonal: Vec<f64>, mut beside: Vec<f64>) -> Vec<f64> {
    /// Steps for one eigenvalue; two or three are usual.
    const STEPS: usize = 60;
    let size = diagonal.len();
    for first in 0..size {
        for _ in 0..STEPS {
            let split = (first..size - 1)
                .find(|&i| beside[i].abs() <= f64::EPSILON * (diagonal[i].abs() + diagonal[i + 1].abs()));
            let last = split.unwrap_or(size - 1);
            if last == first {
                break;
            }
            // Wilkinson's shift, then a chase of the bulge from the end to the beginning.
            let ratio = (diagonal[first + 1] - diagonal[first]) / (2.0 * beside[first]);
            let root = ratio.hypot(1.0).copysign(ratio);
            let mut bulge = diagonal[last] - diagonal[first] + beside[first] / (ratio + root);
            let (mut sine, mut cosine, mut shift) = (1.0, 1.0, 0.0);
            let mut broke_off = false;
            for i in (first..last).rev() {
                let (f, b) = (sine * beside[i], cosine * beside[i]);
                let length = f.hypot(bulge);
                beside[i + 1] = length;
                if length == 0.0 {
                    diagonal[i + 1] -= shift;
                    beside[last] = 0.0;
                    broke_off = true;
                    break;
                }
                (sine, cosine) = (f / length, bulge / length);
                let lowered = diagonal[i + 1] - shift;
                let turned = (diagonal[i] - lowered) * sine + 2.0 * cosine * b;
                shift = sine * turned;
                diagonal[i + 1] = lowered + shift;
                bulge = cosine * turned - b;
            }
            if !broke_off {
                diagonal[first] -= shift;
                beside[first] = bulge;
                beside[last] = 0.0;
            }
        }
    }
    diagonal
}

/// `F` of `rank` rows with `Fᵀ F` equal to a positive semi-definite matrix.
pub(super) struct Factor {
    rank: usize,
    size: usize,
    rows: Vec<f64>,
}

impl Factor {
    /// Cholesky's factor with the largest pivot first, which ends where only rounding is left (LAPACK's `dpstrf`,
    /// and its bound: size · ε · the largest diagonal element).
    pub fn new(matrix: &Symmetric) -> Self {
        let size = matrix.size;
        let mut rest = matrix.values.clone();
        let mut order: Vec<usize> = (0..size).collect();
        let largest = rest.iter().step_by(size + 1).fold(0.0f64, |largest, value| largest.max(*value));
        let stop = size as f64 * f64::EPSILON * largest;
        let mut rank = size;
        'all: for first in (0..size).step_by(PANEL) {
            let end = (first + PANEL).min(size);
            // What the columns of this panel have taken off each diagonal element.
            let mut taken = vec![0.0; size];
            for j in first..end {
                let left = |i: usize| rest[i * size + i] - taken[i];
                let pivot = (j..size).fold(j, |best, i| if left(i) > left(best) { i } else { best });
                let value = left(pivot);
                // A value that is no number ends it, too.
                if value.partial_cmp(&stop) != Some(Ordering::Greater) {
                    rank = j;
                    break 'all;
                }
                exchange(&mut rest, size, j, pivot);
                order.swap(j, pivot);
                taken.swap(j, pivot);
                let root = value.sqrt();
                let (above, below) = rest.split_at_mut((j + 1) * size);
                let of_pivot = &mut above[j * size..];
                of_pivot[j] = root;
                for (i, row) in below.chunks_exact_mut(size).enumerate() {
                    row[j] = (row[j] - dot(&row[first..j], &of_pivot[first..j])) / root;
                    taken[j + 1 + i] += row[j] * row[j];
                }
            }
            take_off(&mut rest, size, first..end);
        }
        let mut rows = vec![0.0; rank * size];
        for (i, &place) in order.iter().enumerate() {
            for j in 0..rank.min(i + 1) {
                rows[j * size + place] = rest[i * size + j];
            }
        }
        Self { rank, size, rows }
    }

    /// Number of rows.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// `F S Fᵀ`.
    pub fn congruence(&self, other: &Symmetric) -> Symmetric {
        let mut product = Symmetric::zero(self.rank);
        if self.rank > 0 {
            let mut half = vec![0.0; self.rank * self.size];
            dots(&self.rows, &other.values, self.size, &mut half);
            product.add_products(&half, &self.rows, 1.0);
        }
        product
    }
}

/// Exchanges two rows and the same columns of a symmetric matrix of which only the lower half counts.
fn exchange(values: &mut [f64], size: usize, j: usize, p: usize) {
    if j == p {
        return;
    }
    values.swap(j * size + j, p * size + p);
    for c in 0..j {
        values.swap(j * size + c, p * size + c);
    }
    for i in j + 1..p {
        values.swap(i * size + j, p * size + i);
    }
    for i in p + 1..size {
        values.swap(i * size + j, i * size + p);
    }
}

/// Takes the products of a panel's columns off the rest of the lower half.
fn take_off(values: &mut [f64], size: usize, panel: std::ops::Range<usize>) {
    let end = panel.end;
    let columns: Vec<f64> =
        values[end * size..].chunks_exact(size).flat_map(|row| row[panel.clone()].iter().copied()).collect();
    let inner = panel.len();
    for first in (0..size - end).step_by(ROWS) {
        let last = (first + ROWS).min(size - end);
        let mut products = vec![0.0; (last - first) * last];
        dots(&columns[first * inner..last * inner], &columns[..last * inner], inner, &mut products);
        for (i, row) in (first..last).zip(products.chunks_exact(last)) {
            let rest = &mut values[(end + i) * size + end..][..=i];
            rest.iter_mut().zip(row).for_each(|(value, product)| *value -= product);
        }
    }
}
