//! Fusion in the domain of a transform: details of each picture are compared there, and the strongest taken. For pictures of
//! one scene that show different things: infrared and visible, several foci, CT and MRI.

use rayon::prelude::*;

use super::colour::carry_colour;
use super::{BlendError, alike, luma};
use crate::geometry::Size;
use crate::preprocess::Planes;
use crate::pyramid::{self, Border, Pyramid};

/// Where details are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transform {
    /// The levels of a Laplacian pyramid; strongest detail, mean of the coarsest level (Burt and Kolczynski 1993).
    #[default]
    Laplacian,
    /// The planes of an undecimated wavelet transform (à trous, B3 spline: Núñez et al. 1999); strongest detail, mean of
    /// the rest. Finds shifted details alike.
    Wavelet,
    /// Two layers whose weights follow the pictures' edges: guided filtering (Li, Kang and Hu 2013, with their values).
    Guided,
}

/// One picture of several of one size: luma fused, colour carried along.
///
/// # Errors
/// [`BlendError`] for fewer than two pictures, or pictures that differ in size.
pub fn fuse_transform(pictures: &[&Planes], how: Transform) -> Result<Planes, BlendError> {
    if pictures.len() < 2 {
        return Err(BlendError::Few { needed: 2, given: pictures.len() });
    }
    let lumas: Vec<Planes> = (pictures.par_iter())
        .map(|picture| Planes { channels: 1, size: picture.size, data: luma(picture) })
        .collect();
    alike(&lumas.iter().collect::<Vec<_>>())?;
    let fused = match how {
        Transform::Laplacian => laplacian(lumas),
        Transform::Wavelet => wavelet(&lumas),
        Transform::Guided => guided(&lumas),
    };
    Ok(carry_colour(pictures, fused.into_iter().map(|v| v.clamp(0.0, 1.0)).collect()))
}

/// The value with the greatest magnitude.
fn strongest(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(0.0, |best: f32, v| if v.abs() > best.abs() { v } else { best })
}

fn laplacian(lumas: Vec<Planes>) -> Vec<f32> {
    let size = lumas[0].size;
    let count = pyramid::levels(size).min(6);
    let all: Vec<Pyramid> =
        lumas.into_par_iter().map(|luma| Pyramid::laplacian(luma, count, Border::Repeated)).collect();
    let last = all[0].levels.len() - 1;
    let levels = (0..=last)
        .map(|level| {
            let size = all[0].levels[level].size;
            let at = |i: usize| all.iter().map(move |p| p.levels[level].data[i]);
            let data = (0..size.area() as usize)
                .into_par_iter()
                .map(|i| if level == last { at(i).sum::<f32>() / all.len() as f32 } else { strongest(at(i)) })
                .collect();
            Planes { channels: 1, size, data }
        })
        .collect();
    Pyramid { levels, border: Border::Repeated }.collapse().data
}

/// Planes of detail.
const SCALES: u32 = 5;

fn wavelet(lumas: &[Planes]) -> Vec<f32> {
    let size = lumas[0].size;
    let mut smooth: Vec<Vec<f32>> = lumas.iter().map(|luma| luma.data.clone()).collect();
    let mut fused = vec![0.0f32; smooth[0].len()];
    for scale in 0..SCALES {
        let next: Vec<Vec<f32>> = smooth.iter().map(|plane| with_holes(plane, size, 1 << scale)).collect();
        fused.par_iter_mut().enumerate().for_each(|(i, out)| {
            *out += strongest(smooth.iter().zip(&next).map(|(fine, coarse)| fine[i] - coarse[i]));
        });
        smooth = next;
    }
    let n = smooth.len() as f32;
    fused
        .par_iter_mut()
        .enumerate()
        .for_each(|(i, out)| *out += smooth.iter().map(|s| s[i]).sum::<f32>() / n);
    fused
}

