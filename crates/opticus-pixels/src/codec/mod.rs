//! Decoding and encoding of picture files: JPEG, PNG, WebP, BMP, GIF (first frame) and TIFF.
//!
//! Files are hostile until decoded. The format is recognised by content, never by name; sizes are checked against
//! [`Limits`] before memory is asked for; a truncated file is an error, not a half-grey picture; a decoder's own
//! panic is contained and reported as damage. EXIF orientation is always applied.

mod animation;
mod contain;
mod convert;
pub(crate) use convert::luma;
mod encode;
mod error;
mod gif;
mod jpeg;
mod probe;
mod text;

use std::io::{Cursor, Read};
use std::path::Path;

use ::image::codecs::{bmp::BmpDecoder, jpeg::JpegDecoder, png::PngDecoder};
use ::image::codecs::{tiff::TiffDecoder, webp::WebPDecoder};
use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder};

pub use animation::{encode_apng, encode_gif};
use contain::contained;
pub use convert::ColorMode;
pub use encode::{encode_jpeg, encode_png};
pub use error::CodecError;
use gif::FirstFrame;
pub use probe::{Probe, probe, probe_file};
pub use text::{encode_png_with_text, read_png_text};

use crate::geometry::Size;
use crate::image::Image8;
use crate::photo::Photo;

/// Bounds on what a file may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest width × height. The default is Pillow's error threshold, 178,956,970.
    pub max_pixels: u64,
    /// Largest decoded size in bytes, and largest memory for a decoder's own work.
    pub max_bytes: u64,
    /// Largest file read, in bytes.
    pub max_file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 178_956_970, max_bytes: 1 << 30, max_file_bytes: 512 << 20 }
    }
}

/// The formats read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JPEG: baseline and progressive; grey, YCbCr, CMYK, YCCK.
    Jpeg,
    /// PNG: all depths and colour types.
    Png,
    /// WebP: lossy and lossless.
    Webp,
    /// Windows bitmap.
    Bmp,
    /// GIF; the first frame.
    Gif,
    /// TIFF; the first page.
    Tiff,
}

impl Format {
    /// Recognises a format by its first bytes.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        let starts = |signature: &[u8]| bytes.starts_with(signature);
        if starts(&[0xff, 0xd8, 0xff]) {
            Some(Self::Jpeg)
        } else if starts(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::Webp)
        } else if starts(b"GIF87a") || starts(b"GIF89a") {
            Some(Self::Gif)
        } else if starts(b"II*\0") || starts(b"MM\0*") || starts(b"II+\0") || starts(b"MM\0+") {
            Some(Self::Tiff)
        } else if starts(b"BM") {
            Some(Self::Bmp)
        } else {
            None
        }
    }

    /// File name endings usual for the format, in lower case.
    pub const fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Jpeg => &["jpg", "jpeg", "jpe", "jfif"],
            Self::Png => &["png", "apng"],
            Self::Webp => &["webp"],
            Self::Bmp => &["bmp", "dib"],
            Self::Gif => &["gif"],
            Self::Tiff => &["tif", "tiff"],
        }
    }

    /// The format's name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Bmp => "bmp",
            Self::Gif => "gif",
            Self::Tiff => "tiff",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A decoded picture at its own depth, upright.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The format it came in.
    pub format: Format,
    picture: DynamicImage,
    profile: Option<Vec<u8>>,
}

impl Decoded {
    /// The picture at its own depth with alpha and colour profile.
    pub fn into_photo(self) -> Photo {
        Photo::from_dynamic(self.picture, self.profile)
    }

    /// Extent, after orientation.
    pub fn size(&self) -> Size {
        Size::new(self.picture.width(), self.picture.height())
    }

    /// The picture with 8 bits a channel, as Pillow's `convert("L")` and `convert("RGB")` give it: alpha is dropped,
    /// grey is ITU-R 601 luma.
    ///
    /// Pictures of 16 bits a channel go to the nearest level (`v / 257`, as libpng's `png_set_scale_16`). Pillow clips
    /// 16-bit grey at 255, which leaves nothing of most pictures, and cuts 16-bit colour to the high byte, up to one
    /// level lower.
    pub fn to_image8(&self, mode: ColorMode) -> Image8 {
        self.clone().into_image8(mode)
    }

    /// The picture with 8 bits a channel and its alpha, which is not multiplied in; 255 where the file has none.
    pub fn into_rgba(self) -> Image8 {
        Image8 { size: self.size(), channels: 4, data: self.picture.into_rgba8().into_raw() }
    }

