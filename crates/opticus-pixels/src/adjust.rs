//! Colour and contrast adjustments, with the definitions of torchvision's PIL backend (`ImageEnhance`, `ImageOps`).
//!
//! All take grey or RGB pictures and keep their mode; alpha, where there is any, is left alone.

use crate::codec::luma;
use crate::image::Image8;

/// Applies a function to every colour sample.
fn map(image: &Image8, f: impl Fn(u8) -> u8) -> Image8 {
    let table: [u8; 256] = std::array::from_fn(|v| f(v as u8));
    tables(image, &[table; 3])
}

/// Applies one look-up table to each colour channel.
fn tables(image: &Image8, tables: &[[u8; 256]; 3]) -> Image8 {
    let mut data = image.data.clone();
    for pixel in data.chunks_exact_mut(image.channels) {
        for (sample, table) in pixel.iter_mut().zip(tables) {
            *sample = table[usize::from(*sample)];
        }
    }
    Image8 { data, ..*image }
}

/// `Image.blend(degenerate, image, factor)`: Pillow computes in f32, clips and truncates.
fn blend(degenerate: f32, sample: u8, factor: f32) -> u8 {
    (degenerate + factor * (f32::from(sample) - degenerate)).clamp(0.0, 255.0) as u8
}

/// Scales towards black: factor 0 is black, 1 the same picture, above 1 brighter.
pub fn brightness(image: &Image8, factor: f32) -> Image8 {
    map(image, |v| blend(0.0, v, factor))
}

/// Scales about the mean grey level (rounded, as Pillow does).
pub fn contrast(image: &Image8, factor: f32) -> Image8 {
    let pixels = image.size.area().max(1);
    let sum: u64 = image.data.chunks_exact(image.channels).map(|p| u64::from(luma(p))).sum();
    let mean = (sum as f64 / pixels as f64 + 0.5).floor() as f32;
    map(image, |v| blend(mean, v, factor))
}

/// Scales about each pixel's own grey: factor 0 is grey. Grey pictures stay as they are.
pub fn saturation(image: &Image8, factor: f32) -> Image8 {
    let mut data = image.data.clone();
    if image.channels >= 3 {
        for pixel in data.chunks_exact_mut(image.channels) {
            let grey = f32::from(luma(pixel));
            for sample in pixel.iter_mut().take(3) {
                *sample = blend(grey, *sample, factor);
            }
        }
    }
    Image8 { data, ..*image }
}

/// Turns the hue by `shift` of the colour circle, -0.5 to 0.5, in Pillow's 8-bit HSV. Grey pictures stay as they are.
pub fn hue(image: &Image8, shift: f32) -> Image8 {
    let mut data = image.data.clone();
    let turn = (shift * 255.0) as i32 as u8;
    if image.channels >= 3 {
        for pixel in data.chunks_exact_mut(image.channels) {
            if let [r, g, b, ..] = pixel {
                let [h, s, v] = to_hsv(*r, *g, *b);
                [*r, *g, *b] = from_hsv(h.wrapping_add(turn), s, v);
            }
        }
    }
    Image8 { data, ..*image }
}

/// Pillow's `rgb2hsv_row`.
fn to_hsv(r: u8, g: u8, b: u8) -> [u8; 3] {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let [rc, gc, bc] = [r, g, b].map(|c| f32::from(most - c) / range);
    let h = if r == most {
        bc - gc
    } else if g == most {
        2.0 + rc - bc
    } else {
        4.0 + gc - rc
    };
    let h = (h / 6.0 + 1.0).fract();
    [(h * 255.0) as u8, (range / f32::from(most) * 255.0) as u8, most]
}

/// Pillow's `hsv2rgb`.
fn from_hsv(h: u8, s: u8, v: u8) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let h = f32::from(h) * 6.0 / 255.0;
    let (sector, f) = (h.floor(), h - h.floor());
    let (s, value) = (f32::from(s) / 255.0, f32::from(v));
    let level = |x: f32| (value * x).round() as u8;
    let (p, q, t) = (level(1.0 - s), level(1.0 - s * f), level(1.0 - s * (1.0 - f)));
    match sector as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

/// Blends with a smoothed picture: factor 0 is smooth (kernel 1 1 1, 1 5 1, 1 1 1 over 13; borders kept), above 1
/// sharper.
pub fn sharpness(image: &Image8, factor: f32) -> Image8 {
    let (w, h, c) = (image.size.width as usize, image.size.height as usize, image.channels);
    let mut data = image.data.clone();
    for y in 1..h.saturating_sub(1) {
        for x in 1..w.saturating_sub(1) {
            for channel in 0..c.min(3) {
                let at = |dx: usize, dy: usize| {
                    f32::from(image.data[((y + dy - 1) * w + x + dx - 1) * c + channel])
                };
                let ring: f32 = (0..9).filter(|i| *i != 4).map(|i| at(i % 3, i / 3)).sum();
                let smooth = ((ring + 5.0 * at(1, 1)) / 13.0 + 0.5).floor();
                let place = (y * w + x) * c + channel;
                data[place] = blend(smooth, image.data[place], factor);
            }
        }
    }
    Image8 { data, ..*image }
}

/// Keeps the highest `bits` bits of each sample, 0 to 8.
pub fn posterize(image: &Image8, bits: u8) -> Image8 {
    let mask = !(0xffu16 >> bits.min(8)) as u8;
    map(image, |v| v & mask)
}

/// Inverts samples at or above `threshold`.
pub fn solarize(image: &Image8, threshold: u8) -> Image8 {
    map(image, |v| if v < threshold { v } else { 255 - v })
}

/// Stretches each channel to 0..=255.
pub fn autocontrast(image: &Image8) -> Image8 {
    per_channel(image, |histogram| {
        let low = histogram.iter().position(|n| *n > 0).unwrap_or(0);
        let high = histogram.iter().rposition(|n| *n > 0).unwrap_or(255);
        std::array::from_fn(|v| match high > low {
            true => {
                let scale = 255.0 / (high - low) as f64;
                (v as f64 * scale - low as f64 * scale).clamp(0.0, 255.0) as u8
            }
            false => v as u8,
        })
    })
}

/// Flattens each channel's histogram.
pub fn equalize(image: &Image8) -> Image8 {
    per_channel(image, |histogram| {
        let last = histogram.iter().rev().find(|n| **n > 0).copied().unwrap_or(0);
        let total: u64 = histogram.iter().sum();
        let step = (total - last) / 255;
        let mut before = step / 2;
        std::array::from_fn(|v| {
            let level = before.checked_div(step).unwrap_or(v as u64);
            before += histogram[v];
            level.min(255) as u8
        })
    })
}

fn per_channel(image: &Image8, table: impl Fn(&[u64; 256]) -> [u8; 256]) -> Image8 {
    let mut histograms = [[0u64; 256]; 3];
    for pixel in image.data.chunks_exact(image.channels) {
        for (sample, histogram) in pixel.iter().zip(&mut histograms) {
            histogram[usize::from(*sample)] += 1;
        }
    }
    tables(image, &histograms.map(|h| table(&h)))
}
