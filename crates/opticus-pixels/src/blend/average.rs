//! Weighted sums, and one value of many at every pixel.

use pulp::Arch;
use rayon::prelude::*;

use super::{BlendError, alike, luma};
use crate::image::Image8;
use crate::preprocess::Planes;

/// `clip(w·A + (1−w)·B, 0, 255)` of two 8-bit pictures, computed in f64 and rounded to the nearest level, ties to even:
/// OpenCV's `addWeighted`. With `truncate`, cut to the level below instead, as NumPy's `astype(uint8)` does.
///
/// # Errors
/// [`BlendError`] for different sizes or channels, or a weight that is not finite.
pub fn alpha8(a: &Image8, b: &Image8, weight: f64, truncate: bool) -> Result<Image8, BlendError> {
    if a.size != b.size {
        return Err(BlendError::Sizes { number: 2, size: b.size, first: a.size });
    }
    if a.channels != b.channels {
        return Err(BlendError::Channels { number: 2, channels: b.channels, first: a.channels });
    }
    if !weight.is_finite() {
        return Err(BlendError::Option(format!("a weight of {weight}; give a number")));
    }
    let weights = [weight, 1.0 - weight];
    let arch = Arch::new();
    let mut data = vec![0u8; a.data.len()];
    let pieces = data.par_chunks_mut(PIECE).zip(a.data.par_chunks(PIECE)).zip(b.data.par_chunks(PIECE));
    pieces.for_each(|((out, a), b)| arch.dispatch(|| levels(a, b, weights, truncate, out)));
    Ok(Image8 { size: a.size, channels: a.channels, data })
}

/// Bytes that are blended at once: few enough to share among threads, enough to pay for the sharing.
const PIECE: usize = 1 << 17;

/// The formula in f64, many bytes at once: single precision would be faster and wrong where two levels are equally near,
/// which for a weight of 0.3 is one pair in ten.
#[inline(always)]
fn levels(a: &[u8], b: &[u8], [w, v]: [f64; 2], truncate: bool, out: &mut [u8]) {
    /// Of a sum with 2^52 the lowest bits are the other number's nearest integer, ties to even: rounding and conversion
    /// in one addition.
    const INTEGERS: f64 = (1u64 << 52) as f64;
    #[expect(
        clippy::manual_clamp,
        reason = "two instructions for a vector of numbers, where clamp keeps what is none"
    )]
    let value = |a: u8, b: u8| (w * f64::from(a) + v * f64::from(b)).max(0.0).min(255.0);
    let pairs = out.iter_mut().zip(a.iter().zip(b));
    if truncate {
        pairs.for_each(|(out, (a, b))| *out = (value(*a, *b).floor() + INTEGERS).to_bits() as u8);
    } else {
        pairs.for_each(|(out, (a, b))| *out = (value(*a, *b) + INTEGERS).to_bits() as u8);
    }
}

/// The sum of pictures times weights. Weights are used as they are; give weights of sum 1 for an average.
///
/// # Errors
/// [`BlendError`] for pictures that differ in size or channels, or another number of weights.
pub fn weighted(pictures: &[&Planes], weights: &[f64]) -> Result<Planes, BlendError> {
    let first = alike(pictures)?;
    if weights.len() != pictures.len() || weights.iter().any(|w| !w.is_finite()) {
        return Err(BlendError::Option(format!(
            "{} weights for {} pictures; give a finite one for each",
            weights.len(),
            pictures.len()
        )));
    }
    let weights: Vec<f32> = weights.iter().map(|w| *w as f32).collect();
    Ok(each(pictures, first, |values, _| {
        values.iter().zip(&weights).map(|(v, w)| v * w).sum::<f32>().clamp(0.0, 1.0)
    }))
}

/// How one value is made of those at a pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reduction {
    /// The mean.
    Mean,
    /// The middle one; the mean of the two middle ones of an even number. Removes what passes through few pictures.
    Median,
    /// The greatest: light trails.
    Max,
    /// The least.
    Min,
    /// The mean without values further than this many standard deviations from it, again until none goes (at most 5
    /// times): for the noise of a burst.
    SigmaClipped(f64),
    /// The pictures weighted by the first principal component of their luma (Naidu and Raol 2008, section 2.1).
    Pca,
}

