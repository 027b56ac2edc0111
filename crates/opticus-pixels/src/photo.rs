//! A picture to be worked on and written again: its own depth, alpha and colour profile are kept.

use ::image::codecs::{jpeg::JpegEncoder, png::PngEncoder, tiff::TiffEncoder};
use ::image::{DynamicImage, ExtendedColorType, ImageEncoder};
use pulp::Arch;
use rayon::prelude::*;

use crate::codec::{CodecError, Format};
use crate::geometry::Size;
use crate::image::Image8;
use crate::preprocess::Planes;

/// Bits a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// 8 bits: levels 0 to 255.
    #[default]
    Eight,
    /// 16 bits: levels 0 to 65535.
    Sixteen,
}

impl Depth {
    /// The greatest level.
    pub const fn top(self) -> f32 {
        match self {
            Self::Eight => 255.0,
            Self::Sixteen => 65_535.0,
        }
    }
}

/// A picture of any depth in display values, with what a file says beside its colours.
#[derive(Clone, Debug, PartialEq)]
pub struct Photo {
    /// Grey (1 channel) or red, green and blue (3), 0 to 1 as displayed (sRGB-coded unless the profile says otherwise).
    pub colour: Planes,
    /// Straight alpha of each pixel, 0 to 1; none for an opaque picture.
    pub alpha: Option<Vec<f32>>,
    /// The depth it came in and is written with.
    pub depth: Depth,
    /// The ICC profile of its colours.
    pub profile: Option<Vec<u8>>,
}

impl Photo {
    /// A decoded picture with 16 bits where it has them.
    pub(crate) fn from_dynamic(picture: DynamicImage, profile: Option<Vec<u8>>) -> Self {
        let size = Size::new(picture.width(), picture.height());
        match picture {
            DynamicImage::ImageLuma8(p) => eight(size, 1, p.as_raw(), profile),
            DynamicImage::ImageLumaA8(p) => eight(size, 2, p.as_raw(), profile),
            DynamicImage::ImageRgb8(p) => eight(size, 3, p.as_raw(), profile),
            DynamicImage::ImageRgba8(p) => eight(size, 4, p.as_raw(), profile),
            DynamicImage::ImageLuma16(p) => sixteen(size, 1, p.as_raw(), profile),
            DynamicImage::ImageLumaA16(p) => sixteen(size, 2, p.as_raw(), profile),
            DynamicImage::ImageRgb16(p) => sixteen(size, 3, p.as_raw(), profile),
            DynamicImage::ImageRgba16(p) => sixteen(size, 4, p.as_raw(), profile),
            other => eight(size, 4, other.into_rgba8().as_raw(), profile),
        }
    }

    /// A picture of 8 bits.
    pub fn from_image8(image: &Image8) -> Self {
        eight(image.size, image.channels, &image.data, None)
    }

    /// Extent.
    pub fn size(&self) -> Size {
        self.colour.size
    }

    /// Grey repeated where colour is wanted.
    #[must_use]
    pub fn into_rgb(mut self) -> Self {
        if self.colour.channels == 1 {
            let grey = std::mem::take(&mut self.colour.data);
            self.colour.data = [&grey[..]; 3].concat();
            self.colour.channels = 3;
        }
        self
    }

    /// At another size: Keys' cubic, widened where the picture shrinks, as Pillow's `BICUBIC`.
    #[must_use]
    pub fn resized(&self, size: Size) -> Self {
        if size == self.size() || size.area() == 0 {
            return self.clone();
        }
        let area = self.size().area() as usize;
        let scaled = |plane: &[f32]| scaled(plane, self.size(), size);
        let data = self.colour.data.chunks_exact(area).flat_map(scaled).collect();
        Self {
            colour: Planes { channels: self.colour.channels, size, data },
            alpha: self.alpha.as_deref().map(scaled),
            depth: self.depth,
            profile: self.profile.clone(),
        }
    }

    /// Another picture in place of the colours, the rest as it is.
    #[must_use]
    pub fn with_colour(&self, colour: Planes) -> Self {
        let alpha = self.alpha.clone().filter(|alpha| alpha.len() as u64 == colour.size.area());
        Self { colour, alpha, depth: self.depth, profile: self.profile.clone() }
    }

