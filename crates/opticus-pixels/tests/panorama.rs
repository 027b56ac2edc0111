//! Panoramas against the scene that their pictures were made of, and of real pictures.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use opticus_pixels::Size;
use opticus_pixels::codec::{Limits, decode_file};
use opticus_pixels::panorama::{
    Composite, Panorama, PanoramaError, Projection, View, draw_pair, register, stitch,
};
use opticus_pixels::photo::{Depth, Photo};
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

fn photos(folder: &Path, names: &[&str]) -> Vec<Photo> {
    names.iter().map(|n| decode_file(&folder.join(n), &Limits::default()).unwrap().into_photo()).collect()
}

/// A number of 0 to 1 for each corner of a lattice.
fn corner(at: [i64; 3], seed: u64) -> f64 {
    let mut h = seed ^ 0x9E37_79B9_7F4A_7C15;
    for v in at {
        h = (h ^ v as u64).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        h ^= h >> 29;
    }
    (h >> 11) as f64 / (1u64 << 53) as f64
}

/// What is seen in a direction: smooth noise of several sizes (Perlin 1985).
fn scene([x, y, z]: [f64; 3], channel: u64, seed: u64) -> f64 {
    let mut sum = 0.0;
    for (frequency, weight) in [(6.0, 0.4), (14.0, 0.35), (30.0, 0.25)] {
        let p = [x * frequency, y * frequency, z * frequency];
        let cell = p.map(|v| v.floor() as i64);
        let t = std::array::from_fn::<f64, 3, _>(|i| {
            let t = p[i] - p[i].floor();
            t * t * (3.0 - 2.0 * t)
        });
        for bits in 0..8i64 {
            let d = [bits & 1, bits >> 1 & 1, bits >> 2];
            let share: f64 = (0..3).map(|i| if d[i] == 1 { t[i] } else { 1.0 - t[i] }).product();
            // Channels have much in common, as colours have.
            let at = [cell[0] + d[0], cell[1] + d[1], cell[2] + d[2]];
            let value = 0.7 * corner(at, seed) + 0.3 * corner(at, seed + 1 + channel);
            sum += weight * share * value;
        }
    }
    sum
}

/// The scene through a camera turned by `yaw`, then up by `pitch`, of 240×200 pixels.
fn view(yaw: f64, pitch: f64, gain: f64, seed: u64) -> Photo {
    let size = Size::new(240, 200);
    let focal = 260.0;
    let ray = |i: u32| {
        let [x, y] = [(f64::from(i % 240) + 0.5 - 120.0) / focal, (f64::from(i / 240) + 0.5 - 100.0) / focal];
        let (s, c) = pitch.sin_cos();
        let [y, z] = [c * y - s, s * y + c];
        let (s, c) = yaw.sin_cos();
        let [x, z] = [c * x + s * z, c * z - s * x];
        let length = (x * x + y * y + z * z).sqrt();
        [x / length, y / length, z / length]
    };
    let value = |c: u64| (0..240 * 200).map(move |i| (gain * scene(ray(i), c, seed)) as f32);
    let colour = Planes { channels: 3, size, data: (0..3).flat_map(value).collect() };
    Photo { colour, alpha: None, depth: Depth::Eight, profile: None }
}

/// Rows of pictures, not in their order.
fn made() -> Vec<Photo> {
    [(0.45, 0.02), (-0.45, -0.03), (0.0, 0.0), (0.9, 0.01)]
        .map(|(yaw, pitch)| view(yaw, pitch, 1.0, 3))
        .to_vec()
}

/// Stitched and compared with the scene: PSNR in decibels, where something is; and the panorama.
fn compared(photos: &[Photo], options: &Panorama) -> (f64, Photo) {
    let views: Vec<View> = photos.iter().map(View::of).collect();
    let registration = register(&views).unwrap();
    assert!(registration.error < 0.5, "{}", registration.error);
    for camera in &registration.cameras {
        assert!((camera.focal / 260.0 - 1.0).abs() < 0.01, "{}", camera.focal);
    }
    let mut composite = Composite::new(&views, &registration, options).unwrap();
    for (number, photo) in photos.iter().enumerate() {
        composite.push(number, photo);
    }
    // The scene's own axes: the panorama's mean direction is that of the cameras.
    let turn = 0.225f64;
    let Size { width, height } = composite.size();
    let directions: Vec<[f64; 3]> = (0..width * height)
        .map(|i| composite.direction(f64::from(i % width), f64::from(i / width)))
        .map(|[x, y, z]| [turn.cos() * x + turn.sin() * z, y, turn.cos() * z - turn.sin() * x])
        .collect();
    let photo = composite.finish();
    // Up to a hair's turn, which the scene does not fix; the best of a few.
    let error = |dx: f64, dy: f64| {
        let (mut sum, mut count) = (0.0, 0.0);
        for (i, d) in directions.iter().enumerate().step_by(31) {
            if photo.alpha.as_ref().is_none_or(|a| a[i] > 0.0) {
                let d = [d[0] + dx * d[2], d[1] + dy, d[2] - dx * d[0]];
                sum += (f64::from(photo.colour.data[i]) - scene(d, 0, 3)).powi(2);
                count += 1.0;
            }
        }
        sum / f64::max(count, 1.0)
    };
    let (mut at, mut least) = ([0.0, 0.0], error(0.0, 0.0));
    for step in [0.01, 0.005, 0.0025, 0.00125, 0.0006, 0.0003] {
        for _ in 0..6 {
            let around = [[step, 0.0], [-step, 0.0], [0.0, step], [0.0, -step]];
            for [dx, dy] in around {
                let next = [at[0] + dx, at[1] + dy];
                let then = error(next[0], next[1]);
                if then < least {
                    (at, least) = (next, then);
                }
            }
        }
    }
    (-10.0 * least.log10(), photo)
}