/// One picture of many, pixel by pixel.
///
/// # Errors
/// [`BlendError`] for pictures that differ in size or channels; an option out of range.
pub fn reduce(pictures: &[&Planes], how: Reduction) -> Result<Planes, BlendError> {
    let first = alike(pictures)?;
    let n = pictures.len() as f32;
    Ok(match how {
        Reduction::Mean => each(pictures, first, |values, _| values.iter().sum::<f32>() / n),
        Reduction::Max => each(pictures, first, |values, _| values.iter().copied().fold(f32::MIN, f32::max)),
        Reduction::Min => each(pictures, first, |values, _| values.iter().copied().fold(f32::MAX, f32::min)),
        Reduction::Median => each(pictures, first, |values, sorted| {
            sorted.copy_from_slice(values);
            sorted.sort_unstable_by(f32::total_cmp);
            let middle = sorted.len() / 2;
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
        }),
        Reduction::SigmaClipped(sigmas) => {
            if !(sigmas > 0.0 && sigmas.is_finite()) {
                return Err(BlendError::Option(format!("{sigmas} standard deviations; give more than 0")));
            }
            each(pictures, first, |values, _| clipped_mean(values, sigmas as f32))
        }
        Reduction::Pca => {
            let weights = principal(pictures);
            return weighted(pictures, &weights);
        }
    })
}

/// A picture whose every value is made of those of the pictures at the same place; the second slice is for the function's own use.
fn each(pictures: &[&Planes], first: &Planes, value: impl Fn(&[f32], &mut [f32]) -> f32 + Sync) -> Planes {
    const PART: usize = 1 << 14;
    let mut data = vec![0.0f32; first.data.len()];
    data.par_chunks_mut(PART).enumerate().for_each(|(part, out)| {
        let mut values = vec![0.0f32; pictures.len()];
        let mut own = values.clone();
        for (i, out) in out.iter_mut().enumerate() {
            let at = part * PART + i;
            values.iter_mut().zip(pictures).for_each(|(v, picture)| *v = picture.data[at]);
            *out = value(&values, &mut own);
        }
    });
    Planes { channels: first.channels, size: first.size, data }
}

fn clipped_mean(values: &[f32], sigmas: f32) -> f32 {
    let mut bounds = [f32::MIN, f32::MAX];
    let mut mean = 0.0;
    let mut kept = 0;
    for _ in 0..=5 {
        let inside = || values.iter().filter(|v| (bounds[0]..=bounds[1]).contains(*v));
        let count = inside().count();
        if count == kept || count == 0 {
            break;
        }
        kept = count;
        mean = inside().sum::<f32>() / count as f32;
        let deviation = (inside().map(|v| (v - mean).powi(2)).sum::<f32>() / count as f32).sqrt();
        bounds = [mean - sigmas * deviation, mean + sigmas * deviation];
    }
    mean
}

