//! The first frame of a GIF, on its canvas, in the palette's own colours.
//!
//! Pillow's reading, which keeps the palette's colour of a transparent pixel, where `image`'s decoder makes it black:
//! around a frame that is smaller than the canvas lies the transparent colour, or else the palette's first; a frame
//! that reaches beyond the canvas enlarges it.

use std::num::NonZeroU64;

use ::gif::{DecodeOptions, DecodingError, MemoryLimit};
use ::image::error::{LimitError, LimitErrorKind};
use ::image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageResult, error};

use crate::geometry::Size;

/// A GIF opened up to its first frame's data.
pub(super) struct FirstFrame<'a> {
    decoder: ::gif::Decoder<&'a [u8]>,
    canvas: Size,
    frame: Size,
    left: u32,
    top: u32,
    transparent: Option<u8>,
    palette: Vec<u8>,
}

impl<'a> FirstFrame<'a> {
    /// Reads up to the first frame's data, with at most `max_bytes` for a frame's indices.
    pub(super) fn open(bytes: &'a [u8], max_bytes: u64) -> ImageResult<Self> {
        let mut options = DecodeOptions::new();
        options
            .set_memory_limit(NonZeroU64::new(max_bytes).map_or(MemoryLimit::Unlimited, MemoryLimit::Bytes));
        let mut decoder = options.read_info(bytes).map_err(fault)?;
        let screen = Size::new(u32::from(decoder.width()), u32::from(decoder.height()));
        let frame = decoder.next_frame_info().map_err(fault)?;
        let frame = frame.ok_or_else(|| damaged("it has no frame".into()))?;
        let [left, top, width, height] = [frame.left, frame.top, frame.width, frame.height].map(u32::from);
        let transparent = frame.transparent;
        let own = frame.palette.clone();
        let palette = own.or_else(|| decoder.global_palette().map(<[u8]>::to_vec)).unwrap_or_default();
        Ok(Self {
            decoder,
            canvas: Size::new(screen.width.max(left + width), screen.height.max(top + height)),
            frame: Size::new(width, height),
            left,
            top,
            transparent,
            palette,
        })
    }
}

impl ImageDecoder for FirstFrame<'_> {
    fn dimensions(&self) -> (u32, u32) {
        (self.canvas.width, self.canvas.height)
    }

    fn color_type(&self) -> ColorType {
        ColorType::Rgb8
    }

    fn read_image(mut self, out: &mut [u8]) -> ImageResult<()> {
        let mut indices = vec![0; self.frame.area() as usize];
        self.decoder.read_into_buffer(&mut indices).map_err(fault)?;
        let palette = self.palette.as_chunks::<3>().0;
        let colour = |index: u8| palette.get(usize::from(index)).copied().unwrap_or_default();
        let row = self.canvas.width as usize * 3;
        if self.frame != self.canvas {
            out.as_chunks_mut::<3>().0.fill(colour(self.transparent.unwrap_or(0)));
        }
        let (left, width) = (self.left as usize * 3, self.frame.width as usize);
        let lines = out.chunks_exact_mut(row).skip(self.top as usize);
        for (line, indices) in lines.zip(indices.chunks_exact(width.max(1))) {
            for (pixel, index) in line[left..].as_chunks_mut::<3>().0.iter_mut().zip(indices) {
                *pixel = colour(*index);
            }
        }
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, out: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(out)
    }
}

fn damaged(text: String) -> ImageError {
    ImageError::Decoding(error::DecodingError::new(ImageFormat::Gif.into(), text))
}

fn fault(error: DecodingError) -> ImageError {
    match error {
        DecodingError::Io(e) => ImageError::IoError(e),
        DecodingError::UnexpectedEof => ImageError::IoError(std::io::ErrorKind::UnexpectedEof.into()),
        DecodingError::MemoryLimit | DecodingError::OutOfMemory => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
        }
        other => damaged(other.to_string()),
    }
}
