//! Exposure fusion (Mertens, Kautz and Van Reeth 2009, "Exposure Fusion: A Simple and Practical Alternative to High
//! Dynamic Range Photography") and its extension against halos and washed-out ranges (Hessel and Morel 2020, "An Extended
//! Exposure Fusion and its Application to Single Image Contrast Enhancement").

mod ghost;

use std::borrow::Cow;

use pulp::Arch;
use rayon::prelude::*;

use super::{BlendError, alike, luma};
use crate::geometry::Size;
use crate::preprocess::Planes;
use crate::pyramid::{self, Blend, Border};

/// How a pixel's weight is made: each measure to its power (section 3.1 of Mertens et al.).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// The power of contrast, the absolute response of a Laplacian filter on luma.
    pub contrast: f64,
    /// The power of saturation, the standard deviation of red, green and blue; without effect on grey pictures.
    pub saturation: f64,
    /// The power of well-exposedness, a Gaussian around the middle of the range, multiplied over the channels.
    pub exposedness: f64,
    /// The Gaussian's standard deviation.
    pub sigma: f64,
}

impl Exposure {
    /// Levels and borders as OpenCV's `MergeMertens` has them for pictures of this size.
    pub fn like_opencv(size: Size) -> Self {
        Self { levels: Some(pyramid::levels(size) + 1), border: Border::Mirrored, ..Self::default() }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self { contrast: 1.0, saturation: 1.0, exposedness: 1.0, sigma: 0.2 }
    }
}

/// The extension: every picture stands for several, each of which keeps its contrast in a part of the range and is flat
/// outside of it, so that no fused detail leaves the range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extended {
    /// The part of the range, above 0 to 1 (β); ⌈1/β⌉ pictures are made of each.
    pub range: f64,
    /// How fast contrast falls outside of it (λ).
    pub decay: f64,
}

impl Default for Extended {
    fn default() -> Self {
        Self { range: 0.3, decay: 0.125 }
    }
}

/// Against what moved between the exposures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deghost {
    /// The picture, from 0, whose contents count where others differ; the middle one when left out.
    pub reference: Option<usize>,
    /// Difference from what the reference lets expect, as part of the range, at which a pixel's weight has fallen to 0.6.
    pub tolerance: f64,
}

impl Default for Deghost {
    fn default() -> Self {
        Self { reference: None, tolerance: 0.06 }
    }
}

/// Settings of [`fuse_exposures`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Exposure {
    /// The measures.
    pub weights: Weights,
    /// Levels of the pyramid; ⌊log₂ of the shorter side⌋ when left out.
    pub levels: Option<usize>,
    /// What stands beyond the borders of its levels. The coarsest have few pixels, so that borders and number of levels show in
    /// the whole picture.
    pub border: Border,
    /// The extension.
    pub extended: Option<Extended>,
    /// Against moved objects.
    pub deghost: Option<Deghost>,
}

/// A bracketed sequence as one picture in which everything is well exposed, and each picture's share at every pixel
/// (one plane each). Pictures have 1 or 3 channels in 0 to 1; the result may leave the range a little: clip it, or
/// [`stretch`] it.
///
/// # Errors
/// [`BlendError`] for pictures that differ in size or channels; options out of range.
pub fn fuse_exposures(pictures: &[&Planes], options: &Exposure) -> Result<(Planes, Vec<Planes>), BlendError> {
    let first = alike(pictures)?;
    check(options, pictures.len())?;
    let size = first.size;
    let views = views(pictures.len(), options.extended);
    let ghosts = options.deghost.map(|deghost| ghost::trust(pictures, deghost));
    let mut weights: Vec<Vec<f32>> = views
        .iter()
        .map(|view| {
            let seen = view.of(pictures[view.picture]);
            let mut weights = measure(&seen, &options.weights);
            if let Some(remap) = &view.remap {
                remap.discount(pictures[view.picture], &mut weights);
            }
            if let Some(trust) = ghosts.as_ref().map(|g| &g[view.picture]) {
                weights.iter_mut().zip(trust).for_each(|(w, t)| *w *= t);
            }
            weights
        })
        .collect();
    normalize(&mut weights);
    let count = options.levels.unwrap_or_else(|| pyramid::levels(size));
    let mut fused = Blend::new(first.channels, size, count, options.border);
    for (view, weights) in views.iter().zip(&weights) {
        fused.add(&view.of(pictures[view.picture]), weights);
    }
    let fused = fused.collapse();
    Ok((fused, shares(pictures.len(), &views, weights, size)))
}

