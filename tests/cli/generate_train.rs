//! `opticus generate train | eval`: learning, exact resume, conditions of every kind, refusals.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{fails, interrupt, json, run, text};

/// Drawn shapes of 16 pixels, and a short training on them, shared by the tests.
struct Made {
    folder: tempfile::TempDir,
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("shapes");
        let done = run(&["data", "make", "shapes", "--out", text(&data), "--count", "300", "--size", "16"]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Made { folder }
    })
}

impl Made {
    fn data(&self) -> PathBuf {
        self.folder.path().join("shapes")
    }
}

fn words<'a>(data: &'a Path, out: &'a Path) -> Vec<&'a str> {
    let mut words = vec!["generate", "train", "--data", text(data), "--out", text(out)];
    for setting in [
        "net.name=\"dcgan\"",
        "fit.epochs=3",
        "fit.batch_size=32",
        "net.generator_width=8",
        "net.discriminator_width=8",
        "net.latent=8",
        "data.epoch=512",
        "augment.kind=\"adaptive\"",
        "watch.every=2",
        "ema.decay=0.9",
    ] {
        words.extend(["--set", setting]);
    }
    words
}

#[test]
fn a_run_learns_and_leaves_everything_it_should() {
    let (made, folder) = (made(), tempfile::tempdir().unwrap());
    let (data, out) = (made.data(), folder.path().join("run"));
    let settings = ["--lr", "2e-3", "--epochs", "8", "--set", "augment.kind=\"off\""];
    let trained = json(&[&words(&data, &out)[..], &settings].concat());
    let log = std::fs::read_to_string(out.join("log.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(log.as_bytes());
    let column = reader.headers().unwrap().iter().position(|title| title == "cell_distance").unwrap();
    let distances: Vec<f64> = reader.records().map(|row| row.unwrap()[column].parse().unwrap()).collect();
    assert_eq!(distances.len(), 8);
    let best = trained["cell_distance"].as_f64().unwrap();
    assert!(best < 0.5 * distances[0], "{distances:?}");
    for file in ["samples/epoch-0001.png", "samples/epoch-0008.png", "samples/timelapse.png", "report.html"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    // Any classifier will do to compare by.
    let judge = folder.path().join("judge");
    let small = ["--net", "small-cnn", "--epochs", "1", "--image-size", "16"];
    let classify = ["classify", "train", "--data", text(&data), "--out", text(&judge)];
    let done = run(&[&classify[..], &small].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (model, extractor) = (out.join("best.safetensors"), judge.join("best.safetensors"));
    let eval = ["generate", "eval", "--model", text(&model), "--data", text(&data), "--count", "60"];
    let page = folder.path().join("eval.html");
    let more = ["--extractor", text(&extractor), "--report", text(&page), "--accuracy"];
    let scores = json(&[&eval[..], &more].concat());
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("nearest to") && page.matches("<img").count() >= 48);
    assert_eq!(scores["protocol"]["fake"], 60);
    for part in ["precision", "recall", "coverage", "recognised", "classification_accuracy"] {
        assert!((0.0..=1.0).contains(&scores[part].as_f64().unwrap()), "{part}: {scores}");
    }
    assert!(scores["fid"].as_f64().unwrap() >= 0.0);
    fails(&[&eval[..], &["--extractor", text(&model)]].concat(), 1, &["`generate`", "classifier"]);
}

#[cfg(unix)]
#[test]
fn a_killed_and_resumed_training_equals_the_uninterrupted_one() {
    let (made, folder) = (made(), tempfile::tempdir().unwrap());
    let (data, whole, killed) = (made.data(), folder.path().join("whole"), folder.path().join("killed"));
    let done = run(&words(&data, &whole));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    interrupt(&words(&data, &killed), &killed, "-KILL");
    let mut again = words(&data, &killed);
    again.push("--resume");
    let done = run(&again);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for file in ["best.safetensors", "last.safetensors", "samples/epoch-0003.png"] {
        assert_eq!(
            std::fs::read(whole.join(file)).unwrap(),
            std::fs::read(killed.join(file)).unwrap(),
            "{file}"
        );
    }
}

#[test]
fn words_and_numbers_are_learnt_too() {
    let (made, folder) = (made(), tempfile::tempdir().unwrap());
    let (data, table) = (made.data(), folder.path().join("table.csv"));
    let mut rows = String::from("path,caption,width,tilt\n");
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![data];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "png") {
                files.push(path);
            }
        }
    }
    files.sort();
    for (i, file) in files.iter().enumerate() {
        let shape = file.parent().unwrap().file_name().unwrap().to_string_lossy();
        rows += &format!("{},a {shape} number,{},{}\n", file.display(), i % 7, (i % 5) as f64 / 5.0);
    }
    std::fs::write(&table, rows).unwrap();
    for (name, how) in [("text", &[][..]), ("numbers", &["--columns", "width,tilt"][..])] {
        let out = folder.path().join(name);
        let net = ["--net", "resnet-gan", "--epochs", "1", "--set", "data.epoch=64"];
        json(&[&words(&table, &out)[..], how, &net].concat());
        let model = out.join("best.safetensors");
        let pictures = folder.path().join(format!("{name} pictures"));
        let sample =
            ["generate", "sample", "--model", text(&model), "--out", text(&pictures), "--count", "2"];
        let ask = if name == "text" { ["--text", "a circle zebra"] } else { ["--numbers", "3,0.4"] };
        let drawn = json(&[&sample[..], &ask].concat());
        assert_eq!(drawn["count"], 2, "{drawn}");
        let wrong = if name == "text" { ["--text", "zebra"] } else { ["--numbers", "1e9,0"] };
        fails(
            &[&sample[..], &wrong, &["--overwrite"]].concat(),
            2,
            &["know"][..if name == "text" { 1 } else { 0 }],
        );
        let eval = ["generate", "eval", "--model", text(&model), "--data", text(&table), "--accuracy"];
        fails(&eval, 2, &["labels", "--accuracy"]);
    }
}

#[test]
fn what_cannot_be_learnt_is_refused_with_a_remedy() {
    let (made, folder) = (made(), tempfile::tempdir().unwrap());
    let (data, out) = (made.data(), folder.path().join("run"));
    let with = |more: &[&'static str]| [&words(&data, &out)[..], more].concat();
    fails(&with(&["--batch-size", "512"]), 1, &["fewer than a batch", "--batch-size"]);
    fails(&with(&["--image-size", "17"]), 2, &["image_size 17", "16"]);
    fails(&with(&["--net", "dcgann"]), 2, &["resnet-gan"]);
    fails(&with(&["--condition", "numbers"]), 2, &["--columns"]);
    fails(&with(&["--set", "loss.kind=\"hinges\""]), 2, &["hinge"]);
    assert!(!out.exists(), "nothing half-made stays");
    // Files that are no pictures.
    let bad = folder.path().join("bad");
    std::fs::create_dir_all(bad.join("a")).unwrap();
    for name in ["a/broken-1.png", "a/broken-2.png"] {
        std::fs::write(bad.join(name), b"not a picture").unwrap();
    }
    fails(&[&words(&bad, &out)[..], &["--batch-size", "2"]].concat(), 1, &["broken-"]);
}
