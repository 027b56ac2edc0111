//! Poisson's equation on any set of pixels: conjugate gradients, preconditioned by a cycle over coarser grids.
//!
//! The unknowns are the pixels of a mask; the values around them are known, and what lies beyond the picture has no say.
//! Coarser grids join two by two pixels, so that any shape of mask, holes and single pixels included, is carried over
//! (aggregation multigrid: Braess 1995, "Towards algebraic multigrid for elliptic problems of second order", with his
//! over-correction), and a dozen or two steps are enough for any size.

use pulp::Arch;

/// The equations on one grid: the neighbours' weights and the sum on the diagonal. One empty row and column lies around.
struct Grid {
    /// Whether all weights are 1 between pixels that are sought, which are zero elsewhere: they need not be looked up.
    plain: bool,
    /// Values a row, the border included.
    stride: usize,
    rows: usize,
    /// Weight between a pixel and the one to its right.
    right: Vec<f32>,
    /// Weight between a pixel and the one below.
    below: Vec<f32>,
    /// Zero where nothing is sought.
    diagonal: Vec<f32>,
    /// 1 / diagonal, or zero.
    inverse: Vec<f32>,
}

/// The equations of a mask, ready to be solved for several right sides.
pub struct Poisson {
    grids: Vec<Grid>,
}

/// Steps of smoothing before and after each coarser grid.
const SMOOTHING: usize = 2;
/// Damping of a step.
const DAMPING: f32 = 0.8;
/// What the coarser grid says counts this much more, as joined pixels are too stiff (Braess 1995, section 5).
const OVER: f32 = 1.8;
/// Residual, as part of the first one, at which the solution is good: far below an 8-bit level.
const GOOD: f64 = 2e-5;
const MOST_STEPS: usize = 300;
/// Steps of smoothing on the coarsest grid, of a few pixels.
const EXACT: usize = 40;

impl Poisson {
    /// The equations for the pixels of a mask of `width` columns; `known` says for each pixel how many of its four neighbours are pixels
    /// of the picture outside of the mask, whose values are known.
    pub fn new(mask: &[bool], width: usize, known: &[u8]) -> Self {
        let height = mask.len() / width.max(1);
        let stride = width + 2;
        let mut grid = Grid::empty(stride, height + 2);
        for y in 0..height {
            for x in 0..width {
                let (at, i) = ((y + 1) * stride + x + 1, y * width + x);
                if !mask[i] {
                    continue;
                }
                let mut sum = f32::from(known[i]);
                let mut link = |other: bool, weights: &mut Vec<f32>, place: usize| {
                    if other {
                        weights[place] = 1.0;
                        sum += 1.0;
                    }
                };
                link(x + 1 < width && mask[i + 1], &mut grid.right, at);
                link(x > 0 && mask[i - 1], &mut grid.right, at - 1);
                link(y + 1 < height && mask[i + width], &mut grid.below, at);
                link(y > 0 && mask[i - width], &mut grid.below, at - stride);
                grid.diagonal[at] = sum;
            }
        }
        grid.plain = true;
        let mut grids = vec![grid.finished()];
        while let Some(last) = grids.last() {
            if last.stride <= 4 || last.rows <= 4 {
                break;
            }
            let next = last.coarser();
            grids.push(next);
        }
        Self { grids }
    }

