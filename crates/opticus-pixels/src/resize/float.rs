//! Resampling without rounding: Pillow's `Image.resize` of mode `F`, one channel at a time.

use super::{Filter, Part, Span};
use crate::geometry::Size;
use crate::image::Image8;

/// Each channel of the picture at another size, as numbers that are neither rounded nor clipped: cubic and windowed sinc
/// overshoot 0 to 255 at edges. Channel by channel, each `height · width` values in 0 to 255.
///
/// Sums are of `f64` and kept as `f32`, the columns come first, as in Pillow's `Resample.c`
/// (`ImagingResampleHorizontal_32bpc`). Alpha is a channel like the others. For smooth filters; [`Filter::Nearest`]
/// is taken for a box.
///
/// # Panics
/// If the picture's data does not fit its size.
pub fn resize_float(image: &Image8, size: Size, filter: Filter) -> Vec<f32> {
    let (have, channels) = (image.size, image.channels);
    assert_eq!(image.data.len() as u64, have.area() * channels as u64, "the data of a picture of {have:?}");
    if size.area() == 0 || have.area() == 0 {
        return vec![0.0; size.area() as usize * channels];
    }
    let part = Part { x: 0, y: 0, size };
    let across =
        Weights::new(&Span::new(have.width, size.width, part.x, part.size.width), size.width, filter);
    let down =
        Weights::new(&Span::new(have.height, size.height, part.y, part.size.height), size.height, filter);
    let (wide, narrow) = (have.width as usize, size.width as usize);
    let mut out = Vec::with_capacity(size.area() as usize * channels);
    for channel in 0..channels {
        let samples = image.data.iter().skip(channel).step_by(channels).map(|level| f32::from(*level));
        let plane: Vec<f32> = samples.collect();
        let between = if wide == narrow {
            plane
        } else {
            plane.chunks_exact(wide).flat_map(|row| across.sums(row, 1, 0)).collect()
        };
        if have.height == size.height {
            out.extend(between);
            continue;
        }
        let first = out.len();
        out.resize(first + size.area() as usize, 0.0);
        for x in 0..narrow {
            for (y, sum) in down.sums(&between, narrow, x).enumerate() {
                out[first + y * narrow + x] = sum;
            }
        }
    }
    out
}

/// Which samples each result is made of, and how much of each.
struct Weights(Vec<(usize, Vec<f64>)>);

impl Weights {
    fn new(span: &Span, count: u32, filter: Filter) -> Self {
        let widened = span.scale.max(1.0);
        let support = filter.support() * widened;
        let of = |at: u32| {
            let middle = span.from + (f64::from(at) + 0.5) * span.scale;
            let first = (middle - support + 0.5).max(0.0) as usize;
            let last = ((middle + support + 0.5) as usize).min(span.have as usize);
            let weights = (first..last).map(|x| filter.weight((x as f64 - middle + 0.5) / widened));
            let weights: Vec<f64> = weights.collect();
            let sum: f64 = weights.iter().sum();
            (first, weights.into_iter().map(|weight| weight / sum).collect())
        };
        Self((0..count).map(of).collect())
    }

    /// The results along a line of samples that lie `step` apart from `start` on.
    fn sums(&self, samples: &[f32], step: usize, start: usize) -> impl Iterator<Item = f32> {
        self.0.iter().map(move |(first, weights)| {
            let line = samples.iter().skip(start + first * step).step_by(step);
            line.zip(weights).map(|(sample, weight)| f64::from(*sample) * weight).sum::<f64>() as f32
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        channels: usize,
        have: [u32; 2],
        want: [u32; 2],
        filter: Filter,
        values: Vec<f32>,
    }

    /// As `noise` in tools/reference/pictures.py.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state = (state * 1_103_515_245 + 12345) % (1 << 31);
            (state >> 16) as u8
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn values_are_pillows_of_mode_f() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/golden/resize_float.json")).unwrap();
        assert_eq!(cases.len(), 6);
        for Case { channels, have: [width, height], want, filter, values } in cases {
            let size = Size::new(width, height);
            let data = noise(size.area() as usize * channels);
            let image = Image8 { size, channels, data };
            let ours = resize_float(&image, Size::new(want[0], want[1]), filter);
            assert_eq!(ours.len(), values.len());
            for (ours, theirs) in ours.iter().zip(&values) {
                assert!((ours - theirs).abs() < 1e-4, "{width}×{height} to {want:?}: {ours} for {theirs}");
            }
        }
    }

    #[test]
    fn nothing_stays_nothing() {
        let image = Image8 { size: Size::new(0, 3), channels: 3, data: vec![] };
        assert_eq!(resize_float(&image, Size::new(2, 1), Filter::Bicubic), [0.0; 6]);
        let image = Image8 { size: Size::new(1, 1), channels: 1, data: vec![7] };
        assert_eq!(resize_float(&image, Size::new(0, 1), Filter::Bicubic), [0.0; 0]);
        assert_eq!(resize_float(&image, Size::new(2, 1), Filter::Bicubic), [7.0; 2]);
    }
}
