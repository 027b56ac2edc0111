//! Several pictures one after another: animated PNG (PNG third edition, 4.9) and GIF.

use ::gif::{DisposalMethod, Frame, Repeat};

use super::encode::{png_color, png_error};
use super::text::{add_texts, encoder};
use super::{CodecError, ColorMode};
use crate::image::Image8;

/// Animated PNG bytes: each frame is shown for `delay_ms` milliseconds, and after the last comes the first again.
/// Lossless; programs that know no animation show the first frame. `texts` as
/// [`encode_png_with_text`](super::encode_png_with_text).
///
/// # Errors
/// [`CodecError::Unsupported`] for no frames, frames of different sizes or channels, or texts that PNG cannot hold.
pub fn encode_apng(frames: &[Image8], delay_ms: u16, texts: &[(&str, &str)]) -> Result<Vec<u8>, CodecError> {
    let first = check(frames)?;
    let count = u32::try_from(frames.len()).map_err(|_| CodecError::Unsupported("too many frames".into()))?;
    let mut bytes = Vec::new();
    let mut encoder = encoder(&mut bytes, first)?;
    encoder.set_animated(count, 0).map_err(png_error)?;
    encoder.set_frame_delay(delay_ms, 1000).map_err(png_error)?;
    add_texts(&mut encoder, texts)?;
    let mut writer = encoder.write_header().map_err(png_error)?;
    for frame in frames {
        writer.write_image_data(&frame.data).map_err(png_error)?;
    }
    writer.finish().map_err(png_error)?;
    Ok(bytes)
}

/// Animated GIF bytes: each frame is shown for `delay_ms` milliseconds (GIF counts hundredths of a second, and most
/// programs show none for less than two), and after the last comes the first again. A frame of up to 256 colours is
/// kept exactly, another is brought to 256 (NeuQuant, Dekker 1994); what is less than half opaque becomes transparent,
/// and the rest opaque.
///
/// # Errors
/// [`CodecError::Unsupported`] for no frames, frames of different sizes or channels, or a side above 65,535 pixels.
pub fn encode_gif(frames: &[Image8], delay_ms: u16) -> Result<Vec<u8>, CodecError> {
    /// NeuQuant's sampling, 1 (best) to 30: one pixel of ten is learnt from.
    const SPEED: i32 = 10;
    let first = check(frames)?;
    let side = |pixels: u32| {
        u16::try_from(pixels).map_err(|_| CodecError::Unsupported(format!("a GIF of {pixels} pixels a side")))
    };
    let (width, height) = (side(first.size.width)?, side(first.size.height)?);
    let refused = |e: ::gif::EncodingError| CodecError::Unsupported(format!("a GIF cannot hold this: {e}"));
    let mut encoder = ::gif::Encoder::new(Vec::new(), width, height, &[]).map_err(refused)?;
    encoder.set_repeat(Repeat::Infinite).map_err(refused)?;
    let delay = (delay_ms.saturating_add(5) / 10).max(1);
    for picture in frames {
        let mut rgba = picture.to_mode(ColorMode::Rgba).data;
        for pixel in rgba.chunks_exact_mut(4) {
            // One transparent colour: another would be one of the 256 for nothing.
            if pixel[3] < 128 {
                pixel.fill(0);
            }
        }
        let mut frame = Frame::from_rgba_speed(width, height, &mut rgba, SPEED);
        frame.delay = delay;
        // Else a frame's colours would show through the next one's transparent parts.
        frame.dispose = DisposalMethod::Background;
        encoder.write_frame(&frame).map_err(refused)?;
    }
    encoder.into_inner().map_err(refused)
}