    /// Solves for one right side, a value for each pixel, beginning at `start`. Pixels outside the mask keep their start.
    pub fn solve(&self, right_side: &[f32], start: &[f32]) -> Vec<f32> {
        let Some(grid) = self.grids.first() else { return start.to_vec() };
        let width = grid.stride - 2;
        let padded = |values: &[f32]| {
            let mut out = vec![0.0f32; grid.diagonal.len()];
            for (y, row) in values.chunks_exact(width).enumerate() {
                out[(y + 1) * grid.stride + 1..][..width].copy_from_slice(row);
            }
            out.iter_mut().zip(&grid.diagonal).for_each(|(v, d)| *v = if *d > 0.0 { *v } else { 0.0 });
            out
        };
        let b = padded(right_side);
        let mut x = padded(start);
        let mut work: Vec<Work> = self.grids.iter().map(|g| Work::new(g.diagonal.len())).collect();
        let mut residual = vec![0.0f32; b.len()];
        grid.residual(&b, &x, &mut residual);
        let mut p = self.cycle(&residual, &mut work).to_vec();
        let mut product = dot(&residual, &p);
        let first = product;
        let mut applied = vec![0.0f32; b.len()];
        for _ in 0..MOST_STEPS {
            if product <= first * GOOD * GOOD || product <= f64::MIN_POSITIVE {
                break;
            }
            grid.apply(&p, &mut applied);
            let step = product / dot(&p, &applied).max(f64::MIN_POSITIVE);
            axpy(&mut x, step as f32, &p);
            axpy(&mut residual, -step as f32, &applied);
            let z = self.cycle(&residual, &mut work);
            let next = dot(&residual, z);
            let share = (next / product) as f32;
            product = next;
            Arch::new().dispatch(|| p.iter_mut().zip(z).for_each(|(p, z)| *p = z + share * *p));
        }
        let mut out = start.to_vec();
        for (y, row) in out.chunks_exact_mut(width).enumerate() {
            let at = (y + 1) * grid.stride + 1;
            let solved = x[at..][..width].iter().zip(&grid.diagonal[at..][..width]);
            row.iter_mut().zip(solved).for_each(|(v, (x, d))| {
                if *d > 0.0 {
                    *v = *x;
                }
            });
        }
        out
    }

    /// One symmetric cycle from the finest grid down and up again: an approximate inverse.
    fn cycle<'a>(&self, right_side: &[f32], work: &'a mut [Work]) -> &'a [f32] {
        self.descend(0, right_side, work);
        work.first().map_or(&[], |w| &w.x)
    }

    fn descend(&self, level: usize, b: &[f32], work: &mut [Work]) {
        let ([grid, next @ ..], [own, coarser @ ..]) = (&self.grids[level..], work) else { return };
        Arch::new().dispatch(|| {
            own.x.iter_mut().zip(b.iter().zip(&grid.inverse)).for_each(|(x, (b, i))| *x = DAMPING * b * i);
        });
        let alone = next.is_empty();
        for _ in 1..if alone { EXACT } else { SMOOTHING } {
            grid.smooth(b, &mut own.x, &mut own.rest);
        }
        let ([next, ..], [below, ..]) = (next, &mut *coarser) else { return };
        grid.residual(b, &own.x, &mut own.rest);
        let mut rest = std::mem::take(&mut below.b);
        grid.restrict(&own.rest, next, &mut rest);
        self.descend(level + 1, &rest, coarser);
        if let [below, ..] = coarser {
            below.b = rest;
            grid.prolong(&below.x, next, &mut own.x);
        }
        for _ in 0..SMOOTHING {
            grid.smooth(b, &mut own.x, &mut own.rest);
        }
    }
}

/// Room for a cycle on one grid.
struct Work {
    b: Vec<f32>,
    x: Vec<f32>,
    rest: Vec<f32>,
}

impl Work {
    fn new(length: usize) -> Self {
        Self { b: vec![0.0; length], x: vec![0.0; length], rest: vec![0.0; length] }
    }
}

impl Grid {
    fn empty(stride: usize, rows: usize) -> Self {
        let zeros = || vec![0.0f32; stride * rows];
        Self {
            plain: false,
            stride,
            rows,
            right: zeros(),
            below: zeros(),
            diagonal: zeros(),
            inverse: Vec::new(),
        }
    }

    fn finished(mut self) -> Self {
        self.inverse = self.diagonal.iter().map(|d| if *d > 1e-6 { 1.0 / d } else { 0.0 }).collect();
        self
    }

