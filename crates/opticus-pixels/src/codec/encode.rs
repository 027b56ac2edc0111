//! Pictures to files.

use ::image::codecs::{jpeg::JpegEncoder, png::PngEncoder};
use ::image::{ExtendedColorType, ImageEncoder as _};

use super::{CodecError, ColorMode};
use crate::image::Image8;

/// PNG bytes of a picture; lossless.
///
/// # Errors
/// [`CodecError::Unsupported`] for a picture whose data does not fit its size.
pub fn encode_png(image: &Image8) -> Result<Vec<u8>, CodecError> {
    let color = color(image)?;
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(&image.data, image.size.width, image.size.height, color)
        .map_err(CodecError::from_image)?;
    Ok(bytes)
}

/// Baseline JPEG bytes of a picture at full chroma resolution. `quality` is that of the IJG's tables, 1 to 100; what
/// lies outside counts as the nearest. JPEG has no alpha: it is dropped.
///
/// # Errors
/// [`CodecError::Unsupported`] for a picture whose data does not fit its size, or with a side above 65,535 pixels.
pub fn encode_jpeg(image: &Image8, quality: u8) -> Result<Vec<u8>, CodecError> {
    const LONGEST: u32 = 65_535;
    let opaque;
    let (image, color) = match color(image)? {
        ExtendedColorType::Rgba8 => {
            opaque = image.to_mode(ColorMode::Rgb);
            (&opaque, ExtendedColorType::Rgb8)
        }
        color => (image, color),
    };
    let (width, height) = (image.size.width, image.size.height);
    if width > LONGEST || height > LONGEST {
        return Err(CodecError::Unsupported(format!(
            "a JPEG of {width}x{height} pixels; {LONGEST} is the most"
        )));
    }
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100))
        .write_image(&image.data, width, height, color)
        .map_err(CodecError::from_image)?;
    Ok(bytes)
}

/// The PNG encoder's name of the picture's channels, once its data is known to fit.
pub(super) fn png_color(image: &Image8) -> Result<::png::ColorType, CodecError> {
    Ok(match color(image)? {
        ExtendedColorType::L8 => ::png::ColorType::Grayscale,
        ExtendedColorType::Rgba8 => ::png::ColorType::Rgba,
        _ => ::png::ColorType::Rgb,
    })
}

/// What the PNG encoder refuses.
pub(super) fn png_error(error: ::png::EncodingError) -> CodecError {
    match error {
        ::png::EncodingError::IoError(e) => CodecError::Io(e),
        other => CodecError::Unsupported(other.to_string()),
    }
}

/// The encoders' name of the picture's channels, once its data is known to fit.
fn color(image: &Image8) -> Result<ExtendedColorType, CodecError> {
    let color = match image.channels {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        4 => ExtendedColorType::Rgba8,
        n => return Err(CodecError::Unsupported(format!("a picture of {n} channels; it has 1, 3 or 4"))),
    };
    if image.size.area() == 0 {
        return Err(CodecError::Unsupported("a picture without pixels".into()));
    }
    if image.data.len() as u64 != image.size.area() * image.channels as u64 {
        return Err(CodecError::Unsupported("a picture whose data does not fit its size".into()));
    }
    Ok(color)
}
