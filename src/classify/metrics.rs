//! How good a classifier is: accuracy, loss, calibration and what it mistakes for what.
//!
//! One accumulator, [`ScoreKeeper`], serves validation during training, `eval` and the report, so that the same
//! figure never has two definitions. All sums are in `f64`; feeding the same pictures in the same order gives the
//! same bits however they are cut into batches.
//!
//! # Definitions
//!
//! With scores `z` (logits) of one picture, probabilities `p = softmax(z)` and true class `t`:
//!
//! - **prediction**: the class with the largest score; of equal ones, the first. Ranks follow the same rule, so that
//!   a picture counts for *top-k* where fewer than `k` classes come before `t`. With `k` classes or fewer, top-k is 1.
//! - **loss**: mean of `−ln p[t]` (natural logarithm), by a log-softmax that neither overflows nor underflows.
//! - **ece**, expected calibration error (Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3): the
//!   confidence of a picture is the probability of its prediction. Confidences are put into 15 bins of equal width,
//!   bin `m` holding `(m−1)/15 < confidence ≤ m/15`; the error is the mean over pictures of their bin's
//!   `|accuracy − mean confidence|`.
//! - **precision** of a class: of the pictures predicted so, the fraction that are so; **recall**: of the pictures
//!   that are so, the fraction predicted so; **f1**: their harmonic mean; **support**: the number that are so.
//!   Where nothing is to be divided, the value is 0 (scikit-learn's `zero_division=0`).
//! - **confusion**: row = truth, column = prediction, in class order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Number of confidence bins of the expected calibration error.
pub const CALIBRATION_BINS: usize = 15;

/// Figures of one class. Fractions in 0..=1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassScores {
    /// Name of the class.
    pub label: String,
    /// Of the pictures predicted as this class, the fraction that are.
    pub precision: f64,
    /// Of the pictures of this class, the fraction predicted so.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Number of pictures of this class.
    pub support: u64,
}

/// Mean figures over classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AverageScores {
    /// Mean precision.
    pub precision: f64,
    /// Mean recall.
    pub recall: f64,
    /// Mean F1 (the mean of the classes' F1, not the F1 of the means).
    pub f1: f64,
}

/// What fell into one confidence bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CalibrationBin {
    /// Number of pictures.
    pub count: u64,
    /// Their mean confidence; 0 where the bin is empty.
    pub confidence: f64,
    /// The fraction of them predicted rightly; 0 where the bin is empty.
    pub accuracy: f64,
}

/// The figures of one evaluation: the document that `classify eval --json` prints. Fractions, not per cent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassifyScores {
    /// Number of pictures measured.
    pub images: u64,
    /// Fraction whose true class got the largest score.
    pub top1: f64,
    /// Fraction whose true class is among the five largest scores.
    pub top5: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Expected calibration error over 15 bins of equal width.
    pub ece: f64,
    /// One entry a class, in class order; classes without pictures have support 0.
    pub per_class: Vec<ClassScores>,
    /// `confusion[truth][prediction]`: number of pictures.
    pub confusion: Vec<Vec<u64>>,
    /// The bins behind `ece`, lowest confidence first. Not part of the JSON document.
    #[serde(skip)]
    pub calibration: Vec<CalibrationBin>,
}

impl ClassifyScores {
    /// Unweighted mean over all classes, those without pictures included (scikit-learn's `average="macro"` with all
    /// labels given).
    pub fn macro_average(&self) -> AverageScores {
        self.average(|_| 1.0)
    }

    /// Mean over classes weighted by support (`average="weighted"`).
    pub fn weighted_average(&self) -> AverageScores {
        self.average(|class| class.support as f64)
    }

    /// Mean recall over the classes that have pictures.
    pub fn balanced_accuracy(&self) -> f64 {
        self.average(|class| if class.support > 0 { 1.0 } else { 0.0 }).recall
    }

    /// The classes most often taken for another, as `(truth, prediction, pictures)`, most first; equal counts in
    /// class order.
    pub fn most_confused(&self, limit: usize) -> Vec<(usize, usize, u64)> {
        let mut pairs: Vec<_> = self
            .confusion
            .iter()
            .enumerate()
            .flat_map(|(truth, row)| {
                row.iter().enumerate().map(move |(prediction, &n)| (truth, prediction, n))
            })
            .filter(|&(truth, prediction, n)| truth != prediction && n > 0)
            .collect();
        pairs.sort_by_key(|&(_, _, n)| std::cmp::Reverse(n));
        pairs.truncate(limit);
        pairs
    }

