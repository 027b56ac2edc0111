//! The real binary, used as a user would: contracts of the command line, exact resume, bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod detect;
mod fuse;
mod generate;
mod generate_train;
mod panorama;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

fn opticus() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opticus"));
    command.args(["--threads", "2"]);
    command
}

fn run(arguments: &[&str]) -> Output {
    opticus().args(arguments).output().unwrap()
}

/// Runs, expects success and exactly one JSON document on standard output.
fn json(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--json"]].concat());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {words}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}"))
}

/// Runs, expects this exit status, no panic, and one message that holds all of `words`.
fn fails(arguments: &[&str], status: i32, words: &[&str]) {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
    assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?} does not say {word:?}: {text}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder of made pictures and a model trained on it, shared by the tests.
struct Made {
    folder: tempfile::TempDir,
}

impl Made {
    fn data(&self) -> PathBuf {
        self.folder.path().join("shapes")
    }
    fn model(&self) -> PathBuf {
        self.folder.path().join("run/best.safetensors")
    }
    /// Any picture of the data.
    fn picture(&self) -> PathBuf {
        first_file(&self.data())
    }
}

fn first_file(folder: &Path) -> PathBuf {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    let first =
        entries.into_iter().find(|p| p.is_dir() || p.extension().is_some_and(|e| e == "png")).unwrap();
    if first.is_dir() { first_file(&first) } else { first }
}

const NET: [&str; 4] = ["--net", "simple-cnn", "--image-size", "28"];

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = Made { folder: tempfile::tempdir().unwrap() };
        let data = made.data();
        json(&["data", "make", "shapes", "--out", text(&data), "--count", "80", "--size", "28"]);
        let out = made.folder.path().join("run");
        let train = ["classify", "train", "--data", text(&data), "--out", text(&out), "--epochs", "1"];
        let result = json(&[&train[..], &NET, &["--val-split", "0.25", "--seed", "1"]].concat());
        assert_eq!(result["val"]["images"], 20);
        made
    })
}

