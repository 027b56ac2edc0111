//! Augmentation: random changes of training pictures that leave their class as it is.
//!
//! Each operation is torchvision's by definition and by the distribution of its draws, with its name; what it
//! lacks (elastic distortion) is by its paper. All draws come from the picture's own generator
//! ([`super::sampler::rng_for`]), so a run is the same for any number of threads.

mod config;
mod mix;
mod operations;
mod regions;
mod warp;

use opticus_pixels::preprocess::{Planes, Preprocessing};
use opticus_pixels::{Image8, Size, resize};
use rand::RngExt;

use super::sampler::DataRng;

pub use config::{
    Affine, AugmentConfig, ColorJitter, Elastic, PadCrop, RandAugment, RandomErasing, RandomResizedCrop,
};
pub use mix::{MixConfig, MixPlan, Region};
pub use regions::Part;
pub(in crate::data) use regions::uniform;
pub use warp::{AffineMap, Field, warp};

/// The way of a training picture from the decoder to the network: [`augment_image`], then
/// [`Preprocessing::normalize`], then erasing. With a configuration that does nothing it is
/// [`Preprocessing::apply`], the way of evaluation and prediction.
pub fn training_planes(
    picture: &Image8,
    config: &AugmentConfig,
    preprocessing: &Preprocessing,
    rng: &mut DataRng,
) -> Planes {
    let picture = augment_image(picture, config, preprocessing, rng);
    let mut planes = preprocessing.normalize(&picture);
    if let Some(part) = config.random_erasing.as_ref().and_then(|e| e.part(planes.size, rng)) {
        erase(&mut planes, part);
    }
    planes
}

/// The picture cut out, warped, flipped and recoloured, in the network's input size.
pub fn augment_image(
    picture: &Image8,
    config: &AugmentConfig,
    preprocessing: &Preprocessing,
    rng: &mut DataRng,
) -> Image8 {
    let mut picture = match &config.random_resized_crop {
        Some(crop) => {
            let Part { x, y, size } = crop.part(picture.size, rng);
            let part = resize::crop(picture, i64::from(x), i64::from(y), size);
            resize::resize(&part, preprocessing.size, preprocessing.filter)
        }
        None => preprocessing.geometry(picture),
    };
    if let Some(crop) = config.pad_crop.as_ref().filter(|c| c.padding > 0) {
        let mut shift = || i64::from(rng.random_range(0..=2 * crop.padding)) - i64::from(crop.padding);
        let (x, y) = (shift(), shift());
        picture = shifted(&picture, x, y, crop.fill);
    }
    if config.affine.is_some() || config.elastic.is_some() {
        let map = config.affine.as_ref().map_or(AffineMap::IDENTITY, |a| a.draw(picture.size, rng));
        let field = config.elastic.as_ref().and_then(|e| e.draw(picture.size, rng));
        let fill = config.affine.as_ref().map_or(Some(0), |a| a.fill);
        picture = warp(&picture, map, field.as_ref(), fill);
    }
    // The draws are made whatever the probability, so that changing one leaves the others as they were.
    let (flip, vertical) = (rng.random_bool(config.flip), rng.random_bool(config.vertical_flip));
    if flip {
        picture = resize::flip_horizontal(&picture);
    }
    if vertical {
        picture = resize::flip_vertical(&picture);
    }
    if let Some(jitter) = &config.color_jitter {
        picture = jitter.apply(picture, rng);
    }
    if let Some(augment) = &config.rand_augment {
        picture = augment.apply(picture, rng);
    }
    picture
}

/// Sets a part of every channel to 0: the mean, on normalised values.
pub fn erase(planes: &mut Planes, part: Part) {
    let width = planes.size.width as usize;
    let plane = planes.size.area() as usize;
    for channel in planes.data.chunks_exact_mut(plane.max(1)) {
        for row in channel.chunks_exact_mut(width).skip(part.y as usize).take(part.size.height as usize) {
            row[part.x as usize..(part.x + part.size.width) as usize].fill(0.0);
        }
    }
}

