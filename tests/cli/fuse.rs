//! `opticus fuse`: every verb on made pictures, figures, refusals.

use std::path::{Path, PathBuf};

use opticus_pixels::codec::{Format, Limits, decode_file};
use opticus_pixels::photo::{Depth, Photo};
use opticus_pixels::preprocess::Planes;
use opticus_pixels::{Image8, Size};

use super::{fails, json, run, text};

struct Made {
    folder: tempfile::TempDir,
}

impl Made {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waves, in colour unless `channels` is 1.
    fn picture(&self, name: &str, [width, height]: [u32; 2], channels: usize, gain: f64) -> PathBuf {
        let data = (0..width * height)
            .flat_map(|i| (0..channels as u32).map(move |c| (i % width, i / width, c)))
            .map(|(x, y, c)| {
                let wave = (f64::from(x) / 5.0 + f64::from(c)).sin() * (f64::from(y) / 7.0).cos();
                ((128.0 + 100.0 * wave) * gain).clamp(0.0, 255.0) as u8
            })
            .collect();
        let image = Image8 { size: Size::new(width, height), channels, data };
        self.write(name, &Photo::from_image8(&image))
    }

    fn write(&self, name: &str, photo: &Photo) -> PathBuf {
        let path = self.at(name);
        std::fs::write(&path, photo.encode(Format::Png, 95).unwrap()).unwrap();
        path
    }

    /// White in a rectangle.
    fn mask(&self, name: &str, [width, height]: [u32; 2], [x1, y1, x2, y2]: [u32; 4]) -> PathBuf {
        let inside = |i: u32| (x1..x2).contains(&(i % width)) && (y1..y2).contains(&(i / width));
        let data = (0..width * height).map(|i| if inside(i) { 255 } else { 0 }).collect();
        self.write(name, &Photo::from_image8(&Image8 { size: Size::new(width, height), channels: 1, data }))
    }
}

fn photo(path: &Path) -> Photo {
    decode_file(path, &Limits::default()).unwrap().into_photo()
}

fn image(path: &Path) -> Image8 {
    photo(path).to_image8()
}

#[test]
fn two_pictures_are_blended_to_the_bit_and_the_figures_said() {
    let made = Made::new();
    let (a, b) = (made.picture("a.png", [40, 30], 3, 1.0), made.picture("b.png", [40, 30], 3, 0.5));
    let out = made.at("out.png");
    let report = made.at("page.html");
    let alpha = ["fuse", "alpha", text(&a), text(&b), "--weight", "0.3", "--out", text(&out)];
    let fused = json(&[&alpha[..], &["--report", text(&report)]].concat());
    assert_eq!((&fused["width"], &fused["height"], &fused["pictures"]), (&40.into(), &30.into(), &2.into()));
    assert!(report.exists());
    let (a8, b8) = (image(&a), image(&b));
    let wanted = a8.data.iter().zip(&b8.data).map(|(a, b)| {
        let exact = 0.3 * f64::from(*a) + (1.0 - 0.3) * f64::from(*b);
        exact.clamp(0.0, 255.0).round_ties_even() as u8
    });
    assert_eq!(image(&out).data, wanted.collect::<Vec<u8>>());
    // The file is there now.
    fails(&alpha, 2, &["out.png", "--overwrite"]);
    let sources = format!("{},{}", text(&a), text(&b));
    let scores = json(&["fuse", "score", text(&out), "--sources", &sources]);
    for field in
        ["entropy", "mutual_information", "qabf", "ssim", "psnr", "spatial_frequency", "standard_deviation"]
    {
        assert!(scores[field].is_f64(), "{field}");
    }
    assert_eq!(scores["qabf"], fused["scores"]["qabf"]);
}