/// The first principal component of the pictures' lumas, scaled to the sum 1.
fn principal(pictures: &[&Planes]) -> Vec<f64> {
    let lumas: Vec<Vec<f32>> = pictures.par_iter().map(|p| luma(p)).collect();
    let n = lumas.len();
    let area = lumas[0].len().max(1) as f64;
    let means: Vec<f64> = lumas.iter().map(|l| l.iter().map(|v| f64::from(*v)).sum::<f64>() / area).collect();
    let covariance: Vec<f64> = (0..n * n)
        .into_par_iter()
        .map(|at| {
            let (i, j) = (at / n, at % n);
            let pairs = lumas[i].iter().zip(&lumas[j]);
            pairs.map(|(a, b)| (f64::from(*a) - means[i]) * (f64::from(*b) - means[j])).sum::<f64>() / area
        })
        .collect();
    // Power iteration: the covariances of pictures of one scene are positive, so it converges at once.
    let mut vector = vec![1.0; n];
    for _ in 0..200 {
        let next: Vec<f64> =
            (0..n).map(|i| (0..n).map(|j| covariance[i * n + j] * vector[j]).sum::<f64>()).collect();
        let norm = next.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm <= f64::MIN_POSITIVE {
            break;
        }
        vector = next.iter().map(|v| v / norm).collect();
    }
    let vector: Vec<f64> = vector.iter().map(|v| v.abs()).collect();
    let sum: f64 = vector.iter().sum();
    vector.iter().map(|v| v / sum.max(f64::MIN_POSITIVE)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::geometry::Size;
    use proptest::prelude::*;

    proptest! {
        /// The article's formula, written out.
        #[test]
        fn two_pictures_blend_as_the_formula_says(weight in -0.5f64..1.5, data in proptest::collection::vec((0u8.., 0u8..), 12)) {
            let size = Size::new(2, 2);
            let (a, b): (Vec<u8>, Vec<u8>) = data.into_iter().unzip();
            let image = |data: &[u8]| Image8 { size, channels: 3, data: data.to_vec() };
            for truncate in [false, true] {
                let blended = alpha8(&image(&a), &image(&b), weight, truncate).unwrap();
                for ((a, b), out) in a.iter().zip(&b).zip(&blended.data) {
                    let exact = (weight * f64::from(*a) + (1.0 - weight) * f64::from(*b)).clamp(0.0, 255.0);
                    prop_assert_eq!(*out, if truncate { exact as u8 } else { exact.round_ties_even() as u8 });
                }
            }
        }
    }

    /// Each of the 65,536 pairs, at weights that put many of them midway between two levels or out of range.
    #[test]
    fn every_pair_of_levels_is_the_formula() {
        let size = Size::new(256, 256);
        let image = |level: fn(usize) -> usize| Image8 {
            size,
            channels: 1,
            data: (0..65_536).map(|i| level(i) as u8).collect(),
        };
        let (a, b) = (image(|i| i / 256), image(|i| i % 256));
        for weight in [0.3, 0.5, 0.7, 0.25, 1.0 / 3.0, 0.0, 1.0, -0.5, 1.5, 1e308] {
            for truncate in [false, true] {
                let blended = alpha8(&a, &b, weight, truncate).unwrap();
                for ((a, b), out) in a.data.iter().zip(&b.data).zip(&blended.data) {
                    let exact = (weight * f64::from(*a) + (1.0 - weight) * f64::from(*b)).clamp(0.0, 255.0);
                    assert_eq!(*out, if truncate { exact as u8 } else { exact.round_ties_even() as u8 });
                }
            }
        }
    }

    fn pixel(values: &[f32]) -> Vec<Planes> {
        values.iter().map(|v| Planes { channels: 1, size: Size::new(1, 1), data: vec![*v] }).collect()
    }

    #[test]
    fn reductions_are_what_they_are_called() {
        let pictures = pixel(&[0.1, 0.12, 0.11, 0.9, 0.1, 0.12]);
        let refs: Vec<&Planes> = pictures.iter().collect();
        let value = |how| reduce(&refs, how).unwrap().data[0];
        let close = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a} {b}");
        close(value(Reduction::Max), 0.9);
        close(value(Reduction::Min), 0.1);
        close(value(Reduction::Median), 0.115);
        close(value(Reduction::Mean), 1.45 / 6.0);
        // The outlier goes: 2 standard deviations of all six are 0.59, its distance from the mean is 0.66.
        close(value(Reduction::SigmaClipped(2.0)), 0.11);
        assert!(reduce(&refs, Reduction::SigmaClipped(-1.0)).is_err());
        assert!(reduce(&[], Reduction::Mean).is_err());
    }

    #[test]
    fn principal_weights_follow_the_contrast() {
        let size = Size::new(4, 1);
        let planes = |data: [f32; 4]| Planes { channels: 1, size, data: data.to_vec() };
        let (strong, weak) = (planes([0.0, 1.0, 0.0, 1.0]), planes([0.45, 0.55, 0.45, 0.55]));
        // Exactly correlated with deviations 10 : 1, so the component is (10, 1) / √101 and the weights 10/11 and 1/11.
        let fused = reduce(&[&strong, &weak], Reduction::Pca).unwrap();
        assert!((fused.data[1] - (10.0 + 0.55) / 11.0).abs() < 1e-5);
    }

    #[test]
    fn pictures_that_do_not_fit_are_named() {
        let one = Planes { channels: 1, size: Size::new(2, 1), data: vec![0.0; 2] };
        let other = Planes { channels: 1, size: Size::new(1, 2), data: vec![0.0; 2] };
        let text = weighted(&[&one, &other], &[0.5, 0.5]).unwrap_err().to_string();
        assert!(text.contains("picture 2 is 1x2") && text.contains("--align"), "{text}");
        assert!(weighted(&[&one], &[f64::NAN]).is_err());
    }
}
