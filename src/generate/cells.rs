//! How far pictures made are from real ones, quickly: what training watches after each epoch. Not a figure to compare
//! models of different data by; that is `generate eval`.

use opticus_pixels::Image8;

use super::condition::Wish;
use super::predict::{Generator, Request, to_values};
use crate::error::Result;

/// Cells along a side.
const CELLS: usize = 8;

/// Mean and deviation of a picture in each of 8×8 cells, channel by channel.
fn features(image: &Image8) -> Vec<f64> {
    let values = to_values(image);
    let (w, h) = (image.size.width as usize, image.size.height as usize);
    let mut found = Vec::with_capacity(image.channels * CELLS * CELLS * 2);
    for plane in values.chunks_exact((w * h).max(1)) {
        for cell in 0..CELLS * CELLS {
            let range = |at: usize, side: usize| at * side / CELLS..((at + 1) * side).div_ceil(CELLS);
            let (mut sum, mut squares, mut n) = (0.0, 0.0, 0.0);
            for y in range(cell / CELLS, h) {
                for v in &plane[y * w..][range(cell % CELLS, w)] {
                    let v = f64::from(*v);
                    (sum, squares, n) = (sum + v, squares + v * v, n + 1.0);
                }
            }
            let mean = sum / n;
            found.extend([mean, (squares / n - mean * mean).max(0.0).sqrt()]);
        }
    }
    found
}

/// Mean and variance of each feature over pictures.
#[derive(Clone, Debug, Default)]
struct Moments {
    count: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn push(&mut self, features: &[f64]) {
        self.sums.resize(features.len(), 0.0);
        self.squares.resize(features.len(), 0.0);
        self.count += 1.0;
        for ((sum, square), v) in self.sums.iter_mut().zip(&mut self.squares).zip(features) {
            *sum += v;
            *square += v * v;
        }
    }

    fn of_each(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.sums.iter().zip(&self.squares).map(|(s, q)| {
            let mean = s / self.count;
            (mean, (q / self.count - mean * mean).max(0.0).sqrt())
        })
    }

    /// The Fréchet distance of normal distributions whose features do not depend on each other:
    /// Σ (μ₁ − μ₂)² + (σ₁ − σ₂)² (Dowson and Landau 1982, with diagonal covariances).
    fn distance(&self, other: &Self) -> f64 {
        self.of_each().zip(other.of_each()).map(|((m, s), (n, t))| (m - n).powi(2) + (s - t).powi(2)).sum()
    }
}

/// Real pictures, as what is compared with.
#[derive(Clone, Debug)]
pub struct Reference {
    real: Moments,
    wishes: Vec<Wish>,
}

impl Reference {
    /// Pictures at the network's size, each with what it is asked by.
    pub fn new(pictures: impl IntoIterator<Item = Result<(Image8, Wish)>>) -> Result<Self> {
        let (mut real, mut wishes) = (Moments::default(), Vec::new());
        for picture in pictures {
            let (image, wish) = picture?;
            real.push(&features(&image));
            wishes.push(wish);
        }
        Ok(Self { real, wishes })
    }

    /// Number of pictures.
    pub fn count(&self) -> usize {
        self.wishes.len()
    }

    /// The distance of as many pictures made by the same wishes, of fixed seeds.
    ///
    /// # Errors
    /// As [`Generator::sample`].
    pub fn distance(&self, generator: &Generator) -> Result<f64> {
        let requests: Vec<Request> = (1u64 << 32..)
            .zip(&self.wishes)
            .map(|(seed, wish)| Request { seed, wish: wish.clone() })
            .collect();
        let mut made = Moments::default();
        for requests in requests.chunks(256) {
            for picture in generator.sample(requests, None)? {
                made.push(&features(&picture));
            }
        }
        Ok(self.real.distance(&made))
    }
}
