//! Fusion by itself, from decoded pictures to the fused one, on made pictures.

use clap::{Args, ValueEnum};
use opticus_pixels::blend::{
    Exposure, Focus, FocusStack, Gradients, Mask, Transform, alpha8, clone_into, fuse_exposures,
    fuse_transform, multiband,
};
use opticus_pixels::inpaint::{Method, Options, inpaint};
use opticus_pixels::panorama::{Panorama, stitch};
use opticus_pixels::photo::Photo;
use opticus_pixels::resize::crop;
use opticus_pixels::{Image8, Size};

use super::super::{Global, output};
use super::detect::picture;
use super::{Measured, repeat};
use crate::error::{Error, Result};

/// Options of `bench fuse`.
#[derive(Args, Clone, Debug)]
pub struct FuseArgs {
    /// What to time.
    #[arg(long, value_name = "WORK")]
    pub work: FuseWork,
    /// Height of the pictures; the width is a third more.
    #[arg(long, default_value_t = 1200, value_name = "S", value_parser = clap::value_parser!(u32).range(64..=8192))]
    pub image_size: u32,
    /// Number of pictures, where the work takes any number.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=64))]
    pub count: u32,
    /// Runs to time, after warm-up; by default as many as fit in some seconds.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub iterations: Option<u32>,
}

/// A kind of fusion.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FuseWork {
    /// w·A + (1−w)·B of 8-bit colour.
    Alpha,
    /// Exposure fusion.
    Exposure,
    /// Focus stacking, without alignment.
    Focus,
    /// Seamless cloning of an ellipse half as wide and high as the picture.
    Clone,
    /// Multi-band blending of two halves.
    Multiband,
    /// The strongest details of Laplacian pyramids.
    Transform,
    /// Scratches over a twentieth of the picture restored, as `fuse inpaint` does it.
    Inpaint,
    /// The same by fast marching.
    March,
    /// Three overlapping parts of one picture joined.
    Panorama,
}

/// Runs `bench fuse`.
pub fn run(args: &FuseArgs, global: &Global) -> Result<()> {
    let size = Size::new(args.image_size.saturating_mul(4) / 3, args.image_size);
    let images: Vec<Image8> = (0..args.count).map(|i| exposed(&picture(size), i, args.count)).collect();
    let photos: Vec<Photo> = images.iter().map(Photo::from_image8).collect();
    let colours: Vec<_> = photos.iter().map(|p| &p.colour).collect();
    let fault = |e: opticus_pixels::blend::BlendError| Error::Input(e.to_string());
    let mask = |inside: &dyn Fn(f64, f64) -> bool| Mask {
        size,
        data: (0..size.area())
            .map(|i| {
                let (x, y) = (i % u64::from(size.width), i / u64::from(size.width));
                let [u, v] = [x as f64 / f64::from(size.width), y as f64 / f64::from(size.height)];
                f32::from(u8::from(inside(u, v)))
            })
            .collect(),
    };
    let ellipse = mask(&|u, v| (u - 0.5).hypot(v - 0.5) < 0.25);
    let halves = [mask(&|u, _| u < 0.5), mask(&|u, _| u >= 0.5)];
    // Slanting lines three pixels wide.
    let scratches: Vec<bool> = (0..size.area())
        .map(|i| (3 * (i % u64::from(size.width)) + 5 * (i / u64::from(size.width))) % 360 < 18)
        .collect();
    let restored = |method| {
        inpaint(colours[0], &scratches, &Options { method }).map_err(|e| Error::Input(e.to_string()))
    };
    let parts: Vec<Image8> = match args.work {
        FuseWork::Panorama => parts(&textured(size)),
        _ => Vec::new(),
    };
    // From bytes to bytes, as libraries of 8-bit pictures do it.
    let times = repeat(args.iterations, || {
        let fused = match args.work {
            FuseWork::Alpha => return alpha8(&images[0], &images[1], 0.3, false).map(drop).map_err(fault),
            FuseWork::Exposure => fuse_exposures(&colours, &Exposure::default()).map_err(fault)?.0,
            FuseWork::Focus => {
                let mut stack = FocusStack::new(size, 3, &Focus::default()).map_err(fault)?;
                colours.iter().try_for_each(|picture| stack.push(picture)).map_err(fault)?;
                stack.finish().map_err(fault)?.picture
            }
            FuseWork::Clone => {
                clone_into(colours[0], &ellipse, colours[1], [0, 0], Gradients::Import).map_err(fault)?
            }
            FuseWork::Multiband => multiband(&colours[..2], &halves, Some(6)).map_err(fault)?,
            FuseWork::Inpaint => restored(Method::Predictive)?,
            FuseWork::March => restored(Method::MARCH)?,
            FuseWork::Panorama => {
                let photos: Vec<Photo> = parts.iter().map(Photo::from_image8).collect();
                let joined =
                    stitch(&photos, &Panorama::default()).map_err(|e| Error::Input(e.to_string()))?;
                joined.0.to_image8();
                return Ok(());
            }
            FuseWork::Transform => fuse_transform(&colours, Transform::Laplacian).map_err(fault)?,
        };
        photos[0].with_colour(fused).to_image8();
        Ok(())
    })?;
    let measured = Measured::of(&times);
    if global.json {
        return output::json(&measured);
    }
    output::line(&format!(
        "{:?} {}x{}: median {:.1} ms, {:.1} to {:.1}",
        args.work, size.width, size.height, measured.median_ms, measured.min_ms, measured.max_ms
    ))
}

/// Overlapping parts, each half as wide as the picture.
fn parts(image: &Image8) -> Vec<Image8> {
    let Size { width, height } = image.size;
    let part = Size::new(width / 2, height);
    [0, width / 4, width / 2].map(|x| crop(image, x.into(), 0, part)).to_vec()
}

/// Blocks of many sizes and colours, none like another.
fn textured(size: Size) -> Image8 {
    let block = |x: u32, y: u32, c: u32, side: u32| {
        let mut h =
            (x / side).wrapping_mul(0x9E37_79B1) ^ (y / side).wrapping_mul(0x85EB_CA77) ^ (side * 31 + c / 3);
        h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
        (h ^ (h >> 13)) % 80
    };
    let value = |x: u32, y: u32, c: u32| (block(x, y, c, 64) + block(x, y, c, 24) + block(x, y, c, 11)) as u8;
    let data = (0..size.height)
        .flat_map(|y| (0..size.width).flat_map(move |x| (0..3).map(move |c| value(x, y, c))))
        .collect();
    Image8 { size, channels: 3, data }
}

/// Brighter or darker, and sharp in one part only.
fn exposed(image: &Image8, number: u32, of: u32) -> Image8 {
    let gain = 0.5 + f64::from(number) / f64::from(of.max(2) - 1);
    let data = image.data.iter().map(|v| (f64::from(*v) * gain).min(255.0) as u8).collect();
    Image8 { data, ..image.clone() }
}
