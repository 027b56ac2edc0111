#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn truth(image: u32, bbox: [f64; 4]) -> Truth {
    let area = bbox[2] * bbox[3];
    Truth { image, class: 0, bbox, area, crowd: false, difficult: false, number_zero: false }
}

fn found(image: u32, score: f64, bbox: [f64; 4]) -> Found {
    Found { image, class: 0, bbox, score }
}

/// Objects that often coincide, at the ends of the ranges of area, some of them crowds.
fn truths() -> impl Strategy<Value = Vec<Truth>> {
    let side = prop::sample::select(vec![8.0, 10.0, 31.0, 32.0, 33.0, 64.0, 96.0, 97.0, 200.0]);
    let one = (0u32..5, 0u32..4, 0u8..4, 0u8..4, side.clone(), side, 0u8..8, 0u8..12).prop_map(
        |(image, class, x, y, w, h, crowd, zero)| Truth {
            image,
            class,
            bbox: [f64::from(x) * 8.0, f64::from(y) * 8.0, w, h],
            area: if crowd == 7 { w * h * 0.4 } else { w * h },
            crowd: crowd == 0,
            difficult: crowd == 1,
            number_zero: zero == 0,
        },
    );
    prop::collection::vec(one, 0..25)
}

/// Detections: objects moved by a little, with few different scores. Class 3 is in no picture.
fn cases() -> impl Strategy<Value = (Vec<Truth>, Vec<Found>)> {
    truths().prop_flat_map(|mut truth| {
        truth.iter_mut().for_each(|g| g.class = g.class.min(2));
        let bases = if truth.is_empty() {
            vec![[0.0, 0.0, 10.0, 10.0]]
        } else {
            truth.iter().map(|g| g.bbox).collect()
        };
        let one = (0u32..5, 0u32..4, prop::sample::select(bases), -2i8..3, 0u8..3, 0u8..6).prop_map(
            |(image, class, b, shift, grow, score)| Found {
                image,
                class,
                bbox: [b[0] + f64::from(shift), b[1], b[2] + f64::from(grow), b[3]],
                score: f64::from(score) / 4.0,
            },
        );
        (Just(truth), prop::collection::vec(one, 0..60))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn coco_is_what_cocoeval_defines((truth, found) in cases()) {
        let options = CocoOptions::default();
        let expected = definition::figures(4, 5, &truth, &found, &options.iou);
        let got = coco(4, &truth, &found, &options).figures.map(|f| f.unwrap_or(-1.0));
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            prop_assert!((got - expected).abs() < 1e-12, "figure {i}: {got} for {expected}");
        }
    }

    #[test]
    fn other_thresholds_too((truth, found) in cases()) {
        let options = CocoOptions { iou: vec![0.3, 0.75, 1.0], ..CocoOptions::default() };
        let expected = definition::figures(4, 5, &truth, &found, &options.iou);
        let got = coco(4, &truth, &found, &options).figures.map(|f| f.unwrap_or(-1.0));
        for (got, expected) in got.iter().zip(expected) {
            prop_assert!((got - expected).abs() < 1e-12, "{got} for {expected}");
        }
    }

    #[test]
    fn the_best_threshold_is_the_best_of_all((truth, found) in cases()) {
        let summary = coco(4, &truth, &found, &CocoOptions::default());
        for (class, measured) in summary.classes.iter().enumerate() {
            let class = class as u32;
            // Try every score as the threshold.
            let mut best = 0.0f64;
            for threshold in found.iter().map(|d| d.score) {
                let kept: Vec<Found> = found.iter().filter(|d| d.score >= threshold).copied().collect();
                let kept = coco(4, &truth, &kept, &CocoOptions::default());
                let last = kept.classes[class as usize].threshold;
                best = best.max(last.map_or(0.0, |t| t.f1));
            }
            prop_assert_eq!(measured.threshold.map_or(0.0, |t| t.f1), best);
        }
    }

    #[test]
    fn the_order_of_other_pictures_and_classes_does_not_matter((truth, found) in cases()) {
        let mut turned = found.clone();
        turned.sort_by_key(|d| std::cmp::Reverse((d.image, d.class)));
        let options = CocoOptions::default();
        prop_assert_eq!(coco(4, &truth, &found, &options), coco(4, &truth, &turned, &options));
    }
}

#[test]
fn perfect_detections_score_one_and_none_score_nothing() {
    let objects = [truth(0, [10.0, 10.0, 50.0, 50.0]), truth(1, [0.0, 0.0, 10.0, 10.0])];
    let right = [found(0, 0.9, [10.0, 10.0, 50.0, 50.0]), found(1, 0.8, [0.0, 0.0, 10.0, 10.0])];
    let names = ["thing".to_string(), "absent".to_string()];
    let scores = DetectScores::of(Style::Coco, &names, 2, &objects, &right);
    assert!(scores.ap.unwrap() > 1.0 - 1e-12 && scores.ar1 == Some(1.0));
    assert_eq!((scores.ap_large, scores.per_class[1].ap), (None, None));
    let json = serde_json::to_value(&scores).unwrap();
    assert_eq!((json["ap_large"].as_f64(), json["style"].as_str()), (Some(-1.0), Some("coco")));
    let none = DetectScores::of(Style::Coco, &names, 2, &objects, &[]);
    assert_eq!((none.ap, none.ar100), (Some(0.0), Some(0.0)));
    let empty = DetectScores::of(Style::Coco, &names, 2, &[], &right);
    assert_eq!((empty.ap, empty.ar100), (None, None));
}

/// The development kit's rules, by hand.
#[test]
fn voc_takes_the_best_fit_even_if_it_is_taken_and_leaves_difficult_ones_out() {
    let mut objects = [
        truth(0, [0.0, 0.0, 10.0, 10.0]),
        truth(0, [0.0, 0.0, 10.0, 9.0]),
        truth(0, [50.0, 50.0, 10.0, 10.0]),
    ];
    objects[2].difficult = true;
    let detections = [
        found(0, 0.9, [0.0, 0.0, 10.0, 10.0]),
        // COCO would give it the second object; VOC says: a second detection of the first.
        found(0, 0.8, [0.0, 0.0, 10.0, 10.0]),
        found(0, 0.7, [50.0, 50.0, 10.0, 10.0]),
    ];
    let options = VocOptions { iou: vec![0.5, 0.95], area: Area::All, corners: Corners::Continuous };
    let class = &voc(1, &objects, &detections, &options).classes[0];
    assert_eq!((class.objects, class.ap.clone()), (2, vec![Some(0.5), Some(0.5)]));
    assert_eq!(class.threshold.unwrap().score, 0.9);
    let eleven = VocOptions { area: Area::ElevenPoint, ..options };
    assert_eq!(voc(1, &objects, &detections, &eleven).mean[0], Some(6.0 / 11.0));
}

#[test]
fn inclusive_corners_add_a_pixel() {
    let objects = [truth(0, [0.0, 0.0, 9.0, 9.0])];
    let detections = [found(0, 0.9, [5.0, 0.0, 9.0, 9.0])];
    // 5 of 15 columns with the pixel, 4 of 14 without.
    for (corners, ap) in [(Corners::Inclusive, 1.0), (Corners::Continuous, 0.0)] {
        let options = VocOptions { iou: vec![0.3], area: Area::All, corners };
        assert_eq!(voc(1, &objects, &detections, &options).mean[0], Some(ap), "{corners:?}");
    }
}

mod published {
    //! Figures that the reference tools give for public data.
    use std::path::PathBuf;

    use super::super::*;
    use crate::detect::score::{ScoreFiles, read};

    fn shared(within: &str) -> Option<PathBuf> {
        let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
        let root = std::env::var_os("OPTICUS_SHARED_DATA").map_or(beside, PathBuf::from);
        let path = root.join("deteval").join(within);
        if !path.exists() {
            eprintln!("skipped: {} is not there", path.display());
            return None;
        }
        Some(path)
    }

    #[test]
    fn coco_fake_boxes_score_as_pycocotools_says() {
        let Some(folder) = shared("coco_fake100") else { return };
        let expected: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(folder.join("EXPECTED.json")).unwrap()).unwrap();
        let (truth, found) = (
            folder.join("instances_val2014_100.json"),
            folder.join("instances_val2014_fakebbox100_results.json"),
        );
        let files = read(&truth, &found, &ScoreFiles::default()).unwrap();
        let scores = DetectScores::of(Style::Coco, &files.classes, files.images, &files.truth, &files.found);
        assert_eq!((scores.images, scores.per_class.len()), (100, 80));
        for (i, (name, value)) in scores.figures().into_iter().enumerate() {
            let published = expected["bbox"][i].as_f64().unwrap();
            // Published with six decimals.
            assert!((value.unwrap() - published).abs() < 5.1e-7, "{name}: {value:?} for {published}");
        }
        // pycocotools 2.0.11 with all digits; see tools/reference/detection_scores.py.
        let golden: serde_json::Value = serde_json::from_str(include_str!("goldens.json")).unwrap();
        for (i, (name, value)) in scores.figures().into_iter().enumerate() {
            let exact = golden["coco_fake100"][i].as_f64().unwrap();
            assert!((value.unwrap() - exact).abs() < 1e-12, "{name}: {value:?} for {exact}");
        }
    }

    #[test]
    fn voc_style_cases_score_as_published() {
        let Some(expected) = shared("VOC_STYLE_EXPECTED.json") else { return };
        let expected: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
        let score = |truth: &str, found: &str, area, iou: Vec<f64>| {
            let (truth, found) = (shared(truth).unwrap(), shared(found).unwrap());
            let files = read(&truth, &found, &ScoreFiles::default()).unwrap();
            assert!(files.plain_text);
            let options = VocOptions { iou, area, corners: Corners::Inclusive };
            voc(files.classes.len(), &files.truth, &files.found, &options).mean
        };
        let padilla = &expected["padilla (groundtruths vs detections, IoU 0.3)"];
        for (area, name) in [(Area::All, "all_point_AP"), (Area::ElevenPoint, "eleven_point_AP")] {
            let ap = score("padilla/groundtruths", "padilla/detections", area, vec![0.3])[0].unwrap();
            // Published as the sum of products of four digits each: 1*0.0666 + 0.6666*0.0667 + …. The tool itself
            // gives 24.57 % for it, and the other case has the same boxes.
            let published = padilla[name].as_f64().unwrap();
            assert!((ap - published).abs() < 1e-4, "{name}: {ap}");
            assert!(area != Area::All || (ap * 100.0 - 24.57).abs() < 0.005, "{ap}");
            let case = &expected["rodm_test_case_1"];
            let iou: Vec<f64> = case["iou"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            let aps = score("rodm_test_case_1/gts", "rodm_test_case_1/dets", area, iou);
            for (ap, published) in aps.into_iter().zip(case[name].as_array().unwrap()) {
                assert!((ap.unwrap() - published.as_f64().unwrap()).abs() < 1e-10, "{name}: {ap:?}");
            }
        }
    }
}
