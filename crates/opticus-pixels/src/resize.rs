//! Resampling, cropping and mirroring, as Pillow and torchvision do them.

mod float;
mod passes;

pub use float::resize_float;

use serde::{Deserialize, Serialize};

use crate::geometry::{Placement, Size};
use crate::image::Image8;

/// Resampling filter; all but nearest widen when shrinking, so that nothing aliases (as Pillow's do).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The nearest sample.
    Nearest,
    /// A triangle of support 1.
    #[default]
    Bilinear,
    /// Keys' cubic with a = -0.5, support 2.
    Bicubic,
    /// A windowed sinc, support 3.
    Lanczos3,
}

/// The picture at another size: Pillow's `Image.resize`, to the bit. Colours of a translucent picture are weighted by their alpha, as there.
///
/// # Panics
/// If the picture's data does not fit its size.
pub fn resize(image: &Image8, size: Size, filter: Filter) -> Image8 {
    resample(image, size, &Part { x: 0, y: 0, size }, filter)
}

/// The picture scaled and laid into its frame, in one step: only what the frame shows is computed, so that a ribbon
/// of 1×60,000 pixels costs no more than its middle. Where the frame reaches beyond the picture it has the level
/// `fill`, in every channel.
///
/// # Panics
/// If the picture's data does not fit its size.
pub fn place(image: &Image8, placement: &Placement, filter: Filter, fill: u8) -> Image8 {
    let Placement { scaled, frame, x, y, .. } = *placement;
    // Along one side: where what is seen begins in the frame and in the scaled picture, and its length.
    let seen = |offset: i64, have: u32, want: u32| {
        let (from, to) = (offset.max(0), (offset + i64::from(have)).min(i64::from(want)));
        (from, (from - offset) as u32, (to - from).max(0) as u32)
    };
    let (left, part_x, width) = seen(x, scaled.width, frame.width);
    let (top, part_y, height) = seen(y, scaled.height, frame.height);
    let part = Part { x: part_x, y: part_y, size: Size::new(width, height) };
    let visible = match part.size.area() {
        0 => Image8 { size: part.size, channels: image.channels, data: Vec::new() },
        _ => resample(image, scaled, &part, filter),
    };
    if visible.size == frame { visible } else { window(&visible, -left, -top, frame, fill) }
}

/// The part of a picture whose top left corner is (`x`, `y`); black where it lies outside.
pub fn crop(image: &Image8, x: i64, y: i64, size: Size) -> Image8 {
    window(image, x, y, size, 0)
}

fn window(image: &Image8, x: i64, y: i64, size: Size, fill: u8) -> Image8 {
    let c = image.channels;
    let mut data = vec![fill; size.area() as usize * c];
    let (w, h) = (i64::from(image.size.width), i64::from(image.size.height));
    let (x0, x1) = (x.max(0), x.saturating_add(i64::from(size.width)).min(w));
    let (y0, y1) = (y.max(0), y.saturating_add(i64::from(size.height)).min(h));
    if x0 < x1 && y0 < y1 {
        let length = (x1 - x0) as usize * c;
        let from = image.data.chunks_exact(w as usize * c).skip(y0 as usize).take((y1 - y0) as usize);
        let to = data.chunks_exact_mut(size.width as usize * c).skip((y0 - y) as usize);
        let (source, target) = (x0 as usize * c, (x0 - x) as usize * c);
        for (from, to) in from.zip(to) {
            to[target..target + length].copy_from_slice(&from[source..source + length]);
        }
    }
    Image8 { size, channels: c, data }
}

/// Mirrors top and bottom.
pub fn flip_vertical(image: &Image8) -> Image8 {
    let row = (image.size.width as usize * image.channels).max(1);
    let data = image.data.chunks_exact(row).rev().flatten().copied().collect();
    Image8 { data, ..*image }
}

/// Mirrored left to right.
pub fn flip_horizontal(image: &Image8) -> Image8 {
    fn mirrored<const C: usize>(image: &Image8) -> Vec<u8> {
        let row = image.size.width as usize * C;
        let mut data = vec![0; image.data.len()];
        for (from, to) in image.data.chunks_exact(row.max(1)).zip(data.chunks_exact_mut(row.max(1))) {
            let (from, to) = (from.as_chunks::<C>().0, to.as_chunks_mut::<C>().0);
            for (from, to) in from.iter().rev().zip(to) {
                *to = *from;
            }
        }
        data
    }
    let data = match image.channels {
        1 => mirrored::<1>(image),
        3 => mirrored::<3>(image),
        _ => mirrored::<4>(image),
    };
    Image8 { data, ..*image }
}

/// A part of the scaled picture, in its pixels.
struct Part {
    x: u32,
    y: u32,
    size: Size,
}

/// A part of what the picture is when scaled to `scaled`.
fn resample(image: &Image8, scaled: Size, part: &Part, filter: Filter) -> Image8 {
    let have = image.size;
    assert_eq!(
        image.data.len() as u64,
        have.area() * image.channels as u64,
        "the data of a picture of {have:?}"
    );
    let channels = image.channels;
    if part.size.area() == 0 || have.area() == 0 {
        return Image8 { size: part.size, channels, data: vec![0; part.size.area() as usize * channels] };
    }
    if scaled == have {
        return crop(image, i64::from(part.x), i64::from(part.y), part.size);
    }
    let data = match (filter, channels) {
        (Filter::Nearest, _) => nearest(image, scaled, part),
        (_, 4) => {
            let opaque = Image8 { data: with_alpha(&image.data, multiplied), ..*image };
            with_alpha(&convolved(&opaque, scaled, part, filter), divided)
        }
        _ => convolved(image, scaled, part, filter),
    };
    Image8 { size: part.size, channels, data }
}