#[test]
fn sixteen_bits_alpha_and_profile_survive() {
    let made = Made::new();
    let size = Size::new(6, 5);
    let deep = |value: f32| Photo {
        colour: Planes { channels: 3, size, data: vec![value; 90] },
        alpha: Some(vec![0.5; 30]),
        depth: Depth::Sixteen,
        profile: Some(b"profile".to_vec()),
    };
    let (a, b) = (made.write("a.png", &deep(1000.0 / 65535.0)), made.write("b.png", &deep(1003.0 / 65535.0)));
    let out = made.at("out.tif");
    json(&["fuse", "alpha", text(&a), text(&b), "--by", "mean", "--out", text(&out)]);
    let fused = photo(&out);
    assert_eq!((fused.depth, fused.profile.as_deref()), (Depth::Sixteen, Some(&b"profile"[..])));
    assert!(fused.alpha.is_some());
    // A level between those of 8 bits.
    let level = fused.colour.data[0] * 65535.0;
    assert!((1000.0..=1003.0).contains(&level), "{level}");
}

#[test]
fn every_verb_makes_its_picture() {
    let made = Made::new();
    let sizes = [64, 48];
    let pictures = [0.4, 0.8, 1.2].map(|gain| made.picture(&format!("{gain}.png"), sizes, 3, gain));
    let all: Vec<&str> = pictures.iter().map(|p| text(p)).collect();
    let mask = made.mask("mask.png", sizes, [10, 8, 40, 30]);
    let grey = made.picture("grey.png", sizes, 1, 1.0);
    let (two, depth) = ([all[0], all[1]], made.at("depth.png"));
    let verbs: Vec<Vec<&str>> = vec![
        [&["alpha", "--by", "median"], &all[..]].concat(),
        [&["alpha", "--weights", "1,2,1", "--linear"], &all[..]].concat(),
        [&["alpha", "--mask", text(&mask)], &two[..]].concat(),
        [&["exposure", "--stretch", "--align"], &all[..]].concat(),
        [&["exposure", "--extended", "--deghost"], &all[..]].concat(),
        [&["focus", "--align=translation", "--depth-map", text(&depth)], &all[..]].concat(),
        [&["multiband"], &two[..]].concat(),
        [&["multiband", "--mask", text(&mask)], &two[..]].concat(),
        vec!["clone", all[0], text(&mask), all[2], "--at", "-5,3"],
        vec!["clone", all[0], text(&mask), all[2], "--gradients", "mixed"],
        vec!["clone", all[1], text(&mask), "--colour", "1.5,0.8,0.5"],
        vec!["clone", all[1], text(&mask), "--illumination", "0.2,0.2"],
        vec!["transform", "--by", "guided", text(&grey), all[0]],
        vec!["features", text(&grey), all[0]],
        [&["features", "--rule", "l1-attention"], &all[..]].concat(),
    ];
    for verb in verbs {
        let out = made.at("out.png");
        let words = [&["fuse"], &verb[..], &["--out", text(&out), "--overwrite"]].concat();
        let fused = json(&words);
        assert_eq!((&fused["width"], &fused["height"]), (&64.into(), &48.into()), "{verb:?}");
        assert_eq!(image(&out).channels, 3, "{verb:?}: colour is never lost");
    }
    assert!(depth.exists());
}

