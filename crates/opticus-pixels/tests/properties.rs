//! What holds for every picture and for any bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::LazyLock;

use opticus_pixels::codec::{ColorMode, Limits, decode, encode_jpeg, encode_png, probe};
use opticus_pixels::preprocess::Fit;
use opticus_pixels::resize::{Filter, crop, flip_horizontal, place, resize};
use opticus_pixels::{Image8, Size};
use proptest::collection::vec;
use proptest::prelude::*;

fn picture(channels: impl Strategy<Value = usize>) -> impl Strategy<Value = Image8> {
    (1u32..40, 1u32..40, channels).prop_flat_map(|(width, height, channels)| {
        vec(any::<u8>(), (width * height) as usize * channels).prop_map(move |data| Image8 {
            size: Size::new(width, height),
            channels,
            data,
        })
    })
}

fn any_channels() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1), Just(3), Just(4)]
}

fn any_filter() -> impl Strategy<Value = Filter> {
    prop_oneof![Just(Filter::Nearest), Just(Filter::Bilinear), Just(Filter::Bicubic), Just(Filter::Lanczos3)]
}

fn size(most: u32) -> impl Strategy<Value = Size> {
    (1..most, 1..most).prop_map(|(width, height)| Size::new(width, height))
}

/// One file of each format, to break.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode");
    let names = [
        "png_palette4_clear.png",
        "png_rgba8_interlaced.png",
        "jpg_baseline_420.jpg",
        "jpg_progressive_422.jpg",
        "jpg_ycck.jpg",
        "gif_small_clear.gif",
        "tiff_rgb8_lzw_predictor.tiff",
        "tiff_cmyk8.tiff",
        "bmp_palette8.bmp",
        "webp_lossy_alpha.webp",
        "webp_lossless_alpha.webp",
    ];
    names.iter().map(|name| std::fs::read(folder.join(name)).expect(name)).collect()
});

/// How files begin.
const STARTS: [&[u8]; 9] = [
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"RIFF\0\x01\0\0WEBPVP8L",
    b"RIFF\0\x01\0\0WEBPVP8X",
];

/// Small enough that a lie about the size is found out.
const LIMITS: Limits = Limits { max_pixels: 1 << 16, max_bytes: 1 << 20, max_file_bytes: 1 << 20 };

