//! Gaussian and Laplacian pyramids (Burt and Adelson 1983) of planes.
//!
//! The filter is (1 4 6 4 1) / 16 along both sides. Borders are as in Mertens' published code: mirrored with the edge
//! pixel repeated on the way down, the edge pixel repeated on the way up.

use pulp::Arch;
use rayon::prelude::*;

use crate::geometry::Size;
use crate::preprocess::Planes;

/// Rows that one task makes.
const ROWS: usize = 16;

/// The size of the next coarser level: half, rounded up.
pub fn half(size: Size) -> Size {
    Size::new(size.width.div_ceil(2), size.height.div_ceil(2))
}

/// Levels down to a side of one pixel or two, all counted: ⌊log₂ of the shorter side⌋, at least 1.
pub fn levels(size: Size) -> usize {
    (size.width.min(size.height).max(2).ilog2() as usize).max(1)
}

/// The place that stands for one beyond the border, mirrored so that the edge pixel is there twice.
fn mirrored(at: isize, length: usize) -> usize {
    let length = length as isize;
    let at = if at < 0 { -at - 1 } else { at };
    (if at >= length { 2 * length - 1 - at } else { at }).clamp(0, length - 1) as usize
}

/// One plane of half the size.
pub fn down(plane: &[f32], size: Size) -> Vec<f32> {
    let [width, height] = [size.width as usize, size.height as usize];
    let to = half(size);
    let [w, h] = [to.width as usize, to.height as usize];
    let mut out = vec![0.0f32; w * h];
    let arch = Arch::new();
    out.par_chunks_mut(w * ROWS).enumerate().for_each(|(part, out)| {
        // Two pixels beyond either end.
        let mut wide = vec![0.0f32; width + 5];
        for (i, out) in out.chunks_exact_mut(w).enumerate() {
            let y = 2 * (part * ROWS + i) as isize;
            let rows = [-2, -1, 0, 1, 2].map(|d| &plane[mirrored(y + d, height) * width..][..width]);
            arch.dispatch(|| vertical(rows, &mut wide[2..2 + width]));
            wide[1] = wide[2];
            wide[0] = wide[mirrored(-2, width) + 2];
            for beyond in 0..3 {
                wide[2 + width + beyond] = wide[2 + mirrored((width + beyond) as isize, width)];
            }
            arch.dispatch(|| horizontal(&wide, out));
        }
    });
    out
}

#[inline(always)]
fn vertical([a, b, c, d, e]: [&[f32]; 5], out: &mut [f32]) {
    let n = out.len();
    let (a, b, c, d, e) = (&a[..n], &b[..n], &c[..n], &d[..n], &e[..n]);
    for i in 0..n {
        out[i] = (a[i] + e[i]) * 0.0625 + (b[i] + d[i]) * 0.25 + c[i] * 0.375;
    }
}

#[inline(always)]
fn horizontal(wide: &[f32], out: &mut [f32]) {
    for (i, out) in out.iter_mut().enumerate() {
        let Some(&[a, b, c, d, e]) = wide[2 * i..].first_chunk::<5>() else { return };
        *out = (a + e) * 0.0625 + (b + d) * 0.25 + c * 0.375;
    }
}

/// Adds to `fine` the plane `coarse` of half its size, brought to its size and multiplied by `sign`.
pub fn add_up(fine: &mut [f32], size: Size, coarse: &[f32], sign: f32) {
    let width = size.width as usize;
    let from = half(size);
    let [w, h] = [from.width as usize, from.height as usize];
    let arch = Arch::new();
    fine.par_chunks_mut(width * ROWS).enumerate().for_each(|(part, fine)| {
        let mut wide = vec![0.0f32; w + 2];
        for (i, fine) in fine.chunks_exact_mut(width).enumerate() {
            let y = part * ROWS + i;
            let row = |y: usize| &coarse[y.min(h - 1) * w..][..w];
            let (above, here, below) = (row((y / 2).saturating_sub(1)), row(y / 2), row(y / 2 + 1));
            arch.dispatch(|| {
                let inside = &mut wide[1..=w];
                if y.is_multiple_of(2) { even(above, here, below, inside) } else { odd(here, below, inside) }
            });
            wide[0] = wide[1];
            wide[w + 1] = wide[w];
            arch.dispatch(|| spread(&wide, fine, sign));
        }
    });
}

#[inline(always)]
fn even(a: &[f32], b: &[f32], c: &[f32], out: &mut [f32]) {
    let n = out.len();
    let (a, b, c) = (&a[..n], &b[..n], &c[..n]);
    for i in 0..n {
        out[i] = (a[i] + c[i]) * 0.125 + b[i] * 0.75;
    }
}

#[inline(always)]
fn odd(a: &[f32], b: &[f32], out: &mut [f32]) {
    out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (a, b))| *out = (a + b) * 0.5);
}