/// The B3 spline (1 4 6 4 1) / 16 with `gap` pixels from tap to tap, edges mirrored.
fn with_holes(plane: &[f32], size: Size, gap: usize) -> Vec<f32> {
    const TAPS: [f32; 5] = [0.0625, 0.25, 0.375, 0.25, 0.0625];
    let [w, h] = [size.width as usize, size.height as usize];
    let mirrored = |at: isize, length: usize| {
        let period = 2 * length as isize;
        let at = at.rem_euclid(period);
        (if at >= length as isize { period - 1 - at } else { at }) as usize
    };
    let places = |length: usize| -> Vec<[usize; 5]> {
        let place = |i: usize, k: usize| mirrored(i as isize + (k as isize - 2) * gap as isize, length);
        (0..length).map(|i| std::array::from_fn(|k| place(i, k))).collect()
    };
    let (columns, rows) = (places(w), places(h));
    let mut across = vec![0.0f32; plane.len()];
    across.par_chunks_mut(w).zip(plane.par_chunks(w)).for_each(|(out, row)| {
        out.iter_mut().zip(&columns).for_each(|(out, at)| *out = (0..5).map(|k| TAPS[k] * row[at[k]]).sum());
    });
    let mut out = vec![0.0f32; plane.len()];
    out.par_chunks_mut(w).zip(&rows).for_each(|(out, at)| {
        for (k, tap) in TAPS.iter().enumerate() {
            out.iter_mut().zip(&across[at[k] * w..][..w]).for_each(|(out, v)| *out += tap * v);
        }
    });
    out
}

fn guided(lumas: &[Planes]) -> Vec<f32> {
    // Section III of Li, Kang and Hu: a 31×31 mean for the base, σ 5 for saliency, radii 45 and 7, ε 0.3 and 1e-6.
    let size = lumas[0].size;
    let base: Vec<Vec<f32>> = lumas.par_iter().map(|luma| mean(&luma.data, size, 15)).collect();
    let saliency: Vec<Vec<f32>> = lumas.par_iter().map(|luma| saliency(&luma.data, size)).collect();
    let share = |number: usize, radius: usize, epsilon: f32| {
        let won = |i: usize| {
            let best = (0..saliency.len())
                .max_by(|&a, &b| saliency[a][i].total_cmp(&saliency[b][i]).then(b.cmp(&a)));
            f32::from(u8::from(best == Some(number)))
        };
        let map: Vec<f32> = (0..lumas[0].data.len()).into_par_iter().map(won).collect();
        guided_filter(&lumas[number].data, &map, size, radius, epsilon)
    };
    let both: Vec<[Vec<f32>; 2]> =
        (0..lumas.len()).into_par_iter().map(|n| [share(n, 45, 0.3), share(n, 7, 1e-6)]).collect();
    let value = |i: usize| {
        let sums = both.iter().fold([1e-12f32; 2], |s, [b, d]| [s[0] + b[i].max(0.0), s[1] + d[i].max(0.0)]);
        (0..lumas.len())
            .map(|n| {
                let [of_base, of_detail] =
                    [both[n][0][i].max(0.0) / sums[0], both[n][1][i].max(0.0) / sums[1]];
                of_base * base[n][i] + of_detail * (lumas[n].data[i] - base[n][i])
            })
            .sum()
    };
    (0..lumas[0].data.len()).into_par_iter().map(value).collect()
}

/// The absolute Laplacian, smoothed by a Gaussian of 5 pixels (three means of about its width).
fn saliency(luma: &[f32], size: Size) -> Vec<f32> {
    let [w, h] = [size.width as usize, size.height as usize];
    let raw: Vec<f32> = (0..w * h)
        .map(|i| {
            let (x, y) = (i % w, i / w);
            let (left, right) = (luma[i - usize::from(x > 0)], luma[i + usize::from(x + 1 < w)]);
            let (above, under) =
                (luma[if y > 0 { i - w } else { i }], luma[if y + 1 < h { i + w } else { i }]);
            (left + right + above + under - 4.0 * luma[i]).abs()
        })
        .collect();
    mean(&mean(&mean(&raw, size, 4), size, 4), size, 5)
}

/// He, Sun and Tang 2013, "Guided Image Filtering", equations 5, 6 and 8.
fn guided_filter(guide: &[f32], input: &[f32], size: Size, radius: usize, epsilon: f32) -> Vec<f32> {
    let products = |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| a * b).collect() };
    let mean_guide = mean(guide, size, radius);
    let mean_input = mean(input, size, radius);
    let mean_both = mean(&products(guide, input), size, radius);
    let mean_square = mean(&products(guide, guide), size, radius);
    let mut a = vec![0.0f32; guide.len()];
    let mut b = vec![0.0f32; guide.len()];
    for i in 0..guide.len() {
        let variance = (mean_square[i] - mean_guide[i] * mean_guide[i]).max(0.0);
        a[i] = (mean_both[i] - mean_guide[i] * mean_input[i]) / (variance + epsilon);
        b[i] = mean_input[i] - a[i] * mean_guide[i];
    }
    let (a, b) = (mean(&a, size, radius), mean(&b, size, radius));
    guide.iter().zip(a.iter().zip(&b)).map(|(g, (a, b))| a * g + b).collect()
}

