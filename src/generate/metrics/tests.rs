#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::symmetric::{Factor, Symmetric};
use super::*;
use crate::error::{Error, Result};

/// As `values` in tools/reference/generation.py.
fn uniform(name: &str, count: usize) -> Vec<f32> {
    let seed = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (1..=count as u64)
        .map(|i| {
            let z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// As `features` there.
fn features(name: &str, [count, width]: [usize; 2], scale: f32, shift: f32) -> Features {
    let u = uniform(name, count * width);
    let data = u
        .chunks_exact(width)
        .flat_map(|row| (0..width).map(move |i| scale * (row[i] + row[(i + width - 1) % width]) + shift));
    Features::new(count, width, data.collect()).unwrap()
}

fn changed(features: &Features, change: impl Fn(usize, f32) -> f32) -> Features {
    let data = features.data().iter().enumerate().map(|(i, value)| change(i % features.width(), *value));
    Features::new(features.count(), features.width(), data.collect()).unwrap()
}

fn reversed(features: &Features) -> Features {
    let rows: Vec<&[f32]> = features.rows().collect();
    let data = rows.into_iter().rev().flatten().copied().collect();
    Features::new(features.count(), features.width(), data).unwrap()
}

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    real: usize,
    fake: usize,
    width: usize,
    scale: f32,
    shift: f32,
    frechet: f64,
    kernel: f64,
    manifold: BTreeMap<usize, Manifold>,
    inception: BTreeMap<usize, [f64; 2]>,
}

#[derive(Deserialize)]
struct Manifold {
    precision: f64,
    recall: f64,
    density: f64,
    coverage: f64,
}

impl Case {
    fn pair(&self) -> [Features; 2] {
        [
            features(&format!("{}/real", self.name), [self.real, self.width], 1.0, 0.0),
            features(&format!("{}/fake", self.name), [self.fake, self.width], self.scale, self.shift),
        ]
    }
}

fn goldens() -> Vec<Case> {
    let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/generation.json")).unwrap();
    assert_eq!(golden.cases.len(), 8);
    golden.cases
}

#[track_caller]
fn close(what: &str, ours: f64, theirs: f64, tolerance: f64) {
    let difference = (ours - theirs).abs();
    assert!(difference <= tolerance * theirs.abs().max(1.0), "{what}: {ours}, should be {theirs}");
}

#[test]
fn the_frechet_distance_is_pytorch_fids() {
    for case in goldens() {
        let [real, fake] = case.pair();
        close(&case.name, frechet_distance(&real, &fake).unwrap(), case.frechet, 1e-6);
        close(&case.name, frechet_distance(&fake, &real).unwrap(), case.frechet, 1e-6);
    }
}

#[test]
fn the_kernel_distance_is_clean_fids() {
    for case in goldens() {
        let [real, fake] = case.pair();
        close(&case.name, kernel_distance_of_all(&real, &fake).unwrap(), case.kernel, 1e-12);
        let all = kernel_distance_of_all(&fake, &real).unwrap();
        close(&case.name, all, case.kernel, 1e-12);
        if case.real == case.fake {
            let subsets = kernel_distance(&real, &fake, &KernelOptions::default()).unwrap();
            close(&case.name, subsets.mean, case.kernel, 1e-12);
            assert!(subsets.deviation < 1e-9 * case.kernel.abs(), "subsets of all pictures are all alike");
            assert_eq!(subsets.subset_size, case.real);
        }
    }
}

#[test]
fn subsets_estimate_what_all_pictures_do_and_repeat() {
    let [real, fake] = [("a", 0.0), ("b", 0.25)].map(|(name, shift)| features(name, [400, 16], 1.0, shift));
    let all = kernel_distance_of_all(&real, &fake).unwrap();
    let options = KernelOptions { subsets: 200, subset_size: 50, seed: 3 };
    let subsets = kernel_distance(&real, &fake, &options).unwrap();
    assert!(subsets.deviation > 0.0);
    let error = 4.0 * subsets.deviation / (options.subsets as f64).sqrt();
    assert!((subsets.mean - all).abs() < error, "{} for {all} ± {error}", subsets.mean);
    assert_eq!(subsets, kernel_distance(&real, &fake, &options).unwrap());
    assert_ne!(subsets, kernel_distance(&real, &fake, &KernelOptions { seed: 4, ..options }).unwrap());
}

#[test]
fn precision_recall_density_and_coverage_are_prdcs() {
    for case in goldens() {
        let [real, fake] = case.pair();
        for (k, theirs) in &case.manifold {
            let options = ManifoldOptions { precision_neighbours: *k, coverage_neighbours: *k };
            let ours = manifold_scores(&real, &fake, &options).unwrap();
            close(&case.name, ours.precision, theirs.precision, 1e-12);
            close(&case.name, ours.recall, theirs.recall, 1e-12);
            close(&case.name, ours.density, theirs.density, 1e-12);
            close(&case.name, ours.coverage, theirs.coverage, 1e-12);
        }
        let [three, five] = [&case.manifold[&3], &case.manifold[&5]];
        let mixed = manifold_scores(&real, &fake, &ManifoldOptions::default()).unwrap();
        close(&case.name, mixed.precision, three.precision, 1e-12);
        close(&case.name, mixed.coverage, five.coverage, 1e-12);
    }
}

#[test]
fn blocks_do_not_show() {
    // More pictures than a block on either side holds, against the definition.
    let (real, fake) = (features("real", [530, 3], 1.0, 0.0), features("fake", [2100, 3], 1.0, 0.125));
    let square = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
    };
    let inside = real.rows().map(|row| {
        let mut others: Vec<f64> = real.rows().map(|other| square(row, other)).collect();
        others.sort_by(f64::total_cmp);
        fake.rows().filter(|other| square(row, other) < others[5]).count()
    });
    let inside: Vec<usize> = inside.collect();
    let ours = manifold_scores(&real, &fake, &ManifoldOptions::default()).unwrap();
    let density = inside.iter().sum::<usize>() as f64 / (5.0 * 2100.0);
    close("density", ours.density, density, 1e-12);
    let coverage = inside.iter().filter(|count| **count > 0).count() as f64 / 530.0;
    close("coverage", ours.coverage, coverage, 1e-12);
    let kernel = |a: &[f32], b: &[f32]| -> f64 {
        let product: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        (product / 3.0 + 1.0).powi(3)
    };
    let sum = |x: &Features, y: &Features| -> f64 {
        x.rows().map(|a| y.rows().map(|b| kernel(a, b)).sum::<f64>()).sum()
    };
    let diagonal = |x: &Features| -> f64 { x.rows().map(|a| kernel(a, a)).sum() };
    let expected = (sum(&real, &real) - diagonal(&real)) / (530.0 * 529.0)
        + (sum(&fake, &fake) - diagonal(&fake)) / (2100.0 * 2099.0)
        - 2.0 * sum(&real, &fake) / (530.0 * 2100.0);
    close("kernel", kernel_distance_of_all(&real, &fake).unwrap(), expected, 1e-12);
}

#[test]
fn the_inception_score_is_the_authors() {
    for case in goldens() {
        let [_, fake] = case.pair();
        let rows = fake.rows().flat_map(|row| {
            let powers: Vec<f64> = row.iter().map(|value| (2.0 * f64::from(*value)).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.into_iter().map(move |power| (power / sum) as f32)
        });
        let probabilities = Features::new(case.fake, case.width, rows.collect()).unwrap();
        for (splits, [mean, deviation]) in &case.inception {
            let ours = inception_score(&probabilities, *splits).unwrap();
            // NumPy's exponential may round a probability the other way.
            close(&case.name, ours.mean, *mean, 1e-6);
            close(&case.name, ours.deviation, *deviation, 1e-6);
        }
    }
    let certain = Features::new(4, 4, (0..16).map(|i| f32::from(u8::from(i % 5 == 0))).collect()).unwrap();
    close("each class once", inception_score(&certain, 1).unwrap().mean, 4.0, 1e-12);
    close("each alone", inception_score(&certain, 4).unwrap().mean, 1.0, 1e-12);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn figures_keep_what_they_should(
        seed in 0u32..1000, width in 1usize..24, n in 7usize..40, m in 7usize..40, step in -2.0f32..2.0,
    ) {
        let (real, fake) = (features(&format!("r{seed}"), [n, width], 1.0, 0.0), features(&format!("f{seed}"), [m, width], 1.5, 0.5));
        let frechet = frechet_distance(&real, &fake).unwrap();
        prop_assert!(frechet >= 0.0);
        prop_assert_eq!(frechet_distance(&real, &real).unwrap(), 0.0);
        let near = |a: f64, b: f64, what: &str| {
            prop_assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{}: {} for {}", what, a, b);
            Ok(())
        };
        near(frechet_distance(&fake, &real).unwrap(), frechet, "symmetry")?;
        near(frechet_distance(&real, &reversed(&fake)).unwrap(), frechet, "order")?;
        // Moved by d, a set is |d|² from itself.
        let moved = changed(&real, |feature, value| value + step * feature as f32);
        let moved_by: f64 = (0..n).map(|i| {
            let (a, b) = (&real.data()[i * width..][..width], &moved.data()[i * width..][..width]);
            a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>()
        }).sum::<f64>() / n as f64;
        let of_moved = frechet_distance(&real, &moved).unwrap();
        prop_assert!((of_moved - moved_by).abs() < 1e-4 * moved_by.max(1.0), "{} for {}", of_moved, moved_by);
        // Widened by the factor 2 about its mean: tr Σ(1 + 4 − 4) more.
        let statistics = Statistics::new(&real).unwrap();
        let wide = changed(&real, |_, value| 2.0 * value);
        let mean: f64 = statistics.mean().iter().map(|mean| mean * mean).sum();
        let trace: f64 = statistics.covariance().iter().step_by(width + 1).sum();
        near(frechet_distance(&real, &wide).unwrap(), mean + trace, "width")?;

        let options = ManifoldOptions::default();
        let scores = manifold_scores(&real, &fake, &options).unwrap();
        prop_assert_eq!(scores, manifold_scores(&real, &reversed(&fake), &options).unwrap());
        let turned = manifold_scores(&fake, &real, &options).unwrap();
        prop_assert_eq!([scores.precision, scores.recall], [turned.recall, turned.precision]);
        let same = manifold_scores(&real, &reversed(&real), &options).unwrap();
        prop_assert_eq!([same.precision, same.recall, same.coverage], [1.0, 1.0, 1.0]);
        near(kernel_distance_of_all(&reversed(&real), &fake).unwrap(), kernel_distance_of_all(&real, &fake).unwrap(), "kernel")?;
    }

    #[test]
    fn eigenvalues_and_factors_are_those_of_the_matrix(size in 1usize..90, rank in 1usize..90, seed in 0u32..1000) {
        let rows: Vec<f64> = uniform(&format!("m{seed}"), size * rank).into_iter().map(f64::from).collect();
        let mut matrix = Symmetric::zero(size);
        matrix.add_products(&rows, &rows, 1.0);
        let factor = Factor::new(&matrix);
        prop_assert_eq!(factor.rank(), size.min(rank));
        // F I Fᵀ has the eigenvalues of Fᵀ F, that is of the matrix, but for zeros.
        let mut one = Symmetric::zero(size);
        let identity: Vec<f64> = (0..size * size).map(|i| f64::from(u8::from(i % (size + 1) == 0))).collect();
        one.add_products(&identity, &identity, 1.0);
        let sorted = |mut values: Vec<f64>| { values.sort_by(|a, b| b.total_cmp(a)); values };
        let (short, all) = (sorted(factor.congruence(&one).eigenvalues()), sorted(matrix.clone().eigenvalues()));
        let scale = all[0].max(1.0);
        for (i, value) in all.iter().enumerate() {
            let other = short.get(i).copied().unwrap_or(0.0);
            prop_assert!((value - other).abs() < 1e-11 * scale, "{}: {} and {}", i, value, other);
        }
        let squares: f64 = matrix.values().iter().map(|value| value * value).sum();
        let of_eigenvalues: f64 = all.iter().map(|value| value * value).sum();
        prop_assert!((squares - of_eigenvalues).abs() < 1e-10 * squares);
        prop_assert!((matrix.trace() - all.iter().sum::<f64>()).abs() < 1e-11 * scale * size as f64);
    }
}

#[test]
fn the_number_of_threads_does_not_show() {
    let (real, fake) = (features("real", [700, 260], 1.0, 0.0), features("fake", [600, 260], 1.25, 0.125));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let options = KernelOptions { subsets: 3, subset_size: 200, seed: 1 };
            let scores = manifold_scores(&real, &fake, &ManifoldOptions::default()).unwrap();
            let distance = frechet_distance(&real, &fake).unwrap();
            let kernel = kernel_distance_of_all(&real, &fake).unwrap();
            (distance.to_bits(), kernel.to_bits(), scores, kernel_distance(&real, &fake, &options).unwrap())
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn sets_without_spread_are_measured_by_their_means() {
    let flat = |value: f32| Features::new(7, 3, vec![value; 21]).unwrap();
    assert_eq!(frechet_distance(&flat(1.0), &flat(3.0)).unwrap(), 12.0);
    // Everything in one point: its balls are empty, as prdc has it.
    let scores = manifold_scores(&flat(1.0), &flat(1.0), &ManifoldOptions::default()).unwrap();
    assert_eq!([scores.precision, scores.recall, scores.density, scores.coverage], [0.0; 4]);
    let spread = features("spread", [20, 3], 1.0, 0.0);
    let statistics = Statistics::new(&spread).unwrap();
    let trace: f64 = statistics.covariance().iter().step_by(4).sum();
    let mean: f64 = statistics.mean().iter().map(|mean| mean * mean).sum();
    let zeros = Features::new(5, 3, vec![0.0; 15]).unwrap();
    close("a point", frechet_distance(&spread, &zeros).unwrap(), mean + trace, 1e-12);
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, what: &str) {
    match result {
        Err(Error::Input(message) | Error::Config(message)) => {
            assert!(message.contains(what), "`{message}` does not speak of `{what}`");
        }
        other => panic!("{other:?} for {what}"),
    }
}

#[test]
fn what_cannot_be_measured_is_refused_with_a_remedy() {
    refused(Features::new(2, 2, vec![0.0, 1.0, f32::NAN, 2.0]), "feature 0 of picture 1 is NaN");
    refused(Features::new(1, 2, vec![0.0, f32::INFINITY]), "check that picture");
    refused(Features::new(2, 2, vec![0.0; 3]), "3 values");
    refused(Features::new(usize::MAX, 2, vec![0.0; 3]), "one row a picture");
    refused(Features::new(0, 2, vec![]), "at least one");
    let (one, few, wide) =
        (features("a", [1, 2], 1.0, 0.0), features("a", [5, 2], 1.0, 0.0), features("a", [9, 3], 1.0, 0.0));
    refused(frechet_distance(&few, &wide), "same network");
    refused(frechet_distance(&few, &one), "1 made pictures");
    refused(Statistics::new(&one), "two pictures");
    let [of_few, of_wide] = [&few, &wide].map(|set| Statistics::new(set).unwrap());
    refused(of_few.frechet_distance(&of_wide), "same network");
    refused(kernel_distance_of_all(&one, &few), "1 real pictures");
    refused(
        kernel_distance(&few, &few, &KernelOptions { subsets: 0, ..KernelOptions::default() }),
        "at least 1",
    );
    refused(kernel_distance(&few, &wide, &KernelOptions::default()), "same network");
    refused(manifold_scores(&few, &few, &ManifoldOptions::default()), "at least 6");
    let none = ManifoldOptions { precision_neighbours: 0, ..ManifoldOptions::default() };
    refused(manifold_scores(&wide, &wide, &none), "at least 1");
    refused(inception_score(&few, 1), "after the softmax");
    refused(inception_score(&few, 6), "1 to 5");
    refused(recognition(3, &[0, 1], &[0]), "one wanted and one seen");
    refused(recognition(3, &[0, 1], &[0, 3]), "class 3");
    refused(retrieval(&few, &[0; 4]), "one a picture");
    refused(retrieval(&few, &[0, 1, 2, 0, 0]), "candidate 2");
    let huge = Features::new(2, 1, vec![f32::MAX, -f32::MAX]).unwrap();
    assert!(frechet_distance(&huge, &features("b", [3, 1], 1.0, 0.0)).unwrap().is_finite());
}

#[test]
fn recognition_counts_by_class() {
    let scores = recognition(3, &[0, 0, 0, 2], &[0, 1, 0, 2]).unwrap();
    assert_eq!(scores.accuracy, 0.75);
    let of_class: Vec<_> = scores.per_class.iter().map(|class| (class.count, class.accuracy)).collect();
    assert_eq!(of_class, [(3, 2.0 / 3.0), (0, 0.0), (1, 1.0)]);
}

#[test]
fn retrieval_ranks_and_ties_count_as_chance() {
    let similarities = Features::new(3, 4, vec![9., 1., 2., 3., 9., 5., 6., 1., 1., 2., 3., 4.]).unwrap();
    let scores = retrieval(&similarities, &[0, 1, 0]).unwrap();
    close("top 1", scores.top1, 1.0 / 3.0, 1e-12);
    close("reciprocal", scores.mean_reciprocal_rank, (1.0 + 1.0 / 3.0 + 0.25) / 3.0, 1e-12);
    assert_eq!((scores.chance, scores.candidates), (0.25, 4));
    let blind = retrieval(&Features::new(2, 4, vec![1.0; 8]).unwrap(), &[0, 3]).unwrap();
    assert_eq!(blind.top1, blind.chance);
}

#[test]
#[ignore = "takes a minute: 10,000 pictures of 2048 features"]
fn the_size_that_papers_use() {
    let [real, fake] = [("speed/real", 1.0, 0.0), ("speed/fake", 1.25, 0.0625)]
        .map(|(name, scale, shift)| features(name, [10_000, 2048], scale, shift));
    let start = std::time::Instant::now();
    let lap = |what: &str, figure: f64| println!("{what} {figure} after {:.1?}", start.elapsed());
    lap("frechet", frechet_distance(&real, &fake).unwrap());
    let scores = manifold_scores(&real, &fake, &ManifoldOptions::default()).unwrap();
    println!("{scores:?}");
    lap("manifold", scores.density);
    lap("kernel of all", kernel_distance_of_all(&real, &fake).unwrap());
    lap("kernel", kernel_distance(&real, &fake, &KernelOptions::default()).unwrap().mean);
}
