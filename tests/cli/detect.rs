//! `opticus detect`: every verb on made scenes, exact resume, annotations that make no sense.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{fails, first_file, interrupt, json, outcome, run, text};

/// A tiny detector: made scenes of 64 pixels.
const NET: [&str; 6] = ["--image-size", "64", "--set", "net.backbone=small-cnn", "--batch-size", "4"];

/// Scenes in parts, and a detector trained on them, shared by the tests.
struct Made {
    folder: tempfile::TempDir,
}

impl Made {
    fn data(&self) -> PathBuf {
        self.folder.path().join("scenes")
    }
    fn model(&self) -> PathBuf {
        self.folder.path().join("run/best.safetensors")
    }
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = Made { folder: tempfile::tempdir().unwrap() };
        let data = made.data();
        let make = ["data", "make", "shapes", "--task", "detect", "--out", text(&data), "--size", "64"];
        json(&[&make[..], &["--count", "40", "--val-split", "0.25"]].concat());
        let out = made.folder.path().join("run");
        let train = ["detect", "train", "--data", text(&data), "--out", text(&out), "--net", "ssd-lite"];
        let result = json(&[&train[..], &NET, &["--epochs", "2", "--seed", "1"]].concat());
        assert_eq!(result["val"]["images"], 10);
        assert!(out.join("report.html").exists());
        made
    })
}

/// The figures of training, of `eval`, and of `score` on what `eval` saved are those of one path.
#[test]
fn a_trained_detector_is_measured_alike_everywhere() {
    let made = made();
    let (data, model) = (made.data(), made.model());
    let saved = made.folder.path().join("saved");
    let report = made.folder.path().join("eval.html");
    let eval = ["detect", "eval", "--model", text(&model), "--data", text(&data), "--save", text(&saved)];
    let scores = json(&[&eval[..], &["--report", text(&report)]].concat());
    assert!(report.exists());
    let (truth, found) = (saved.join("truth.json"), saved.join("detections.json"));
    let scored = json(&["detect", "score", "--truth", text(&truth), "--detections", text(&found)]);
    let trained = made.folder.path().join("run/log.csv");
    let trained = std::fs::read_to_string(trained).unwrap();
    let column = |name: &str| trained.lines().next().unwrap().split(',').position(|c| c == name).unwrap();
    let best = (trained.lines().skip(1))
        .map(|line| line.split(',').nth(column("val_ap")).unwrap().parse::<f64>().unwrap())
        .fold(f64::MIN, f64::max);
    for name in ["ap", "ap50", "ap75", "ap_small", "ar1", "ar100"] {
        let [a, b] = [&scores, &scored].map(|s| s[name].as_f64().unwrap());
        assert!((a - b).abs() < 1e-12, "{name}: {a} and {b}");
    }
    assert!((scores["ap"].as_f64().unwrap() - best).abs() < 1e-6, "{} {best}", scores["ap"]);
    assert_eq!(scores["images"], 10);
    let info = json(&["model", "info", text(&model)]);
    assert_eq!((&info["job"], &info["provenance"]["seed"]), (&"detect".into(), &1.into()));
}

#[test]
fn predictions_take_every_form_and_tiles_find_them_too() {
    let made = made();
    let model = made.model();
    let picture = first_file(&made.data().join("val"));
    let out = made.folder.path().join("found");
    let predict = ["detect", "predict", "--model", text(&model), text(&picture)];
    let forms = "pictures,json,csv,coco,yolo,tensorflow";
    let all = json(&[&predict[..], &["--out", text(&out), "--to", forms]].concat());
    let one = &all["predictions"][0];
    let detections = one["detections"].as_array().unwrap();
    assert_eq!((&one["width"], &one["file"]), (&64.into(), &text(&picture).into()));
    assert!(!detections.is_empty());
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let value = |name: &str| serde_json::from_str::<Value>(&read(name)).unwrap();
    assert_eq!(value("detections.json"), all);
    assert_eq!(read("detections.csv").lines().count(), detections.len() + 1);
    assert_eq!(value("detections.coco.json").as_array().unwrap().len(), detections.len());
    let stem = picture.file_stem().unwrap().to_str().unwrap();
    assert_eq!(read(&format!("labels/{stem}.txt")).lines().count(), detections.len());
    assert_eq!(value("detections.tensorflow.json")[0]["num_detections"], detections.len());
    assert!(out.join(format!("{stem}.png")).exists());

    for more in [&["--tile", "40"][..], &["--suppress", "soft-nms"], &["--suppress", "fusion"]] {
        let found = json(&[&predict[..], more].concat());
        assert!(!found["predictions"][0]["detections"].as_array().unwrap().is_empty(), "{more:?}");
    }
    fails(&[&predict[..], &["--tile", "8"]].concat(), 2, &["--tile 8", "32"]);
    fails(&["classify", "predict", "--model", text(&model), text(&picture)], 1, &["opticus detect"]);
}

