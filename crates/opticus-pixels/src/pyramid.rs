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
    let above = Above::new(coarse, size, border);
    let arch = Arch::new();
    fine.par_chunks_mut(width * ROWS).enumerate().for_each(|(part, fine)| {
        let mut wide = above.room();
        for (i, fine) in fine.chunks_exact_mut(width).enumerate() {
            above.row(part * ROWS + i, &mut wide, arch);
            arch.dispatch(|| spread(&wide, fine, sign));
        }
    });
}

/// The plane of half a level's size, seen from that level.
struct Above<'a> {
    coarse: &'a [f32],
    width: usize,
    height: usize,
    border: Border,
}

impl<'a> Above<'a> {
    fn new(coarse: &'a [f32], fine: Size, border: Border) -> Self {
        let from = half(fine);
        Self { coarse, width: from.width as usize, height: from.height as usize, border }
    }

    /// Room for a row with one pixel beyond either end.
    fn room(&self) -> Vec<f32> {
        vec![0.0; self.width + 2]
    }

    /// What the coarse plane says at a row of the level, not yet spread along it.
    #[inline(always)]
    fn row(&self, y: usize, wide: &mut [f32], arch: Arch) {
        let (w, h) = (self.width, self.height);
        let row = |y: usize| &self.coarse[y.min(h - 1) * w..][..w];
        let before = if y < 2 { self.border.before_first(h) } else { y / 2 - 1 };
        let (above, here, below) = (row(before), row(y / 2), row(y / 2 + 1));
        arch.dispatch(|| {
            let inside = &mut wide[1..=w];
            if y.is_multiple_of(2) { even(above, here, below, inside) } else { odd(here, below, inside) }
        });
        wide[0] = wide[1 + self.border.before_first(w)];
        wide[w + 1] = wide[w];
    }
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

/// A sum of pictures, each level of whose Laplacian pyramids counts by the level of a Gaussian one: what fusion at all
/// scales comes down to. The pictures' own pyramids are never in memory as a whole.
pub struct Blend {
    sums: Pyramid,
    count: usize,
}

impl Blend {
    /// Of pictures of this size, over at most so many levels.
    pub fn new(channels: usize, size: Size, count: usize, border: Border) -> Self {
        let mut levels = Vec::new();
        let mut size = size;
        loop {
            levels.push(Planes { channels, size, data: vec![0.0; channels * size.area() as usize] });
            if levels.len() >= count.max(1) || size.area() <= 1 {
                break;
            }
            size = half(size);
        }
        Self { count: levels.len(), sums: Pyramid { levels, border } }
    }

    /// Adds a picture by its share at each pixel.
    pub fn add(&mut self, picture: &Planes, share: &[f32]) {
        let border = self.sums.border;
        let (mut fine, mut fine_share): (Vec<f32>, Vec<f32>);
        let (mut picture, mut share) = (&picture.data[..], share);
        for (level, sum) in self.sums.levels.iter_mut().enumerate() {
            let (size, area) = (sum.size, sum.size.area() as usize);
            if level + 1 == self.count {
                add_share(&mut sum.data, size, picture, share, None);
                return;
            }
            let coarse: Vec<f32> =
                picture.chunks_exact(area).flat_map(|plane| down(plane, size, border)).collect();
            let coarse_share = down(share, size, border);
            add_share(&mut sum.data, size, picture, share, Some((&coarse, border)));
            (fine, fine_share) = (coarse, coarse_share);
            (picture, share) = (&fine, &fine_share);
        }
    }

    /// The picture that the sums are the pyramid of.
    pub fn collapse(self) -> Planes {
        self.sums.collapse()
    }
}

/// Adds to each plane of `sums` that of `fine`, less what the coarser level has of it already, times `share`.
fn add_share(sums: &mut [f32], size: Size, fine: &[f32], share: &[f32], coarse: Option<(&[f32], Border)>) {
    let (width, area) = (size.width as usize, size.area() as usize);
    let arch = Arch::new();
    for (plane, sums) in sums.chunks_exact_mut(area).enumerate() {
        let fine = &fine[plane * area..][..area];
        let above = coarse.map(|(coarse, border)| {
            let area = half(size).area() as usize;
            Above::new(&coarse[plane * area..][..area], size, border)
        });
        sums.par_chunks_mut(width * ROWS).enumerate().for_each(|(part, sums)| {
            let mut detail = vec![0.0f32; width];
            let mut wide = above.as_ref().map(Above::room).unwrap_or_default();
            for (i, sums) in sums.chunks_exact_mut(width).enumerate() {
                let y = part * ROWS + i;
                detail.copy_from_slice(&fine[y * width..][..width]);
                if let Some(above) = &above {
                    above.row(y, &mut wide, arch);
                    arch.dispatch(|| spread(&wide, &mut detail, -1.0));
                }
                arch.dispatch(|| add_product(sums, &detail, &share[y * width..][..width]));
            }
        });
    }
}

#[inline(always)]
fn add_product(sums: &mut [f32], a: &[f32], b: &[f32]) {
    sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
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
