//! `opticus fuse panorama`: parts of a made picture joined, figures, refusals.

use std::path::PathBuf;

use opticus_pixels::codec::{Format, Limits, decode_file};
use opticus_pixels::photo::Photo;
use opticus_pixels::{Image8, Size};

use super::{fails, json, text};

struct Made(tempfile::TempDir);

impl Made {
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Blocks of many sizes, none like another, from column `left` on.
    fn part(&self, name: &str, left: u32, seed: u32, [width, height]: [u32; 2]) -> PathBuf {
        let block = |x: u32, y: u32, side: u32| {
            let mut h = (x / side).wrapping_mul(0x9E37_79B1) ^ (y / side).wrapping_mul(0x85EB_CA77);
            h = (h ^ (side * 31 + seed) ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
            (h ^ (h >> 13)) % 80
        };
        let value = |x: u32, y: u32| (block(x, y, 41) + block(x, y, 17) + block(x, y, 9)) as u8;
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let data = pixels.flat_map(|(x, y)| [value(x + left, y), value(x + left, y) / 2, 90]).collect();
        let photo = Photo::from_image8(&Image8 { size: Size::new(width, height), channels: 3, data });
        let path = self.at(name);
        std::fs::write(&path, photo.encode(Format::Png, 95).unwrap()).unwrap();
        path
    }
}

#[test]
fn parts_of_a_picture_are_joined_and_the_matches_said() {
    let made = Made(tempfile::tempdir().unwrap());
    let [a, b, c] = [("a.png", 0), ("b.png", 90), ("c.png", 180)]
        .map(|(name, left)| made.part(name, left, 1, [240, 180]));
    let [out, matches, page] = ["wide.png", "matches.png", "page.html"].map(|name| made.at(name));
    let words = ["fuse", "panorama", text(&c), text(&a), text(&b), "--out", text(&out)];
    let more = ["--crop", "--projection", "planar", "--matches", text(&matches), "--report", text(&page)];
    let said = json(&[&words[..], &more].concat());
    let width = said["width"].as_u64().unwrap();
    assert!((400..=424).contains(&width), "{said}");
    assert_eq!((&said["pictures"], &said["projection"]), (&3.into(), &"planar".into()));
    assert!(
        said["reprojection_error"].as_f64().unwrap() < 0.5 && said["pairs"].as_array().unwrap().len() >= 2
    );
    let picture = decode_file(&out, &Limits::default()).unwrap().into_photo();
    assert_eq!(u64::from(picture.size().width), width);
    assert!(picture.alpha.is_none() && matches.exists() && page.exists());
    fails(&words, 2, &["wide.png", "--overwrite"]);
    fails(&[&words[..], &["--overwrite", "--max-memory", "1"]].concat(), 1, &["--max-memory"]);
}

#[test]
fn what_does_not_match_is_named_with_counts_and_a_picture() {
    let made = Made(tempfile::tempdir().unwrap());
    let [a, b] = [("a.png", 0), ("b.png", 80)].map(|(name, left)| made.part(name, left, 1, [240, 180]));
    let other = made.part("other.png", 0, 99, [200, 220]);
    let out = made.at("wide.png");
    let to = ["--out", text(&out)];
    let refuse = |pictures: &[&PathBuf], words: &[&str]| {
        let pictures: Vec<&str> = pictures.iter().map(|p| text(p)).collect();
        fails(&[&["fuse", "panorama"], &pictures[..], &to].concat(), 1, words);
        assert!(!out.exists(), "{pictures:?}");
    };
    refuse(&[&a, &other, &b], &["other.png", "do not match", "needed", "wide-matches.png"]);
    assert!(made.at("wide-matches.png").exists());
    refuse(&[&a], &["2 pictures are needed"]);
    refuse(&[&a, &a], &["show the same"]);
    let tiny = made.part("tiny.png", 0, 1, [3, 2]);
    refuse(&[&a, &tiny], &["tiny.png", "0 points"]);
    refuse(&[&a, &made.at("none.png")], &["none.png"]);
}