    /// Two by two pixels joined: weights that cross are summed, those inside go.
    fn coarser(&self) -> Self {
        let [width, height] = [(self.stride - 2).div_ceil(2), (self.rows - 2).div_ceil(2)];
        let mut grid = Self::empty(width + 2, height + 2);
        for y in 1..self.rows - 1 {
            for x in 1..self.stride - 1 {
                let (at, to) = (y * self.stride + x, grid.place(x, y));
                grid.diagonal[to] += self.diagonal[at];
                if x % 2 == 0 {
                    grid.right[to] += self.right[at]
                } else {
                    grid.diagonal[to] -= 2.0 * self.right[at]
                }
                if y % 2 == 0 {
                    grid.below[to] += self.below[at]
                } else {
                    grid.diagonal[to] -= 2.0 * self.below[at]
                }
            }
        }
        grid.finished()
    }

    /// The place on this grid of a pixel of the finer one; both have a border of one.
    fn place(&self, x: usize, y: usize) -> usize {
        y.div_ceil(2) * self.stride + x.div_ceil(2)
    }

    /// `out = A x`.
    fn apply(&self, x: &[f32], out: &mut [f32]) {
        self.rows_of(x, [x, x], |d, here, around, _| d * here - around, out);
    }

    /// `out = b − A x`.
    fn residual(&self, b: &[f32], x: &[f32], out: &mut [f32]) {
        self.rows_of(x, [b, b], |d, here, around, [b, _]| b - (d * here - around), out);
    }

    /// One damped step of Jacobi, in one pass from `x` to `room`, which then change places.
    fn smooth(&self, b: &[f32], x: &mut Vec<f32>, room: &mut Vec<f32>) {
        let step = |d: f32, here: f32, around: f32, [b, inverse]: [f32; 2]| {
            here + DAMPING * (b - (d * here - around)) * inverse
        };
        self.rows_of(x, [b, &self.inverse], step, room);
        std::mem::swap(x, room);
    }

    /// Each value of `out` from the diagonal, the value of `x`, the weighted sum of its neighbours, and the values of
    /// two other planes at the place.
    #[inline(always)]
    fn rows_of(
        &self,
        x: &[f32],
        others: [&[f32]; 2],
        value: impl Fn(f32, f32, f32, [f32; 2]) -> f32,
        out: &mut [f32],
    ) {
        let n = self.stride;
        Arch::new().dispatch(|| {
            for y in 1..self.rows - 1 {
                let row = y * n;
                let inner = n - 2;
                // Slices of one length, so that the loop below needs no checks.
                let (here, left, right) =
                    (&x[row + 1..][..inner], &x[row..][..inner], &x[row + 2..][..inner]);
                let (above, under) = (&x[row + 1 - n..][..inner], &x[row + 1 + n..][..inner]);
                let (to_right, to_left) = (&self.right[row + 1..][..inner], &self.right[row..][..inner]);
                let (to_under, to_above) =
                    (&self.below[row + 1..][..inner], &self.below[row + 1 - n..][..inner]);
                let diagonal = &self.diagonal[row + 1..][..inner];
                let [first, second] = others.map(|plane| &plane[row + 1..][..inner]);
                let out = &mut out[row + 1..][..inner];
                if self.plain {
                    for i in 0..inner {
                        let around = (left[i] + right[i]) + (above[i] + under[i]);
                        let new = value(diagonal[i], here[i], around, [first[i], second[i]]);
                        out[i] = if diagonal[i] > 0.0 { new } else { 0.0 };
                    }
                    continue;
                }
                for i in 0..inner {
                    let around = to_left[i] * left[i]
                        + to_right[i] * right[i]
                        + to_above[i] * above[i]
                        + to_under[i] * under[i];
                    let new = value(diagonal[i], here[i], around, [first[i], second[i]]);
                    out[i] = if diagonal[i] > 0.0 { new } else { 0.0 };
                }
            }
        });
    }