    fn average(&self, weight: impl Fn(&ClassScores) -> f64) -> AverageScores {
        let total: f64 = self.per_class.iter().map(&weight).sum();
        let mean = |value: fn(&ClassScores) -> f64| {
            ratio(self.per_class.iter().map(|class| weight(class) * value(class)).sum(), total)
        };
        AverageScores { precision: mean(|c| c.precision), recall: mean(|c| c.recall), f1: mean(|c| c.f1) }
    }
}

/// Accumulates figures batch by batch.
#[derive(Clone, Debug)]
pub struct ScoreKeeper {
    classes: Vec<String>,
    images: u64,
    top1: u64,
    top5: u64,
    loss: f64,
    confusion: Vec<Vec<u64>>,
    bins: [BinSums; CALIBRATION_BINS],
}

#[derive(Clone, Copy, Debug, Default)]
struct BinSums {
    count: u64,
    confidence: f64,
    right: u64,
}

impl ScoreKeeper {
    /// A keeper for these classes, empty.
    pub fn new(classes: &[String]) -> Self {
        Self {
            classes: classes.to_vec(),
            images: 0,
            top1: 0,
            top5: 0,
            loss: 0.0,
            confusion: vec![vec![0; classes.len()]; classes.len()],
            bins: [BinSums::default(); CALIBRATION_BINS],
        }
    }

    /// Number of pictures so far.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// Adds a batch: `logits` holds one row of `classes` scores for each of `targets`.
    ///
    /// # Errors
    /// [`Error::Input`] if the lengths do not fit or a target is no class; [`Error::Diverged`] if a score is not a
    /// finite number. What came before the offending row is counted.
    pub fn push(&mut self, logits: &[f32], targets: &[usize]) -> Result<()> {
        self.push_rows(logits, targets, |row, target| {
            let log_partition = log_sum_exp(row);
            let top = row[first_largest(row)];
            (log_partition - f64::from(row[target]), (f64::from(top) - log_partition).exp())
        })
    }

    /// Adds a batch of probabilities, as an average over several views of a picture gives. As in scikit-learn's
    /// `log_loss`, they are kept `f32::EPSILON` away from 0 and 1 for the loss, so that one certain mistake does not
    /// make it infinite.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`Error::Input`] for a value outside 0..=1.
    pub fn push_probabilities(&mut self, probabilities: &[f32], targets: &[usize]) -> Result<()> {
        if let Some(p) = probabilities.iter().find(|p| **p < 0.0 || **p > 1.0) {
            return Err(Error::Input(format!("{p} is not a probability: it must lie in 0..=1")));
        }
        self.push_rows(probabilities, targets, |row, target| {
            let p = row[target].clamp(f32::EPSILON, 1.0 - f32::EPSILON);
            (-f64::from(p).ln(), f64::from(row[first_largest(row)]))
        })
    }

    /// Counts rows of scores; `judge` gives the loss and the confidence of one.
    fn push_rows(
        &mut self,
        scores: &[f32],
        targets: &[usize],
        judge: impl Fn(&[f32], usize) -> (f64, f64),
    ) -> Result<()> {
        let classes = self.classes.len();
        if classes == 0 || scores.len() != targets.len() * classes {
            return Err(Error::Input(format!(
                "{} scores do not fit {} pictures of {classes} classes",
                scores.len(),
                targets.len()
            )));
        }
        for (row, &target) in scores.chunks_exact(classes).zip(targets) {
            if target >= classes {
                return Err(Error::Input(format!("label {target} is none of the {classes} classes")));
            }
            if row.iter().any(|score| !score.is_finite()) {
                return Err(Error::Diverged(format!(
                    "the network's scores for picture {} (counted from 0) are not finite numbers: its weights are \
                     damaged or its training diverged",
                    self.images
                )));
            }
            let prediction = first_largest(row);
            let (loss, confidence) = judge(row, target);
            let right = prediction == target;
            self.images += 1;
            self.top1 += u64::from(right);
            self.top5 += u64::from(rank(row, target) < 5);
            self.loss += loss;
            self.confusion[target][prediction] += 1;
            let bin = &mut self.bins[calibration_bin(confidence)];
            bin.count += 1;
            bin.confidence += confidence;
            bin.right += u64::from(right);
        }
        Ok(())
    }