    /// To 8 bits, the nearest level, with alpha if there is any.
    pub fn to_image8(&self) -> Image8 {
        let (channels, data) = self.interleaved(Depth::Eight, nearest8);
        // Grey with alpha has no place in `Image8`.
        if channels == 2 {
            let data = data.as_chunks::<2>().0.iter().flat_map(|&[v, a]| [v, v, v, a]).collect();
            return Image8 { size: self.size(), channels: 4, data };
        }
        Image8 { size: self.size(), channels, data }
    }

    /// Samples at a depth by `level`, which takes 0 to the depth's top to the nearest integer; channels interleaved, alpha last.
    fn interleaved<T: Copy + Default + Send + Sync>(
        &self,
        depth: Depth,
        level: impl Fn(f32) -> T + Sync,
    ) -> (usize, Vec<T>) {
        let area = self.size().area() as usize;
        let channels = self.colour.channels + usize::from(self.alpha.is_some());
        let top = depth.top();
        let mut data = vec![T::default(); area * channels];
        let planes: Vec<&[f32]> =
            self.colour.data.chunks_exact(area).chain(self.alpha.as_deref()).take(channels).collect();
        const PIXELS: usize = 1 << 12;
        let arch = Arch::new();
        data.par_chunks_mut(PIXELS * channels).enumerate().for_each(|(part, out)| {
            // Levels plane by plane first, which vector instructions do, then a copy into their places.
            let mut levels = vec![T::default(); channels * PIXELS];
            for (levels, plane) in levels.chunks_exact_mut(PIXELS).zip(&planes) {
                arch.dispatch(|| {
                    for (to, value) in levels.iter_mut().zip(&plane[part * PIXELS..]) {
                        *to = level(value.clamp(0.0, 1.0) * top);
                    }
                });
            }
            if let ([red, green, blue], 3) = (&levels.chunks_exact(PIXELS).collect::<Vec<_>>()[..], channels)
            {
                let (pixels, _) = out.as_chunks_mut::<3>();
                let colours = red.iter().zip(*green).zip(*blue);
                pixels.iter_mut().zip(colours).for_each(|(pixel, ((r, g), b))| *pixel = [*r, *g, *b]);
                return;
            }
            for (channel, levels) in levels.chunks_exact(PIXELS).enumerate() {
                for (pixel, level) in out.chunks_exact_mut(channels).zip(levels) {
                    pixel[channel] = *level;
                }
            }
        });
        (channels, data)
    }

    /// The bytes of a file: PNG and TIFF keep depth and alpha, JPEG has 8 bits and no alpha (`quality` 1 to 100); all keep the profile.
    ///
    /// # Errors
    /// [`CodecError::Unsupported`] for another format, or for what the format cannot hold.
    pub fn encode(&self, format: Format, quality: u8) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::new();
        let opaque;
        let mut photo = self;
        match format {
            Format::Png => photo.write(PngEncoder::new(&mut bytes))?,
            Format::Tiff => photo.write(TiffEncoder::new(std::io::Cursor::new(&mut bytes)))?,
            Format::Jpeg => {
                const LONGEST: u32 = 65_535;
                let Size { width, height } = self.size();
                if width > LONGEST || height > LONGEST {
                    return Err(CodecError::Unsupported(format!(
                        "a JPEG of {width}x{height} pixels; {LONGEST} is the most"
                    )));
                }
                if self.alpha.is_some() || self.depth != Depth::Eight {
                    opaque = Self { alpha: None, depth: Depth::Eight, ..self.clone() };
                    photo = &opaque;
                }
                photo.write(JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100)))?;
            }
            other => {
                return Err(CodecError::Unsupported(format!(
                    "{other} is not written; choose png, tiff or jpeg"
                )));
            }
        }
        Ok(bytes)
    }

    fn write(&self, mut encoder: impl ImageEncoder) -> Result<(), CodecError> {
        if let Some(profile) = &self.profile {
            // A format without profiles loses it; the colours stay.
            let _ = encoder.set_icc_profile(profile.clone());
        }
        let Size { width, height } = self.size();
        // TIFF has no grey with alpha here.
        let rgb;
        let photo = if self.alpha.is_some() && self.colour.channels == 1 {
            rgb = self.clone().into_rgb();
            &rgb
        } else {
            self
        };
        let (bytes, color) = match photo.depth {
            Depth::Eight => {
                let (channels, data) = photo.interleaved(Depth::Eight, nearest8);
                let colors = [ExtendedColorType::L8, ExtendedColorType::La8, ExtendedColorType::Rgb8];
                (data, colors.get(channels - 1).copied().unwrap_or(ExtendedColorType::Rgba8))
            }
            Depth::Sixteen => {
                let (channels, data) = photo.interleaved(Depth::Sixteen, nearest16);
                let colors = [ExtendedColorType::L16, ExtendedColorType::La16, ExtendedColorType::Rgb16];
                let bytes = data.iter().flat_map(|v| v.to_ne_bytes()).collect();
                (bytes, colors.get(channels - 1).copied().unwrap_or(ExtendedColorType::Rgba16))
            }
        };
        encoder.write_image(&bytes, width, height, color).map_err(CodecError::from_image)
    }
}

