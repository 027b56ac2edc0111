//! Kernel distance (KID): Bińkowski et al. 2018, "Demystifying MMD GANs", section 4.

use opticus_kernels::dots;
use rand::RngExt;
use rayon::prelude::*;

use super::features::{Features, blocks, check_pair};
use crate::data::sampler::{Purpose, rng_for};
use crate::error::{Error, Result};

/// Pictures on each side of one product.
const BLOCK: [usize; 2] = [512, 2048];

/// How subsets are drawn. The defaults are clean-fid's and torch-fidelity's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelOptions {
    /// Number of pairs of subsets.
    pub subsets: usize,
    /// Pictures in each; fewer where a set has fewer.
    pub subset_size: usize,
    /// Decides which pictures are drawn.
    pub seed: u64,
}

impl Default for KernelOptions {
    fn default() -> Self {
        Self { subsets: 100, subset_size: 1000, seed: 0 }
    }
}

/// The kernel distance over subsets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelDistance {
    /// Mean over the subsets: the figure called KID. It may be a little below 0, as it is unbiased.
    pub mean: f64,
    /// Standard deviation over the subsets (divided by their number).
    pub deviation: f64,
    /// Number of pairs of subsets.
    pub subsets: usize,
    /// Pictures in each.
    pub subset_size: usize,
}

/// The kernel distance, as the mean over random subsets, each without repetition.
///
/// # Errors
/// [`Error::Input`] for features of different width or fewer than two pictures in a set, [`Error::Config`] for
/// options that choose nothing.
pub fn kernel_distance(real: &Features, fake: &Features, options: &KernelOptions) -> Result<KernelDistance> {
    check_pair(real, fake, 2, "the kernel distance")?;
    if options.subsets == 0 || options.subset_size < 2 {
        return Err(Error::Config(format!(
            "the kernel distance of {} subsets with {} pictures is not defined; ask for at least 1 with 2",
            options.subsets, options.subset_size
        )));
    }
    let size = options.subset_size.min(real.count()).min(fake.count());
    let distances: Vec<f64> = (0..options.subsets as u64)
        .map(|subset| {
            let [x, y] = [(real, 0), (fake, 1)].map(|(set, index)| {
                let mut rng = rng_for(options.seed, Purpose::Measure, subset, index);
                gather(set, size, |below| rng.random_range(0..below as u64) as usize)
            });
            squared_discrepancy(&x, &y, real.width())
        })
        .collect();
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    let variance = distances.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / distances.len() as f64;
    Ok(KernelDistance { mean, deviation: variance.sqrt(), subsets: options.subsets, subset_size: size })
}

/// The kernel distance of all pictures at once: the same quantity with the least variance, and without chance. The
/// time grows with the square of the number of pictures, the memory does not.
///
/// # Errors
/// [`Error::Input`] for features of different width or fewer than two pictures in a set.
pub fn kernel_distance_of_all(real: &Features, fake: &Features) -> Result<f64> {
    check_pair(real, fake, 2, "the kernel distance")?;
    Ok(squared_discrepancy(real.data(), fake.data(), real.width()))
}

/// `size` different rows of a set, by the first steps of Fisher and Yates.
fn gather(set: &Features, size: usize, mut draw: impl FnMut(usize) -> usize) -> Vec<f32> {
    let mut order: Vec<usize> = (0..set.count()).collect();
    let mut rows = Vec::with_capacity(size * set.width());
    for i in 0..size {
        let j = i + draw(order.len() - i);
        order.swap(i, j);
        rows.extend_from_slice(set.part(order[i]..order[i] + 1));
    }
    rows
}

/// The unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, eq. 3) with the kernel
/// `(x · y / width + 1)³`, of rows of `width` values. There are at least two rows on each side.
pub(super) fn squared_discrepancy(x: &[f32], y: &[f32], width: usize) -> f64 {
    let [n, m] = [x, y].map(|rows| (rows.len() / width) as f64);
    let within_x = kernel_sum(x, x, width) / (n * (n - 1.0));
    let within_y = kernel_sum(y, y, width) / (m * (m - 1.0));
    within_x + within_y - 2.0 * kernel_sum(x, y, width) / (n * m)
}

/// The kernel's sum over all pairs; of a set with itself (the same slice), over the pairs of different rows.
fn kernel_sum(x: &[f32], y: &[f32], width: usize) -> f64 {
    let same = std::ptr::eq(x, y);
    let mut sum = 0.0;
    for rows in blocks(x.len() / width, BLOCK[0]) {
        // The kernel is symmetric: of a set with itself, what follows the diagonal block counts twice.
        let first = if same { rows.start } else { 0 };
        for cols in blocks(y.len() / width - first, BLOCK[1]) {
            let cols = cols.start + first..cols.end + first;
            let mut products = vec![0.0; rows.len() * cols.len()];
            let (left, right) =
                (&x[rows.start * width..rows.end * width], &y[cols.start * width..cols.end * width]);
            dots(left, right, width, &mut products);
            let of_row = |(row, products): (usize, &[f64])| -> f64 {
                let row = rows.start + row;
                let weighted = products.iter().zip(cols.clone()).map(|(product, col)| {
                    let base = product / width as f64 + 1.0;
                    let weight = match (same, col) {
                        (true, col) if col == row => 0.0,
                        (true, col) if col >= rows.end => 2.0,
                        _ => 1.0,
                    };
                    weight * base * base * base
                });
                weighted.sum()
            };
            // Row by row, and then in their order: the same sum for any number of threads.
            let sums: Vec<f64> = products.par_chunks_exact(cols.len()).enumerate().map(of_row).collect();
            sum += sums.iter().sum::<f64>();
        }
    }
    sum
}
