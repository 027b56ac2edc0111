//! Fused pictures against published results.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use opticus_pixels::align::{Alignment, align, warp};
use opticus_pixels::blend::{
    Exposure, Extended, Focus, FocusStack, Gradients, Mask, Reduction, clone_into, fuse_exposures, reduce,
    stretch,
};
use opticus_pixels::codec::{Limits, decode_file};
use opticus_pixels::photo::Photo;
use opticus_pixels::preprocess::Planes;

/// The folder of real data, or nothing with the reason printed.
fn data(folder: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("OPTICUS_SHARED_DATA").map(PathBuf::from);
    let usual = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").into();
    let path = shared.unwrap_or_else(usual).join("fusion").join(folder);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn photo(path: &Path) -> Photo {
    decode_file(path, &Limits::default()).unwrap().into_photo()
}

fn pictures(folder: &Path, names: &[&str]) -> Vec<Planes> {
    names.iter().map(|name| photo(&folder.join(name)).colour).collect()
}

/// In decibels, of 8-bit levels.
fn psnr(a: &Planes, b: &Planes) -> f64 {
    assert_eq!((a.size, a.channels), (b.size, b.channels));
    let level = |v: f32| f64::from((v.clamp(0.0, 1.0) * 255.0).round());
    let sum: f64 = a.data.iter().zip(&b.data).map(|(a, b)| (level(*a) - level(*b)).powi(2)).sum();
    10.0 * (255.0f64.powi(2) / (sum / a.data.len() as f64)).log10()
}

/// Hessel's `run_ef.m 1 1 0` and `runeef.m 0.3 1 1 0 1`, as published.
#[test]
fn exposure_fusion_equals_the_published_results() {
    let Some(folder) = data("exposure_grandcanal/test") else { return };
    let names = ["grandcanal_mean.jpg", "grandcanal_over.jpg", "grandcanal_under.jpg"];
    let stack = pictures(&folder, &names);
    let stack: Vec<&Planes> = stack.iter().collect();
    for (extended, expected, least) in
        [(None, "output_ef_expected.png", 40.0), (Some(Extended::default()), "output_eef_expected.png", 40.0)]
    {
        let (mut fused, shares) =
            fuse_exposures(&stack, &Exposure { extended, ..Exposure::default() }).unwrap();
        stretch(&mut fused, 1.0, 1.0);
        let reached = psnr(&fused, &photo(&folder.join(expected)).colour);
        println!("{expected}: {reached:.2} dB");
        assert!(reached >= least, "{expected}: {reached:.2} dB");
        let sum = |i: usize| shares.iter().map(|s| s.data[i]).sum::<f32>();
        assert!((0..shares[0].data.len()).all(|i| (sum(i) - 1.0).abs() < 1e-4));
    }
}

/// The published result of `poissonblending` with import gradients, the source 40 down and 30 to the left.
#[test]
fn seamless_cloning_equals_the_published_result() {
    let Some(folder) = data("poisson/testimages") else { return };
    let [source, target, expected] =
        ["test1_src.png", "test1_target.png", "test1_ret.png"].map(|name| photo(&folder.join(name)).colour);
    let mask = Mask::from_photo(&photo(&folder.join("test1_mask.png")));
    let start = std::time::Instant::now();
    let cloned = clone_into(&source, &mask, &target, [-30, 40], Gradients::Import).unwrap();
    println!("cloned in {:?}", start.elapsed());
    let (mut sum, mut count) = (0.0, 0);
    let [width, height] = [target.size.width as i64, target.size.height as i64];
    let area = target.size.area() as usize;
    for (i, inside) in mask.inside().into_iter().enumerate().filter(|(_, inside)| *inside) {
        let (x, y) = (i as i64 % i64::from(mask.size.width) - 30, i as i64 / i64::from(mask.size.width) + 40);
        assert!(inside);
        if (0..width).contains(&x) && (0..height).contains(&y) {
            for channel in 0..3 {
                let at = channel * area + (y * width + x) as usize;
                let level = |v: f32| f64::from((v.clamp(0.0, 1.0) * 255.0).round());
                sum += (level(cloned.data[at]) - level(expected.data[at])).powi(2);
                count += 1;
            }
        }
    }
    let reached = 10.0 * (255.0f64.powi(2) / (sum / f64::from(count))).log10();
    println!("inside the mask: {reached:.2} dB");
    assert!(reached >= 45.0, "{reached:.2} dB");
}

/// The result of PetteriAimonen's focus-stack, and cases whose truth is known.
#[test]
fn focus_stacks_are_sharp_everywhere() {
    if let Some(folder) = data("focus_pcb") {
        let names: Vec<String> = (1..=7).map(|i| format!("pcb_00{i}.jpg")).collect();
        let stack = pictures(&folder, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let start = std::time::Instant::now();
        let reference = &stack[3];
        let mut focus = FocusStack::new(reference.size, 3, &Focus::default()).unwrap();
        for (number, picture) in stack.iter().enumerate() {
            if number == 3 {
                focus.push(picture).unwrap();
                continue;
            }
            let found = align(reference, picture, &Alignment::default()).unwrap();
            focus.push(&warp(picture, &found.motion, reference.size).0).unwrap();
        }
        let stacked = focus.finish().unwrap();
        println!("stacked in {:?}", start.elapsed());
        let reached = psnr(&stacked.picture, &photo(&folder.join("expected.jpg")).colour);
        println!("pcb: {reached:.2} dB");
        if let Some(folder) = std::env::var_os("OPTICUS_LOOK").map(PathBuf::from) {
            let photo = Photo::from_image8(&opticus_pixels::Image8 {
                size: reference.size,
                channels: 1,
                data: vec![0; reference.size.area() as usize],
            });
            let bytes = photo
                .with_colour(stacked.picture.clone())
                .encode(opticus_pixels::codec::Format::Png, 90)
                .unwrap();
            std::fs::write(folder.join("pcb.png"), bytes).unwrap();
        }
        assert!(reached >= 28.0, "{reached:.2} dB");
    }
    if let Some(folder) = data("kodak_clean") {
        for name in ["1.png", "3.png", "5.png", "7.png"] {
            let clean = photo(&folder.join(name)).colour;
            let [left, right] = [true, false].map(|left| half_blurred(&clean, left));
            let mut focus = FocusStack::new(clean.size, 3, &Focus::default()).unwrap();
            focus.push(&left).unwrap();
            focus.push(&right).unwrap();
            let reached = psnr(&focus.finish().unwrap().picture, &clean);
            let mean = psnr(&reduce(&[&left, &right], Reduction::Mean).unwrap(), &clean);
            println!("{name}: {reached:.2} dB, the mean {mean:.2} dB");
            assert!(
                reached >= 40.0 && reached >= mean + 8.0,
                "{name}: {reached:.2} dB, the mean {mean:.2} dB"
            );
        }
    }
}

/// One half as through a lens out of focus: a Gaussian of 3 pixels.
fn half_blurred(picture: &Planes, left: bool) -> Planes {
    let [w, h] = [picture.size.width as usize, picture.size.height as usize];
    let taps: Vec<f32> = (-9..=9i32).map(|d| (-0.5 * (d as f32 / 3.0).powi(2)).exp()).collect();
    let sum: f32 = taps.iter().sum();
    let pass = |from: &[f32], along: bool| -> Vec<f32> {
        (0..w * h)
            .map(|i| {
                let (x, y) = ((i % w) as i64, (i / w) as i64);
                let at = |d: i64| match along {
                    true => y as usize * w + (x + d).clamp(0, w as i64 - 1) as usize,
                    false => (y + d).clamp(0, h as i64 - 1) as usize * w + x as usize,
                };
                (-9..=9i64).zip(&taps).map(|(d, t)| t / sum * from[at(d)]).sum()
            })
            .collect()
    };
    let mut out = picture.clone();
    for (plane, clean) in out.data.chunks_exact_mut(w * h).zip(picture.data.chunks_exact(w * h)) {
        let blurred = pass(&pass(clean, true), false);
        for (i, value) in plane.iter_mut().enumerate() {
            if (i % w < w / 2) == left {
                *value = blurred[i];
            }
        }
    }
    out
}

/// OpenCV's `MergeMertens` with the same weights, at every 16th pixel.
#[test]
fn exposure_fusion_is_opencvs() {
    let Some(folder) = data("exposure_house/house") else { return };
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/fusion.json")).unwrap();
    let stack = pictures(&folder, &["A.jpg", "B.jpg", "C.jpg", "D.jpg"]);
    let stack: Vec<&Planes> = stack.iter().collect();
    let fused = fuse_exposures(&stack, &Exposure::like_opencv(stack[0].size)).unwrap().0;
    let [w, h] = [fused.size.width as usize, fused.size.height as usize];
    let places = (0..3).flat_map(|c| {
        (0..h).step_by(16).flat_map(move |y| (0..w).step_by(16).map(move |x| (c * h + y) * w + x))
    });
    let wanted = golden["house"].as_array().unwrap();
    let (mut sum, mut count) = (0.0, 0usize);
    for (at, wanted) in places.zip(wanted) {
        let level = f64::from((fused.data[at].clamp(0.0, 1.0) * 255.0).round());
        sum += (level - wanted.as_f64().unwrap()).powi(2);
        count += 1;
    }
    assert_eq!(count, wanted.len());
    let reached = 10.0 * (255.0f64.powi(2) / (sum / count as f64)).log10();
    println!("house: {reached:.2} dB");
    assert!(reached >= 40.0, "{reached:.2} dB");
}