fn check(options: &Exposure, pictures: usize) -> Result<(), BlendError> {
    let Weights { contrast, saturation, exposedness, sigma } = options.weights;
    let powers = [("contrast", contrast), ("saturation", saturation), ("exposedness", exposedness)];
    if let Some((name, value)) = powers.into_iter().find(|(_, v)| !(0.0..=100.0).contains(v)) {
        return Err(BlendError::Option(format!("the power of {name} is {value}; give 0 to 100")));
    }
    if !(sigma > 0.0 && sigma <= 10.0) {
        return Err(BlendError::Option(format!("sigma is {sigma}; give more than 0, at most 10")));
    }
    if let Some(Extended { range, decay }) = options.extended
        && !((0.02..=0.99).contains(&range) && (0.0..1.0).contains(&decay))
    {
        return Err(BlendError::Option(format!(
            "a range of {range} with decay {decay}; give a range of 0.02 to 0.99 and a decay of 0 to below 1"
        )));
    }
    if let Some(Deghost { reference, tolerance }) = options.deghost {
        if reference.is_some_and(|number| number >= pictures) {
            return Err(BlendError::Option(format!(
                "there is no reference picture beyond the {pictures} given"
            )));
        }
        if !(tolerance > 0.0 && tolerance <= 1.0) {
            return Err(BlendError::Option(format!(
                "a tolerance of {tolerance}; give more than 0, at most 1"
            )));
        }
    }
    Ok(())
}

/// A picture as it is fused: itself, or with another range.
struct View {
    picture: usize,
    remap: Option<Remap>,
}

impl View {
    fn of<'a>(&self, picture: &'a Planes) -> Cow<'a, Planes> {
        match &self.remap {
            None => Cow::Borrowed(picture),
            Some(remap) => Cow::Owned(remap.apply(picture)),
        }
    }
}

fn views(pictures: usize, extended: Option<Extended>) -> Vec<View> {
    let Some(Extended { range, decay }) = extended else {
        return (0..pictures).map(|picture| View { picture, remap: None }).collect();
    };
    let count = (1.0 / range).ceil().max(2.0);
    let centre = |k: usize| (1.0 - range / 2.0) - k as f64 * (1.0 - range) / (count - 1.0);
    let view = |picture, k| View { picture, remap: Some(Remap { centre: centre(k), range, decay }) };
    (0..pictures).flat_map(|picture| (0..count as usize).map(move |k| view(picture, k))).collect()
}

/// The function that keeps values within its range and flattens those outside (equation 2 of Hessel and Morel).
struct Remap {
    centre: f64,
    range: f64,
    decay: f64,
}

impl Remap {
    /// How far outside of the range a value lies.
    fn beyond(&self, value: f64) -> f64 {
        (value - self.centre).abs() - self.range / 2.0
    }

    fn value(&self, value: f64) -> f64 {
        let beyond = self.beyond(value);
        if beyond <= 0.0 {
            return value;
        }
        let (a, square) = (self.range / 2.0 + self.decay, self.decay * self.decay);
        let fall = if beyond + self.decay > 0.0 { square / (beyond + self.decay) } else { 0.0 };
        ((value - self.centre).signum() * (a - fall) + self.centre).clamp(0.0, 1.0)
    }

    fn slope(&self, value: f64) -> f64 {
        let beyond = self.beyond(value);
        if beyond <= 0.0 {
            return 1.0;
        }
        let divisor = beyond + self.decay;
        if divisor > 0.0 { (self.decay / divisor).powi(2) } else { 0.0 }
    }

    fn apply(&self, picture: &Planes) -> Planes {
        let data = picture.data.par_iter().map(|v| self.value(f64::from(*v)) as f32).collect();
        Planes { channels: picture.channels, size: picture.size, data }
    }

    /// Weights fall where the function is flat, multiplied over the channels.
    fn discount(&self, picture: &Planes, weights: &mut [f32]) {
        for plane in picture.data.chunks_exact(weights.len().max(1)) {
            weights.par_iter_mut().zip(plane).for_each(|(w, v)| *w *= self.slope(f64::from(*v)) as f32);
        }
    }
}

/// The product of the three measures at every pixel (equation 1 of Mertens et al.).
fn measure(picture: &Planes, weights: &Weights) -> Vec<f32> {
    let Size { width, .. } = picture.size;
    let (width, area) = (width as usize, picture.size.area() as usize);
    let grey = luma(picture);
    let planes: Vec<&[f32]> = picture.data.chunks_exact(area).collect();
    let spread = (-0.5 / (weights.sigma * weights.sigma)) as f32;
    let mut out = vec![0.0f32; area];
    let arch = Arch::new();
    out.par_chunks_mut(width).enumerate().for_each(|(y, out)| {
        let row = |y: usize| &grey[y.min(area / width - 1) * width..][..width];
        let (above, here, below) = (row(y.saturating_sub(1)), row(y), row(y + 1));
        arch.dispatch(|| contrast(above, here, below, out));
        power(out, weights.contrast);
        let rows: Vec<&[f32]> = planes.iter().map(|plane| &plane[y * width..][..width]).collect();
        let mut of_row = vec![0.0f32; width];
        if let [r, g, b] = rows[..] {
            arch.dispatch(|| saturation(r, g, b, &mut of_row));
            power(&mut of_row, weights.saturation);
            out.iter_mut().zip(&of_row).for_each(|(w, s)| *w *= s);
        }
        of_row.fill(0.0);
        for row in &rows {
            of_row.iter_mut().zip(*row).for_each(|(sum, v)| *sum += (v - 0.5) * (v - 0.5));
        }
        let power = spread * weights.exposedness as f32;
        out.iter_mut().zip(&of_row).for_each(|(w, sum)| *w *= (sum * power).exp());
    });
    out
}

