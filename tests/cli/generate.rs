//! `opticus generate`: drawing, drawing again, animations, projections, with small networks of random weights.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use opticus::bundle::{self, Bundle, Card, FORMAT_VERSION, Provenance};
use opticus::generate::net::{Artist, Pictures, Values};
use opticus::generate::text::Vocabulary;
use opticus::generate::{Condition, JOB, Recipe};
use opticus::nets::gan::{GanConfig, GanKind};
use opticus::nets::init::Scope;
use opticus::nets::state;
use opticus_pixels::codec::{Limits, decode_file, probe_file, read_png_text};

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

    /// A generator that has learnt nothing.
    fn model(&self, name: &str, condition: Condition, channels: usize, seed: u64) -> PathBuf {
        let mut config = GanConfig::defaults(GanKind::ResnetGan, 16, channels);
        (config.latent, config.generator_width, config.discriminator_width) = (8, 4, 4);
        config.condition = if condition == Condition::None { 0 } else { 6 };
        let artist = Artist::new(&config, &condition, &Scope::seeded(seed, &Device::flex())).unwrap();
        let pictures = Pictures { condition, values: Values::default() };
        let card = Card {
            format_version: FORMAT_VERSION,
            job: JOB.into(),
            net: bundle::to_json("net", &config).unwrap(),
            classes: Vec::new(),
            preprocessing: bundle::to_json("preprocessing", &pictures).unwrap(),
            metrics: Vec::new(),
            provenance: Provenance::default(),
            licence: String::new(),
        };
        let path = self.at(name);
        bundle::save(&path, &Bundle { card, tensors: state::to_map(&artist) }).unwrap();
        path
    }

    fn labels(&self) -> PathBuf {
        let names = ["cat", "red dog", "3"].map(str::to_owned).into();
        self.model("labels.safetensors", Condition::Label { names }, 3, 1)
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn samples_are_the_same_again_and_say_how_they_were_made() {
    let made = Made::new();
    let model = made.labels();
    let (a, b, grid) = (made.at("a"), made.at("b"), made.at("grid.png"));
    let sample =
        ["generate", "sample", "--model", text(&model), "--seeds", "0,7,12-13", "--truncation", "0.8"];
    let first = json(&[&sample[..], &["--out", text(&a), "--grid", text(&grid)]].concat());
    assert_eq!((&first["count"], first["pictures"].as_array().unwrap().len()), (&12.into(), 12));
    let expected: BTreeSet<String> = [0, 7, 12, 13]
        .iter()
        .flat_map(|seed| ["cat", "red-dog", "3"].map(|label| format!("seed{seed:04}-{label}.png")))
        .collect();
    assert_eq!(names(&a), expected);
    assert!(decode_file(&grid, &Limits::default()).unwrap().size().width > 4 * 128);

    // Other pictures drawn along change nothing, nor does the folder.
    let alone = ["generate", "sample", "--model", text(&model), "--seeds", "7", "--label", "red dog"];
    json(&[&alone[..], &["--truncation", "0.8", "--out", text(&b)]].concat());
    assert_eq!(names(&b), BTreeSet::from(["seed0007-red-dog.png".to_owned()]));
    let picture = b.join("seed0007-red-dog.png");
    assert_eq!(bytes(&picture), bytes(&a.join("seed0007-red-dog.png")));
    assert_ne!(bytes(&picture), bytes(&a.join("seed0007-cat.png")));

    let recipe = Recipe::read(&bytes(&picture)).unwrap();
    assert_eq!((recipe.seed, recipe.truncation), (7, Some(0.8)));
    assert_eq!(Some(recipe.model.as_str()), first["model"].as_str());
    let texts = read_png_text(&bytes(&picture)).unwrap();
    let comment = &texts.iter().find(|(keyword, _)| keyword == "Comment").unwrap().1;
    assert!(comment.contains("--seeds 7") && comment.contains("--label 'red dog'"), "{comment}");
    assert!(!comment.contains(text(made.folder.path())), "{comment}");

    let c = made.at("c");
    let again = ["generate", "sample", "--model", text(&model), "--like", text(&picture), "--out", text(&c)];
    assert_eq!(json(&again)["identical"], true);
    assert_eq!(bytes(&c.join("seed0007-red-dog.png")), bytes(&picture));
    fails(&again, 2, &["seed0007-red-dog.png", "--overwrite"]);

    let other = made.model("other.safetensors", Condition::None, 3, 2);
    let d = made.at("d");
    let foreign =
        ["generate", "sample", "--model", text(&other), "--like", text(&picture), "--out", text(&d)];
    fails(&foreign, 2, &["seed0007-red-dog.png", &recipe.model]);
    assert!(!d.exists());
    let silent = ["generate", "sample", "--model", text(&model), "--like", text(&grid), "--out", text(&d)];
    fails(&silent, 1, &["grid.png", "does not say how"]);
}

#[test]
fn nothing_is_replaced_unless_asked() {
    let made = Made::new();
    let (model, out) = (made.model("m.safetensors", Condition::None, 4, 3), made.at("out"));
    let sample =
        ["generate", "sample", "--model", text(&model), "--count", "3", "--seed", "5", "--out", text(&out)];
    assert!(run(&sample).status.success());
    assert_eq!(names(&out), ["seed0005.png", "seed0006.png", "seed0007.png"].map(str::to_owned).into());
    let before = bytes(&out.join("seed0006.png"));
    std::fs::write(out.join("seed0006.png"), b"mine").unwrap();
    std::fs::remove_file(out.join("seed0005.png")).unwrap();
    fails(&sample, 2, &["seed0006.png", "--overwrite"]);
    assert_eq!(names(&out).len(), 2, "nothing was drawn before all was looked at");
    assert!(run(&[&sample[..], &["--overwrite"]].concat()).status.success());
    assert_eq!(bytes(&out.join("seed0006.png")), before);
    assert_eq!(
        decode_file(&out.join("seed0006.png"), &Limits::default()).unwrap().into_rgba().size.width,
        16
    );
}

#[test]
fn what_a_model_cannot_draw_is_said() {
    let made = Made::new();
    let (labels, out) = (made.labels(), made.at("out"));
    let draw = |model: &Path, more: &[&str], words: &[&str]| {
        let start = ["generate", "sample", "--model", text(model), "--out", text(&out)];
        fails(&[&start[..], more].concat(), 2, words);
    };
    draw(&labels, &["--label", "dog"], &["\"dog\"", "cat, red dog, 3"]);
    draw(&labels, &["--text", "dog"], &["--label"]);
    draw(&labels, &["--numbers", "1,x"], &["3.2,0.1"]);
    draw(&labels, &["--truncation", "0"], &["--truncation 0"]);
    draw(&labels, &["--truncation", "NaN"], &["NaN"]);
    draw(&labels, &["--count", "0"], &["0 seeds"]);
    for (seeds, word) in [("3-1", "backwards"), ("1,1", "twice"), ("x", "0,1,4-6"), ("", "no number")] {
        draw(&labels, &["--seeds", seeds], &[word]);
    }
    let columns = ["width", "angle"].map(str::to_owned).into();
    let numbers = Condition::Numbers { columns, means: vec![3.0, 0.0], deviations: vec![1.0, 0.1] };
    let numbers = made.model("numbers.safetensors", numbers, 1, 4);
    draw(&numbers, &["--numbers", "3"], &["width, angle"]);
    draw(&numbers, &["--numbers", "3,900"], &["angle = 900"]);
    draw(&numbers, &[], &["--numbers"]);
    let vocabulary = Vocabulary::of(["red dragon", "blue sword"], 1, 9);
    let words =
        made.model("words.safetensors", Condition::Text { vocabulary, length: 4, held_out: 0.1 }, 4, 5);
    draw(&words, &[], &["--text", "dragon"]);
    draw(&words, &["--text", "lamp"], &["lamp", "sword"]);
    assert!(!out.exists());
    fails(
        &["generate", "sample", "--model", text(&labels.with_extension("no")), "--out", text(&out)],
        1,
        &["no"],
    );

    let sample = ["generate", "sample", "--model", text(&numbers), "--out", text(&out), "--seeds", "1"];
    assert!(run(&[&sample[..], &["--numbers", "3.2,-0.1"]].concat()).status.success());
    let sample = ["generate", "sample", "--model", text(&words), "--out", text(&out), "--seeds", "1"];
    let output = run(&[&sample[..], &["--text", "Red dragon, lamp"]].concat());
    let note = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && note.contains("note") && note.contains("lamp"), "{note}");
    let expected = ["seed0001-3.2--0.1.png", "seed0001-Red-dragon-lamp.png"].map(str::to_owned);
    assert_eq!(names(&out), expected.into());
}

