//! Resampling and cropping, as Pillow and torchvision do them.

use fast_image_resize as fir;
use serde::{Deserialize, Serialize};

use crate::geometry::Size;
use crate::image::Image8;

/// Resampling filter; all but nearest widen when shrinking, so that nothing aliases (as Pillow's do).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// The picture at another size.
pub fn resize(image: &Image8, size: Size, filter: Filter) -> Image8 {
    if image.size == size {
        return image.clone();
    }
    let kind = match image.channels {
        1 => fir::PixelType::U8,
        3 => fir::PixelType::U8x3,
        _ => fir::PixelType::U8x4,
    };
    let algorithm = match filter {
        Filter::Nearest => fir::ResizeAlg::Nearest,
        Filter::Bilinear => fir::ResizeAlg::Convolution(fir::FilterType::Bilinear),
        Filter::Bicubic => fir::ResizeAlg::Convolution(fir::FilterType::CatmullRom),
        Filter::Lanczos3 => fir::ResizeAlg::Convolution(fir::FilterType::Lanczos3),
    };
    let mut out = fir::images::Image::new(size.width, size.height, kind);
    let source = fir::images::ImageRef::new(image.size.width, image.size.height, &image.data, kind);
    if let Ok(source) = source {
        let options = fir::ResizeOptions::new().resize_alg(algorithm);
        let _ = fir::Resizer::new().resize(&source, &mut out, &options);
    }
    Image8 { size, channels: image.channels, data: out.into_vec() }
}

/// The part of a picture whose top left corner is (`x`, `y`); black where it lies outside.
pub fn crop(image: &Image8, x: i64, y: i64, size: Size) -> Image8 {
    let c = image.channels;
    let mut data = vec![0u8; size.area() as usize * c];
    let (w, h) = (i64::from(image.size.width), i64::from(image.size.height));
    let (x0, x1) = (x.max(0), (x + i64::from(size.width)).min(w));
    if x0 < x1 {
        for (row, out) in data.chunks_exact_mut(size.width as usize * c).enumerate() {
            let sy = y + row as i64;
            if sy < 0 || sy >= h {
                continue;
            }
            let from = ((sy * w + x0) as usize) * c;
            let length = (x1 - x0) as usize * c;
            let to = (x0 - x) as usize * c;
            out[to..to + length].copy_from_slice(&image.data[from..from + length]);
        }
    }
    Image8 { size, channels: c, data }
}

/// Mirrored left to right.
pub fn flip_horizontal(image: &Image8) -> Image8 {
    let row = image.size.width as usize * image.channels;
    let mut data = Vec::with_capacity(image.data.len());
    for line in image.data.chunks_exact(row) {
        for pixel in line.chunks_exact(image.channels).rev() {
            data.extend_from_slice(pixel);
        }
    }
    Image8 { data, ..*image }
}