    /// The figures of all that was added.
    ///
    /// # Errors
    /// [`Error::Input`] if nothing was.
    pub fn finish(self) -> Result<ClassifyScores> {
        if self.images == 0 {
            return Err(Error::Input("there are no pictures to measure: the data set is empty".to_owned()));
        }
        let images = self.images as f64;
        let per_class = self
            .classes
            .iter()
            .enumerate()
            .map(|(class, label)| {
                let right = self.confusion[class][class];
                let support: u64 = self.confusion[class].iter().sum();
                let predicted: u64 = self.confusion.iter().map(|row| row[class]).sum();
                ClassScores {
                    label: label.clone(),
                    precision: ratio(right as f64, predicted as f64),
                    recall: ratio(right as f64, support as f64),
                    // 2PR/(P+R) with the common factor cancelled: no second division by zero to think of.
                    f1: ratio(2.0 * right as f64, (predicted + support) as f64),
                    support,
                }
            })
            .collect();
        let calibration: Vec<_> = self
            .bins
            .iter()
            .map(|bin| CalibrationBin {
                count: bin.count,
                confidence: ratio(bin.confidence, bin.count as f64),
                accuracy: ratio(bin.right as f64, bin.count as f64),
            })
            .collect();
        Ok(ClassifyScores {
            images: self.images,
            top1: self.top1 as f64 / images,
            top5: self.top5 as f64 / images,
            loss: self.loss / images,
            ece: self.bins.iter().map(|bin| (bin.right as f64 - bin.confidence).abs()).sum::<f64>() / images,
            per_class,
            confusion: self.confusion,
            calibration,
        })
    }
}

/// Probabilities of one row of scores, in `f64` so that they sum to 1 as exactly as can be.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let log_partition = log_sum_exp(logits);
    logits.iter().map(|&z| (f64::from(z) - log_partition).exp()).collect()
}

/// Class indices from the largest score to the smallest; of equal scores, the first class first. This is the order
/// in which predictions are listed and by which top-k is counted.
pub fn ranked(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Adding zero makes −0 and 0 equal, as the comparison of scores has it.
    order.sort_by(|&a, &b| (scores[b] + 0.0).total_cmp(&(scores[a] + 0.0)));
    order
}

/// Number of classes that come before `class` in [`ranked`] order.
fn rank(scores: &[f32], class: usize) -> usize {
    let own = scores[class];
    scores.iter().enumerate().filter(|&(i, &score)| score > own || (score == own && i < class)).count()
}