#[test]
fn animations_have_the_frames_asked_for() {
    let made = Made::new();
    let model = made.labels();
    let morph = |name: &str, more: &[&str]| {
        let out = made.at(name);
        let start = ["generate", "interpolate", "--model", text(&model), "--out", text(&out), "--steps", "5"];
        let done = json(&[&start[..], more].concat());
        let probe = probe_file(&out, &Limits::default()).unwrap();
        assert!(probe.animated);
        assert_eq!((done["width"].as_u64(), probe.size.width), (Some(64), 64));
        (done["frames"].as_u64().unwrap(), out)
    };
    let (frames, png) = morph("a.png", &["--seeds", "1,2,3", "--label", "cat"]);
    assert_eq!(frames, 11);
    // The control chunk (PNG third edition, 11.3.6.1): the number of frames follows its name.
    let content = bytes(&png);
    let at = content.windows(4).position(|w| w == b"acTL").unwrap() + 4;
    assert_eq!(content[at..at + 4], 11u32.to_be_bytes());
    // The first frame is the picture of the first seed.
    let sampled = made.at("sampled");
    let sample = ["generate", "sample", "--model", text(&model), "--seeds", "1", "--label", "cat"];
    json(&[&sample[..], &["--out", text(&sampled)]].concat());
    let image = |path: &Path| decode_file(path, &Limits::default()).unwrap().into_rgba();
    let (large, small) = (image(&png), image(&sampled.join("seed0001-cat.png")));
    for (i, pixel) in large.data.chunks_exact(4).enumerate() {
        let (x, y) = (i % 64 / 4, i / 64 / 4);
        assert_eq!(pixel, &small.data[(y * 16 + x) * 4..][..4]);
    }
    assert_eq!(morph("b.gif", &["--seeds", "1-2", "--label", "cat", "--label", "3", "--loop"]).0, 10);
    assert_eq!(morph("c.png", &["--label", "cat", "--label", "3", "--label", "red dog"]).0, 11);

    let start = ["generate", "interpolate", "--model", text(&model), "--out"];
    let refuse = |name: &str, more: &[&str], status: i32, words: &[&str]| {
        fails(&[&start[..], &[text(&made.at(name))], more].concat(), status, words);
    };
    refuse("a.png", &["--seeds", "1,2", "--label", "cat"], 2, &["a.png", "--overwrite"]);
    refuse("d.jpg", &["--seeds", "1,2", "--label", "cat"], 2, &[".gif"]);
    refuse("d.png", &["--seeds", "1", "--label", "cat"], 2, &["two or more"]);
    refuse("d.png", &["--seeds", "1-3", "--label", "cat", "--label", "3"], 2, &["3 seeds and 2"]);
    refuse("d.png", &["--seeds", "1-300", "--label", "cat", "--steps", "1000"], 1, &["--steps"]);
}

#[test]
fn a_drawn_picture_is_found_again() {
    let made = Made::new();
    let model = made.model("m.safetensors", Condition::None, 3, 7);
    let (out, found) = (made.at("out"), made.at("found"));
    json(&["generate", "sample", "--model", text(&model), "--seeds", "99", "--out", text(&out)]);
    let picture = out.join("seed0099.png");
    let project = ["generate", "project", "--model", text(&model), text(&picture), "--out", text(&found)];
    let done = json(&[&project[..], &["--steps", "150", "--starts", "3"]].concat());
    assert!(done["psnr"].as_f64().is_none_or(|psnr| psnr > 30.0), "{done}");
    assert_eq!(done["latent"].as_array().unwrap().len(), 8);
    let projected = found.join("seed0099-projected.png");
    assert!(projected.exists() && found.join("seed0099-beside.png").exists());
    let (again, like) = (made.at("again"), ["generate", "sample", "--model", text(&model), "--like"]);
    let redrawn = json(&[&like[..], &[text(&projected), "--out", text(&again)]].concat());
    assert_eq!(redrawn["identical"], true);
    fails(&project, 2, &["seed0099-projected.png", "--overwrite"]);
}