/// An error or a picture that keeps the limits; a panic would fail the test.
fn read(bytes: &[u8]) -> Result<(), TestCaseError> {
    let _ = probe(bytes, &LIMITS);
    if let Ok(picture) = decode(bytes, &LIMITS) {
        prop_assert!(picture.size().area() <= LIMITS.max_pixels);
        let size = picture.size();
        prop_assert_eq!(picture.into_image8(ColorMode::Rgb).data.len() as u64, size.area() * 3);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_picture_or_an_error(
        start in 0..STARTS.len(),
        rest in vec(any::<u8>(), 0..600),
    ) {
        read(&[STARTS[start], &rest].concat())?;
    }

    #[test]
    fn a_broken_file_is_a_picture_or_an_error(
        seed in 0..11usize,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = SEEDS[seed].clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read(&bytes)?;
    }

    #[test]
    fn png_keeps_every_sample(image in picture(any_channels())) {
        let decoded = decode(&encode_png(&image).unwrap(), &Limits::default()).unwrap();
        let back = match image.channels {
            1 => decoded.into_image8(ColorMode::Grey),
            3 => decoded.into_image8(ColorMode::Rgb),
            _ => decoded.into_rgba(),
        };
        prop_assert_eq!(back, image);
    }

    #[test]
    fn jpeg_keeps_flat_pictures(size in size(40), level in any::<u8>(), channels in any_channels()) {
        let image = Image8 { size, channels, data: vec![level; size.area() as usize * channels] };
        let decoded = decode(&encode_jpeg(&image, 95).unwrap(), &Limits::default()).unwrap();
        let back = decoded.into_image8(ColorMode::Rgb);
        prop_assert_eq!(back.size, size);
        prop_assert!(back.data.iter().all(|v| v.abs_diff(level) <= 2), "{} became {:?}", level, &back.data[..3]);
    }

    #[test]
    fn mirrors_and_crops_undo_themselves(image in picture(any_channels()), x in 0i64..9, y in 0i64..9) {
        prop_assert_eq!(&flip_horizontal(&flip_horizontal(&image)), &image);
        prop_assert_eq!(&crop(&image, 0, 0, image.size), &image);
        // Black laid around and cut off again.
        let Size { width, height } = image.size;
        let around = crop(&image, -x, -y, Size::new(width + 9, height + 9));
        prop_assert_eq!(&crop(&around, x, y, image.size), &image);
        prop_assert!(around.data.iter().map(|v| u64::from(*v)).sum::<u64>() == image.data.iter().map(|v| u64::from(*v)).sum::<u64>());
        // A mirrored part is the part of the mirrored picture from the other side.
        let part = Size::new(width.div_ceil(2), height);
        let other = i64::from(width - part.width);
        prop_assert_eq!(flip_horizontal(&crop(&image, 0, 0, part)), crop(&flip_horizontal(&image), other, 0, part));
    }

    #[test]
    fn resizing_keeps_size_flatness_and_range(
        image in picture(any_channels()), want in size(60), filter in any_filter(), level in any::<u8>(),
    ) {
        prop_assert_eq!(&resize(&image, image.size, filter), &image);
        let flat = Image8 { data: vec![level; image.data.len()], ..image };
        let result = resize(&flat, want, filter);
        prop_assert_eq!((result.size, result.channels), (want, flat.channels));
        // Of a translucent picture the colours are multiplied by alpha and divided again.
        let colours = if flat.channels == 4 && filter != Filter::Nearest { 256 / usize::from(level).max(1) } else { 0 };
        prop_assert!(
            result.data.iter().all(|v| usize::from(v.abs_diff(level)) <= colours + 1),
            "{} became {:?}", level, &result.data[..result.channels]
        );
        let result = resize(&image, want, Filter::Nearest);
        prop_assert!(result.data.chunks(image.channels).all(|p| image.data.chunks(image.channels).any(|q| p == q)));
    }

    #[test]
    fn what_is_not_seen_need_not_be_computed(
        image in picture(prop_oneof![Just(1), Just(3)]), frame in size(30), shorter in 1u32..50, filter in any_filter(),
    ) {
        for fit in [Fit::CenterCrop { resize_shorter: shorter }, Fit::Stretch, Fit::Letterbox { fill: 114 }] {
            let placement = fit.placement(image.size, frame);
            let fill = if let Fit::Letterbox { fill } = fit { fill } else { 0 };
            let placed = place(&image, &placement, filter, fill);
            prop_assert_eq!(placed.size, frame);
            let whole = resize(&image, placement.scaled, filter);
            for y in 0..frame.height {
                for x in 0..frame.width {
                    let (sx, sy) = (i64::from(x) - placement.x, i64::from(y) - placement.y);
                    let inside = (0..i64::from(whole.size.width)).contains(&sx)
                        && (0..i64::from(whole.size.height)).contains(&sy);
                    for c in 0..image.channels {
                        let got = placed.data[(y * frame.width + x) as usize * image.channels + c];
                        let expected = if inside {
                            whole.data[(sy as usize * whole.size.width as usize + sx as usize) * image.channels + c]
                        } else {
                            fill
                        };
                        prop_assert!(got.abs_diff(expected) <= 1, "{fit:?} at {x},{y}: {got}, not {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_letterbox_keeps_the_aspect(picture in size(5000), frame in size(1500)) {
        let placement = Fit::Letterbox { fill: 0 }.placement(picture, frame);
        let (scaled, x, y) = (placement.scaled, placement.x, placement.y);
        // It fills one side, and the other is right to half a pixel.
        prop_assert!(scaled.width == frame.width || scaled.height == frame.height);
        prop_assert!(scaled.width <= frame.width && scaled.height <= frame.height);
        let ratio = |a: u32, b: u32| f64::from(a) / f64::from(b);
        let scale = ratio(frame.width, picture.width).min(ratio(frame.height, picture.height));
        for (have, is) in [(picture.width, scaled.width), (picture.height, scaled.height)] {
            let exact = (f64::from(have) * scale).max(1.0);
            prop_assert!((f64::from(is) - exact).abs() <= 0.5 + 1e-9, "{picture:?} to {scaled:?}");
        }
        // What is left over is as much on both sides, the odd pixel right and below.
        for (offset, is, want) in [(x, scaled.width, frame.width), (y, scaled.height, frame.height)] {
            let after = i64::from(want) - offset - i64::from(is);
            prop_assert!(offset >= 0 && (after == offset || after == offset + 1));
        }
        let [px, py] = placement.to_picture(placement.to_frame([3.5, 7.25]));
        prop_assert!((px - 3.5).abs() < 1e-6 && (py - 7.25).abs() < 1e-6);
    }

    #[test]
    fn orientations_are_the_symmetries_of_the_square(
        image in picture(Just(1usize)), first in 0..8usize, second in 0..8usize,
    ) {
        let product = compose(SYMMETRIES[second], SYMMETRIES[first]);
        let both = SYMMETRIES.iter().position(|s| *s == product).unwrap();
        let stepwise = turned(&turned(&image, first as u16 + 1), second as u16 + 1);
        prop_assert_eq!(&stepwise, &turned(&image, both as u16 + 1));
        // And each has an inverse.
        let inverse = SYMMETRIES.iter().position(|s| compose(*s, SYMMETRIES[first]) == SYMMETRIES[0]).unwrap();
        prop_assert_eq!(&turned(&turned(&image, first as u16 + 1), inverse as u16 + 1), &image);
    }
}

/// What EXIF orientations 1 to 8 do to a picture, as matrices on (x, y) with y downwards, column by column
/// (CIPA DC-008, 4.6.4: row 0 and column 0 of what is stored are the top, left… of what is seen).
const SYMMETRIES: [[i32; 4]; 8] = [
    [1, 0, 0, 1],
    [-1, 0, 0, 1],
    [-1, 0, 0, -1],
    [1, 0, 0, -1],
    [0, 1, 1, 0],
    [0, 1, -1, 0],
    [0, -1, -1, 0],
    [0, -1, 1, 0],
];

/// `after` following `before`.
fn compose(after: [i32; 4], before: [i32; 4]) -> [i32; 4] {
    let apply = |x: i32, y: i32| [after[0] * x + after[2] * y, after[1] * x + after[3] * y];
    let ([a, b], [c, d]) = (apply(before[0], before[1]), apply(before[2], before[3]));
    [a, b, c, d]
}

/// A grey picture through a TIFF file with an orientation.
fn turned(image: &Image8, orientation: u16) -> Image8 {
    let Size { width, height } = image.size;
    let area = image.data.len() as u32;
    let tags = [
        (256u16, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 122),
        (274, u32::from(orientation)),
        (278, height),
        (279, area),
    ];
    let mut file = b"II*\0\x08\0\0\0\x09\0".to_vec();
    for (tag, value) in tags {
        let kind: u16 = if tag == 274 { 3 } else { 4 };
        file.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        file.extend([1u32.to_le_bytes(), value.to_le_bytes()].concat());
    }
    file.extend([0; 4]);
    assert_eq!(file.len(), 122);
    file.extend(&image.data);
    decode(&file, &Limits::default()).unwrap().into_image8(ColorMode::Grey)
}

#[test]
fn a_ribbon_costs_no_more_than_its_middle() {
    let ribbon = Image8 {
        size: Size::new(1, 60_000),
        channels: 3,
        data: (0..180_000u32).map(|i| (i / 700) as u8).collect(),
    };
    let start = std::time::Instant::now();
    for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos3] {
        let placement = Fit::CenterCrop { resize_shorter: 256 }.placement(ribbon.size, Size::new(224, 224));
        assert_eq!(placement.scaled, Size::new(256, 15_360_000));
        let middle = place(&ribbon, &placement, filter, 0);
        // Row 30,000 of the ribbon, give or take the pixel that 256 rows blur.
        assert!(middle.data.iter().all(|v| v.abs_diff(128) <= 2), "{filter:?}: {:?}", &middle.data[..3]);
    }
    // Whole it would have 4 thousand million pixels.
    assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
}
