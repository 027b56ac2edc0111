//! Restoration by its definitions: what holds for every picture and mask, and what each method must solve.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use opticus_pixels::Size;
use opticus_pixels::inpaint::{Exemplar, InpaintError, Method, Options, inpaint};
use opticus_pixels::preprocess::Planes;
use proptest::collection::vec;
use proptest::prelude::*;

const METHODS: [Method; 5] = [
    Method::FastMarching { radius: 5 },
    Method::Harmonic,
    Method::Biharmonic,
    Method::Predictive,
    Method::Exemplar(Exemplar { patch: 3, rounds: 4, seed: 1 }),
];

fn restored(planes: &Planes, mask: &[bool], method: Method) -> Result<Planes, InpaintError> {
    inpaint(planes, mask, &Options { method })
}

/// A picture and a mask of rectangles and dots, which often touch the rim.
fn damaged() -> impl Strategy<Value = (Planes, Vec<bool>)> {
    (1u32..28, 1u32..28, 1usize..5).prop_flat_map(|(width, height, channels)| {
        let area = (width * height) as usize;
        let rectangles = vec((0..width, 0..height, 1u32..9, 1u32..9), 0..3);
        (vec(0.0f32..1.0, area * channels), rectangles, vec(0..area, 0..12)).prop_map(
            move |(data, rectangles, dots)| {
                let (w, h) = (width as usize, height as usize);
                let mut mask = vec![false; area];
                for (x, y, across, down) in rectangles {
                    for y in y as usize..(y + down).min(height) as usize {
                        let to = (x + across).min(width) as usize;
                        mask[y * w + x as usize..y * w + to].fill(true);
                    }
                }
                dots.into_iter().for_each(|i| mask[i] = true);
                assert_eq!(mask.len(), w * h);
                (Planes { channels, size: Size::new(width, height), data }, mask)
            },
        )
    })
}

fn bits(planes: &Planes) -> Vec<u32> {
    planes.data.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Known pixels and alpha stay to the bit, lost ones within the known range, and what was lost has no influence.
    #[test]
    fn only_the_lost_changes_and_only_by_the_known((planes, mask) in damaged(), method in 0usize..5) {
        let method = METHODS[method];
        let area = mask.len();
        let out = match restored(&planes, &mask, method) {
            Err(InpaintError::NothingKnown) => {
                prop_assert!(mask.iter().all(|m| *m));
                return Ok(());
            }
            Err(InpaintError::NoSource(3)) => {
                // No whole 3x3 window.
                let (w, h) = (planes.size.width as usize, planes.size.height as usize);
                let whole = |x: usize, y: usize| (0..9).all(|k| !mask[(y + k / 3) * w + x + k % 3]);
                prop_assert!(!(0..h.saturating_sub(2)).any(|y| (0..w.saturating_sub(2)).any(|x| whole(x, y))));
                return Ok(());
            }
            out => out.unwrap(),
        };
        let colours = if planes.channels % 2 == 0 { planes.channels - 1 } else { planes.channels };
        for (c, (before, after)) in planes.data.chunks(area).zip(out.data.chunks(area)).enumerate() {
            let known = || before.iter().zip(&mask).filter(|(_, lost)| !**lost).map(|(v, _)| *v);
            let (least, most) = (known().fold(f32::MAX, f32::min), known().fold(f32::MIN, f32::max));
            for i in 0..area {
                if mask[i] && c < colours {
                    prop_assert!((least..=most).contains(&after[i]), "{} outside {least}..={most}", after[i]);
                } else {
                    prop_assert_eq!(before[i].to_bits(), after[i].to_bits());
                }
            }
        }
        let mut spoilt = planes.clone();
        for c in 0..colours {
            (0..area).filter(|i| mask[*i]).for_each(|i| spoilt.data[c * area + i] = f32::NAN);
        }
        prop_assert_eq!(bits(&restored(&spoilt, &mask, method).unwrap()).len(), bits(&out).len());
        let again = restored(&spoilt, &mask, method).unwrap();
        for c in 0..colours {
            prop_assert_eq!(&again.data[c * area..][..area], &out.data[c * area..][..area]);
        }
    }

    #[test]
    fn an_empty_mask_changes_no_bit(words in vec(any::<u32>(), 12), method in 0usize..5) {
        let data = words.into_iter().map(f32::from_bits).collect();
        let planes = Planes { channels: 3, size: Size::new(2, 2), data };
        prop_assert_eq!(bits(&restored(&planes, &[false; 4], METHODS[method]).unwrap()), bits(&planes));
    }

    /// The same bits on one thread and on four.
    #[test]
    fn threads_do_not_show((planes, mask) in damaged(), method in 0usize..5) {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| restored(&planes, &mask, METHODS[method]).map(|out| bits(&out)))
        };
        prop_assert_eq!(on(1), on(4));
    }

    /// Harmonic: each lost pixel is the mean of its neighbours. Biharmonic: the Laplacian's Laplacian vanishes, unless
    /// the value was held to the known range.
    #[test]
    fn surfaces_solve_their_equations((planes, mask) in damaged(), plate in any::<bool>()) {
        prop_assume!(!mask.iter().all(|m| *m));
        let (w, h) = (planes.size.width as usize, planes.size.height as usize);
        // Room above and below, so that plates that overshoot are not held.
        let area = mask.len();
        let mut planes = Planes { channels: 1, size: planes.size, data: planes.data[..area].to_vec() };
        let corner = (0..area).rev().find(|i| !mask[*i]).unwrap();
        let first = (0..area).find(|i| !mask[*i]).unwrap();
        if plate && corner != first {
            (planes.data[first], planes.data[corner]) = (-4.0, 5.0);
        }
        let method = if plate { Method::Biharmonic } else { Method::Harmonic };
        let out = restored(&planes, &mask, method).unwrap();
        let laplacian = |u: &[f64], i: usize| {
            let (x, y) = (i % w, i / w);
            let sides = [
                (x > 0).then(|| i - 1),
                (x + 1 < w).then_some(i + 1),
                (y > 0).then(|| i.wrapping_sub(w)),
                (y + 1 < h).then_some(i + w),
            ];
            sides.into_iter().flatten().map(|q| u[i] - u[q]).sum::<f64>()
        };
        let u: Vec<f64> = out.data.iter().map(|v| f64::from(*v)).collect();
        let once: Vec<f64> = (0..area).map(|i| laplacian(&u, i)).collect();
        let twice: Vec<f64> = (0..area).map(|i| laplacian(&once, i)).collect();
        let held = u.iter().any(|v| *v == -4.0 || *v == 5.0) && {
            let ends = u.iter().filter(|v| **v == -4.0 || **v == 5.0).count();
            ends > 2
        };
        let residual = if plate { &twice } else { &once };
        if !held {
            for i in (0..area).filter(|i| mask[*i]) {
                prop_assert!(residual[i].abs() < 2e-2, "{} at {i}", residual[i]);
            }
        }
    }
}