/// The first frame, once all are alike.
fn check(frames: &[Image8]) -> Result<&Image8, CodecError> {
    let first =
        frames.first().ok_or_else(|| CodecError::Unsupported("an animation without frames".into()))?;
    for frame in frames {
        png_color(frame)?;
        if frame.size != first.size || frame.channels != first.channels {
            return Err(CodecError::Unsupported(format!(
                "an animation of frames of {}x{} pixels and {} channels, and {}x{} and {}",
                first.size.width,
                first.size.height,
                first.channels,
                frame.size.width,
                frame.size.height,
                frame.channels
            )));
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Cursor;

    use super::*;
    use crate::codec::{Limits, decode, probe, read_png_text};
    use crate::geometry::Size;

    /// Waves of at most `levels` values a channel.
    fn frames(channels: usize, count: usize, levels: usize) -> Vec<Image8> {
        let size = Size::new(12, 9);
        let step = 255 / (levels - 1);
        let value =
            |f: usize, i: usize| ((f * 5 + i * 7 / channels + i % channels * 3) % levels * step) as u8;
        (0..count)
            .map(|f| Image8 { size, channels, data: (0..108 * channels).map(|i| value(f, i)).collect() })
            .collect()
    }

    #[test]
    fn an_animated_png_holds_every_frame() {
        for mode in [ColorMode::Grey, ColorMode::Rgb, ColorMode::Rgba] {
            let frames = frames(mode.channels(), 5, 256);
            let bytes = encode_apng(&frames, 70, &[("Comment", "a")]).unwrap();
            assert!(probe(&bytes, &Limits::default()).unwrap().animated);
            assert_eq!(read_png_text(&bytes).unwrap(), [("Comment".to_owned(), "a".to_owned())]);
            let mut reader = ::png::Decoder::new(Cursor::new(&bytes)).read_info().unwrap();
            assert_eq!(reader.info().animation_control().map(|a| (a.num_frames, a.num_plays)), Some((5, 0)));
            for frame in &frames {
                let mut data = vec![0; frame.data.len()];
                reader.next_frame(&mut data).unwrap();
                assert_eq!(data, frame.data);
                let control = reader.info().frame_control().unwrap();
                assert_eq!((control.delay_num, control.delay_den), (70, 1000));
            }
            assert_eq!(decode(&bytes, &Limits::default()).unwrap().into_image8(mode), frames[0]);
        }
    }

    /// All frames on their canvas, as RGBA.
    fn gif_frames(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let mut options = ::gif::DecodeOptions::new();
        options.set_color_output(::gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(Cursor::new(bytes)).unwrap();
        let mut all = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            all.push((frame.delay, frame.buffer.to_vec()));
        }
        all
    }

    #[test]
    fn a_gif_of_few_colours_is_exact() {
        for channels in [1, 3] {
            let frames = frames(channels, 4, if channels == 1 { 256 } else { 6 });
            let bytes = encode_gif(&frames, 70).unwrap();
            assert!(probe(&bytes, &Limits::default()).unwrap().animated);
            let back = gif_frames(&bytes);
            assert_eq!(back.len(), 4);
            for (frame, (delay, data)) in frames.iter().zip(back) {
                assert_eq!(delay, 7);
                assert_eq!(data, frame.to_mode(ColorMode::Rgba).data);
            }
        }
    }

    #[test]
    fn a_gif_is_transparent_or_opaque() {
        let size = Size::new(2, 2);
        let data = vec![9, 8, 7, 255, 1, 2, 3, 127, 200, 100, 50, 128, 5, 5, 5, 0];
        let frame = Image8 { size, channels: 4, data };
        let back = gif_frames(&encode_gif(&[frame], 100).unwrap());
        let data = &back[0].1;
        assert_eq!((&data[..4], &data[8..12]), (&[9, 8, 7, 255][..], &[200, 100, 50, 255][..]));
        assert_eq!([data[7], data[15]], [0, 0]);
    }

    #[test]
    fn a_gif_of_many_colours_is_near() {
        let size = Size::new(64, 64);
        let data = (0..64 * 64).flat_map(|i| [(i % 64 * 4) as u8, (i / 64 * 4) as u8, 90]).collect();
        let frame = Image8 { size, channels: 3, data };
        let back = gif_frames(&encode_gif(std::slice::from_ref(&frame), 100).unwrap());
        let rgba = frame.to_mode(ColorMode::Rgba).data;
        let sum: f64 = rgba.iter().zip(&back[0].1).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
        assert!(sum / (rgba.len() as f64) < 100.0, "{}", sum / rgba.len() as f64);
    }

    #[test]
    fn frames_that_do_not_fit_are_refused() {
        let mut frames = frames(3, 2, 256);
        frames[1].size = Size::new(9, 12);
        for result in [
            encode_apng(&frames, 1, &[]),
            encode_gif(&frames, 1),
            encode_apng(&[], 1, &[]),
            encode_gif(&[], 1),
        ] {
            assert!(matches!(result, Err(CodecError::Unsupported(_))));
        }
        frames[1].size = Size::new(12, 10);
        assert!(encode_apng(&frames[1..], 1, &[]).is_err());
    }
}
