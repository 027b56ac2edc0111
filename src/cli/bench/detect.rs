//! A detector's whole prediction, from decoded picture to boxes.

use std::path::Path;

use burn::tensor::Device;
use opticus_pixels::{Image8, Size};

use super::{BenchArgs, Work, repeat};
use crate::detect::Detector;
use crate::error::{Error, Result};

/// Milliseconds of each prediction for a picture of `--image-size` pixels down and a third more across.
pub fn time(work: Work, model: &Path, args: &BenchArgs, device: &Device) -> Result<Vec<f64>> {
    if work == Work::Train || args.batch_size != 1 {
        return Err(Error::Config(
            "a detector's model file is timed predicting one picture: bench infer --batch-size 1".to_owned(),
        ));
    }
    let detector = Detector::load(model, device)?;
    let image = picture(Size::new(args.image_size.saturating_mul(4) / 3, args.image_size));
    repeat(args.iterations, || detector.detect(&image).map(drop))
}

/// Waves of colour: neither flat nor noise.
pub fn picture(size: Size) -> Image8 {
    let (width, height) = (size.width, size.height);
    let value = |x: u32, y: u32, c: u32| {
        let (x, y, c) = (f64::from(x) / 40.0, f64::from(y) / 40.0, f64::from(c));
        (127.5 + 127.5 * (x * (1.0 + 0.1 * c) + c).sin() * (y * 1.3 - c).cos()) as u8
    };
    let data = (0..height)
        .flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| (x, y, c))))
        .map(|(x, y, c)| value(x, y, c))
        .collect();
    Image8 { size, channels: 3, data }
}
