#![allow(clippy::unwrap_used)]

use opticus_pixels::{Box2d, Image8, Size};
use proptest::prelude::*;

use super::*;
use crate::data::detection::Annotation;
use crate::data::sampler::{Purpose, rng_for};
use crate::error::Error;

const GREY: u8 = 60;

fn annotation(bounds: Box2d, class: usize) -> Annotation {
    Annotation { class, bounds, crowd: false, difficult: false, area: bounds.area(), id: 1, extra: None }
}

/// A grey picture with a white rectangle, which is the only object and the only region.
fn painted(size: Size, bounds: [u32; 4]) -> Scene {
    let [x1, y1, x2, y2] = bounds;
    let mut data = vec![GREY; 3 * size.area() as usize];
    for y in y1..y2 {
        let row = 3 * (y * size.width) as usize;
        data[row + 3 * x1 as usize..row + 3 * x2 as usize].fill(255);
    }
    let bounds = Box2d::new(x1.into(), y1.into(), x2.into(), y2.into());
    let image = Image8 { size, channels: 3, data };
    Scene { image, annotations: vec![annotation(bounds, 4)], proposals: vec![bounds] }
}

/// The box around all that is nearly white.
fn seen(image: &Image8) -> Option<Box2d> {
    let mut around: Option<Box2d> = None;
    for (i, pixel) in image.data.chunks_exact(3).enumerate() {
        if pixel[0] > 160 {
            let (x, y) = (i as u32 % image.size.width, i as u32 / image.size.width);
            let here = Box2d::from_xywh([x.into(), y.into(), 1.0, 1.0]);
            around = Some(around.map_or(here, |b| b.enclosing(here)));
        }
    }
    around
}

struct One(Scene);

impl Scenes for One {
    fn count(&self) -> usize {
        1
    }

    fn scene(&self, _: usize) -> Result<Scene> {
        Ok(self.0.clone())
    }
}

/// Only one change, certain to happen.
fn only(change: &str) -> SceneAugment {
    let none = SceneAugment { keep: Keep { side: 1.0, visible: 0.0 }, ..SceneAugment::none() };
    match change {
        "flip" => SceneAugment { flip: 1.0, ..none },
        "vertical flip" => SceneAugment { vertical_flip: 1.0, ..none },
        "expand" => SceneAugment { expand: Some(Expand { probability: 1.0, most: 3.0 }), fill: 0, ..none },
        "crop" => SceneAugment { crop: Some(IouCrop { probability: 1.0, ..IouCrop::default() }), ..none },
        "scale" => SceneAugment { scale_jitter: Some(ScaleJitter::default()), fill: 0, ..none },
        _ => none,
    }
}

const GEOMETRY: [&str; 6] = ["nothing", "flip", "vertical flip", "expand", "crop", "scale"];

proptest! {
    #[test]
    fn the_object_moves_with_its_box(
        seed in any::<u64>(),
        [width, height] in [40u32..120, 40u32..120],
        [x, y, w, h] in [0u32..20, 0u32..20, 8u32..20, 8u32..20],
    ) {
        for change in GEOMETRY {
            let scene = painted(Size::new(width, height), [x, y, x + w, y + h]);
            let mut rng = rng_for(seed, Purpose::Augment, 0, 0);
            let after = only(change).apply(&One(scene), 0, &mut rng).unwrap();
            // The picture is resampled: an edge may be a pixel away, and thin rests may be too pale to be seen.
            match (&after.annotations[..], seen(&after.image)) {
                ([a], Some(seen)) => {
                    let pairs = a.bounds.to_corners().into_iter().zip(seen.to_corners());
                    for (bounds, seen) in pairs {
                        prop_assert!((bounds - seen).abs() <= 1.5, "{change}: {:?}, {seen}", a.bounds);
                    }
                    prop_assert_eq!(a.class, 4);
                    prop_assert!((a.area - a.bounds.area()).abs() <= 1e-6 * a.area, "{change}");
                    prop_assert_eq!(&after.proposals, &[a.bounds], "{}", change);
                }
                ([], None) => prop_assert_eq!(change, "scale"),
                ([], Some(rest)) => prop_assert!(rest.width().min(rest.height()) <= 2.0, "{change}: {rest:?}"),
                (some, None) => prop_assert!(some[0].bounds.width().min(some[0].bounds.height()) <= 2.0),
                (several, _) => prop_assert!(false, "{change}: {several:?}"),
            }
        }
    }

    #[test]
    fn whatever_happens_boxes_are_whole_and_inside(
        seed in any::<u64>(),
        boxes in prop::collection::vec(prop::array::uniform4(prop_oneof![-50.0f64..150.0, Just(f64::NAN), Just(f64::INFINITY)]), 0..6),
    ) {
        let mut scene = painted(Size::new(64, 48), [3, 3, 20, 20]);
        scene.annotations.extend(boxes.iter().map(|&b| annotation(b.into(), 1)));
        scene.proposals.extend(boxes.iter().map(|&b| Box2d::from(b)));
        let all = SceneAugment {
            mosaic: 0.5,
            vertical_flip: 0.5,
            scale_jitter: Some(ScaleJitter::default()),
            ..SceneAugment::default()
        };
        let after = all.apply(&One(scene.clone()), 0, &mut rng_for(seed, Purpose::Augment, 0, 0)).unwrap();
        let size = after.image.size;
        prop_assert_eq!(after.image.data.len(), 3 * size.area() as usize);
        let bounds = after.annotations.iter().map(|a| a.bounds).chain(after.proposals.iter().copied());
        for b in bounds {
            prop_assert!(b.valid() && b.at_least(all.keep.side) && b.clipped(size) == b, "{b:?} in {size:?}");
        }
        let again = all.apply(&One(scene), 0, &mut rng_for(seed, Purpose::Augment, 0, 0)).unwrap();
        prop_assert_eq!(after.image, again.image);
    }
}

