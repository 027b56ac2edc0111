//! Overlap and suppression as the reference tools have them (goldens written by `tools/reference/boxes.py`), and by
//! definition on any boxes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use opticus_pixels::suppress::{
    Candidate, Decay, Fusion, SoftNms, Source, fuse_weighted, nms, nms_per_class, soft_nms,
};
use opticus_pixels::{Box2d, Size};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    boxes: Vec<Box2d>,
    scores: Vec<f64>,
    classes: Vec<usize>,
    iou: Vec<f64>,
    giou: Vec<f64>,
    clipped: Vec<Box2d>,
    large: BTreeMap<String, Vec<usize>>,
    nms: Vec<Nms>,
    soft: Vec<Soft>,
    fusion: Option<Fused>,
}

#[derive(Deserialize)]
struct Nms {
    iou: f64,
    kept: Vec<usize>,
    kept_per_class: Vec<usize>,
}

#[derive(Deserialize)]
struct Soft {
    decay: String,
    min_score: f64,
    kept: Vec<(usize, f64)>,
}

#[derive(Deserialize)]
struct Fused {
    boxes: Vec<Box2d>,
    cases: Vec<FusedCase>,
}

#[derive(Deserialize)]
struct FusedCase {
    weights: Vec<f64>,
    iou: f64,
    min_score: f64,
    result: Vec<[f64; 6]>,
}

impl Case {
    fn candidates(&self) -> Vec<Candidate> {
        let both = self.scores.iter().zip(&self.classes);
        self.boxes
            .iter()
            .zip(both)
            .map(|(b, (s, c))| Candidate { bounds: *b, score: *s, class: *c })
            .collect()
    }
}

fn goldens() -> Vec<Case> {
    serde_json::from_str::<Goldens>(include_str!("golden/boxes.json")).unwrap().cases
}

#[test]
fn overlaps_are_torchvisions() {
    for case in goldens() {
        let few = &case.boxes[..24];
        let pairs = few.iter().flat_map(|a| few.iter().map(move |b| (*a, *b)));
        let mut checked = 0;
        for ((a, b), (iou, giou)) in pairs.zip(case.iou.iter().zip(&case.giou)) {
            assert!((a.iou(b) - iou).abs() < 1e-14, "{}: {a:?} {b:?}: {} for {iou}", case.name, a.iou(b));
            // Without area on both sides torchvision divides nothing by nothing.
            if a.area() + b.area() > 0.0 {
                assert!(
                    (a.giou(b) - giou).abs() < 1e-14,
                    "{}: {a:?} {b:?}: {} for {giou}",
                    case.name,
                    a.giou(b)
                );
                checked += 1;
            }
        }
        assert!(checked > 400 && case.iou.len() == 24 * 24);
    }
}

#[test]
fn clipping_and_small_boxes_are_torchvisions() {
    for case in goldens() {
        let clipped: Vec<_> = case.boxes.iter().map(|b| b.clipped(Size::new(70, 40))).collect();
        assert_eq!(clipped, case.clipped, "{}", case.name);
        for (side, large) in &case.large {
            let side: f64 = side.parse().unwrap();
            let ours: Vec<_> = (0..case.boxes.len()).filter(|i| case.boxes[*i].at_least(side)).collect();
            assert_eq!(&ours, large, "{}: {side}", case.name);
        }
    }
}

#[test]
fn greedy_suppression_is_torchvisions() {
    for case in goldens() {
        for expected in &case.nms {
            let name = format!("{} at {}", case.name, expected.iou);
            assert_eq!(nms(&case.candidates(), expected.iou), expected.kept, "{name}");
            assert_eq!(nms_per_class(&case.candidates(), expected.iou), expected.kept_per_class, "{name}");
        }
    }
}

#[test]
fn soft_suppression_is_the_papers() {
    for case in goldens() {
        for expected in &case.soft {
            let decay = match expected.decay.as_str() {
                "linear" => Decay::Linear { iou: 0.3 },
                _ => Decay::Gaussian { sigma: 0.5 },
            };
            let ours = soft_nms(&case.candidates(), &SoftNms { decay, min_score: expected.min_score });
            assert_eq!(ours.len(), expected.kept.len(), "{}", case.name);
            for (ours, (index, score)) in ours.iter().zip(&expected.kept) {
                assert_eq!(
                    (ours.bounds, ours.class),
                    (case.boxes[*index], case.classes[*index]),
                    "{}",
                    case.name
                );
                assert!((ours.score - score).abs() < 1e-12, "{}: {} for {score}", case.name, ours.score);
            }
        }
    }
}