/// A hole in a slope: plates continue it; the others come near.
#[test]
fn a_slope_is_continued() {
    let size = Size::new(40, 30);
    let slope = |i: usize| 0.1 + 0.015 * (i % 40) as f32 + 0.008 * (i / 40) as f32;
    let truth = Planes { channels: 1, size, data: (0..1200).map(slope).collect() };
    let mask: Vec<bool> =
        (0..1200).map(|i| (12..24).contains(&(i % 40)) && (9..20).contains(&(i / 40))).collect();
    for (method, most) in [
        (Method::Biharmonic, 1e-3),
        (Method::Predictive, 0.01),
        (Method::Harmonic, 0.1),
        (Method::MARCH, 0.05),
    ] {
        let out = restored(&truth, &mask, method).unwrap();
        let error = out.data.iter().zip(&truth.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error < most, "{method:?}: {error}");
    }
}

/// Equation 2 of Telea's paper with the gradient halved, written out for a lost corner.
#[test]
fn marching_is_its_formula() {
    let (w, h) = (7i32, 6i32);
    let value = |x: i32, y: i32| f64::from((x * 5 + y * 3 + x * y) % 11) / 11.0;
    let data = (0..w * h).map(|i| value(i % w, i / w) as f32).collect();
    let planes = Planes { channels: 1, size: Size::new(w as u32, h as u32), data };
    let mask: Vec<bool> = (0..w * h).map(|i| i == 0).collect();
    let out = restored(&planes, &mask, Method::FastMarching { radius: 3 }).unwrap();
    let here = 0.5f64.sqrt();
    let known = |x: i32, y: i32| (0..w).contains(&x) && (0..h).contains(&y) && (x, y) != (0, 0);
    let derivative = |[x0, y0]: [i32; 2], [dx, dy]: [i32; 2]| {
        let (before, after) = ((x0 - dx, y0 - dy), (x0 + dx, y0 + dy));
        match (known(before.0, before.1), known(after.0, after.1)) {
            (true, true) => 0.5 * (value(after.0, after.1) - value(before.0, before.1)),
            (true, false) => value(x0, y0) - value(before.0, before.1),
            (false, true) => value(after.0, after.1) - value(x0, y0),
            _ => 0.0,
        }
    };
    let (mut sum, mut weights) = (0.0, 0.0);
    for y in 0..=3 {
        for x in 0..=3 {
            let square = f64::from(x * x + y * y);
            if !known(x, y) || square > 9.0 {
                continue;
            }
            let normal = [-here, -here];
            let direction = (f64::from(-x) * normal[0] + f64::from(-y) * normal[1]).abs() / square.sqrt();
            let level = 1.0 / (1.0 + (1.0 - square.sqrt() - here).abs());
            let weight = direction * level / square;
            let slope =
                f64::from(-x) * derivative([x, y], [1, 0]) + f64::from(-y) * derivative([x, y], [0, 1]);
            sum += weight * (value(x, y) + 0.5 * slope);
            weights += weight;
        }
    }
    let values = || (1..w * h).map(|i| value(i % w, i / w));
    let want = (sum / weights).clamp(values().fold(1.0, f64::min), values().fold(0.0, f64::max));
    assert!((f64::from(out.data[0]) - want).abs() < 1e-5, "{} for {want}", out.data[0]);
}