#[inline(always)]
fn spread(wide: &[f32], fine: &mut [f32], sign: f32) {
    let (pairs, last) = fine.as_chunks_mut::<2>();
    for (i, [even, odd]) in pairs.iter_mut().enumerate() {
        let Some(&[a, b, c]) = wide[i..].first_chunk::<3>() else { return };
        *even += sign * ((a + c) * 0.125 + b * 0.75);
        *odd += sign * ((b + c) * 0.5);
    }
    if let ([even], Some(&[a, b, c])) = (last, wide[pairs.len()..].first_chunk::<3>()) {
        *even += sign * ((a + c) * 0.125 + b * 0.75);
    }
}

/// A plane or several at falling sizes, the finest first.
#[derive(Clone, Debug)]
pub struct Pyramid {
    /// The levels; all have the same channels.
    pub levels: Vec<Planes>,
}

impl Pyramid {
    /// `count` levels, each smoothed and halved from the one before; the first is the picture.
    pub fn gaussian(picture: Planes, count: usize) -> Self {
        let mut levels = vec![picture];
        while levels.len() < count.max(1) {
            let Some(last) = levels.last() else { break };
            if last.size.area() <= 1 {
                break;
            }
            let (channels, size) = (last.channels, half(last.size));
            let area = last.size.area() as usize;
            let data = last.data.chunks_exact(area).flat_map(|plane| down(plane, last.size)).collect();
            levels.push(Planes { channels, size, data });
        }
        Self { levels }
    }

    /// `count` levels: what each finer one has more than the coarser, and the coarsest itself.
    pub fn laplacian(picture: Planes, count: usize) -> Self {
        let mut pyramid = Self::gaussian(picture, count);
        let mut rest = &mut pyramid.levels[..];
        while let [fine, tail @ ..] = rest {
            if let Some(coarse) = tail.first() {
                add(fine, coarse, -1.0);
            }
            rest = tail;
        }
        pyramid
    }

    /// The picture of a Laplacian pyramid.
    pub fn collapse(mut self) -> Planes {
        while self.levels.len() > 1 {
            if let (Some(coarse), Some(fine)) = (self.levels.pop(), self.levels.last_mut()) {
                add(fine, &coarse, 1.0);
            }
        }
        self.levels.pop().unwrap_or(Planes { channels: 0, size: Size::new(0, 0), data: Vec::new() })
    }
}

fn add(fine: &mut Planes, coarse: &Planes, sign: f32) {
    let (size, area) = (fine.size, fine.size.area() as usize);
    let planes = coarse.data.chunks_exact(coarse.size.area() as usize);
    fine.data.chunks_exact_mut(area).zip(planes).for_each(|(fine, coarse)| add_up(fine, size, coarse, sign));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made(width: u32, height: u32, channels: usize) -> Planes {
        let size = Size::new(width, height);
        let data = (0..size.area() as usize * channels).map(|i| ((i * 7919) % 251) as f32 / 251.0).collect();
        Planes { channels, size, data }
    }

    /// The definition: mirrored borders, both filters in f64.
    fn defined(plane: &[f32], size: Size) -> Vec<f64> {
        let [w, h] = [size.width as isize, size.height as isize];
        let to = half(size);
        let taps = [1.0, 4.0, 6.0, 4.0, 1.0];
        let mut out = Vec::new();
        for y in 0..to.height as isize {
            for x in 0..to.width as isize {
                let mut sum = 0.0;
                for (j, b) in taps.iter().enumerate() {
                    for (i, a) in taps.iter().enumerate() {
                        let row = mirrored(2 * y + j as isize - 2, h as usize);
                        let col = mirrored(2 * x + i as isize - 2, w as usize);
                        sum += a * b * f64::from(plane[row * w as usize + col]) / 256.0;
                    }
                }
                out.push(sum);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn a_collapsed_pyramid_is_the_picture(width in 1u32..40, height in 1u32..40, count in 1usize..7) {
            let picture = made(width, height, 2);
            let again = Pyramid::laplacian(picture.clone(), count).collapse();
            prop_assert_eq!(again.size, picture.size);
            for (a, b) in again.data.iter().zip(&picture.data) {
                prop_assert!((a - b).abs() < 1e-5);
            }
        }

        #[test]
        fn the_way_down_is_the_definition(width in 1u32..30, height in 1u32..70) {
            let picture = made(width, height, 1);
            for (a, b) in down(&picture.data, picture.size).iter().zip(defined(&picture.data, picture.size)) {
                prop_assert!((f64::from(*a) - b).abs() < 1e-6);
            }
        }

        #[test]
        fn a_flat_plane_stays_flat_up_and_down(width in 1u32..30, height in 1u32..30, value in 0.0f32..1.0) {
            let size = Size::new(width, height);
            let coarse = down(&vec![value; size.area() as usize], size);
            let mut fine = vec![0.0; size.area() as usize];
            add_up(&mut fine, size, &coarse, 1.0);
            prop_assert!(coarse.iter().chain(&fine).all(|v| (v - value).abs() < 1e-6));
        }
    }
}