/// Of a sum with 2^23 the lowest bits are the other number's nearest integer, ties to even: rounding and conversion in
/// one addition, of numbers from 0 to far beyond 16 bits. What is not a number becomes 0.
const INTEGERS: f32 = (1u32 << 23) as f32;

#[inline(always)]
fn nearest8(level: f32) -> u8 {
    (level.max(0.0) + INTEGERS).to_bits() as u8
}

#[inline(always)]
fn nearest16(level: f32) -> u16 {
    (level.max(0.0) + INTEGERS).to_bits() as u16
}

/// sRGB's curve undone: display values to light, 0 to 1 (IEC 61966-2-1).
pub fn to_light(values: &mut [f32]) {
    values.par_iter_mut().for_each(|v| {
        *v = if *v <= 0.04045 { *v / 12.92 } else { ((*v + 0.055) / 1.055).powf(2.4) };
    });
}

/// Light to display values by sRGB's curve.
pub fn to_display(values: &mut [f32]) {
    values.par_iter_mut().for_each(|v| {
        *v = if *v <= 0.003_130_8 { *v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 };
    });
}

fn scaled(plane: &[f32], from: Size, to: Size) -> Vec<f32> {
    let [w, h, width] = [from.width as usize, from.height as usize, to.width as usize];
    let columns = taps(from.width, to.width);
    let rows = taps(from.height, to.height);
    let mut across = vec![0.0f32; width * h];
    across.par_chunks_mut(width).zip(plane.par_chunks(w)).for_each(|(out, row)| {
        out.iter_mut().zip(&columns).for_each(|(out, (first, weights))| {
            *out = row[*first..].iter().zip(weights).map(|(v, w)| v * w).sum();
        });
    });
    let mut out = vec![0.0f32; width * to.height as usize];
    out.par_chunks_mut(width).zip(&rows).for_each(|(out, (first, weights))| {
        for (row, weight) in across.chunks_exact(width).skip(*first).zip(weights) {
            out.iter_mut().zip(row).for_each(|(out, v)| *out += v * weight);
        }
        out.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
    });
    out
}

/// For each of `to` places the first of `from` that it is made of, and the weights from there on.
fn taps(from: u32, to: u32) -> Vec<(usize, Vec<f32>)> {
    let scale = f64::from(from) / f64::from(to);
    let widened = scale.max(1.0);
    let cubic = |x: f64| match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    };
    (0..to)
        .map(|i| {
            let centre = (f64::from(i) + 0.5) * scale;
            let first = (centre - 2.0 * widened).max(0.0) as usize;
            let last = ((centre + 2.0 * widened).ceil() as usize).min(from as usize).max(first + 1);
            let weights: Vec<f64> =
                (first..last).map(|k| cubic((k as f64 + 0.5 - centre) / widened)).collect();
            let sum: f64 = weights.iter().sum();
            (first, weights.iter().map(|w| (w / sum) as f32).collect())
        })
        .collect()
}

fn eight(size: Size, channels: usize, data: &[u8], profile: Option<Vec<u8>>) -> Photo {
    let levels: Vec<f32> = (0..=255u8).map(|v| f32::from(v) / 255.0).collect();
    planar(size, channels, data, |v| levels[usize::from(v)], Depth::Eight, profile)
}

fn sixteen(size: Size, channels: usize, data: &[u16], profile: Option<Vec<u8>>) -> Photo {
    planar(size, channels, data, |v| f32::from(v) / 65_535.0, Depth::Sixteen, profile)
}

