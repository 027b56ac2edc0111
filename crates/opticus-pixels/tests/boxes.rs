//! What holds for any two boxes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use opticus_pixels::geometry::Placement;
use opticus_pixels::{Box2d, Size};
use proptest::prelude::*;

/// Boxes with area on a grid of eighths, where all that is measured is exact; close enough to meet often.
fn on_a_grid() -> impl Strategy<Value = Box2d> {
    let eighths = |v: i32| f64::from(v) / 8.0;
    (-80i32..80, -80i32..80, 1i32..120, 1i32..120)
        .prop_map(move |(x, y, w, h)| Box2d::from_xywh([eighths(x), eighths(y), eighths(w), eighths(h)]))
}

/// Any four numbers.
fn anything() -> impl Strategy<Value = Box2d> {
    let number = || {
        prop_oneof![
            4 => -2e3..2e3f64,
            2 => any::<f64>(),
            1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(0.0), Just(-0.0)],
        ]
    };
    [number(), number(), number(), number()].prop_map(Box2d::from)
}

proptest! {
    #[test]
    fn overlap_is_symmetric_and_bounded(a in on_a_grid(), b in on_a_grid()) {
        prop_assert_eq!(a.iou(b), b.iou(a));
        prop_assert_eq!(a.giou(b), b.giou(a));
        prop_assert_eq!(a.intersection(b), b.intersection(a));
        prop_assert_eq!(a.union_area(b), b.union_area(a));
        prop_assert!(a.giou(b) <= a.iou(b) && a.giou(b) > -1.0 && a.iou(b) <= 1.0);
        prop_assert!(a.iou(b) <= a.ioa(b).min(b.ioa(a)));
        prop_assert!(a.intersection_area(b) <= a.area().min(b.area()));
        prop_assert!(a.union_area(b) >= a.area().max(b.area()));
        prop_assert!(a.union_area(b) <= a.enclosing(b).area());
    }

    #[test]
    fn only_the_same_box_overlaps_wholly(a in on_a_grid(), b in on_a_grid()) {
        prop_assert_eq!(a.iou(a), 1.0);
        prop_assert_eq!(a.giou(a), 1.0);
        prop_assert_eq!(a.iou(b) == 1.0, a == b);
    }

    /// Counts the cells of the grid in each box: the definition of area.
    #[test]
    fn areas_are_counts_of_cells(a in on_a_grid(), b in on_a_grid()) {
        let inside = |v: Box2d, x: i32, y: i32| {
            let (x, y) = (f64::from(x) / 8.0, f64::from(y) / 8.0);
            v.x1 <= x && x < v.x2 && v.y1 <= y && y < v.y2
        };
        let (mut both, mut either) = (0u32, 0u32);
        for y in -80..200 {
            for x in -80..200 {
                both += u32::from(inside(a, x, y) && inside(b, x, y));
                either += u32::from(inside(a, x, y) || inside(b, x, y));
            }
        }
        prop_assert_eq!(a.intersection_area(b) * 64.0, f64::from(both));
        prop_assert_eq!(a.union_area(b) * 64.0, f64::from(either));
    }

    #[test]
    fn the_enclosing_box_is_the_least_around_both(a in on_a_grid(), b in on_a_grid()) {
        let around = a.enclosing(b);
        prop_assert_eq!(around.intersection(a), Some(a));
        prop_assert_eq!(around.intersection(b), Some(b));
        prop_assert_eq!(around.x1, a.x1.min(b.x1));
        prop_assert_eq!(around.y2, a.y2.max(b.y2));
    }

    #[test]
    fn overlap_does_not_depend_on_where_and_how_large(a in on_a_grid(), b in on_a_grid(), x in -999i32..999, k in 0i32..9) {
        let factor = f64::from(1 << k);
        let moved = |v: Box2d| v.translated([x.into(), f64::from(-x)]).scaled([factor, 2.0 * factor]);
        prop_assert_eq!(moved(a).iou(moved(b)), a.iou(b));
        let flipped = |v: Box2d| v.flipped_horizontal(640).flipped_vertical(480);
        prop_assert_eq!(flipped(a).giou(flipped(b)), a.giou(b));
        prop_assert_eq!(flipped(flipped(a)), a);
    }

    #[test]
    fn every_way_of_writing_a_box_is_the_same_box(a in on_a_grid()) {
        prop_assert_eq!(Box2d::from_xywh(a.to_xywh()), a);
        prop_assert_eq!(Box2d::from_center(a.to_center()), a);
        prop_assert_eq!(Box2d::from(a.to_corners()), a);
        prop_assert_eq!(serde_json::from_str::<Box2d>(&serde_json::to_string(&a).unwrap()).unwrap(), a);
    }

    #[test]
    fn a_clipped_box_is_what_it_shares_with_the_picture(a in on_a_grid(), width in 1u32..20, height in 1u32..20) {
        let size = Size::new(width, height);
        let clipped = a.clipped(size);
        prop_assert_eq!(clipped.area(), a.intersection_area(Box2d::whole(size)));
        prop_assert_eq!(clipped.clipped(size), clipped);
        prop_assert!(clipped.valid());
    }

    #[test]
    fn nothing_that_is_measured_is_other_than_a_number(a in anything(), b in anything()) {
        for overlap in [a.iou(b), a.ioa(b), b.ioa(a)] {
            prop_assert!((0.0..=1.0).contains(&overlap));
        }
        prop_assert!((-1.0..=1.0).contains(&a.giou(b)));
        prop_assert!(a.area() >= 0.0 && a.intersection_area(b) >= 0.0);
        prop_assert_eq!(a.iou(b), b.iou(a));
        if let Some(shared) = a.intersection(b) {
            prop_assert!(!shared.degenerate());
        }
        prop_assert!(a.valid() || a.degenerate());
    }

    #[test]
    fn boxes_come_back_from_the_frame(
        a in on_a_grid(),
        picture in (1u32..5000, 1u32..5000),
        scaled in (1u32..2000, 1u32..2000),
        (x, y) in (-500i64..500, -500i64..500),
    ) {
        let picture = Size::new(picture.0, picture.1);
        let scaled = Size::new(scaled.0, scaled.1);
        let placement = Placement { picture, scaled, frame: Size::new(800, 800), x, y };
        let back = placement.box_to_picture(placement.box_to_frame(a));
        let farthest = back.to_corners().into_iter().zip(a.to_corners()).map(|(p, q)| (p - q).abs());
        prop_assert!(farthest.fold(0.0, f64::max) < 1e-6);
    }
}