fn power(values: &mut [f32], power: f64) {
    if power == 0.0 {
        values.fill(1.0);
    } else if power != 1.0 {
        values.iter_mut().for_each(|v| *v = v.powf(power as f32));
    }
}

/// |4·v − left − right − above − below|, the edge pixel repeated.
#[inline(always)]
fn contrast(above: &[f32], here: &[f32], below: &[f32], out: &mut [f32]) {
    let n = out.len();
    let (above, here, below) = (&above[..n], &here[..n], &below[..n]);
    let at = |i: usize, left: f32, right: f32| (above[i] + below[i] + left + right - 4.0 * here[i]).abs();
    if n == 1 {
        out[0] = at(0, here[0], here[0]);
        return;
    }
    out[0] = at(0, here[0], here[1]);
    for i in 1..n - 1 {
        out[i] = at(i, here[i - 1], here[i + 1]);
    }
    out[n - 1] = at(n - 1, here[n - 2], here[n - 1]);
}

#[inline(always)]
fn saturation(r: &[f32], g: &[f32], b: &[f32], out: &mut [f32]) {
    let n = out.len();
    let (r, g, b) = (&r[..n], &g[..n], &b[..n]);
    for i in 0..n {
        let mean = (r[i] + g[i] + b[i]) / 3.0;
        let [r, g, b] = [r[i] - mean, g[i] - mean, b[i] - mean];
        out[i] = ((r * r + g * g + b * b) / 3.0).sqrt();
    }
}

/// Weights to the sum 1 at every pixel; equal ones where all vanish.
fn normalize(weights: &mut [Vec<f32>]) {
    /// Mertens' code adds it to every weight.
    const LEAST: f32 = 1e-12;
    let Some(area) = weights.first().map(Vec::len) else { return };
    let mut sums = vec![0.0f32; area];
    for plane in weights.iter_mut() {
        sums.par_iter_mut().zip(plane).for_each(|(sum, w)| {
            *w += LEAST;
            *sum += *w;
        });
    }
    weights.par_iter_mut().for_each(|plane| plane.iter_mut().zip(&sums).for_each(|(w, sum)| *w /= sum));
}

/// Each picture's share: the sum of its views'.
fn shares(pictures: usize, views: &[View], weights: Vec<Vec<f32>>, size: Size) -> Vec<Planes> {
    let mut shares: Vec<Planes> = vec![Planes { channels: 1, size, data: Vec::new() }; pictures];
    for (view, weights) in views.iter().zip(weights) {
        let share = &mut shares[view.picture].data;
        if share.is_empty() {
            *share = weights;
        } else {
            share.iter_mut().zip(weights).for_each(|(sum, w)| *sum += w);
        }
    }
    shares
}

/// Brings a picture's range to 0 to 1, clipping at most `white` and `black` per cent of the pixels, a pixel counting as
/// soon as one channel clips ("Simplest Color Balance", Limare et al. 2011, as Hessel's programs apply it).
pub fn stretch(picture: &mut Planes, white: f64, black: f64) {
    let area = picture.size.area() as usize;
    if area == 0 || picture.data.len() < area {
        return;
    }
    let extreme = |choose: fn(f32, f32) -> f32| {
        let mut values = picture.data[..area].to_vec();
        for plane in picture.data.chunks_exact(area).skip(1) {
            values.iter_mut().zip(plane).for_each(|(v, other)| *v = choose(*v, *other));
        }
        values
    };
    let nth = |mut values: Vec<f32>, place: f64| {
        let place = (place.max(0.0) as usize).min(area - 1);
        *values.select_nth_unstable_by(place, f32::total_cmp).1
    };
    let pixels = area as f64;
    let top = nth(extreme(f32::max), (pixels - white.clamp(0.0, 100.0) * pixels / 100.0).ceil() - 1.0);
    let bottom = nth(extreme(f32::min), (1.0 + black.clamp(0.0, 100.0) * pixels / 100.0).floor() - 1.0);
    if top > bottom {
        picture.data.par_iter_mut().for_each(|v| *v = ((*v - bottom) / (top - bottom)).clamp(0.0, 1.0));
    }
}
