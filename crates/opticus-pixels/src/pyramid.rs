//! Gaussian and Laplacian pyramids (Burt and Adelson 1983) of planes.
//!
//! The filter is (1 4 6 4 1) / 16 along both sides.

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

/// What stands for the pixels beyond the border.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Border {
    /// As in Mertens' published code: mirrored with the edge pixel repeated on the way down, the edge pixel repeated on
    /// the way up.
    #[default]
    Repeated,
    /// As in OpenCV's `pyrDown` and `pyrUp`: mirrored at the edge pixel; on the way up the last pixel is repeated.
    Mirrored,
}

impl Border {
    /// The place that stands for one at most two beyond the border, on the way down.
    fn inside(self, at: isize, length: usize) -> usize {
        let last = length as isize - 1;
        let at = match self {
            Self::Repeated if at < 0 => -at - 1,
            Self::Repeated if at > last => 2 * last + 1 - at,
            Self::Mirrored if at > last => 2 * last - at,
            _ => at.abs(),
        };
        at.clamp(0, last) as usize
    }

    /// The place that stands for the one before the first, on the way up.
    fn before_first(self, length: usize) -> usize {
        match self {
            Self::Repeated => 0,
            Self::Mirrored => 1.min(length - 1),
        }
    }
}

/// One plane of half the size.
pub fn down(plane: &[f32], size: Size, border: Border) -> Vec<f32> {
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
            let rows = [-2, -1, 0, 1, 2].map(|d| &plane[border.inside(y + d, height) * width..][..width]);
            arch.dispatch(|| vertical(rows, &mut wide[2..2 + width]));
            wide[1] = wide[2 + border.inside(-1, width)];
            wide[0] = wide[2 + border.inside(-2, width)];
            for beyond in 0..3 {
                wide[2 + width + beyond] = wide[2 + border.inside((width + beyond) as isize, width)];
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
pub fn add_up(fine: &mut [f32], size: Size, coarse: &[f32], sign: f32, border: Border) {
    let width = size.width as usize;
    let from = half(size);
    let [w, h] = [from.width as usize, from.height as usize];
    let arch = Arch::new();
    fine.par_chunks_mut(width * ROWS).enumerate().for_each(|(part, fine)| {
        let mut wide = vec![0.0f32; w + 2];
        for (i, fine) in fine.chunks_exact_mut(width).enumerate() {
            let y = part * ROWS + i;
            let row = |y: usize| &coarse[y.min(h - 1) * w..][..w];
            let before = if y < 2 { border.before_first(h) } else { y / 2 - 1 };
            let (above, here, below) = (row(before), row(y / 2), row(y / 2 + 1));
            arch.dispatch(|| {
                let inside = &mut wide[1..=w];
                if y.is_multiple_of(2) { even(above, here, below, inside) } else { odd(here, below, inside) }
            });
            wide[0] = wide[1 + border.before_first(w)];
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
    /// What stands beyond their borders.
    pub border: Border,
}

impl Pyramid {
    /// `count` levels, each smoothed and halved from the one before; the first is the picture.
    pub fn gaussian(picture: Planes, count: usize, border: Border) -> Self {
        let mut levels = vec![picture];
        while levels.len() < count.max(1) {
            let Some(last) = levels.last() else { break };
            if last.size.area() <= 1 {
                break;
            }
            let (channels, size) = (last.channels, half(last.size));
            let area = last.size.area() as usize;
            let data =
                last.data.chunks_exact(area).flat_map(|plane| down(plane, last.size, border)).collect();
            levels.push(Planes { channels, size, data });
        }
        Self { levels, border }
    }

    /// `count` levels: what each finer one has more than the coarser, and the coarsest itself.
    pub fn laplacian(picture: Planes, count: usize, border: Border) -> Self {
        let mut pyramid = Self::gaussian(picture, count, border);
        let mut rest = &mut pyramid.levels[..];
        while let [fine, tail @ ..] = rest {
            if let Some(coarse) = tail.first() {
                add(fine, coarse, -1.0, border);
            }
            rest = tail;
        }
        pyramid
    }

    /// The picture of a Laplacian pyramid.
    pub fn collapse(mut self) -> Planes {
        while self.levels.len() > 1 {
            if let (Some(coarse), Some(fine)) = (self.levels.pop(), self.levels.last_mut()) {
                add(fine, &coarse, 1.0, self.border);
            }
        }
        self.levels.pop().unwrap_or(Planes { channels: 0, size: Size::new(0, 0), data: Vec::new() })
    }
}

fn add(fine: &mut Planes, coarse: &Planes, sign: f32, border: Border) {
    let (size, area) = (fine.size, fine.size.area() as usize);
    let planes = coarse.data.chunks_exact(coarse.size.area() as usize);
    fine.data
        .chunks_exact_mut(area)
        .zip(planes)
        .for_each(|(fine, coarse)| add_up(fine, size, coarse, sign, border));
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
    fn defined(plane: &[f32], size: Size, border: Border) -> Vec<f64> {
        let [w, h] = [size.width as isize, size.height as isize];
        let to = half(size);
        let taps = [1.0, 4.0, 6.0, 4.0, 1.0];
        let mut out = Vec::new();
        for y in 0..to.height as isize {
            for x in 0..to.width as isize {
                let mut sum = 0.0;
                for (j, b) in taps.iter().enumerate() {
                    for (i, a) in taps.iter().enumerate() {
                        let row = border.inside(2 * y + j as isize - 2, h as usize);
                        let col = border.inside(2 * x + i as isize - 2, w as usize);
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
            let border = if count % 2 == 0 { Border::Repeated } else { Border::Mirrored };
            let again = Pyramid::laplacian(picture.clone(), count, border).collapse();
            prop_assert_eq!(again.size, picture.size);
            for (a, b) in again.data.iter().zip(&picture.data) {
                prop_assert!((a - b).abs() < 1e-5);
            }
        }

        #[test]
        fn the_way_down_is_the_definition(width in 1u32..30, height in 1u32..70) {
            let picture = made(width, height, 1);
            for border in [Border::Repeated, Border::Mirrored] {
                let got = down(&picture.data, picture.size, border);
                for (a, b) in got.iter().zip(defined(&picture.data, picture.size, border)) {
                    prop_assert!((f64::from(*a) - b).abs() < 1e-6);
                }
            }
        }

        #[test]
        fn a_flat_plane_stays_flat_up_and_down(width in 1u32..30, height in 1u32..30, value in 0.0f32..1.0) {
            let size = Size::new(width, height);
            for border in [Border::Repeated, Border::Mirrored] {
            let coarse = down(&vec![value; size.area() as usize], size, border);
            let mut fine = vec![0.0; size.area() as usize];
            add_up(&mut fine, size, &coarse, 1.0, border);
            prop_assert!(coarse.iter().chain(&fine).all(|v| (v - value).abs() < 1e-6));
            }
        }
    }
}
