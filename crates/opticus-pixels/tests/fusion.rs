//! Fused pictures against published results.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use opticus_pixels::blend::{Exposure, Extended, Gradients, Mask, clone_into, fuse_exposures, stretch};
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