    /// Sums of joined pixels.
    fn restrict(&self, fine: &[f32], coarse: &Self, out: &mut [f32]) {
        out.fill(0.0);
        let inner = self.stride - 2;
        for y in 1..self.rows - 1 {
            let (pairs, last) = fine[y * self.stride + 1..][..inner].as_chunks::<2>();
            let to = &mut out[coarse.place(1, y)..];
            to.iter_mut().zip(pairs).for_each(|(to, [a, b])| *to += a + b);
            if let (Some(to), [a]) = (to.get_mut(pairs.len()), last) {
                *to += a;
            }
        }
    }

    /// Adds to each pixel what its joined one says.
    fn prolong(&self, coarse_x: &[f32], coarse: &Self, x: &mut [f32]) {
        let inner = self.stride - 2;
        for y in 1..self.rows - 1 {
            let at = y * self.stride + 1;
            let (pairs, last) = x[at..][..inner].as_chunks_mut::<2>();
            let (weights, _) = self.inverse[at..][..inner].as_chunks::<2>();
            let from = &coarse_x[coarse.place(1, y)..];
            // Nothing is sought where the inverse is zero.
            for (([a, b], [i, j]), from) in pairs.iter_mut().zip(weights).zip(from) {
                *a += if *i > 0.0 { OVER * from } else { 0.0 };
                *b += if *j > 0.0 { OVER * from } else { 0.0 };
            }
            if let ([a], Some(from)) = (last, from.get(inner / 2)) {
                *a += if self.inverse[at + inner - 1] > 0.0 { OVER * from } else { 0.0 };
            }
        }
    }
}

/// In eight sums, which the processor adds at once.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    Arch::new().dispatch(|| {
        for (a, b) in a.iter().zip(b) {
            for k in 0..8 {
                sums[k] += f64::from(a[k]) * f64::from(b[k]);
            }
        }
    });
    sums.iter().sum::<f64>()
        + rest_a.iter().zip(rest_b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
}

fn axpy(y: &mut [f32], factor: f32, x: &[f32]) {
    Arch::new().dispatch(|| y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How many neighbours are known: those within the picture and outside of the mask.
    fn known(mask: &[bool], width: usize) -> Vec<u8> {
        let height = mask.len() / width;
        let outside = |x: isize, y: isize| {
            (0..width as isize).contains(&x)
                && (0..height as isize).contains(&y)
                && !mask[y as usize * width + x as usize]
        };
        (0..mask.len())
            .map(|i| {
                let (x, y) = ((i % width) as isize, (i / width) as isize);
                [(1, 0), (-1, 0), (0, 1), (0, -1)].iter().filter(|(a, b)| outside(x + a, y + b)).count() as u8
            })
            .collect()
    }

    proptest! {
        /// The solution fulfils the equations, whatever the mask's shape.
        #[test]
        fn the_equations_hold(width in 1usize..40, height in 1usize..40, seed: u32, density in 0u32..100) {
            let mut state = seed;
            let mut random = || { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); state >> 8 };
            let mut mask: Vec<bool> = (0..width * height).map(|_| random() % 100 < density).collect();
            mask[0] = false;
            let b: Vec<f32> = (0..mask.len()).map(|_| random() as f32 / (1 << 24) as f32 - 0.5).collect();
            let known = known(&mask, width);
            let x = Poisson::new(&mask, width, &known).solve(&b, &vec![0.0; b.len()]);
            for i in (0..mask.len()).filter(|i| mask[*i]) {
                let (column, row) = (i % width, i / width);
                let mut sum = f64::from(known[i]) * f64::from(x[i]);
                let mut other = |there: bool, at: usize| if there && mask[at] { sum += f64::from(x[i]) - f64::from(x[at]) };
                other(column + 1 < width, i + 1);
                other(column > 0, i.wrapping_sub(1));
                other(row + 1 < height, i + width);
                other(row > 0, i.wrapping_sub(width));
                prop_assert!((sum - f64::from(b[i])).abs() < 2e-4, "{i}: {sum} {}", b[i]);
            }
            prop_assert!((0..mask.len()).filter(|i| !mask[*i]).all(|i| x[i] == 0.0));
        }
    }
}
