//! Selective search.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod voc;

use std::collections::HashSet;
use std::time::Instant;

use opticus_pixels::propose::{Effort, Proposing, Similarity, Strategy as Grouping, propose};
use opticus_pixels::{Box2d, Image8, Size};
use proptest::collection::vec;
use proptest::prelude::*;

/// A noisy ground with discs of other colours on it, and where they are.
fn scene() -> (Image8, Vec<Box2d>) {
    let size = Size::new(240, 180);
    let discs = [
        ([60.0, 50.0], 30.0, [200, 60, 50]),
        ([170.0, 60.0], 22.0, [60, 90, 190]),
        ([120.0, 130.0], 36.0, [230, 210, 80]),
    ];
    let noise = |x: u32, y: u32, c: u32| {
        (x.wrapping_mul(73_856_093) ^ y.wrapping_mul(19_349_663) ^ c.wrapping_mul(83_492_791)) >> 7 & 15
    };
    let pixel = |x: u32, y: u32| -> [u8; 3] {
        let inside = |centre: [f64; 2], radius: f64| {
            (f64::from(x) + 0.5 - centre[0]).hypot(f64::from(y) + 0.5 - centre[1]) < radius
        };
        let color =
            discs.iter().find(|(centre, radius, _)| inside(*centre, *radius)).map_or([90, 120, 90], |d| d.2);
        std::array::from_fn(|c| color[c] + noise(x, y, c as u32) as u8)
    };
    let data = (0..size.height).flat_map(|y| (0..size.width).flat_map(move |x| pixel(x, y))).collect();
    let boxes = discs.iter().map(|([x, y], r, _)| Box2d::from_center([*x, *y, 2.0 * r, 2.0 * r])).collect();
    (Image8 { size, channels: 3, data }, boxes)
}

fn best_overlap(truth: Box2d, boxes: &[Box2d]) -> f64 {
    boxes.iter().map(|b| b.iou(truth)).fold(0.0, f64::max)
}

#[test]
fn things_that_differ_in_colour_are_found() {
    let (image, truth) = scene();
    for effort in [Effort::Single, Effort::Fast] {
        let boxes = propose(&image, &Proposing { most: 50, ..Proposing::new(effort) });
        for truth in &truth {
            assert!(best_overlap(*truth, &boxes) > 0.9, "{effort:?}: {}", best_overlap(*truth, &boxes));
        }
    }
}

#[test]
fn a_thing_of_the_same_grey_is_found_by_its_texture() {
    // Both halves have the same mean; stripes lie across in a square and upright around it.
    let size = Size::new(160, 160);
    let square = |x: u32, y: u32| (50..110).contains(&x) && (50..110).contains(&y);
    let value = |x: u32, y: u32| if (if square(x, y) { y } else { x }) % 6 < 3 { 90 } else { 166 };
    let data = (0..160).flat_map(|y| (0..160).map(move |x| value(x, y))).collect();
    let image = Image8 { size, channels: 1, data };
    let boxes = propose(&image, &Proposing::new(Effort::Fast));
    let truth = Box2d::new(50.0, 50.0, 110.0, 110.0);
    assert!(best_overlap(truth, &boxes) > 0.75, "{}", best_overlap(truth, &boxes));
}

#[test]
fn the_sets_of_strategies_are_the_papers() {
    let count = |effort: Effort| effort.strategies().len();
    assert_eq!([count(Effort::Single), count(Effort::Fast), count(Effort::Quality)], [1, 8, 80]);
    let fast = Effort::Fast.strategies();
    assert!(fast.iter().all(|s| Effort::Quality.strategies().contains(s)));
}

#[test]
fn the_order_depends_on_the_seed_and_nothing_else() {
    let (image, _) = scene();
    let settings = Proposing { most: usize::MAX, ..Proposing::new(Effort::Fast) };
    let boxes = propose(&image, &settings);
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(alone.install(|| propose(&image, &settings)), boxes);
    let other = propose(&image, &Proposing { seed: 1, ..settings.clone() });
    assert_ne!(other, boxes);
    let set =
        |boxes: &[Box2d]| boxes.iter().map(|b| b.to_corners().map(f64::to_bits)).collect::<HashSet<_>>();
    assert_eq!(set(&other), set(&boxes));
    assert_eq!(set(&boxes).len(), boxes.len(), "no box twice");
    let few = propose(&image, &Proposing { most: 7, ..settings });
    assert_eq!(few, boxes[..7]);
}