#[test]
fn restored_and_collected_pictures_are_written() {
    let made = Made::new();
    let picture = made.picture("a.png", [64, 48], 3, 1.0);
    let mask = made.mask("mask.png", [64, 48], [20, 10, 22, 40]);
    let out = made.at("out.png");
    let to = ["--out", text(&out), "--overwrite"];
    let clean = image(&picture);
    for method in ["predictive", "march", "harmonic", "biharmonic", "exemplar"] {
        let inpaint = ["fuse", "inpaint", text(&picture), text(&mask), "--method", method];
        json(&[&inpaint[..], &to].concat());
        let restored = image(&out);
        let inside = |i: usize| (20..22).contains(&(i / 3 % 64)) && (10..40).contains(&(i / 192));
        // What is outside of the mask stays to the bit; inside it comes close to what was there.
        for (i, (a, b)) in restored.data.iter().zip(&clean.data).enumerate() {
            assert!(if inside(i) { a.abs_diff(*b) < 90 } else { a == b }, "{method} at {i}: {a} {b}");
        }
    }
    let other = made.mask("other.png", [32, 48], [4, 4, 9, 9]);
    fails(&[&["fuse", "inpaint", text(&picture), text(&other)], &to[..]].concat(), 1, &["mask is 32x48"]);

    let collage = |more: &[&str]| json(&[&["fuse", "collage"], more, &to[..]].concat());
    let p = text(&picture);
    let grid = collage(&[
        p,
        p,
        p,
        "--layout",
        "grid",
        "--columns",
        "2",
        "--height",
        "32",
        "--gap",
        "4",
        "--margin",
        "2",
    ]);
    assert_eq!((&grid["width"], &grid["height"]), (&72.into(), &72.into()));
    assert_eq!(collage(&[p, p, "--width", "300"])["width"], 300);
    let mosaic = ["--layout", "mosaic", "--columns", "8", "--height", "8"];
    assert_eq!(collage(&[&[p, "--target", p], &mosaic[..]].concat())["width"], 64);
    fails(&[&["fuse", "collage", p], &mosaic[..], &to].concat(), 2, &["--target"]);
    let puzzle = ["--columns", "4", "--rows", "3", "--layout"];
    // One that never repeats, so that only one order fits.
    let slope = |i: u32| [i % 64 * 3, i / 64 * 5, (i % 64 + i / 64) * 2].map(|v| v as u8);
    let data = (0..64 * 48).flat_map(slope).collect();
    let slope = Image8 { size: Size::new(64, 48), channels: 3, data };
    let p = made.write("slope.png", &Photo::from_image8(&slope));
    collage(&[&[text(&p), "--seed", "5"], &puzzle[..], &["puzzle"]].concat());
    let shuffled = made.at("shuffled.png");
    std::fs::rename(&out, &shuffled).unwrap();
    assert_ne!(image(&shuffled).data, slope.data);
    collage(&[&[text(&shuffled)], &puzzle[..], &["solve"]].concat());
    assert_eq!(image(&out).data, slope.data);
}

