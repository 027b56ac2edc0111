//! What a picture file says of itself, without decoding its pixels.

use std::path::Path;

use ::image::ImageDecoder as _;
use ::image::metadata::Orientation;

use super::{CodecError, Decoder, Format, Limits, contained, read};
use crate::geometry::Size;

/// A picture file's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// By content, not by name.
    pub format: Format,
    /// Extent as stored, before orientation.
    pub size: Size,
    /// Channels as stored: 1 grey, 2 grey with alpha, 3 colour, 4 colour with alpha or CMYK.
    pub channels: u8,
    /// Bits a channel.
    pub bit_depth: u8,
    /// Stored as cyan, magenta, yellow, black.
    pub cmyk: bool,
    /// EXIF orientation, 1 (upright) to 8.
    pub orientation: u8,
    /// Whether there are further frames or pages behind the first.
    pub animated: bool,
}

/// Reads a file's header.
///
/// # Errors
/// As [`super::decode_file`]; a size beyond the limits is an error here too.
pub fn probe_file(path: &Path, limits: &Limits) -> Result<Probe, CodecError> {
    probe(&read(path, limits)?, limits)
}

/// Reads a header.
///
/// # Errors
/// As [`super::decode`].
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<Probe, CodecError> {
    let format = Format::sniff(bytes).ok_or_else(|| CodecError::unrecognised(bytes))?;
    contained(|| {
        let mut decoder = Decoder::open(bytes, format, limits)?;
        decoder.check(limits)?;
        let stored = decoder.0.original_color_type();
        let cmyk = format == Format::Jpeg && jpeg_components(bytes) == Some(4)
            || matches!(stored, ::image::ExtendedColorType::Cmyk8 | ::image::ExtendedColorType::Cmyk16);
        let channels = if cmyk { 4 } else { stored.channel_count() };
        let bits = stored.bits_per_pixel() / u16::from(stored.channel_count().max(1));
        let orientation = decoder.orientation();
        Ok(Probe {
            format,
            size: decoder.size(),
            channels,
            bit_depth: bits.min(255) as u8,
            cmyk,
            orientation: if orientation == Orientation::NoTransforms { 1 } else { orientation.to_exif() },
            animated: is_animated(bytes, format),
        })
    })
}

/// The number of components in a JPEG's frame header (ITU-T T.81, B.2.2).
fn jpeg_components(bytes: &[u8]) -> Option<u8> {
    let mut at = 2;
    loop {
        while bytes.get(at)? == &0xff {
            at += 1;
        }
        let marker = *bytes.get(at)?;
        let length = usize::from(u16::from_be_bytes([*bytes.get(at + 1)?, *bytes.get(at + 2)?]));
        match marker {
            // DHT, JPG and DAC share the range of the frame headers.
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf => return bytes.get(at + 8).copied(),
            0xda | 0xd9 => return None,
            _ => {}
        }
        at += 1 + length.max(2);
        at += bytes.get(at..)?.iter().position(|b| *b == 0xff)?;
    }
}

/// Whether more frames follow the first, by the format's own sign.
fn is_animated(bytes: &[u8], format: Format) -> bool {
    let holds = |mark: &[u8]| bytes.windows(mark.len()).any(|w| w == mark);
    match format {
        // The animation control chunk comes before the first image data (PNG third edition, 11.3.6.1).
        Format::Png => bytes.windows(4).take_while(|w| *w != b"IDAT").any(|w| w == b"acTL"),
        Format::Webp => bytes.get(12..16) == Some(b"VP8X") && holds(b"ANMF"),
        Format::Gif => gif_frames(bytes) > 1,
        Format::Jpeg | Format::Bmp | Format::Tiff => false,
    }
}

/// Counts up to two frames by walking a GIF's blocks (GIF89a, sections 18 to 26).
fn gif_frames(bytes: &[u8]) -> usize {
    let walk = || -> Option<usize> {
        let table = |flags: u8| if flags & 0x80 != 0 { 3usize << ((flags & 7) + 1) } else { 0 };
        let sub_blocks = |mut at: usize| -> Option<usize> {
            loop {
                match *bytes.get(at)? {
                    0 => return Some(at + 1),
                    n => at += 1 + usize::from(n),
                }
            }
        };
        let mut at = 13 + table(*bytes.get(10)?);
        let mut frames = 0;
        loop {
            match *bytes.get(at)? {
                0x21 => at = sub_blocks(at + 2)?,
                0x2c => {
                    frames += 1;
                    if frames > 1 {
                        return Some(frames);
                    }
                    at = sub_blocks(at + 10 + table(*bytes.get(at + 9)?) + 1)?;
                }
                _ => return Some(frames),
            }
        }
    };
    walk().unwrap_or(1)
}
