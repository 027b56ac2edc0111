//! Measures of pictures against their definitions written out in `tools/reference/quality.py`, and scikit-image.
#![allow(clippy::unwrap_used, missing_docs)]

use opticus_pixels::quality::score;
use opticus_pixels::{Image8, Size};
use proptest::prelude::*;

const SIZE: Size = Size { width: 192, height: 180 };

/// As the script makes them.
fn pictures() -> (Vec<Image8>, Image8, Image8) {
    let made = |value: &dyn Fn(i64, i64) -> i64| {
        let places = (0..180).flat_map(|y| (0..192).map(move |x| (x, y)));
        Image8 { size: SIZE, channels: 1, data: places.map(|(x, y)| value(x, y) as u8).collect() }
    };
    let a = |x: i64, y: i64| ((x * x + 3 * y * y) / 64 + 2 * x) % 256;
    let b = |x: i64, y: i64| (3 * y + (x * y) / 32) % 256;
    let c = |x: i64, y: i64| ((x - 96).abs() * 2 + y + (x / 8 + y / 8) % 2 * 40) % 256;
    let fused = made(&|x, y| (a(x, y) + b(x, y) + c(x, y)) / 3);
    let reference = made(&|x, y| (2 * a(x, y) + b(x, y) + c(x, y)) / 4);
    (vec![made(&a), made(&b), made(&c)], fused, reference)
}

#[test]
fn measures_are_their_definitions() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/quality.json")).unwrap();
    let (sources, fused, reference) = pictures();
    let scores = serde_json::to_value(score(&fused, &sources, Some(&reference)).unwrap()).unwrap();
    for (name, wanted) in golden.as_object().unwrap() {
        let field = name.strip_suffix("_skimage").unwrap_or(name);
        let (got, wanted) = (scores[field].as_f64().unwrap(), wanted.as_f64().unwrap());
        assert!((got - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{name}: {got}, not {wanted}");
    }
}

#[test]
fn without_a_reference_the_sources_count_and_sizes_must_agree() {
    let (sources, fused, reference) = pictures();
    let of = |sources: &[Image8], reference| score(&fused, sources, reference).unwrap();
    let mean = [0, 1].map(|i| of(&[], Some(&sources[i])).ssim.unwrap()).iter().sum::<f64>() / 2.0;
    assert!((of(&sources[..2], None).ssim.unwrap() - mean).abs() < 1e-12);
    let alone = of(&[], None);
    assert_eq!((alone.ssim, alone.qabf, alone.mutual_information, alone.psnr), (None, None, None, None));
    let small = Image8 { size: Size::new(4, 2), channels: 1, data: vec![0; 8] };
    let fault = score(&fused, &[reference, small.clone()], None).unwrap_err().to_string();
    assert!(fault.contains("source 2 is 4x2"), "{fault}");
    // Too small for windows, and equal: what does not apply is missing.
    let tiny = score(&small, std::slice::from_ref(&small), Some(&small)).unwrap();
    assert_eq!((tiny.ssim, tiny.ms_ssim, tiny.vif, tiny.psnr), (None, None, None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_picture_is_like_itself(width in 41u32..90, height in 41u32..90, seed: u32) {
        let size = Size::new(width, height);
        let mut state = seed;
        let mut next = || { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); (state >> 24) as u8 };
        let picture = Image8 { size, channels: 3, data: (0..3 * size.area()).map(|_| next()).collect() };
        let scores = score(&picture, std::slice::from_ref(&picture), None).unwrap();
        let close = |value: Option<f64>| value.is_some_and(|v| (v - 1.0).abs() < 1e-6);
        prop_assert!(close(scores.ssim) && close(scores.mef_ssim), "{scores:?}");
        prop_assert!((scores.mutual_information.unwrap() - scores.entropy).abs() < 1e-9);
        prop_assert!(scores.qabf.unwrap() > 0.97 && scores.psnr.is_none());
    }
}