/// A pattern that repeats is completed without a fault, at a rim too.
#[test]
fn patches_continue_a_pattern() {
    let size = Size::new(96, 72);
    let pattern = |c: usize, x: usize, y: usize| {
        let shifted = x + if (y / 8).is_multiple_of(2) { 0 } else { 6 };
        let mortar = y.is_multiple_of(8) || shifted.is_multiple_of(12);
        if mortar { 0.9 - 0.1 * c as f32 } else { 0.3 + 0.2 * c as f32 }
    };
    let data = (0..3).flat_map(|c| (0..96 * 72).map(move |i| pattern(c, i % 96, i / 96))).collect();
    let truth = Planes { channels: 3, size, data };
    for (x0, y0) in [(40, 30), (0, 28)] {
        let lost = |i: usize| (x0..x0 + 20).contains(&(i % 96)) && (y0..y0 + 17).contains(&(i / 96));
        let mask: Vec<bool> = (0..96 * 72).map(lost).collect();
        let out = restored(&truth, &mask, Method::Exemplar(Exemplar::default())).unwrap();
        let wrong = out.data.iter().zip(&truth.data).filter(|(a, b)| a != b).count();
        assert_eq!(wrong, 0, "hole at {x0}, {y0}");
    }
}

#[test]
fn what_cannot_be_restored_is_said() {
    let planes = |channels: usize, samples: usize| Planes {
        channels,
        size: Size::new(3, 2),
        data: vec![0.5; samples],
    };
    let some = [true, false, false, false, false, false];
    let fails = |planes: &Planes, mask: &[bool], method| restored(planes, mask, method).unwrap_err();
    let march = Method::MARCH;
    assert_eq!(fails(&planes(5, 30), &some, march), InpaintError::Channels(5));
    assert_eq!(fails(&planes(0, 0), &some, march), InpaintError::Channels(0));
    assert!(matches!(fails(&planes(3, 17), &some, march), InpaintError::Samples { want: 18, got: 17, .. }));
    assert!(matches!(fails(&planes(3, 18), &some[..5], march), InpaintError::Mask { got: 5, .. }));
    assert_eq!(fails(&planes(1, 6), &[true; 6], march), InpaintError::NothingKnown);
    let mut broken = planes(3, 18);
    broken.data[6 + 4] = f32::INFINITY;
    assert_eq!(fails(&broken, &some, march), InpaintError::NotFinite { channel: 1, x: 1, y: 1 });
    for radius in [0, 65] {
        let error = fails(&planes(1, 6), &some, Method::FastMarching { radius });
        assert!(matches!(error, InpaintError::Setting { setting: "radius", .. }));
    }
    let even = Method::Exemplar(Exemplar { patch: 4, ..Exemplar::default() });
    assert!(matches!(fails(&planes(1, 6), &some, even), InpaintError::Setting { setting: "patch", .. }));
    assert_eq!(fails(&planes(1, 6), &some, Method::Exemplar(Exemplar::default())), InpaintError::NoSource(7));
    let nothing = Planes { channels: 3, size: Size::new(0, 0), data: Vec::new() };
    assert_eq!(restored(&nothing, &[], march).unwrap(), nothing);
}
