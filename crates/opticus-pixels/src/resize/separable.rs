//! Pillow's resampling, bit for bit (`src/libImaging/Resample.c`): separable, horizontal first, weights of 22 bits,
//! rounded to 8 bits between the passes. Only what a window of the result needs is computed.

use std::borrow::Cow;
use std::ops::Range;

use pulp::{Arch, NullaryFnOnce};

/// Bits of a weight behind the binary point: 8 bits of sample and 2 of headroom leave 22 of 32.
const PRECISION: u32 = 22;
const HALF: i32 = 1 << (PRECISION - 1);

/// Samples computed side by side.
const LANES: usize = 16;

/// A filter's shape: its value at a distance from the centre, which is zero beyond `support`.
pub(crate) struct Kernel {
    pub support: f64,
    pub value: fn(f64) -> f64,
}

/// Which input samples, with which weights, make each output sample of a window of one axis.
struct Weights {
    /// First input sample and number of weights, an entry for each output sample.
    spans: Vec<(usize, usize)>,
    /// All weights, `longest` for each output sample.
    values: Vec<i32>,
    longest: usize,
}

impl Weights {
    /// Of `from` input samples (`precompute_coeffs`).
    fn new(from: usize, to: &Axis, kernel: &Kernel) -> Self {
        let scale = from as f64 / to.scaled as f64;
        let window = to.window.clone();
        let stretch = scale.max(1.0);
        let support = kernel.support * stretch;
        let longest = (support.ceil() as usize * 2 + 1).min(from);
        let mut spans = Vec::with_capacity(window.len());
        let mut values = vec![0; window.len() * longest];
        let mut exact = Vec::with_capacity(longest);
        for (out, values) in window.zip(values.chunks_exact_mut(longest)) {
            let centre = (out as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let last = ((centre + support + 0.5) as usize).min(from);
            exact.clear();
            exact.extend((first..last).map(|x| (kernel.value)((x as f64 - centre + 0.5) / stretch)));
            let sum: f64 = exact.iter().sum();
            for (value, weight) in values.iter_mut().zip(&exact) {
                let weight = if sum == 0.0 { *weight } else { weight / sum } * f64::from(1 << PRECISION);
                *value = (weight + 0.5_f64.copysign(weight)) as i32;
            }
            spans.push((first, last - first));
        }
        Self { spans, values, longest }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let values = self.values.chunks_exact(self.longest);
        self.spans.iter().zip(values).map(|(&(first, count), values)| (first, &values[..count]))
    }

    /// The input samples that the window needs.
    fn needed(&self) -> Range<usize> {
        let first = self.spans.iter().map(|s| s.0).min().unwrap_or(0);
        first..self.spans.iter().map(|s| s.0 + s.1).max().unwrap_or(0)
    }
}

/// Rows of interleaved samples.
pub(crate) struct Rows<'a> {
    pub data: &'a [u8],
    pub width: usize,
    pub height: usize,
    pub channels: usize,
}

/// One side of the result: its length, and the part of it that is wanted.
pub(crate) struct Axis {
    pub scaled: usize,
    pub window: Range<usize>,
}

/// The wanted part of `source` resampled.
pub(crate) fn resample(source: &Rows<'_>, across: &Axis, down: &Axis, kernel: &Kernel) -> Vec<u8> {
    let arch = Arch::new();
    let channels = source.channels;
    // As Pillow: an axis that keeps its length is not filtered at all.
    let vertical = (down.scaled != source.height).then(|| Weights::new(source.height, down, kernel));
    let needed = vertical.as_ref().map_or(down.window.clone(), Weights::needed);
    let stride = source.width * channels;
    let input = &source.data[needed.start * stride..needed.end * stride];
    let narrow: Cow<'_, [u8]> = match across.scaled == source.width {
        true if across.window == (0..source.width) => Cow::Borrowed(input),
        true => {
            let wanted = across.window.start * channels..across.window.end * channels;
            let mut part = Vec::with_capacity(needed.len() * wanted.len());
            input.chunks_exact(stride).for_each(|row| part.extend_from_slice(&row[wanted.clone()]));
            Cow::Owned(part)
        }
        false => {
            let weights = Weights::new(source.width, across, kernel);
            Cow::Owned(arch.dispatch(Across { input, stride, channels, weights: &weights }))
        }
    };
    match vertical {
        None => narrow.into_owned(),
        Some(weights) => {
            let stride = across.window.len() * channels;
            arch.dispatch(Down { input: &narrow, first_row: needed.start, stride, weights: &weights })
        }
    }
}

#[inline(always)]
fn to_sample(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Filters along the rows, sixteen rows side by side.
struct Across<'a> {
    input: &'a [u8],
    stride: usize,
    channels: usize,
    weights: &'a Weights,
}

impl NullaryFnOnce for Across<'_> {
    type Output = Vec<u8>;

    // Inlined, because only then is it compiled for the instructions that were found at run time.
    #[inline(always)]
    fn call(self) -> Vec<u8> {
        let Self { input, stride, channels, weights } = self;
        let out_stride = weights.spans.len() * channels;
        let rows = input.len() / stride;
        let mut out = vec![0; rows * out_stride];
        // Sample by sample, the sixteen rows' values next to each other.
        let mut turned = vec![[0u8; LANES]; stride];
        for (block, out) in input.chunks(stride * LANES).zip(out.chunks_mut(out_stride * LANES)) {
            for (lane, row) in block.chunks_exact(stride).enumerate() {
                for (column, &sample) in turned.iter_mut().zip(row) {
                    column[lane] = sample;
                }
            }
            for (x, (first, values)) in weights.iter().enumerate() {
                for channel in 0..channels {
                    let mut sums = [HALF; LANES];
                    let samples = turned[first * channels + channel..].iter().step_by(channels);
                    for (samples, &weight) in samples.zip(values) {
                        for (sum, &sample) in sums.iter_mut().zip(samples) {
                            *sum += i32::from(sample) * weight;
                        }
                    }
                    let to = x * channels + channel;
                    for (row, sum) in out.chunks_exact_mut(out_stride).zip(sums) {
                        row[to] = to_sample(sum);
                    }
                }
            }
        }
        out
    }
}

/// Filters along the columns.
struct Down<'a> {
    input: &'a [u8],
    /// The row that `input` begins with.
    first_row: usize,
    stride: usize,
    weights: &'a Weights,
}

impl NullaryFnOnce for Down<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn call(self) -> Vec<u8> {
        let Self { input, first_row, stride, weights } = self;
        let mut out = vec![0; weights.spans.len() * stride];
        for ((first, values), out) in weights.iter().zip(out.chunks_exact_mut(stride)) {
            let rows = &input[(first - first_row) * stride..];
            let (blocks, rest) = out.as_chunks_mut::<{ 2 * LANES }>();
            for (block, out) in blocks.iter_mut().enumerate() {
                let mut sums = [HALF; 2 * LANES];
                for (row, &weight) in rows.chunks_exact(stride).zip(values) {
                    let (row, _) = row.as_chunks::<{ 2 * LANES }>();
                    for (sum, &sample) in sums.iter_mut().zip(&row[block]) {
                        *sum += i32::from(sample) * weight;
                    }
                }
                *out = sums.map(to_sample);
            }
            let done = stride - rest.len();
            for (x, out) in rest.iter_mut().enumerate() {
                let samples = rows.chunks_exact(stride).map(|row| i32::from(row[done + x]));
                *out = to_sample(
                    HALF + samples.zip(values).map(|(sample, weight)| sample * weight).sum::<i32>(),
                );
            }
        }
        out
    }
}