/// The sample in which each result's middle lies.
fn nearest(image: &Image8, scaled: Size, part: &Part) -> Vec<u8> {
    match image.channels {
        1 => nearest_of::<1>(image, scaled, part),
        3 => nearest_of::<3>(image, scaled, part),
        _ => nearest_of::<4>(image, scaled, part),
    }
}

fn nearest_of<const C: usize>(image: &Image8, scaled: Size, part: &Part) -> Vec<u8> {
    let columns = nearest_places(image.size.width, scaled.width, part.x, part.size.width);
    let rows = nearest_places(image.size.height, scaled.height, part.y, part.size.height);
    let pixels = image.data.as_chunks::<C>().0;
    let width = image.size.width as usize;
    let mut data = vec![0; columns.len() * rows.len() * C];
    let row = columns.len() * C;
    for (i, y) in rows.iter().enumerate() {
        let (done, out) = data.split_at_mut(i * row);
        // Enlarged rows repeat.
        if i > 0 && rows[i - 1] == *y {
            out[..row].copy_from_slice(&done[(i - 1) * row..]);
            continue;
        }
        let line = &pixels[y * width..][..width];
        for (out, x) in out[..row].as_chunks_mut::<C>().0.iter_mut().zip(&columns) {
            *out = line[*x];
        }
    }
    data
}

fn nearest_places(have: u32, scaled: u32, first: u32, count: u32) -> Vec<usize> {
    // Pillow sums up the step; where a middle falls on an edge the sum's rounding decides, so we sum too, except
    // over a length that no picture has.
    const LONGEST_SUM: u32 = 1 << 20;
    let step = f64::from(have) / f64::from(scaled);
    let mut place = step * 0.5;
    if first > LONGEST_SUM {
        place += step * f64::from(first);
    } else {
        (0..first).for_each(|_| place += step);
    }
    (0..count)
        .map(|_| {
            let at = place as usize;
            place += step;
            at.min(have as usize - 1)
        })
        .collect()
}

/// The two passes of a separable filter, rounded to 8 bits between them.
///
/// The columns come first, as in Pillow: cubic and windowed sinc overshoot at edges and are clipped there, so that the
/// order shows.
fn convolved(image: &Image8, scaled: Size, part: &Part, filter: Filter) -> Vec<u8> {
    let Size { width, height } = image.size;
    let down = Span::new(height, scaled.height, part.y, part.size.height);
    // The first pass needs only the rows that the second one looks at.
    let (first, last) = down.looked_at(filter);
    let between = if scaled.width == width {
        let window = Size::new(part.size.width, last - first);
        crop(image, i64::from(part.x), i64::from(first), window).data
    } else {
        let row = width as usize * image.channels;
        let across = Span::new(width, scaled.width, part.x, part.size.width);
        let rows = &image.data[first as usize * row..last as usize * row];
        match image.channels {
            1 => passes::columns::<1>(rows, &across, part.size.width, filter),
            3 => passes::columns::<3>(rows, &across, part.size.width, filter),
            _ => passes::columns::<4>(rows, &across, part.size.width, filter),
        }
    };
    let row = part.size.width as usize * image.channels;
    if scaled.height == height {
        let from = (part.y - first) as usize * row;
        return between[from..from + part.size.height as usize * row].to_vec();
    }
    let down = Span { have: last - first, from: down.from - f64::from(first), ..down };
    passes::rows(&between, row, &down, part.size.height, filter)
}

/// What a part of a scaled side covers of the side as it is.
struct Span {
    have: u32,
    from: f64,
    length: f64,
    /// Samples to one scaled one.
    scale: f64,
}

impl Span {
    fn new(have: u32, scaled: u32, first: u32, count: u32) -> Self {
        let at = |x: u64| (x as f64 * f64::from(have)) / f64::from(scaled);
        let from = at(u64::from(first));
        let to = at(u64::from(first) + u64::from(count)).min(f64::from(have));
        Self { have, from, length: to - from, scale: f64::from(have) / f64::from(scaled) }
    }

    /// The first sample that the filter looks at, and the one behind the last.
    fn looked_at(&self, filter: Filter) -> (u32, u32) {
        // Two more, so that no rounding cuts a kernel short.
        let reach = filter.support() * self.scale.max(1.0) + 2.0;
        let first = (self.from - reach).floor().max(0.0) as u32;
        (first, ((self.from + self.length + reach).ceil() as u32).min(self.have))
    }
}

/// Changes the colours of RGBA pixels by their alpha.
fn with_alpha(data: &[u8], change: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    let mut data = data.to_vec();
    for [r, g, b, alpha] in data.as_chunks_mut::<4>().0 {
        [*r, *g, *b] = [*r, *g, *b].map(|colour| change(colour, *alpha));
    }
    data
}

/// Pillow's `RGBA` to `RGBa`.
fn multiplied(colour: u8, alpha: u8) -> u8 {
    let product = u32::from(colour) * u32::from(alpha) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// Pillow's `RGBa` to `RGBA`.
fn divided(colour: u8, alpha: u8) -> u8 {
    match alpha {
        0 | 255 => colour,
        _ => (255 * u32::from(colour) / u32::from(alpha)).min(255) as u8,
    }
}