fn first_largest(scores: &[f32]) -> usize {
    (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    largest + logits.iter().map(|&z| (f64::from(z) - largest).exp()).sum::<f64>().ln()
}

/// The bin `m` (from 0) with `m/15 < confidence <= (m+1)/15`.
fn calibration_bin(confidence: f64) -> usize {
    let above = |m: &usize| confidence > (*m as f64 + 1.0) / CALIBRATION_BINS as f64;
    (0..CALIBRATION_BINS - 1).take_while(above).count()
}

fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator == 0.0 { 0.0 } else { numerator / denominator }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        classes: usize,
        logits: Vec<f32>,
        targets: Vec<usize>,
        expected: Expected,
    }

    #[derive(Deserialize)]
    struct Expected {
        top1: f64,
        top5: f64,
        loss: f64,
        ece: f64,
        confusion: Vec<Vec<u64>>,
        precision: Vec<f64>,
        recall: Vec<f64>,
        f1: Vec<f64>,
        support: Vec<u64>,
        balanced_accuracy: f64,
        r#macro: [f64; 3],
        weighted: [f64; 3],
    }

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|i| format!("class {i}")).collect()
    }

    fn scores(classes: usize, logits: &[f32], targets: &[usize]) -> ClassifyScores {
        let mut keeper = ScoreKeeper::new(&names(classes));
        keeper.push(logits, targets).unwrap();
        keeper.finish().unwrap()
    }

    #[track_caller]
    fn close(name: &str, what: &str, ours: f64, theirs: f64) {
        assert!(
            (ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0),
            "{name}: {what} {ours}, should be {theirs}"
        );
    }

    #[test]
    fn figures_equal_scikit_learns() {
        let golden: Golden =
            serde_json::from_str(include_str!("../../tests/golden/classify_metrics.json")).unwrap();
        assert_eq!(golden.cases.len(), 10);
        for Case { name, classes, logits, targets, expected } in golden.cases {
            let ours = scores(classes, &logits, &targets);
            assert_eq!(ours.images, targets.len() as u64);
            close(&name, "top1", ours.top1, expected.top1);
            close(&name, "top5", ours.top5, expected.top5);
            close(&name, "loss", ours.loss, expected.loss);
            close(&name, "ece", ours.ece, expected.ece);
            assert_eq!(ours.confusion, expected.confusion, "{name}");
            assert_eq!(ours.per_class.len(), classes);
            for (i, class) in ours.per_class.iter().enumerate() {
                close(&name, "precision", class.precision, expected.precision[i]);
                close(&name, "recall", class.recall, expected.recall[i]);
                close(&name, "f1", class.f1, expected.f1[i]);
                assert_eq!(class.support, expected.support[i], "{name}");
            }
            close(&name, "balanced accuracy", ours.balanced_accuracy(), expected.balanced_accuracy);
            for (average, expected) in
                [(ours.macro_average(), expected.r#macro), (ours.weighted_average(), expected.weighted)]
            {
                close(&name, "mean precision", average.precision, expected[0]);
                close(&name, "mean recall", average.recall, expected[1]);
                close(&name, "mean f1", average.f1, expected[2]);
            }
        }
    }

    #[test]
    fn json_document_has_exactly_the_fields_of_the_contract() {
        let json = serde_json::to_value(scores(2, &[2.0, 1.0, 0.0, 3.0], &[0, 1])).unwrap();
        let fields = |v: &serde_json::Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(fields(&json), ["images", "top1", "top5", "loss", "ece", "per_class", "confusion"]);
        assert_eq!(fields(&json["per_class"][0]), ["label", "precision", "recall", "f1", "support"]);
        assert_eq!(json["confusion"], serde_json::json!([[1, 0], [0, 1]]));
        assert_eq!(json["top1"], 1.0);
        let schema = serde_json::to_value(schemars::schema_for!(ClassifyScores)).unwrap();
        let mut described = fields(&schema["properties"]);
        described.sort();
        let mut written = fields(&json);
        written.sort();
        assert_eq!(described, written);
    }

    #[test]
    fn probabilities_give_the_figures_of_their_logarithms_and_a_certain_mistake_stays_finite() {
        let p = [0.7_f32, 0.2, 0.1, 0.25, 0.25, 0.5];
        let logs: Vec<f32> = p.iter().map(|p| p.ln()).collect();
        let mut keeper = ScoreKeeper::new(&names(3));
        keeper.push_probabilities(&p, &[0, 1]).unwrap();
        let (direct, through_logits) = (keeper.finish().unwrap(), scores(3, &logs, &[0, 1]));
        assert_eq!(direct.confusion, through_logits.confusion);
        assert!((direct.loss - through_logits.loss).abs() < 1e-6);
        assert!((direct.ece - through_logits.ece).abs() < 1e-6);

        let mut keeper = ScoreKeeper::new(&names(2));
        keeper.push_probabilities(&[1.0, 0.0], &[1]).unwrap();
        let certain = keeper.finish().unwrap();
        assert!((certain.loss - -f64::from(f32::EPSILON).ln()).abs() < 1e-9);
        assert_eq!(certain.ece, 1.0);
    }

    #[test]
    fn confidence_on_an_edge_belongs_to_the_lower_bin() {
        assert_eq!(calibration_bin(0.0), 0);
        assert_eq!(calibration_bin(1.0 / 15.0), 0);
        assert_eq!(calibration_bin(1.0 / 15.0 + 1e-12), 1);
        assert_eq!(calibration_bin(3.0 / 15.0), 2);
        assert_eq!(calibration_bin(1.0), 14);
        // A probability that rounding pushed past 1.
        assert_eq!(calibration_bin(1.0 + 1e-15), 14);
    }

    #[test]
    fn order_of_equal_scores_is_class_order() {
        assert_eq!(ranked(&[1.0, 3.0, 3.0, -0.0, 0.0]), [1, 2, 0, 3, 4]);
        assert_eq!(rank(&[1.0, 3.0, 3.0, -0.0, 0.0], 4), 4);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        assert!(matches!(ScoreKeeper::new(&names(3)).finish(), Err(Error::Input(_))));
        let mut keeper = ScoreKeeper::new(&names(2));
        assert!(matches!(keeper.push(&[0.0, 1.0, 2.0], &[0]), Err(Error::Input(_))));
        assert!(matches!(keeper.push(&[0.0, 1.0], &[2]), Err(Error::Input(_))));
        assert!(matches!(keeper.push(&[0.0, f32::NAN], &[0]), Err(Error::Diverged(_))));
        assert!(matches!(keeper.push(&[0.0, f32::INFINITY], &[0]), Err(Error::Diverged(_))));
        assert!(matches!(keeper.push_probabilities(&[-0.1, 1.1], &[0]), Err(Error::Input(_))));
        assert_eq!(keeper.images(), 0);
    }

    fn batches() -> impl Strategy<Value = (usize, Vec<(Vec<f32>, usize)>)> {
        (1_usize..8).prop_flat_map(|classes| {
            // Halves make ties common.
            let row = prop::collection::vec((-12_i8..12).prop_map(|z| f32::from(z) / 2.0), classes);
            (Just(classes), prop::collection::vec((row, 0..classes), 1..40))
        })
    }

    fn flat(pictures: &[(Vec<f32>, usize)]) -> (Vec<f32>, Vec<usize>) {
        (pictures.iter().flat_map(|p| p.0.clone()).collect(), pictures.iter().map(|p| p.1).collect())
    }

    proptest! {
        #[test]
        fn figures_stay_in_their_bounds((classes, pictures) in batches()) {
            let (logits, targets) = flat(&pictures);
            let s = scores(classes, &logits, &targets);
            let unit = 0.0..=1.0 + 1e-12;
            prop_assert!(s.top1 <= s.top5 && unit.contains(&s.top1) && unit.contains(&s.top5));
            prop_assert!(s.loss >= 0.0 && unit.contains(&s.ece));
            prop_assert!(classes > 5 || s.top5 == 1.0);
            for class in &s.per_class {
                let (low, high) = (class.precision.min(class.recall), class.precision.max(class.recall));
                prop_assert!(unit.contains(&class.precision) && unit.contains(&class.recall));
                prop_assert!(low - 1e-12 <= class.f1 && class.f1 <= high + 1e-12);
            }
            prop_assert_eq!(s.confusion.iter().flatten().sum::<u64>(), s.images);
            prop_assert_eq!(s.per_class.iter().map(|c| c.support).sum::<u64>(), s.images);
            prop_assert_eq!(s.calibration.iter().map(|b| b.count).sum::<u64>(), s.images);
            // Accuracy is the recall weighted by support.
            prop_assert!((s.weighted_average().recall - s.top1).abs() < 1e-12);
        }

        #[test]
        fn cutting_into_batches_changes_nothing((classes, pictures) in batches(), size in 1_usize..9) {
            let (logits, targets) = flat(&pictures);
            let mut keeper = ScoreKeeper::new(&names(classes));
            for part in pictures.chunks(size) {
                let (logits, targets) = flat(part);
                keeper.push(&logits, &targets).unwrap();
            }
            prop_assert_eq!(keeper.finish().unwrap(), scores(classes, &logits, &targets));
        }

        #[test]
        fn order_of_pictures_does_not_matter((classes, pictures) in batches(), turn in 0_usize..40) {
            let mut other = pictures.clone();
            other.reverse();
            let turn = turn % other.len();
            other.rotate_left(turn);
            let ((a, t), (b, u)) = (flat(&pictures), flat(&other));
            let (a, b) = (scores(classes, &a, &t), scores(classes, &b, &u));
            prop_assert_eq!((a.top1, a.top5, &a.confusion), (b.top1, b.top5, &b.confusion));
            prop_assert!((a.loss - b.loss).abs() < 1e-12 && (a.ece - b.ece).abs() < 1e-12);
        }

        #[test]
        fn adding_a_constant_to_a_row_changes_no_probability((_, pictures) in batches(), shift in -50_i8..50) {
            for (row, _) in &pictures {
                let moved: Vec<f32> = row.iter().map(|z| z + f32::from(shift)).collect();
                for (p, q) in softmax(row).iter().zip(softmax(&moved)) {
                    prop_assert!((p - q).abs() < 1e-12);
                }
            }
        }
    }
}