#[test]
fn a_trained_model_predicts_evaluates_explains_and_leaves() {
    let made = made();
    let (model, picture) = (made.model(), made.picture());
    let predicted = json(&["classify", "predict", "--model", text(&model), text(&picture), "--top", "3"]);
    let one = &predicted["predictions"][0];
    assert_eq!(one["file"], text(&picture));
    let labels = one["labels"].as_array().unwrap();
    assert_eq!(labels.len(), 3);
    let probabilities: Vec<f64> = labels.iter().map(|l| l["probability"].as_f64().unwrap()).collect();
    assert!(probabilities.is_sorted_by(|a, b| a >= b) && probabilities.iter().sum::<f64>() <= 1.0 + 1e-6);
    assert!(labels[0]["label"].is_string() && labels[0]["index"].is_u64());

    let data = made.data();
    let scores = json(&["classify", "eval", "--model", text(&model), "--data", text(&data)]);
    assert_eq!(scores["images"], 80);
    for field in ["top1", "top5", "loss", "ece"] {
        assert!(scores[field].is_f64(), "{field}");
    }
    assert_eq!(scores["per_class"].as_array().unwrap().len(), 10);
    let confusion: u64 = scores["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()))
        .sum();
    assert_eq!(confusion, 80);

    let heat = made.folder.path().join("heat");
    let explained =
        json(&["classify", "explain", "--model", text(&model), "--out", text(&heat), text(&picture)]);
    assert!(Path::new(explained["explanations"][0]["overlay"].as_str().unwrap()).exists());

    let info = json(&["model", "info", text(&model)]);
    assert_eq!((&info["job"], &info["format_version"]), (&"classify".into(), &1.into()));
    assert!(info["parameters"].as_u64().unwrap() > 100_000 && info["bytes"].as_u64().unwrap() > 400_000);
    assert_eq!(info["provenance"]["seed"], 1);

    let onnx = made.folder.path().join("m.onnx");
    assert!(run(&["model", "export", text(&model), "--to", "onnx", "--out", text(&onnx)]).status.success());
    assert!(std::fs::metadata(&onnx).unwrap().len() > 400_000);
    assert!(made.folder.path().join("run/report.html").exists());
}

/// A run with everything random in it: augmentation, dropout, averaged weights, mixup.
fn train_arguments<'a>(data: &'a str, out: &'a str) -> Vec<&'a str> {
    let mut arguments =
        vec!["classify", "train", "--data", data, "--out", out, "--epochs", "2", "--batch-size", "4"];
    arguments.extend(NET);
    for set in ["augment.flip=0.5", "augment.affine.degrees=20", "augment.mix.mixup=0.2", "ema.decay=0.9"] {
        arguments.extend(["--set", set]);
    }
    // A checkpoint after every step: 0.6 milliseconds.
    arguments.extend(["--set", "fit.checkpoint_minutes=0.00001", "--seed", "3"]);
    arguments
}

/// What must be equal: both models' bytes, and the log without its last column, the time.
fn outcome(out: &Path) -> (Vec<u8>, Vec<u8>, String) {
    let read = |name: &str| std::fs::read(out.join(name)).unwrap();
    let log = String::from_utf8(read("log.csv")).unwrap();
    let log = log.lines().map(|l| l.rsplit_once(',').unwrap().0).collect::<Vec<_>>().join("\n");
    (read("best.safetensors"), read("last.safetensors"), log)
}

/// Starts a run and sends it a signal once it has a checkpoint inside its first epoch.
fn interrupt(arguments: &[&str], out: &Path, signal: &str) -> Option<i32> {
    let mut child = opticus().args(arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !out.join("checkpoints").read_dir().is_ok_and(|mut files| files.next().is_some()) {
        assert!(started.elapsed() < Duration::from_secs(120), "no checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    let status = child.wait().unwrap().code();
    assert!(!out.join("report.html").exists(), "the run ended before it was interrupted");
    status
}

#[cfg(unix)]
#[test]
fn a_killed_and_resumed_run_equals_the_uninterrupted_one() {
    let made = made();
    let data = made.data();
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let done = run(&train_arguments(text(&data), text(&whole)));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for (signal, status) in [("-KILL", None), ("-INT", Some(130))] {
        let out = folder.path().join(signal);
        let arguments = train_arguments(text(&data), text(&out));
        assert_eq!(interrupt(&arguments, &out, signal), status, "{signal}");
        let resumed = run(&[&arguments[..], &["--resume"]].concat());
        assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
        assert!(outcome(&whole) == outcome(&out), "{signal}");
    }
    // A checkpoint of another run is refused, and nothing of the run is lost by it.
    let out = folder.path().join("-KILL");
    let mut other = train_arguments(text(&data), text(&out));
    other.extend(["--lr", "0.5", "--resume"]);
    let before = outcome(&out);
    fails(&other, 1, &["another run"]);
    assert!(before == outcome(&out));
}

#[test]
fn data_that_cannot_be_used_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let train = |data: &Path, status: i32, words: &[&str]| {
        fails(
            &["classify", "train", "--data", text(data), "--out", text(&out), "--epochs", "1"],
            status,
            words,
        );
        assert!(!out.join("best.safetensors").exists());
    };
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("empty")).unwrap();
    train(&at("empty"), 1, &["empty"]);
    train(&at("nowhere"), 1, &["nowhere"]);
    let png = std::fs::read(made().picture()).unwrap();
    let put = |path: &str, bytes: &[u8]| {
        std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        std::fs::write(at(path), bytes).unwrap();
    };
    put("one/only/a.png", &png);
    train(&at("one"), 1, &["one class"]);
    put("gap/a/a.png", &png);
    std::fs::create_dir_all(at("gap/b")).unwrap();
    train(&at("gap"), 1, &["b"]);
    for i in 0..8 {
        put(&format!("bad/a/{i}.png"), &png);
        put(&format!("bad/b/{i}.png"), &png);
    }
    put("bad/b/broken.png", b"");
    train(&at("bad"), 1, &["broken.png"]);
}

#[test]
fn pictures_that_cannot_be_read_are_named_and_the_others_classified() {
    let made = made();
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read(made.picture()).unwrap();
    // A 60,000 × 60,000 header: 10.8 GB decoded.
    let mut bomb = good.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let crc = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    let bad: [(&str, &[u8]); 5] = [
        ("empty.jpg", b""),
        ("cut.png", &good[..good.len() / 2]),
        ("words.png", b"this is text"),
        ("bomb.png", &bomb),
        ("cut.jpg", &[0xff, 0xd8, 0xff, 0xe0, 0, 16]),
    ];
    for (name, bytes) in bad {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    std::fs::write(folder.path().join("good.png"), &good).unwrap();
    let model = made.model();
    let arguments = ["classify", "predict", "--model", text(&model), text(folder.path())];
    fails(&arguments, 1, &bad.map(|(name, _)| name));
    fails(&arguments, 1, &["too large", "5 of 6"]);
    let output = json(&[&arguments[..], &["--on-bad", "skip"]].concat());
    assert_eq!(output["predictions"].as_array().unwrap().len(), 1);
}

/// The PNG checksum (ISO 3309), for a header made here.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
    })
}