#[test]
fn mirroring_twice_changes_nothing() {
    let scene = painted(Size::new(31, 17), [2, 3, 9, 12]);
    assert_eq!(scene.clone().mirrored().mirrored(), scene);
    assert_eq!(scene.clone().upside_down().upside_down(), scene);
}

#[test]
fn what_is_hardly_seen_goes() {
    let keep = Keep { side: 2.0, visible: 0.25 };
    let frame = Size::new(100, 100);
    let cases = [
        ([10.0, 10.0, 30.0, 30.0], Some([10.0, 10.0, 30.0, 30.0])),
        // A quarter and less than a quarter inside.
        ([90.0, 0.0, 130.0, 10.0], Some([90.0, 0.0, 100.0, 10.0])),
        ([91.0, 0.0, 131.0, 10.0], None),
        ([10.0, 10.0, 11.5, 30.0], None),
        ([30.0, 10.0, 10.0, 30.0], None),
        ([f64::NAN, 0.0, 10.0, 10.0], None),
    ];
    for (bounds, kept) in cases {
        assert_eq!(keep.clipped(bounds.into(), frame), kept.map(Box2d::from), "{bounds:?}");
    }
}

#[test]
fn a_mosaic_is_of_four_and_as_large_as_the_first() {
    let size = Size::new(80, 60);
    let scene = painted(size, [0, 0, 80, 60]);
    let all = SceneAugment { mosaic: 1.0, ..SceneAugment::none() };
    let after = all.apply(&One(scene), 0, &mut rng_for(1, Purpose::Augment, 0, 0)).unwrap();
    assert_eq!((after.image.size, after.annotations.len(), after.proposals.len()), (size, 4, 4));
    // Every corner is full of its scene's one object.
    assert!(after.image.data.iter().all(|v| *v == 255));
    assert_eq!(after.annotations.iter().map(|a| a.bounds.area()).sum::<f64>(), 4800.0);
}

#[test]
fn colours_leave_boxes_alone_and_are_reproducible() {
    let scene = painted(Size::new(20, 20), [2, 2, 9, 9]);
    let photometric = Photometric { probability: 1.0, channels: 1.0, ..Photometric::default() };
    let all = SceneAugment { photometric: Some(photometric), ..SceneAugment::none() };
    let run = |seed| all.apply(&One(scene.clone()), 0, &mut rng_for(seed, Purpose::Augment, 0, 0)).unwrap();
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).image, scene.image);
    assert_eq!(run(3).annotations, scene.annotations);
}

#[test]
fn settings_out_of_range_are_named() {
    let bad = |change: fn(&mut SceneAugment)| {
        let mut all = SceneAugment { scale_jitter: Some(ScaleJitter::default()), ..SceneAugment::default() };
        change(&mut all);
        match all.validate() {
            Err(Error::Config(message)) => message,
            other => panic!("{other:?}"),
        }
    };
    assert!(bad(|a| a.flip = 1.5).contains("augment.flip"));
    assert!(bad(|a| a.keep.side = f64::NAN).contains("augment.keep.side"));
    assert!(bad(|a| a.crop.as_mut().unwrap().scale = [0.9, 0.3]).contains("augment.crop.scale"));
    assert!(bad(|a| a.crop.as_mut().unwrap().overlaps.clear()).contains("augment.crop"));
    assert!(bad(|a| a.expand.as_mut().unwrap().most = 1e9).contains("augment.expand.most"));
    assert!(bad(|a| a.scale_jitter.as_mut().unwrap().scale[0] = 0.0).contains("augment.scale_jitter.scale"));
    SceneAugment::default().validate().unwrap();
}