#[test]
fn pictures_and_masks_that_do_not_fit_are_refused_by_name() {
    let made = Made::new();
    let (a, small) = (made.picture("a.png", [40, 30], 3, 1.0), made.picture("small.png", [20, 30], 3, 1.0));
    let (mask, empty) =
        (made.mask("mask.png", [40, 30], [4, 4, 9, 9]), made.mask("empty.png", [40, 30], [0; 4]));
    let full = made.mask("full.png", [40, 30], [0, 0, 40, 30]);
    let out = made.at("out.png");
    let to = ["--out", text(&out)];
    let refuse = |verb: &[&str], status: i32, words: &[&str]| {
        fails(&[&["fuse"], verb, &to].concat(), status, words);
        assert!(!out.exists(), "{verb:?}");
    };
    refuse(&["alpha", text(&a), text(&small)], 1, &["small.png is 20x30", "--resize"]);
    refuse(&["alpha", text(&a)], 1, &["2 pictures are needed"]);
    refuse(&["alpha", text(&a), text(&a), "--weights", "1"], 2, &["--weights"]);
    refuse(&["exposure", text(&a), text(&a), "--contrast", "-1"], 2, &[]);
    refuse(&["exposure", text(&a), text(&a), "--max-memory", "0"], 1, &["--max-memory"]);
    refuse(&["clone", text(&a), text(&empty), text(&a)], 1, &["mask is empty"]);
    refuse(&["clone", text(&a), text(&full), text(&a)], 1, &["whole target"]);
    refuse(&["clone", text(&a), text(&mask), text(&a), "--at", "900,0"], 1, &["900,0", "--at"]);
    refuse(&["clone", text(&small), text(&mask), text(&a)], 1, &["mask is 40x30"]);
    refuse(&["clone", text(&a), text(&mask)], 2, &["SOURCE MASK TARGET"]);
    refuse(&["focus", text(&a), "no-such.png"], 1, &["no-such.png"]);
    let damaged = made.at("damaged.png");
    std::fs::write(&damaged, &std::fs::read(&a).unwrap()[..200]).unwrap();
    refuse(&["transform", text(&a), text(&damaged)], 1, &["damaged.png"]);
    fails(&["fuse", "alpha", text(&a), text(&a), "--out", "x.gif"], 2, &[".png"]);
    // Brought to one size they are fused.
    let done = run(&[&["fuse", "alpha", text(&a), text(&small), "--resize"], &to[..]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Made photos, for training.
fn photos(made: &Made) -> PathBuf {
    let folder = made.at("photos");
    std::fs::create_dir(&folder).unwrap();
    for (number, gain) in [0.6, 0.8, 1.0, 1.1].into_iter().enumerate() {
        made.picture(&format!("photos/{number}.png"), [80 + 8 * number as u32, 72], 3, gain);
    }
    folder
}

const SMALL: [&str; 8] =
    ["--set", "net.width=4", "--set", "data.crops=24", "--batch-size", "4", "--image-size", "40"];

#[test]
fn a_fuser_learns_from_photos_alone_and_fuses() {
    let made = Made::new();
    let photos = photos(&made);
    let [a, b] = [0.5, 1.0].map(|gain| made.picture(&format!("{gain}.png"), [50, 40], 3, gain));
    let run_folder = made.at("run");
    let words = ["fuse", "train", "--data", text(&photos), "--epochs", "12", "--out", text(&run_folder)];
    let trained = json(&[&words[..], &SMALL].concat());
    let val = &trained["val"];
    assert_eq!((&trained["epochs"], &val["pairs"]), (&12.into(), &3.into()));
    let log = std::fs::read_to_string(run_folder.join("log.csv")).unwrap();
    let rows: Vec<Vec<&str>> = log.lines().map(|line| line.split(',').collect()).collect();
    let column = rows[0].iter().position(|name| *name == "val_mef_ssim").unwrap();
    let scores: Vec<f64> = rows[1..].iter().map(|row| row[column].parse().unwrap()).collect();
    assert!(scores[11] > scores[0] + 0.02, "{scores:?}");
    assert!(std::fs::read_to_string(run_folder.join("report.html")).unwrap().contains("data:image/png"));

    let (model, out) = (run_folder.join("best.safetensors"), made.at("out.png"));
    let fuse = ["fuse", "features", text(&a), text(&b), "--out", text(&out), "--model"];
    assert_eq!(json(&[&fuse[..], &[text(&model)]].concat())["width"], 50);
    let named = made.at("named.safetensors");
    let licence = json(&["model", "licence", text(&model), "CC0-1.0", "--out", text(&named)]);
    assert_eq!((&licence["licence"], &licence["job"]), (&"CC0-1.0".into(), &"fuse".into()));

    // A model of another job, and what is no model at all.
    fails(&["classify", "predict", "--model", text(&model), text(&a)], 1, &["opticus fuse"]);
    fails(&[&fuse[..], &[text(&a), "--overwrite"]].concat(), 1, &["cannot be used as a model"]);
    let empty = made.at("empty");
    std::fs::create_dir(&empty).unwrap();
    fails(&["fuse", "train", "--data", text(&empty), "--out", text(&made.at("no"))], 1, &["empty"]);
    let tiny = [&words[..4], &["--image-size", "8", "--out", "no"]].concat();
    fails(&tiny, 2, &["data.crop"]);
}

/// Pieces, their pairs, rules and weights: everything random is a function of seed and step.
#[cfg(unix)]
#[test]
fn a_killed_and_resumed_training_equals_the_uninterrupted_one() {
    let made = Made::new();
    let photos = photos(&made);
    let words = |out: &Path| {
        let words = ["fuse", "train", "--data", text(&photos), "--epochs", "3", "--out", text(out)];
        let often = ["--set", "fit.checkpoint_minutes=0.00001", "--set", "ema.decay=0.9"];
        [&words[..], &SMALL, &often].concat().into_iter().map(String::from).collect::<Vec<_>>()
    };
    let (whole, killed) = (made.at("whole"), made.at("killed"));
    let words = |out: &Path, more: &[&str]| {
        let mut all = words(out);
        all.extend(more.iter().map(|w| (*w).to_owned()));
        all
    };
    let go = |words: &[String]| run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(go(&words(&whole, &[])).status.success());
    let first = words(&killed, &[]);
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    assert_eq!(super::interrupt(&first, &killed, "-KILL"), None);
    let resumed = go(&words(&killed, &["--resume"]));
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert!(super::outcome(&whole) == super::outcome(&killed));
}