fn planar<T: Copy + Sync>(
    size: Size,
    channels: usize,
    data: &[T],
    value: impl Fn(T) -> f32 + Sync,
    depth: Depth,
    profile: Option<Vec<u8>>,
) -> Photo {
    let area = size.area() as usize;
    let mut planes = vec![0.0f32; area * channels];
    planes.par_chunks_exact_mut(area.max(1)).enumerate().for_each(|(channel, plane)| {
        let samples = data.iter().skip(channel).step_by(channels);
        plane.iter_mut().zip(samples).for_each(|(to, from)| *to = value(*from));
    });
    let colours = if channels >= 3 { 3 } else { 1 };
    let alpha = (channels > colours).then(|| planes.split_off(area * colours));
    Photo { colour: Planes { channels: colours, size, data: planes }, alpha, depth, profile }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::{Limits, decode};
    use proptest::prelude::*;

    proptest! {
        /// What is written is what is read again: every level, alpha, profile.
        #[test]
        fn files_keep_depth_alpha_and_profile(
            [width, height] in [1u32..9, 1u32..9],
            channels in prop_oneof![Just(1usize), Just(3)],
            with_alpha: bool,
            deep: bool,
            seed: u32,
        ) {
            let size = Size::new(width, height);
            let area = size.area() as usize;
            let depth = if deep { Depth::Sixteen } else { Depth::Eight };
            let mut state = seed;
            let mut value = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 8) as f32 / (1 << 24) as f32 * depth.top()).round() / depth.top()
            };
            let data = (0..area * channels).map(|_| value()).collect();
            let alpha = with_alpha.then(|| (0..area).map(|_| value()).collect());
            let profile = Some(b"a profile, as far as anyone asks".to_vec());
            let photo = Photo { colour: Planes { channels, size, data }, alpha, depth, profile };
            for format in [Format::Png, Format::Tiff] {
                let bytes = photo.encode(format, 90).unwrap();
                let again = decode(&bytes, &Limits::default()).unwrap().into_photo();
                let wanted = if with_alpha { photo.clone().into_rgb() } else { photo.clone() };
                prop_assert_eq!(again.clone().into_rgb().colour, wanted.clone().into_rgb().colour);
                prop_assert_eq!(&again.alpha, &wanted.alpha);
                prop_assert_eq!(again.depth, depth);
                prop_assert_eq!(&again.profile, &photo.profile, "{}", format);
            }
        }
    }

    #[test]
    fn light_and_display_values_are_each_others_inverse() {
        let values: Vec<f32> = (0..=255u8).map(|v| f32::from(v) / 255.0).collect();
        let mut there = values.clone();
        to_light(&mut there);
        // The standard's own example: half of the display range is a fifth of the light.
        assert!((there[128] - 0.215_86).abs() < 1e-4);
        to_display(&mut there);
        assert!(there.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn resized_as_pictures_of_eight_bits_are() {
        use crate::resize::{Filter, resize};
        let size = Size::new(37, 23);
        let data = (0..37 * 23 * 3u32).map(|i| (i / 3 % 37 * 4 + i / 111 * 3 + i % 3 * 20) as u8).collect();
        let image = Image8 { size, channels: 3, data };
        for to in [Size::new(12, 40), Size::new(60, 9), size] {
            let ours = Photo::from_image8(&image).resized(to).to_image8();
            let theirs = resize(&image, to, Filter::Bicubic);
            // Rounding between the two passes, which 8 bits need.
            assert!(ours.data.iter().zip(&theirs.data).all(|(a, b)| a.abs_diff(*b) <= 1), "{to:?}");
        }
    }

    #[test]
    fn a_jpeg_drops_what_it_cannot_hold_and_other_formats_are_refused() {
        let size = Size::new(2, 1);
        let colour = Planes { channels: 3, size, data: vec![0.5; 6] };
        let photo = Photo { colour, alpha: Some(vec![0.0, 1.0]), depth: Depth::Sixteen, profile: None };
        let again =
            decode(&photo.encode(Format::Jpeg, 95).unwrap(), &Limits::default()).unwrap().into_photo();
        assert_eq!((again.alpha, again.depth, again.colour.size), (None, Depth::Eight, size));
        assert!(photo.encode(Format::Gif, 95).unwrap_err().to_string().contains("png"));
        assert_eq!(photo.to_image8().channels, 4);
    }
}
