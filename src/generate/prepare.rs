//! A picture as a network of this job sees it.

use opticus_pixels::preprocess::Fit;
use opticus_pixels::resize::{self, Filter};
use opticus_pixels::{Image8, Size};

/// A picture at the network's size: with alpha, the whole of it with nothing around; else the middle, filled.
pub fn prepare(image: &Image8, side: u32) -> Image8 {
    let frame = Size::new(side, side);
    if image.size == frame {
        return image.clone();
    }
    let (mut image, fit) = match image.channels {
        4 => (multiplied(image), Fit::Letterbox { fill: 0 }),
        _ => (image.clone(), Fit::CenterCrop { resize_shorter: side }),
    };
    // Pixel art doubled or halved stays crisp by other filters, but photos are what is resized most.
    image = resize::place(&image, &fit.placement(image.size, frame), Filter::Bicubic, 0);
    if image.channels == 4 { divided(image) } else { image }
}

/// Colour multiplied by alpha.
fn multiplied(image: &Image8) -> Image8 {
    let mut data = image.data.clone();
    for pixel in data.chunks_exact_mut(4) {
        let alpha = u32::from(pixel[3]);
        pixel[..3].iter_mut().for_each(|v| *v = ((u32::from(*v) * alpha + 127) / 255) as u8);
    }
    Image8 { data, ..*image }
}

/// Colour divided by alpha.
fn divided(mut image: Image8) -> Image8 {
    for pixel in image.data.chunks_exact_mut(4) {
        let alpha = u32::from(pixel[3]);
        let part = |v: u8| (u32::from(v) * 255 + alpha / 2).checked_div(alpha).unwrap_or(0).min(255) as u8;
        pixel[..3].iter_mut().for_each(|v| *v = part(*v));
    }
    image
}