/// Everything random: mosaic, crops, colours, choice of anchors and regions, averaged weights.
#[cfg(unix)]
#[test]
fn a_killed_and_resumed_training_equals_the_uninterrupted_one() {
    let made = made();
    let data = made.data();
    let folder = tempfile::tempdir().unwrap();
    let arguments = |out: &'static str| {
        let out = folder.path().join(out);
        let mut words: Vec<String> =
            ["detect", "train", "--net", "faster-rcnn", "--epochs", "2", "--data"].map(String::from).to_vec();
        words.extend([text(&data).to_owned(), "--out".to_owned(), text(&out).to_owned()]);
        words.extend(NET.map(String::from));
        let sets = ["augment.mosaic=0.5", "augment.crop.probability=0.5", "fit.checkpoint_minutes=0.00001"];
        sets.iter().for_each(|set| words.extend(["--set".to_owned(), (*set).to_owned()]));
        (words, out)
    };
    let (words, whole) = arguments("whole");
    let done = run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (words, out) = arguments("killed");
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(interrupt(&words, &out, "-KILL"), None);
    words.push("--resume");
    let resumed = run(&words);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert!(outcome(&whole) == outcome(&out));
}

/// Regions go through a file, from a search to training, measuring and predicting.
#[test]
fn proposals_from_a_file_are_trained_and_measured_with() {
    let made = made();
    let data = made.data();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (file, out) = (at("regions.json"), at("run"));
    let propose = ["detect", "propose", "--data", text(&data), "--to", text(&file), "--count", "100"];
    let recall = json(&propose);
    assert_eq!((&recall["recall"]["images"], recall["pictures"].as_array().unwrap().len()), (&40.into(), 40));
    let net = ["--net", "fast-rcnn", "--proposals", text(&file), "--epochs", "1"];
    let train = ["detect", "train", "--data", text(&data), "--out", text(&out)];
    let trained = json(&[&train[..], &net, &NET].concat());
    let model = out.join("best.safetensors");
    let eval = ["detect", "eval", "--model", text(&model), "--data", text(&data)];
    let measured = json(&[&eval[..], &["--proposals", text(&file)]].concat());
    assert_eq!(measured["ap"], trained["val"]["ap"]);
    let picture = first_file(&data.join("val"));
    let predict = ["detect", "predict", "--model", text(&model), text(&picture)];
    json(&[&predict[..], &["--proposals", text(&file)]].concat());
    // Without a file they are searched for.
    json(&predict);
    json(&eval);
    std::fs::write(&file, "{\"proposals\": 3}").unwrap();
    fails(&[&eval[..], &["--proposals", text(&file)]].concat(), 1, &["regions.json"]);
}

/// Boxes and pictures that make no sense are counted and left out; training goes on and stays finite.
#[test]
fn training_survives_annotations_that_make_no_sense() {
    let made = made();
    let folder = tempfile::tempdir().unwrap();
    let source = made.data().join("train");
    let data = folder.path().join("bad");
    std::fs::create_dir_all(data.join("images")).unwrap();
    let text_of = std::fs::read_to_string(source.join("instances.json")).unwrap();
    let mut instances: Value = serde_json::from_str(&text_of).unwrap();
    for entry in std::fs::read_dir(source.join("images")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, data.join("images").join(path.file_name().unwrap())).unwrap();
    }
    let first = instances["images"][0]["id"].as_i64().unwrap();
    let second = instances["images"][1]["id"].as_i64().unwrap();
    let list = instances["annotations"].as_array_mut().unwrap();
    // The second picture has no boxes.
    list.retain(|a| a["image_id"] != second);
    let strange = [
        (json!([5, 5, 0, 10]), 1),
        (json!([5, 5, -3, 10]), 1),
        (json!([500, 500, 10, 10]), 1),
        (json!([60, 60, 50, 50]), 1),
        (json!([1e300, 0, 1e300, 5]), 1),
        (json!([1, 1, 9, 9]), 77),
    ];
    for (i, (bbox, category)) in strange.into_iter().enumerate() {
        list.push(
            json!({"id": 90_000 + i, "image_id": first, "category_id": category, "bbox": bbox, "area": 1}),
        );
    }
    list.push(list[0].clone());
    let missing = json!({"id": 99_999, "file_name": "images/missing.png", "width": 64, "height": 64});
    instances["images"].as_array_mut().unwrap().push(missing);
    std::fs::write(data.join("instances.json"), instances.to_string()).unwrap();
    let out = folder.path().join("run");
    let train = ["detect", "train", "--data", text(&data), "--out", text(&out), "--epochs", "1"];
    let train = [&train[..], &NET, &["--net", "faster-rcnn"]].concat();
    fails(&train, 1, &["missing.png"]);
    let skip = [&train[..], &["--set", "data.on_bad=skip"]].concat();
    fails(&[&skip[..], &["--set", "data.on_bad_boxes=error"]].concat(), 1, &["instances.json"]);
    let done = run(&skip);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("left out"), "{said}");
    let log = std::fs::read_to_string(out.join("log.csv")).unwrap();
    assert!(!log.to_lowercase().contains("nan") && !log.contains("inf"), "{log}");
}

