//! What is said in a PNG beside its pixels: `iTXt` and `tEXt` chunks (PNG third edition, 11.3.3).

use std::io::Cursor;

use ::png::{Decoder, Encoder};

use super::contain::contained;
use super::encode::{png_color, png_error};
use super::{CodecError, Format};
use crate::image::Image8;

/// Longest text, in bytes, of what is read: a text that unfolds to more is left out.
const LONGEST: usize = 1 << 20;
/// Memory for all of a file's chunks but its pixels.
const MEMORY: usize = 16 << 20;

/// PNG bytes of a picture with texts beside it, each under a keyword of 1 to 79 Latin-1 characters; lossless, and the
/// same bytes for the same picture and texts.
///
/// # Errors
/// [`CodecError::Unsupported`] for a picture whose data does not fit its size, or another keyword.
pub fn encode_png_with_text(image: &Image8, texts: &[(&str, &str)]) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    let mut encoder = encoder(&mut bytes, image)?;
    add_texts(&mut encoder, texts)?;
    let mut writer = encoder.write_header().map_err(png_error)?;
    writer.write_image_data(&image.data).map_err(png_error)?;
    writer.finish().map_err(png_error)?;
    Ok(bytes)
}

/// A PNG encoder for pictures like this one.
pub(super) fn encoder<'a>(
    bytes: &'a mut Vec<u8>,
    image: &Image8,
) -> Result<Encoder<'a, &'a mut Vec<u8>>, CodecError> {
    let color = png_color(image)?;
    let mut encoder = Encoder::new(bytes, image.size.width, image.size.height);
    encoder.set_color(color);
    encoder.set_depth(::png::BitDepth::Eight);
    Ok(encoder)
}

/// Adds UTF-8 texts, uncompressed: `strings` and `grep` find them.
pub(super) fn add_texts<W: std::io::Write>(
    encoder: &mut Encoder<'_, W>,
    texts: &[(&str, &str)],
) -> Result<(), CodecError> {
    for (keyword, text) in texts {
        let latin =
            keyword.chars().all(|c| u32::from(c) < 256) && (1..=79).contains(&keyword.chars().count());
        if !latin || text.contains('\0') {
            return Err(CodecError::Unsupported(format!(
                "the text under {keyword:?}: a keyword has 1 to 79 Latin-1 characters, and no text the character 0"
            )));
        }
        encoder.add_itxt_chunk((*keyword).to_owned(), (*text).to_owned()).map_err(png_error)?;
    }
    Ok(())
}

/// The texts in front of a PNG's pixels: keywords and what is said, Latin-1 texts (`tEXt`, `zTXt`) first, each kind in
/// the file's order. A text that is damaged or unfolds to more than a mebibyte is left out.
///
/// # Errors
/// [`CodecError`] for bytes that are no PNG, end early, or ask for more memory than text needs.
pub fn read_png_text(bytes: &[u8]) -> Result<Vec<(String, String)>, CodecError> {
    match Format::sniff(bytes) {
        Some(Format::Png) => {}
        Some(other) => {
            return Err(CodecError::Unsupported(format!("the file is a {other} picture, not a PNG")));
        }
        None => return Err(CodecError::unrecognised(bytes)),
    }
    contained(|| {
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), ::png::Limits { bytes: MEMORY });
        decoder.set_ignore_iccp_chunk(true);
        let reader = decoder.read_info().map_err(decoding_error)?;
        let info = reader.info();
        let mut texts: Vec<(String, String)> =
            info.uncompressed_latin1_text.iter().map(|t| (t.keyword.clone(), t.text.clone())).collect();
        for text in &info.compressed_latin1_text {
            let mut text = text.clone();
            if text.decompress_text_with_limit(LONGEST).is_ok()
                && let Ok(said) = text.get_text()
            {
                texts.push((text.keyword, said));
            }
        }
        for text in &info.utf8_text {
            let mut text = text.clone();
            if text.decompress_text_with_limit(LONGEST).is_ok()
                && let Ok(said) = text.get_text()
            {
                texts.push((text.keyword, said));
            }
        }
        Ok(texts)
    })
}