#[test]
fn a_panorama_of_made_pictures_is_the_scene() {
    let photos = made();
    for projection in [Projection::Planar, Projection::Cylindrical, Projection::Spherical] {
        let options = Panorama { projection: Some(projection), ..Panorama::default() };
        let (psnr, photo) = compared(&photos, &options);
        println!("{projection:?}: {psnr:.1} dB, {:?}", photo.size());
        assert!(psnr > 33.0, "{projection:?}: {psnr:.1} dB");
        assert!(photo.alpha.is_some(), "pictures leave gaps at the corners");
    }
    let cropped = stitch(&photos, &Panorama { crop: true, ..Panorama::default() }).unwrap().0;
    assert!(cropped.alpha.is_none() && cropped.size().width > 400 && cropped.size().height > 150);
}

#[test]
fn exposures_are_evened_out() {
    let mut photos = made();
    photos[2].colour.data.iter_mut().for_each(|v| *v *= 0.8);
    let (photo, _) = stitch(&photos, &Panorama { crop: true, ..Panorama::default() }).unwrap();
    let size = photo.size();
    let mean = |from: u32, to: u32| {
        let rows = photo.colour.data[..size.area() as usize].chunks_exact(size.width as usize);
        let values: Vec<f32> = rows.flat_map(|r| &r[from as usize..to as usize]).copied().collect();
        values.iter().sum::<f32>() / values.len() as f32
    };
    // The scene is as bright everywhere; the dark picture lies left of the middle.
    let (left, right) = (mean(0, size.width / 2), mean(size.width / 2, size.width));
    assert!((left / right - 1.0).abs() < 0.12, "{left} {right}");
}

#[test]
fn depth_alpha_grey_and_threads_make_no_difference() {
    let mut photos = made();
    let plain = stitch(&photos, &Panorama::default()).unwrap().0;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(pool.install(|| stitch(&photos, &Panorama::default()).unwrap().0), plain);
    photos[1].depth = Depth::Sixteen;
    photos[0].profile = Some(b"profile".to_vec());
    photos[3].alpha = Some((0..240 * 200).map(|i| if i / 240 < 100 { 0.5 } else { 1.0 }).collect());
    let (mixed, _) = stitch(&photos, &Panorama::default()).unwrap();
    assert_eq!((mixed.depth, mixed.profile.as_deref()), (Depth::Sixteen, Some(&b"profile"[..])));
    let alpha = mixed.alpha.unwrap();
    assert!([0.0, 0.5, 1.0].iter().all(|a| alpha.contains(a)));
    let grey: Vec<Photo> = made()
        .into_iter()
        .map(|p| Photo {
            colour: Planes { channels: 1, data: p.colour.data[..240 * 200].to_vec(), ..p.colour },
            ..p
        })
        .collect();
    assert_eq!(stitch(&grey, &Panorama::default()).unwrap().0.colour.channels, 1);
}

#[test]
fn pictures_that_do_not_match_are_named_with_the_reason() {
    let mut photos = made();
    photos.insert(1, view(0.0, 0.0, 1.0, 77));
    let views: Vec<View> = photos.iter().map(View::of).collect();
    let Err(PanoramaError::Unmatched { first, second, agreeing, needed, lines, .. }) = register(&views)
    else {
        panic!("the stranger was joined");
    };
    assert!((first == 1 || second == 1) && agreeing < needed, "{first} {second}");
    let drawn = draw_pair(&views[first], &views[second], &lines);
    assert_eq!(drawn.size, Size::new(480, 200));
    let flat = Photo {
        colour: Planes { data: vec![0.5; 240 * 200 * 3], ..photos[0].colour.clone() },
        ..photos[0].clone()
    };
    let fails = |photos: &[Photo]| stitch(photos, &Panorama::default()).unwrap_err();
    assert!(matches!(fails(&[photos[0].clone(), flat]), PanoramaError::Plain { number: 1, found: 0, .. }));
    assert!(matches!(fails(&photos[..1]), PanoramaError::Few(1)));
    assert!(matches!(
        fails(&[photos[0].clone(), photos[0].clone()]),
        PanoramaError::Same { first: 0, second: 1 }
    ));
    let tiny = photos[0].resized(Size::new(1, 1));
    assert!(matches!(fails(&[tiny.clone(), tiny]), PanoramaError::Plain { .. }));
    let few = Panorama { most_pixels: 1000, ..Panorama::default() };
    assert!(matches!(stitch(&made(), &few), Err(PanoramaError::Large { .. })));
}

#[test]
fn real_panoramas_are_stitched_and_unrelated_photos_are_not() {
    if let Some(folder) = data("pano/img") {
        for (name, [width, height]) in [("hill", [690, 350]), ("ledge", [900, 780])] {
            let photos = photos(&folder.join(name), &["3.JPG", "1.JPG", "2.JPG"]);
            let (photo, found) = stitch(&photos, &Panorama::default()).unwrap();
            println!("{name}: {:?}, {} pairs, {:.2} px", photo.size(), found.pairs.len(), found.error);
            assert!(found.pairs.len() == 3 && found.error < 1.2);
            let size = photo.size();
            assert!(size.width.abs_diff(width) < 120 && size.height.abs_diff(height) < 120, "{size:?}");
        }
    }
    if let Some(folder) = data("kodak_clean") {
        let photos = photos(&folder, &["1.png", "2.png", "3.png"]);
        let fault = stitch(&photos, &Panorama::default()).unwrap_err();
        assert!(fault.to_string().contains("agree") && fault.to_string().contains("needed"), "{fault}");
    }
}