/// Learning: the real training finds what it has seen.
#[test]
fn detectors_learn_their_scenes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("scenes");
    json(&[
        "data",
        "make",
        "shapes",
        "--task",
        "detect",
        "--out",
        text(&data),
        "--size",
        "64",
        "--count",
        "16",
    ]);
    for (net, epochs, lr, least) in [("ssd-lite", "40", "2e-3", 0.7), ("faster-rcnn", "60", "1e-3", 0.6)] {
        let out = folder.path().join(net);
        let train = ["detect", "train", "--data", text(&data), "--out", text(&out), "--net", net];
        let recipe = ["--epochs", epochs, "--lr", lr, "--set", "augment.flip=0", "--set", "ema.decay=0"];
        json(&[&train[..], &NET, &recipe].concat());
        let model = out.join("last.safetensors");
        let part = ["--part", "train", "--val-split", "0.2"];
        let eval = ["detect", "eval", "--model", text(&model), "--data", text(&data)];
        let found = json(&[&eval[..], &part].concat());
        assert!(found["ap50"].as_f64().unwrap() > least, "{net}: {}", found["ap50"]);
    }
}

/// One object, found once at IoU 0.8 and once at 0.5 with a lower score.
#[test]
fn detections_are_scored_and_boxes_converted_and_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let truth = put(
        "truth.json",
        r#"{"images":[{"id":5,"file_name":"a.png","width":100,"height":100}],"categories":[{"id":9,"name":"cat"}],
            "annotations":[{"id":1,"image_id":5,"category_id":9,"bbox":[0,0,10,10],"area":100,"iscrowd":0}]}"#,
    );
    let found = put(
        "found.json",
        r#"[{"image_id":5,"category_id":9,"bbox":[0,0,10,8],"score":0.9},
            {"image_id":5,"category_id":9,"bbox":[0,0,10,5],"score":0.5}]"#,
    );
    let arguments = ["detect", "score", "--truth", text(&truth), "--detections", text(&found)];
    let scores = json(&arguments);
    let close =
        |value: &Value, expected: f64| assert!((value.as_f64().unwrap() - expected).abs() < 1e-12, "{value}");
    close(&scores["ap"], 0.7);
    close(&scores["ap50"], 1.0);
    close(&scores["ap_large"], -1.0);
    assert_eq!((&scores["style"], &scores["per_class"][0]["label"]), (&"coco".into(), &"cat".into()));
    // What `detect predict --json` prints is understood too.
    let predictions = put(
        "predictions.json",
        r#"{"predictions":[{"file":"x/a.png","width":100,"height":100,"detections":[
            {"label":"cat","class_id":0,"score":0.9,"box":[0,0,10,8]}]}]}"#,
    );
    let voc =
        ["detect", "score", "--truth", text(&truth), "--detections", text(&predictions), "--style", "voc07"];
    close(&json(&voc)["ap"], 1.0);

    let bad = put("bad.json", "[{\"image_id\":5,\n\"category_id\":9,\"bbox\":[0,0,10,8],\"score\":NaN}]");
    let arguments = ["detect", "score", "--truth", text(&truth), "--detections", text(&bad)];
    fails(&arguments, 1, &["bad.json", "line 2", "NaN"]);
    let strange = put("strange.json", "[{\"image_id\":6,\"category_id\":9,\"bbox\":[0,0,10,8],\"score\":1}]");
    let arguments = ["detect", "score", "--truth", text(&truth), "--detections", text(&strange)];
    fails(&arguments, 1, &["image_id 6 is not among the pictures"]);
    fails(&[&voc[..], &["--iou", "1.5"]].concat(), 2, &["1.5", "at most 1"]);

    let scenes = folder.path().join("scenes");
    json(&["data", "make", "shapes", "--task", "detect", "--count", "6", "--out", text(&scenes)]);
    let mut from = scenes;
    let boxes = json(&["data", "inspect", text(&from)])["boxes"]["boxes"].as_u64().unwrap();
    assert!(boxes >= 6);
    for kind in ["voc", "yolo", "coco"] {
        let out = folder.path().join(kind);
        let written = json(&["data", "convert", "--data", text(&from), "--to", kind, "--out", text(&out)]);
        assert_eq!((&written["target"], written["boxes"].as_u64()), (&kind.into(), Some(boxes)));
        assert_eq!(json(&["data", "inspect", text(&out)])["format"], kind);
        from = out;
    }
}