fn decoding_error(error: ::png::DecodingError) -> CodecError {
    let text = error.to_string();
    match error {
        ::png::DecodingError::LimitsExceeded => CodecError::TooLarge(text),
        ::png::DecodingError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            CodecError::Truncated(text)
        }
        _ => CodecError::Damaged(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{ColorMode, Limits, decode, encode_png};
    use crate::geometry::Size;

    fn picture(channels: usize) -> Image8 {
        let size = Size::new(5, 3);
        Image8 { size, channels, data: (0..15 * channels).map(|i| (i * 37 % 256) as u8).collect() }
    }

    #[test]
    fn texts_come_back_and_pixels_stay() {
        for (channels, mode) in [(1, ColorMode::Grey), (3, ColorMode::Rgb), (4, ColorMode::Rgba)] {
            let image = picture(channels);
            let long = "ü€猫 ".repeat(3000);
            let texts = [("Comment", "a \"b\"\nc"), ("opticus", long.as_str()), ("empty", "")];
            let bytes = encode_png_with_text(&image, &texts).unwrap();
            assert_eq!(bytes, encode_png_with_text(&image, &texts).unwrap());
            let back = read_png_text(&bytes).unwrap();
            assert_eq!(back, texts.map(|(k, t)| (k.to_owned(), t.to_owned())));
            assert_eq!(decode(&bytes, &Limits::default()).unwrap().into_image8(mode), image);
        }
        assert!(read_png_text(&encode_png(&picture(3)).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn other_writers_texts_are_read() {
        let mut bytes = Vec::new();
        let image = picture(1);
        let mut encoder = encoder(&mut bytes, &image).unwrap();
        encoder.add_text_chunk("Title".into(), "Käse".into()).unwrap();
        encoder.add_ztxt_chunk("Packed".into(), "again and again ".repeat(50)).unwrap();
        // Unfolds to more than is read.
        encoder.add_ztxt_chunk("Bomb".into(), "0".repeat(LONGEST + 1)).unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&image.data).unwrap();
        writer.finish().unwrap();
        let texts = read_png_text(&bytes).unwrap();
        let expected = [("Title", "Käse".to_owned()), ("Packed", "again and again ".repeat(50))];
        assert_eq!(texts, expected.map(|(k, t)| (k.to_owned(), t)));
    }

    #[test]
    fn what_cannot_be_written_or_read_is_refused() {
        let image = picture(3);
        let long = "k".repeat(80);
        for keyword in ["", "猫", &long] {
            assert!(encode_png_with_text(&image, &[(keyword, "x")]).is_err(), "{keyword}");
        }
        assert!(encode_png_with_text(&image, &[("a", "x\0y")]).is_err());
        assert!(encode_png_with_text(&Image8 { channels: 2, ..image.clone() }, &[]).is_err());
        assert!(matches!(read_png_text(b""), Err(CodecError::Truncated(_))));
        assert!(matches!(read_png_text(b"GIF89a"), Err(CodecError::Unsupported(_))));
        let bytes = encode_png_with_text(&image, &[("a", "x")]).unwrap();
        assert!(read_png_text(&bytes[..40]).is_err());
    }

    proptest! {
        #[test]
        fn changed_files_never_panic(at in 8usize..200, to in any::<u8>(), cut in 0usize..200) {
            let mut bytes = encode_png_with_text(&picture(3), &[("opticus", "{\"seed\":1}"), ("Comment", "x")]).unwrap();
            let n = bytes.len();
            bytes[at % n] = to;
            let _ = read_png_text(&bytes);
            let _ = read_png_text(&bytes[..cut.min(n)]);
        }
    }
}
