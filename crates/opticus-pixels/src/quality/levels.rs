//! Measures of levels and of their steps from pixel to pixel.

use super::Luma;

/// Shannon's entropy of the levels' frequencies, in bits.
pub fn entropy(levels: &[u8]) -> f64 {
    let mut counts = [0u64; 256];
    levels.iter().for_each(|v| counts[usize::from(*v)] += 1);
    bits(counts.iter().copied(), levels.len())
}

fn bits(counts: impl Iterator<Item = u64>, total: usize) -> f64 {
    let total = total.max(1) as f64;
    -counts.filter(|n| *n > 0).map(|n| n as f64 / total).map(|p| p * p.log2()).sum::<f64>()
}

/// What the levels of one picture tell of those of the other at the same place, in bits.
pub fn mutual_information(a: &[u8], b: &[u8]) -> f64 {
    let mut joint = vec![0u64; 256 * 256];
    a.iter().zip(b).for_each(|(a, b)| joint[usize::from(*a) * 256 + usize::from(*b)] += 1);
    entropy(a) + entropy(b) - bits(joint.into_iter(), a.len().min(b.len()))
}

/// The standard deviation of the levels.
pub fn standard_deviation(levels: &[u8]) -> f64 {
    let n = levels.len().max(1) as f64;
    let mean = levels.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    (levels.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// In dB, of 8-bit levels; `None` for equal pictures.
pub fn psnr(a: &[u8], b: &[u8]) -> Option<f64> {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    let mean = sum as f64 / a.len().max(1) as f64;
    (sum > 0).then(|| 10.0 * (255.0f64.powi(2) / mean).log10())
}

/// √(RF² + CF²): the root of the mean squared steps to the right and downwards.
pub(crate) fn spatial_frequency(picture: &Luma) -> f64 {
    let width = picture.size.width as usize;
    let square = |a: u8, b: u8| u64::from(a.abs_diff(b)).pow(2);
    let rows = picture.data.chunks_exact(width);
    let across: u64 = rows.flat_map(|row| row.windows(2)).map(|p| square(p[0], p[1])).sum();
    let down: u64 =
        picture.data.iter().zip(picture.data.iter().skip(width)).map(|(a, b)| square(*a, *b)).sum();
    ((across + down) as f64 / picture.data.len().max(1) as f64).sqrt()
}

/// The mean of √((Δx² + Δy²) / 2) over the pixels that have a neighbour to the right and below.
pub(crate) fn average_gradient(picture: &Luma) -> f64 {
    let width = picture.size.width as usize;
    let (mut sum, mut count) = (0.0, 0u64);
    let rows = picture.data.chunks_exact(width).zip(picture.data.chunks_exact(width).skip(1));
    for (row, below) in rows {
        for (pair, under) in row.windows(2).zip(below) {
            let (x, y) = (f64::from(pair[1]) - f64::from(pair[0]), f64::from(*under) - f64::from(pair[0]));
            sum += ((x * x + y * y) / 2.0).sqrt();
            count += 1;
        }
    }
    sum / count.max(1) as f64
}