/// The mean of the pixels at most `radius` away along both sides, of those that are there.
fn mean(plane: &[f32], size: Size, radius: usize) -> Vec<f32> {
    let [w, h] = [size.width as usize, size.height as usize];
    let mut across = vec![0.0f32; plane.len()];
    for (out, row) in across.chunks_exact_mut(w).zip(plane.chunks_exact(w)) {
        let mut sum: f64 = row.iter().take(radius).map(|v| f64::from(*v)).sum();
        for x in 0..w {
            sum += row.get(x + radius).map_or(0.0, |v| f64::from(*v));
            let first = x.saturating_sub(radius);
            out[x] = (sum / ((x + radius).min(w - 1) - first + 1) as f64) as f32;
            if x >= radius {
                sum -= f64::from(row[x - radius]);
            }
        }
    }
    let mut out = vec![0.0f32; plane.len()];
    let mut sums = vec![0.0f64; w];
    for row in across.chunks_exact(w).take(radius) {
        sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v));
    }
    for y in 0..h {
        if let Some(row) = across.chunks_exact(w).nth(y + radius) {
            sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v));
        }
        let count = ((y + radius).min(h - 1) - y.saturating_sub(radius) + 1) as f64;
        out[y * w..][..w].iter_mut().zip(&sums).for_each(|(out, sum)| *out = (sum / count) as f32);
        if y >= radius {
            let row = &across[(y - radius) * w..][..w];
            sums.iter_mut().zip(row).for_each(|(sum, v)| *sum -= f64::from(*v));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn noise(width: u32, height: u32, seed: u32) -> Planes {
        let size = Size::new(width, height);
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        Planes { channels: 1, size, data: (0..size.area()).map(|_| next()).collect() }
    }

    proptest! {
        /// A picture fused with itself is itself.
        #[test]
        fn equal_pictures_stay_as_they_are(width in 2u32..60, height in 2u32..60, seed: u32) {
            let picture = noise(width, height, seed);
            for how in [Transform::Laplacian, Transform::Wavelet, Transform::Guided] {
                let fused = fuse_transform(&[&picture, &picture], how).unwrap();
                for (a, b) in fused.data.iter().zip(&picture.data) {
                    prop_assert!((a - b).abs() < 1e-4, "{how:?}: {a} {b}");
                }
            }
        }

        #[test]
        fn the_mean_is_the_definition(width in 1u32..20, height in 1u32..20, radius in 1usize..8, seed: u32) {
            let picture = noise(width, height, seed);
            let [w, h] = [width as usize, height as usize];
            let got = mean(&picture.data, picture.size, radius);
            for y in 0..h {
                for x in 0..w {
                    let mut rows = 0.0;
                    let (y1, y2) = (y.saturating_sub(radius), (y + radius).min(h - 1));
                    let (x1, x2) = (x.saturating_sub(radius), (x + radius).min(w - 1));
                    for row in y1..=y2 {
                        rows += picture.data[row * w..][x1..=x2].iter().map(|v| f64::from(*v)).sum::<f64>();
                    }
                    let wanted = rows / ((y2 - y1 + 1) * (x2 - x1 + 1)) as f64;
                    prop_assert!((f64::from(got[y * w + x]) - wanted).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn details_of_both_pictures_survive() {
        let size = Size::new(64, 64);
        let stripes = |across: bool| {
            let value = |i: usize| {
                let at = if across { i % 64 } else { i / 64 };
                let there = if across { i % 64 < 32 } else { i % 64 >= 32 };
                if there && (at / 2).is_multiple_of(2) { 0.7 } else { 0.4 }
            };
            Planes { channels: 1, size, data: (0..64 * 64).map(value).collect::<Vec<f32>>() }
        };
        let (a, b) = (stripes(true), stripes(false));
        for how in [Transform::Laplacian, Transform::Wavelet, Transform::Guided] {
            let fused = fuse_transform(&[&a, &b], how).unwrap();
            // Inside each half the contrast is that of the picture that has it, not half of it.
            let contrast = |x: usize| {
                let part: Vec<f32> = (20..44)
                    .flat_map(|y| (x..x + 8).map(move |x| y * 64 + x))
                    .map(|i| fused.data[i])
                    .collect();
                part.iter().copied().fold(0.0, f32::max) - part.iter().copied().fold(1.0, f32::min)
            };
            assert!(contrast(10) > 0.24 && contrast(46) > 0.24, "{how:?}: {} {}", contrast(10), contrast(46));
        }
        assert!(fuse_transform(&[&a], Transform::Laplacian).is_err());
    }
}