    /// As [`Decoded::to_image8`], without a copy where the picture already has 8 bits and that mode.
    pub fn into_image8(self, mode: ColorMode) -> Image8 {
        convert::into_image8(self.picture, mode)
    }
}

/// Decodes a file.
///
/// # Errors
/// [`CodecError`]; it does not name the file, the caller does.
pub fn decode_file(path: &Path, limits: &Limits) -> Result<Decoded, CodecError> {
    decode(&read(path, limits)?, limits)
}

/// Decodes bytes.
///
/// # Errors
/// [`CodecError`] by fault: unsupported, damaged, truncated, too large.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, CodecError> {
    let format = Format::sniff(bytes).ok_or_else(|| CodecError::unrecognised(bytes))?;
    if format == Format::Jpeg {
        jpeg::check_complete(bytes)?;
    }
    contained(|| {
        let mut decoder = Decoder::open(bytes, format, limits)?;
        decoder.check(limits)?;
        let orientation = decoder.orientation();
        let profile = decoder.profile();
        let mut picture = decoder.decode(limits)?;
        picture.apply_orientation(orientation);
        Ok(Decoded { format, picture, profile })
    })
}

/// Reads a file within the limit on its size.
fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, CodecError> {
    let file = std::fs::File::open(path).map_err(CodecError::Io)?;
    let mut bytes = Vec::new();
    file.take(limits.max_file_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(CodecError::Io)?;
    if bytes.len() as u64 > limits.max_file_bytes {
        return Err(CodecError::TooLarge(format!("the file has more than {} bytes", limits.max_file_bytes)));
    }
    Ok(bytes)
}

/// One of the decoders, behind the questions we ask of all.
struct Decoder<'a>(Box<dyn ImageDecoder + 'a>);

impl<'a> Decoder<'a> {
    fn open(bytes: &'a [u8], format: Format, limits: &Limits) -> Result<Self, CodecError> {
        let reader = Cursor::new(bytes);
        let decoder: ::image::ImageResult<Box<dyn ImageDecoder + 'a>> = match format {
            Format::Jpeg => JpegDecoder::new(reader).map(|d| Box::new(d) as _),
            Format::Png => PngDecoder::new(reader).map(|d| Box::new(d) as _),
            Format::Webp => WebPDecoder::new(reader).map(|d| Box::new(d) as _),
            Format::Bmp => BmpDecoder::new(reader).map(|d| Box::new(d) as _),
            Format::Gif => FirstFrame::open(bytes, limits.max_bytes).map(|d| Box::new(d) as _),
            Format::Tiff => TiffDecoder::new(reader).map(|d| Box::new(d) as _),
        };
        decoder.map(Self).map_err(CodecError::from_image)
    }

    fn size(&self) -> Size {
        let (width, height) = self.0.dimensions();
        Size::new(width, height)
    }

    /// Refuses sizes beyond the limits, before any memory is asked for.
    fn check(&self, limits: &Limits) -> Result<(), CodecError> {
        let Size { width, height } = self.size();
        if width == 0 || height == 0 {
            return Err(CodecError::Damaged(format!("its header says {width}x{height} pixels")));
        }
        if self.size().area() > limits.max_pixels || self.0.total_bytes() > limits.max_bytes {
            return Err(CodecError::TooLarge(format!(
                "its header says {width}x{height} pixels ({} bytes decoded); the limit is {} pixels and {} bytes",
                self.0.total_bytes(),
                limits.max_pixels,
                limits.max_bytes
            )));
        }
        Ok(())
    }

    /// How to turn the picture upright; a damaged EXIF block turns nothing.
    fn orientation(&mut self) -> Orientation {
        self.0.orientation().unwrap_or(Orientation::NoTransforms)
    }

    /// The colour profile; a damaged one is none.
    fn profile(&mut self) -> Option<Vec<u8>> {
        const LONGEST: usize = 16 << 20;
        self.0.icc_profile().ok().flatten().filter(|profile| profile.len() <= LONGEST)
    }

    fn decode(mut self, limits: &Limits) -> Result<DynamicImage, CodecError> {
        let mut own = ::image::Limits::default();
        own.max_alloc = Some(limits.max_bytes);
        self.0.set_limits(own).map_err(CodecError::from_image)?;
        DynamicImage::from_decoder(self.0).map_err(CodecError::from_image)
    }
}
