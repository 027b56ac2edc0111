//! The two passes of a separable filter, in Pillow's fixed-point arithmetic.
//!
//! Weights and rounding are those of Pillow's `Resample.c` (`precompute_coeffs`, `normalize_coeffs_8bpc`,
//! `ImagingResampleHorizontal_8bpc`, `ImagingResampleVertical_8bpc`), to the bit.

use pulp::{Arch, Simd, WithSimd};

use super::{Filter, Span};

/// Bits behind the point: 32, less 8 for the sample and 2 for weights below 0 and above 1.
const PRECISION: u32 = 32 - 8 - 2;

/// Where every sum begins, so that it is rounded to the nearest.
const HALF: i32 = 1 << (PRECISION - 1);

/// Samples summed together; four registers of eight.
const LANES: usize = 32;

#[inline(always)]
fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Which samples each result is made of, and how much of each.
struct Weights {
    /// For each result: its first sample, and how many of `values` it takes.
    places: Vec<(usize, usize)>,
    values: Vec<i32>,
}

impl Weights {
    fn new(span: &Span, count: u32, filter: Filter) -> Self {
        let mut weights = Self { places: Vec::with_capacity(count as usize), values: Vec::new() };
        let scale = span.length / f64::from(count);
        let widened = scale.max(1.0);
        let support = filter.support() * widened;
        let mut real = Vec::new();
        for at in 0..count {
            let middle = span.from + (f64::from(at) + 0.5) * scale;
            let first = (middle - support + 0.5).max(0.0) as usize;
            let last = ((middle + support + 0.5) as usize).min(span.have as usize);
            real.clear();
            real.extend((first..last).map(|x| filter.weight((x as f64 - middle + 0.5) / widened)));
            let sum: f64 = real.iter().sum();
            let fixed = real.iter().map(|value| (value / sum * f64::from(1 << PRECISION)).round() as i32);
            weights.places.push((first, real.len()));
            weights.values.extend(fixed);
        }
        weights
    }

    /// For each result: its first sample and the weights from there on.
    #[inline(always)]
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let mut rest = self.values.as_slice();
        self.places.iter().map(move |(first, count)| {
            let (values, behind) = rest.split_at(*count);
            rest = behind;
            (*first, values)
        })
    }
}

/// The first pass: rows of `span.have` pixels become rows of `count`, which show what `span` says.
pub(super) fn columns<const C: usize>(data: &[u8], span: &Span, count: u32, filter: Filter) -> Vec<u8> {
    let weights = &Weights::new(span, count, filter);
    let width = span.have as usize * C;
    let mut out = vec![0; data.len() / width * count as usize * C];
    // The processor's widest instructions are found at run time; the code is the same.
    Arch::new().dispatch(Columns::<C> { data, out: &mut out, width, count: count as usize * C, weights });
    out
}

/// The first pass. A type and not a closure, so that it is compiled into the function that has the wider instructions.
struct Columns<'a, const C: usize> {
    data: &'a [u8],
    out: &'a mut [u8],
    /// Samples of a row of `data`, and of `out`.
    width: usize,
    count: usize,
    weights: &'a Weights,
}

impl<const C: usize> WithSimd for Columns<'_, C> {
    type Output = ();

    /// Pixels of several rows are woven together, so that one weight goes to as many samples as a register holds.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { data, out, width, count, weights } = self;
        let mut from = vec![0; width / C * LANES];
        let mut to = vec![[0; LANES]; count / C];
        let together = LANES / C;
        // The last rows may be fewer: what is left in the other lanes is computed and not looked at.
        for (lines, out) in data.chunks(width * together).zip(out.chunks_mut(count * together)) {
            for (i, line) in lines.chunks_exact(width).enumerate() {
                let woven = from.as_chunks_mut::<LANES>().0;
                for (woven, pixel) in woven.iter_mut().zip(line.as_chunks::<C>().0) {
                    for c in 0..C {
                        woven[(i * C + c) % LANES] = pixel[c];
                    }
                }
            }
            for (to, (first, weights)) in to.iter_mut().zip(weights.iter()) {
                *to = weighed(&from, first * LANES, LANES, weights);
            }
            for (i, line) in out.chunks_exact_mut(count).enumerate() {
                for (pixel, woven) in line.as_chunks_mut::<C>().0.iter_mut().zip(&to) {
                    for c in 0..C {
                        pixel[c] = woven[(i * C + c) % LANES];
                    }
                }
            }
        }
    }
}

/// The second pass: `count` rows, which show what `span` says, of `data`, whose rows are `row` samples long.
pub(super) fn rows(data: &[u8], row: usize, span: &Span, count: u32, filter: Filter) -> Vec<u8> {
    let mut out = vec![0; row * count as usize];
    let weights = Weights::new(span, count, filter);
    Arch::new().dispatch(Rows { data, out: &mut out, row, weights: &weights });
    out
}

/// The second pass.
struct Rows<'a> {
    data: &'a [u8],
    out: &'a mut [u8],
    row: usize,
    weights: &'a Weights,
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let lines = self.out.chunks_exact_mut(self.row);
        for (out, (first, weights)) in lines.zip(self.weights.iter()) {
            weigh_row(&self.data[first * self.row..], self.row, weights, out);
        }
    }
}

/// The weighted sums of [`LANES`] samples each, which lie `stride` apart from `at` on.
#[inline(always)]
fn weighed(data: &[u8], mut at: usize, stride: usize, weights: &[i32]) -> [u8; LANES] {
    let mut sums = [HALF; LANES];
    // Neither `chunks_exact`, whose division costs more than the sums, nor an array of arrays, which tempts the
    // compiler to gather several steps of this loop instead of the lanes.
    for weight in weights {
        if let Some(samples) = data.get(at..).and_then(<[u8]>::first_chunk::<LANES>) {
            for (sum, sample) in sums.iter_mut().zip(samples) {
                *sum += i32::from(*sample) * weight;
            }
        }
        at += stride;
    }
    let mut out = [0; LANES];
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = level(sum);
    }
    out
}

#[inline(always)]
fn weigh_row(data: &[u8], row: usize, weights: &[i32], out: &mut [u8]) {
    let (blocks, rest) = out.as_chunks_mut::<LANES>();
    let done = blocks.len() * LANES;
    for (i, out) in blocks.iter_mut().enumerate() {
        *out = weighed(data, i * LANES, row, weights);
    }
    for (i, out) in rest.iter_mut().enumerate() {
        let samples = data.iter().skip(done + i).step_by(row);
        let sum: i32 = samples.zip(weights).map(|(sample, weight)| i32::from(*sample) * weight).sum();
        *out = level(HALF + sum);
    }
}

impl Filter {
    /// How far the kernel reaches, in samples.
    pub(super) fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos3 => 3.0,
        }
    }

    /// The kernel at a distance.
    pub(super) fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        let sinc = |x: f64| match x == 0.0 {
            true => 1.0,
            false => (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI),
        };
        match self {
            Self::Nearest => f64::from(u8::from(x <= 0.5)),
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic => {
                const A: f64 = -0.5;
                match x {
                    _ if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
                    _ if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
                    _ => 0.0,
                }
            }
            Self::Lanczos3 if x < 3.0 => sinc(x) * sinc(x / 3.0),
            Self::Lanczos3 => 0.0,
        }
    }
}