#[test]
fn hostile_model_files_are_refused() {
    let made = made();
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(made.model()).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut poisoned = whole.clone();
    poisoned[header..header + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut shapeless = whole.clone();
    let at = shapeless.windows(6).position(|w| w == b"[10,12").unwrap();
    shapeless[at..at + 6].copy_from_slice(b"[12,10");
    let files: [(&str, &[u8]); 6] = [
        ("empty", b""),
        ("cut", &whole[..whole.len() - 100]),
        ("header", &whole[..100]),
        ("huge", &huge),
        ("nan", &poisoned),
        ("text", b"not a model at all"),
    ];
    let picture = made.picture();
    for (name, bytes) in files.into_iter().chain([("shape", &shapeless[..])]) {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        fails(&["classify", "predict", "--model", text(&path), text(&picture)], 1, &[name]);
    }
}

#[test]
fn wrong_words_are_usage_errors_with_a_remedy() {
    let made = made();
    let (data, model, picture) = (made.data(), made.model(), made.picture());
    let out = made.folder.path().join("run");
    let train = ["classify", "train", "--data", text(&data), "--out", text(&out)];
    fails(&train, 2, &["--overwrite", "--resume"]);
    fails(&[&train[..], &["--set", "optimizer.learning_rat=1"]].concat(), 2, &["learning_rat"]);
    fails(&[&train[..], &["--set", "fit.epoch=1"]].concat(), 2, &["Did you mean `epochs`"]);
    fails(&[&train[..], &["--net", "resnet19"]].concat(), 2, &["resnet18"]);
    fails(&[&train[..], &["--lr", "-1"]].concat(), 2, &["lr"]);
    fails(&[&train[..], &["--no-such-flag"]].concat(), 2, &["no-such-flag"]);
    fails(
        &["classify", "predict", "--model", text(&model), text(&picture), "--device", "cuda:9"],
        2,
        &["cpu"],
    );
    let heat = made.folder.path().join("heat2");
    let explain = ["classify", "explain", "--model", text(&model), "--out", text(&heat), text(&picture)];
    fails(&[&explain[..], &["--label", "sqare"]].concat(), 2, &["Did you mean `square`"]);
    fails(&["classify", "predict", "--model", text(&model), "no*such.png"], 1, &["no*such.png"]);
}

#[cfg(unix)]
#[test]
fn files_without_permission_are_named() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;

    let made = made();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(folder.path(), 0o755);
    for (from, to) in [
        (made.model(), "model.safetensors"),
        (made.model(), "secret.safetensors"),
        (made.picture(), "open.png"),
        (made.picture(), "secret.png"),
    ] {
        std::fs::copy(from, at(to)).unwrap();
        mode(&at(to), if to.starts_with("secret") { 0o000 } else { 0o644 });
    }
    // Permissions mean nothing to root, who therefore asks as nobody.
    let root = std::fs::metadata(folder.path()).unwrap().uid() == 0;
    let program = at("opticus");
    std::fs::copy(env!("CARGO_BIN_EXE_opticus"), &program).unwrap();
    let predict = |model: &str, picture: &str| {
        let mut command = Command::new(&program);
        if root {
            command.uid(65_534);
        }
        let arguments = ["--threads", "2", "classify", "predict", "--model"];
        command.args(arguments).args([at(model), at(picture)]).output()
    };
    match predict("model.safetensors", "open.png") {
        Ok(output) if output.status.success() => {}
        other => return eprintln!("skipped: the program cannot be run as nobody here: {other:?}"),
    }
    for (model, picture, named) in [
        ("model.safetensors", "secret.png", "secret.png"),
        ("secret.safetensors", "open.png", "secret.safetensors"),
    ] {
        let output = predict(model, picture).unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains(named) && words.to_lowercase().contains("permission"), "{words}");
        assert!(!words.contains("panicked"), "{words}");
    }
}

/// A limit on the size of written files stands in for a full disk: both fail in the middle of a write.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let made = made();
    let (model, folder) = (made.model(), tempfile::tempdir().unwrap());
    let out = folder.path().join("out.onnx");
    std::fs::write(&out, b"what was there before").unwrap();
    // The trap leaves the signal ignored in the program, which then sees the error.
    let script =
        r#"trap "" XFSZ; ulimit -f 64; exec "$0" model export "$1" --to onnx --out "$2" --overwrite"#;
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_opticus"), text(&model), text(&out)])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("out.onnx") && !words.contains("panicked"), "{words}");
    assert_eq!(std::fs::read(&out).unwrap(), b"what was there before");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn pictures_that_break_decoders_break_nothing() {
    let shared = std::env::var_os("OPTICUS_SHARED_DATA").map(PathBuf::from);
    let robust = shared
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data").into())
        .join("robust");
    if !robust.exists() {
        println!("skipped: {} is not there", robust.display());
        return;
    }
    let model = made().model();
    let output = json(&["classify", "predict", "--model", text(&model), text(&robust), "--on-bad", "skip"]);
    assert!(output["predictions"].as_array().unwrap().len() > 150);
    json(&["data", "inspect", text(&robust)]);
}