#[test]
fn strategies_give_the_same_together_and_alone() {
    let (image, _) = scene();
    let fast = Effort::Fast.strategies();
    let with = |strategies: &[Grouping]| {
        let settings =
            Proposing { strategies: strategies.to_vec(), most: usize::MAX, ..Proposing::new(Effort::Fast) };
        propose(&image, &settings).iter().map(|b| b.to_corners().map(f64::to_bits)).collect::<HashSet<_>>()
    };
    let alone: HashSet<_> = fast.iter().flat_map(|s| with(&[*s])).collect();
    assert_eq!(with(&fast), alone);
}

#[test]
fn boxes_of_a_large_picture_are_in_its_own_pixels() {
    let (image, truth) = scene();
    let large =
        opticus_pixels::resize::resize(&image, Size::new(960, 720), opticus_pixels::resize::Filter::Bilinear);
    let boxes = propose(&large, &Proposing { longest_side: 240, ..Proposing::new(Effort::Fast) });
    for truth in &truth {
        assert!(best_overlap(truth.scaled([4.0, 4.0]), &boxes) > 0.85);
    }
}

proptest! {
    #[test]
    fn anything_can_be_searched(
        (size, data) in (1u32..40, 1u32..40, prop_oneof![Just(1usize), Just(3), Just(4)])
            .prop_flat_map(|(w, h, c)| (Just((w, h, c)), vec(any::<u8>(), (w * h) as usize * c))),
        similarity in any::<[bool; 4]>(),
        scale in prop_oneof![0u32..200, any::<u32>()],
        longest_side in prop_oneof![0u32..60, any::<u32>()],
    ) {
        let image = Image8 { size: Size::new(size.0, size.1), channels: size.2, data };
        let [color, texture, size, fill] = similarity;
        let similarity = Similarity { color, texture, size, fill };
        let strategies = Effort::Quality.strategies().into_iter().step_by(16).map(|s| Grouping { similarity, scale, ..s });
        let settings = Proposing { strategies: strategies.collect(), longest_side, min_side: 0, most: usize::MAX, seed: 5 };
        let boxes = propose(&image, &settings);
        prop_assert!(!boxes.is_empty());
        let whole = Box2d::whole(image.size);
        for b in &boxes {
            prop_assert!(!b.degenerate() && b.ioa(whole) > 1.0 - 1e-9);
        }
        // The root of every hierarchy is the whole picture.
        prop_assert!(boxes.iter().any(|b| b.iou(whole) > 1.0 - 1e-9));
    }
}

#[test]
fn an_empty_picture_has_no_boxes() {
    let nothing = Image8 { size: Size::new(0, 0), channels: 3, data: Vec::new() };
    assert!(propose(&nothing, &Proposing::new(Effort::Fast)).is_empty());
}

/// Recall on photos. `cargo test --release --test propose -- --ignored --nocapture`
#[test]
#[ignore = "a measurement on shared data, minutes long"]
fn recall_on_photos() {
    for folder in ["raccoon_train", "bccd_trainval", "cards_train50"] {
        let photos = voc::photos(folder, 80);
        for effort in [Effort::Single, Effort::Fast, Effort::Quality] {
            for longest_side in [500, 640] {
                let settings = Proposing { longest_side, ..Proposing::new(effort) };
                let mut found: [Vec<f64>; 3] = Default::default();
                let (mut boxes, mut time) = (0, 0.0);
                for photo in &photos {
                    let start = Instant::now();
                    let proposals = propose(&photo.image, &settings);
                    time += start.elapsed().as_secs_f64();
                    boxes += proposals.len();
                    for (_, truth) in photo.objects.iter().filter(|(_, b)| !b.degenerate()) {
                        for (found, most) in found.iter_mut().zip([500, 1000, 2000]) {
                            found.push(best_overlap(*truth, &proposals[..most.min(proposals.len())]));
                        }
                    }
                }
                println!(
                    "{folder} {effort:?} at {longest_side}: {} photos, {} boxes and {:.0} ms a photo",
                    photos.len(),
                    boxes / photos.len().max(1),
                    1000.0 * time / photos.len().max(1) as f64
                );
                for (found, most) in found.iter().zip([500, 1000, 2000]) {
                    let share =
                        |least| found.iter().filter(|o| **o >= least).count() as f64 / found.len() as f64;
                    let mean = found.iter().sum::<f64>() / found.len() as f64;
                    println!(
                        "  {most}: recall {:.3} at 0.5, {:.3} at 0.7; mean best overlap {mean:.3}",
                        share(0.5),
                        share(0.7)
                    );
                }
            }
        }
    }
}