#[test]
fn fusion_is_its_authors() {
    let mut seen = 0;
    for case in goldens() {
        let Some(fusion) = &case.fusion else { continue };
        let mut candidates = case.candidates();
        for (candidate, b) in candidates.iter_mut().zip(&fusion.boxes) {
            candidate.bounds = *b;
        }
        let parts: Vec<Vec<_>> =
            (0..3).map(|k| candidates.iter().copied().skip(k).step_by(3).collect()).collect();
        for expected in &fusion.cases {
            let weighted = parts.iter().zip(&expected.weights);
            let sources: Vec<_> =
                weighted.map(|(candidates, weight)| Source { candidates, weight: *weight }).collect();
            let ours = fuse_weighted(&sources, &Fusion { iou: expected.iou, min_score: expected.min_score });
            assert_eq!(ours.len(), expected.result.len());
            for (ours, [x1, y1, x2, y2, score, class]) in ours.iter().zip(&expected.result) {
                let edges = ours.bounds.to_corners().into_iter().zip([x1, y1, x2, y2]);
                // The program sums in f32.
                assert!(edges.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) < 1e-4, "{ours:?}");
                assert!((ours.score - score).abs() < 1e-6 && ours.class as f64 == *class, "{ours:?}");
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
}

/// Few places and few scores, so that ties and repeats are common; now and then something that is no candidate.
fn candidates(most: usize) -> impl Strategy<Value = Vec<Candidate>> {
    let usable = (0u8..12, 0u8..12, 0u8..9, 0u8..9, 0u8..12, 0usize..3).prop_map(|(x, y, w, h, s, class)| {
        let bounds = Box2d::from_xywh([x, y, w, h].map(f64::from));
        Candidate { bounds, score: f64::from(s) / 10.0, class }
    });
    let number = || prop_oneof![Just(f64::NAN), Just(f64::INFINITY), any::<f64>(), Just(-1e308), Just(1e308)];
    let hostile = ([number(), number(), number(), number()], number(), any::<usize>())
        .prop_map(|(edges, score, class)| Candidate { bounds: edges.into(), score, class });
    vec(prop_oneof![20 => usable, 1 => hostile], 0..most)
}

/// Many boxes of very different sizes, few of which meet, some very far out.
fn spread(most: usize) -> impl Strategy<Value = Vec<Candidate>> {
    let side = || prop_oneof![8 => 1.0..9.0f64, 1 => 0.01..300.0f64];
    let shift = prop_oneof![8 => Just(0.0), 1 => Just(1e9), 1 => Just(1e15)];
    let one = (-150.0..150.0f64, -150.0..150.0f64, side(), side(), 0.0..1.0f64, 0usize..2);
    (vec(one, 0..most), shift).prop_map(|(all, shift)| {
        let all = all.into_iter();
        all.map(|(x, y, w, h, score, class)| Candidate {
            bounds: Box2d::from_xywh([x + shift, y, w, h]),
            score,
            class,
        })
        .collect()
    })
}

/// Of a size and score that sums can hold.
fn sane(c: &Candidate) -> bool {
    usable(c) && (1e-3..2.0).contains(&c.score) && c.bounds.to_corners().iter().all(|edge| edge.abs() < 1e6)
}

fn usable(c: &Candidate) -> bool {
    c.bounds.valid() && !c.score.is_nan()
}

proptest! {
    /// The definition, the slow way; enough boxes that the index looks into single cells.
    #[test]
    fn greedy_suppression_by_definition(
        candidates in prop_oneof![candidates(80), spread(600)],
        iou in prop_oneof![Just(0.0), 0.0..1.0f64],
    ) {
        let mut order: Vec<usize> = (0..candidates.len()).filter(|i| usable(&candidates[*i])).collect();
        order.sort_by(|a, b| candidates[*b].score.total_cmp(&candidates[*a].score));
        let mut kept: Vec<usize> = Vec::new();
        let mut kept_per_class: Vec<usize> = Vec::new();
        for i in order {
            let a = candidates[i];
            if kept.iter().all(|j| a.bounds.iou(candidates[*j].bounds) <= iou) {
                kept.push(i);
            }
            let rivals = kept_per_class.iter().map(|j| candidates[*j]).filter(|b| b.class == a.class);
            if rivals.into_iter().all(|b| a.bounds.iou(b.bounds) <= iou) {
                kept_per_class.push(i);
            }
        }
        prop_assert_eq!(nms(&candidates, iou), kept);
        prop_assert_eq!(nms_per_class(&candidates, iou), kept_per_class);
    }

    #[test]
    fn soft_suppression_only_lowers(candidates in candidates(40), sigma in 0.01..2.0f64) {
        let settings = SoftNms { decay: Decay::Gaussian { sigma }, min_score: 0.05 };
        let soft = soft_nms(&candidates, &settings);
        prop_assert!(soft.is_sorted_by(|a, b| a.score >= b.score));
        for s in &soft {
            prop_assert!(s.score >= 0.05);
            let from = candidates.iter().filter(|c| c.bounds == s.bounds && c.class == s.class);
            prop_assert!(from.into_iter().any(|c| c.score >= s.score));
        }
        // One candidate cannot lower itself.
        let best = candidates.iter().filter(|c| usable(c) && c.score >= 0.05).map(|c| c.score);
        prop_assert_eq!(soft.first().map(|c| c.score), best.max_by(f64::total_cmp));
    }

    #[test]
    fn fused_boxes_lie_among_their_parts(candidates in candidates(40), iou in 0.0..1.0f64) {
        let sane: Vec<_> = candidates.iter().copied().filter(sane).collect();
        let settings = Fusion { iou, min_score: 0.0 };
        let fused = fuse_weighted(&[Source { candidates: &sane, weight: 1.0 }], &settings);
        let around = sane.iter().map(|c| c.bounds).reduce(Box2d::enclosing).unwrap_or_default();
        for f in &fused {
            prop_assert!(f.bounds.x1 >= around.x1 - 1e-9 && f.bounds.y2 <= around.y2 + 1e-9);
        }
        // Whatever comes in, nothing breaks.
        let hostile = [Source { candidates: &candidates, weight: f64::NAN }, Source { candidates: &candidates, weight: 2.0 }];
        prop_assert!(fuse_weighted(&hostile, &Fusion::default()).iter().all(usable));
    }

    #[test]
    fn detectors_that_agree_give_back_what_they_say(candidates in candidates(20)) {
        let sane: Vec<_> = candidates.into_iter().filter(sane).collect();
        let apart = nms_per_class(&sane, 0.0);
        let apart: Vec<_> = apart.into_iter().map(|i| sane[i]).filter(|c| !c.bounds.degenerate()).collect();
        let source = Source { candidates: &apart, weight: 1.0 };
        let fused = fuse_weighted(&[source, source], &Fusion::default());
        prop_assert_eq!(fused.len(), apart.len());
        for a in &apart {
            let same = |f: &&Candidate| f.class == a.class && f.bounds.iou(a.bounds) > 1.0 - 1e-9;
            prop_assert!(fused.iter().find(same).is_some_and(|f| (f.score - a.score).abs() < 1e-12));
        }
    }
}

/// 100,000 boxes of which four in ten stay; run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_hundred_thousand_boxes() {
    let mut state = 1u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    };
    let candidates: Vec<Candidate> = (0..100_000)
        .map(|_| {
            let centre = [draw() * 2000.0, draw() * 2000.0, 8.0 + draw() * 24.0, 8.0 + draw() * 24.0];
            Candidate { bounds: Box2d::from_center(centre), score: draw(), class: 0 }
        })
        .collect();
    for n in [1_000, 10_000, 100_000] {
        let start = std::time::Instant::now();
        let kept = nms(&candidates[..n], 0.5).len();
        println!("{n} boxes, {kept} kept: {:?}", start.elapsed());
    }
}