/// The part of the picture's own size that begins at (`x`, `y`); beyond the picture lies `fill`.
fn shifted(picture: &Image8, x: i64, y: i64, fill: u8) -> Image8 {
    let Size { width, height } = picture.size;
    let channels = picture.channels;
    let mut data = vec![fill; picture.data.len()];
    let (from_x, to_x) = (x.max(0) as usize, (-x).max(0) as usize);
    let columns = (i64::from(width) - x.abs()).max(0) as usize * channels;
    for row in 0..i64::from(height) {
        let from = row + y;
        if columns == 0 || !(0..i64::from(height)).contains(&from) {
            continue;
        }
        let start = |row: i64, column: usize| (row as usize * width as usize + column) * channels;
        data[start(row, to_x)..][..columns].copy_from_slice(&picture.data[start(from, from_x)..][..columns]);
    }
    Image8 { size: picture.size, channels, data }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::sampler::{Purpose, rng_for};
    use opticus_pixels::preprocess::{ChannelOrder, Fit};
    use opticus_pixels::resize::Filter;

    fn picture(width: u32, height: u32, channels: usize) -> Image8 {
        let data = (0..(width * height) as usize * channels).map(|i| (i * 53 % 251) as u8).collect();
        Image8 { size: Size::new(width, height), channels, data }
    }

    fn rng(i: u64) -> DataRng {
        rng_for(1, Purpose::Augment, 0, i)
    }

    fn everything() -> AugmentConfig {
        AugmentConfig {
            random_resized_crop: Some(RandomResizedCrop::default()),
            pad_crop: Some(PadCrop::default()),
            affine: Some(Affine { shear: 10.0, ..Affine::default() }),
            elastic: Some(Elastic::default()),
            flip: 0.5,
            vertical_flip: 0.5,
            color_jitter: Some(ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }),
            rand_augment: Some(RandAugment::default()),
            random_erasing: Some(RandomErasing { probability: 0.5, ..RandomErasing::default() }),
            mix: MixConfig { mixup: 0.2, cutmix: 1.0 },
        }
    }

    #[test]
    fn whatever_goes_in_the_network_gets_its_size() {
        everything().validate().unwrap();
        for (width, height) in [(1, 1), (1, 90), (300, 7), (64, 48)] {
            for channels in [1, 3] {
                let (picture, preprocessing) =
                    (picture(width, height, channels), preprocessing(24, channels));
                for i in 0..20 {
                    let planes = training_planes(&picture, &everything(), &preprocessing, &mut rng(i));
                    assert_eq!((planes.channels, planes.size), (channels, Size::new(24, 24)));
                    assert_eq!(planes.data.len(), channels * 24 * 24);
                    assert!(planes.data.iter().all(|v| v.is_finite()));
                }
            }
        }
    }

    #[test]
    fn the_same_generator_gives_the_same_picture() {
        let (picture, preprocessing) = (picture(40, 30, 3), preprocessing(24, 3));
        let of = |i| training_planes(&picture, &everything(), &preprocessing, &mut rng(i)).data;
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }

    #[test]
    fn doing_nothing_is_evaluations_way() {
        let (picture, preprocessing) = (picture(40, 30, 3), preprocessing(24, 3));
        let planes = training_planes(&picture, &AugmentConfig::default(), &preprocessing, &mut rng(0));
        assert_eq!(planes.data, preprocessing.apply(&picture).data);
    }

    #[test]
    fn shifting_leaves_fill_behind() {
        let small = picture(3, 2, 1);
        assert_eq!(shifted(&small, 0, 0, 9), small);
        let [a, b, c, d, e, f] = small.data[..] else { unreachable!() };
        assert_eq!(shifted(&small, 1, 0, 9).data, [b, c, 9, e, f, 9]);
        assert_eq!(shifted(&small, -2, 1, 9).data, [9, 9, d, 9, 9, 9]);
        assert_eq!(shifted(&small, 3, 0, 9).data, [9; 6]);
        assert_eq!(shifted(&small, 0, -5, 9).data, [9; 6]);
        assert_eq!(resize::flip_vertical(&small).data, [d, e, f, a, b, c]);
    }

    #[test]
    fn erasing_is_all_channels_of_the_part() {
        let mut planes = Planes { channels: 2, size: Size::new(4, 3), data: vec![1.0; 24] };
        erase(&mut planes, Part { x: 1, y: 1, size: Size::new(2, 2) });
        let expected = [1., 1., 1., 1., 1., 0., 0., 1., 1., 0., 0., 1.];
        assert_eq!(planes.data, [expected, expected].concat());
    }

    #[test]
    fn values_out_of_range_are_named() {
        let fault = |config: AugmentConfig| config.validate().unwrap_err().to_string();
        assert!(fault(AugmentConfig { flip: 1.5, ..Default::default() }).contains("augment.flip = 1.5"));
        assert!(fault(AugmentConfig { flip: f64::NAN, ..Default::default() }).contains("NaN"));
        let crop = RandomResizedCrop { scale: [0.9, 0.1], ..Default::default() };
        let message = fault(AugmentConfig { random_resized_crop: Some(crop), ..Default::default() });
        assert!(message.contains("random_resized_crop.scale = [0.9, 0.1]"), "{message}");
        let jitter = ColorJitter { hue: 0.6, ..Default::default() };
        assert!(fault(AugmentConfig { color_jitter: Some(jitter), ..Default::default() }).contains("hue"));
        let augment = RandAugment { n: 1, m: 31 };
        let message = fault(AugmentConfig { rand_augment: Some(augment), ..Default::default() });
        assert!(message.contains("between 0 and 30"), "{message}");
    }

    #[test]
    fn a_configuration_survives_toml() {
        let text = toml::to_string(&everything()).unwrap();
        assert_eq!(toml::from_str::<AugmentConfig>(&text).unwrap(), everything());
        assert_eq!(toml::from_str::<AugmentConfig>("").unwrap(), AugmentConfig::default());
        let some: AugmentConfig = toml::from_str("flip = 0.5\n[rand_augment]\nm = 5").unwrap();
        assert_eq!(some.rand_augment, Some(RandAugment { n: 2, m: 5 }));
        assert!(toml::from_str::<AugmentConfig>("[rand_augment]\nstrength = 5").is_err());
    }

    fn preprocessing(side: u32, channels: usize) -> Preprocessing {
        Preprocessing {
            size: Size::new(side, side),
            fit: Fit::CenterCrop { resize_shorter: side + 4 },
            filter: Filter::Bilinear,
            mean: vec![0.5; channels],
            std: vec![0.25; channels],
            channels: if channels == 1 { ChannelOrder::Grey } else { ChannelOrder::Rgb },
            scale: 1.0 / 255.0,
        }
    }
}
