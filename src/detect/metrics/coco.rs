//! COCO's evaluation of boxes: Lin et al. 2014, as `COCOeval` of pycocotools 2.0 computes it.

use rayon::prelude::*;

use super::curve::{Curve, Judged, Threshold, best_threshold, interpolate};
use super::gather::{Gathered, Span, by_score};
use super::{Found, Truth};

/// Ranges of an object's area in square pixels, both ends included: all, small, medium, large.
pub const AREAS: [[f64; 2]; 4] = [[0.0, 1e10], [0.0, 1024.0], [1024.0, 9216.0], [9216.0, 1e10]];

/// The most IoU thresholds at a time.
const MOST_THRESHOLDS: usize = 32;

/// How to evaluate.
#[derive(Clone, Debug, PartialEq)]
pub struct CocoOptions {
    /// IoU from which a detection can be right: at most 32 thresholds, in order. The rest is left out.
    pub iou: Vec<f64>,
    /// The most detections of a class in a picture, for the three average recalls; the last for everything else.
    pub most: [usize; 3],
}

impl Default for CocoOptions {
    /// COCO's: IoU 0.5, 0.55, …, 0.95; 1, 10 and 100 detections.
    fn default() -> Self {
        // As numpy's linspace rounds them: a detection at just that IoU must fall on the same side.
        let step = (0.95 - 0.5) / 9.0;
        let mut iou: Vec<f64> = (0..10).map(|i| f64::from(i) * step + 0.5).collect();
        iou[9] = 0.95;
        Self { iou, most: [1, 10, 100] }
    }
}

/// What [`coco`] gives. A figure is `None` where there is nothing to measure it on.
#[derive(Clone, Debug, PartialEq)]
pub struct CocoSummary {
    /// AP over all thresholds; at 0.5; at 0.75; of small, medium and large objects; average recall with few,
    /// more and most detections; of small, medium and large objects. The order in which COCOeval prints them.
    pub figures: [Option<f64>; 12],
    /// Figures of each class.
    pub classes: Vec<CocoClass>,
}

/// What is measured of one class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CocoClass {
    /// AP over all thresholds.
    pub ap: Option<f64>,
    /// AP at the first threshold, 0.5 by default.
    pub ap_first: Option<f64>,
    /// Objects that count: not crowds.
    pub objects: usize,
    /// Detections judged: at most so many a picture.
    pub detections: usize,
    /// Precision by recall at the first threshold.
    pub curve: Curve,
    /// The best threshold on the score, by F1 at the first threshold on the IoU.
    pub threshold: Option<Threshold>,
}

/// Evaluates detections of classes `0..classes`.
pub fn coco(classes: usize, truth: &[Truth], found: &[Found], options: &CocoOptions) -> CocoSummary {
    let thresholds = &options.iou[..options.iou.len().min(MOST_THRESHOLDS)];
    let gathered = Gathered::new(classes, truth, found);
    let measured: Vec<Measured> = gathered
        .classes
        .par_iter()
        .map(|spans| {
            Measured::of(&judge_class(&gathered, spans, thresholds, options.most[2]), thresholds, options)
        })
        .collect();

    let position = |iou: f64| thresholds.iter().position(|t| *t == iou);
    let ap = |area: usize, thresholds: std::ops::Range<usize>| {
        mean(
            measured
                .iter()
                .filter_map(|m| m.precision[area].as_ref())
                .flat_map(|by_iou| &by_iou[thresholds.clone()]),
        )
    };
    let at = |iou: f64| position(iou).and_then(|t| ap(0, t..t + 1));
    let ar = |row: usize| mean(measured.iter().filter_map(|m| m.recall[row].as_ref()).flatten());
    let all = 0..thresholds.len();
    let figures = [
        ap(0, all.clone()),
        at(0.5),
        at(0.75),
        ap(1, all.clone()),
        ap(2, all.clone()),
        ap(3, all),
        ar(0),
        ar(1),
        ar(2),
        ar(3),
        ar(4),
        ar(5),
    ];
    CocoSummary { figures, classes: measured.into_iter().map(|m| m.class).collect() }
}

fn mean<'a>(values: impl Iterator<Item = &'a f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// What became of one detection. Bit `t` stands for threshold `t`.
struct Verdict {
    score: f64,
    /// Its place among those of the class in its picture, by score.
    rank: u32,
    /// By range of area: matched with an object.
    matched: [u32; 4],
    /// By range of area: neither right nor wrong.
    ignored: [u32; 4],
}

/// One class in all pictures.
#[derive(Default)]
struct Verdicts {
    /// By falling score; of equal scores, in the order of pictures.
    verdicts: Vec<Verdict>,
    /// By range of area: the objects to be found.
    positives: [usize; 4],
}

fn judge_class(gathered: &Gathered, spans: &[Span], thresholds: &[f64], most: usize) -> Verdicts {
    /// Pictures that one thread judges at a time.
    const CHUNK: usize = 128;
    let parts: Vec<Verdicts> = spans
        .par_chunks(CHUNK)
        .map(|spans| {
            let mut judge = Judge::new(thresholds, most);
            let mut verdicts = Verdicts::default();
            spans.iter().for_each(|span| judge.picture(gathered, span, &mut verdicts));
            verdicts
        })
        .collect();
    let mut all = Verdicts::default();
    all.verdicts.reserve_exact(parts.iter().map(|p| p.verdicts.len()).sum());
    for part in parts {
        all.verdicts.extend(part.verdicts);
        all.positives.iter_mut().zip(part.positives).for_each(|(sum, n)| *sum += n);
    }
    all.verdicts.par_sort_by(|a, b| by_score(a.score, b.score));
    all
}

/// Matches detections with objects, picture by picture; holds what memory it needs from one to the next.
struct Judge<'a> {
    thresholds: &'a [f64],
    most: usize,
    found: Vec<&'a Found>,
    truth: Vec<&'a Truth>,
    /// Row by row: of each detection with each object.
    overlaps: Vec<f64>,
    /// Objects in the order in which they are tried: those that count before those that are ignored.
    order: Vec<usize>,
    /// Of each object: the thresholds at which it is taken.
    taken: Vec<u32>,
}

impl<'a> Judge<'a> {
    fn new(thresholds: &'a [f64], most: usize) -> Self {
        Self {
            thresholds,
            most,
            found: Vec::new(),
            truth: Vec::new(),
            overlaps: Vec::new(),
            order: Vec::new(),
            taken: Vec::new(),
        }
    }

    fn picture(&mut self, gathered: &Gathered<'a>, span: &Span, into: &mut Verdicts) {
        self.found.clear();
        self.found.extend(gathered.found_of(span));
        self.found.sort_by(|a, b| by_score(a.score, b.score));
        self.found.truncate(self.most);
        self.truth.clear();
        self.truth.extend(gathered.truth_of(span));
        self.overlaps.clear();
        for d in &self.found {
            self.overlaps.extend(self.truth.iter().map(|g| overlap(&d.bbox, &g.bbox, g.crowd)));
        }
        let first = into.verdicts.len();
        into.verdicts.extend(self.found.iter().enumerate().map(|(rank, d)| Verdict {
            score: d.score,
            rank: rank as u32,
            matched: [0; 4],
            ignored: [0; 4],
        }));
        for (range, area) in AREAS.iter().enumerate() {
            let outside = |size: f64| size < area[0] || size > area[1];
            let ignored = |g: &Truth| g.crowd || outside(g.area);
            self.order.clear();
            self.order.extend((0..self.truth.len()).filter(|&g| !ignored(self.truth[g])));
            let counting = self.order.len();
            into.positives[range] += counting;
            self.order.extend((0..self.truth.len()).filter(|&g| ignored(self.truth[g])));
            self.taken.clear();
            self.taken.resize(self.truth.len(), 0);
            for (row, verdict) in into.verdicts[first..].iter_mut().enumerate() {
                let (matched, ignored) = self.matches(row, counting);
                let [_, _, width, height] = self.found[row].bbox;
                let unmatched = if outside(width * height) { !matched } else { 0 };
                verdict.matched[range] = matched;
                verdict.ignored[range] = ignored | unmatched;
            }
        }
    }

    /// Finds the best free object for a detection at every threshold: thresholds at which there is one, and at which
    /// it is one of those ignored. The first `counting` in `order` are not.
    fn matches(&mut self, row: usize, counting: usize) -> (u32, u32) {
        let overlaps = &self.overlaps[row * self.truth.len()..][..self.truth.len()];
        let (mut matched, mut ignored) = (0, 0);
        for (t, threshold) in self.thresholds.iter().enumerate() {
            let bit = 1 << t;
            let mut best = threshold.min(1.0 - 1e-10);
            let mut choice = None;
            for (place, &g) in self.order.iter().enumerate() {
                // A crowd is never used up.
                if self.taken[g] & bit != 0 && !self.truth[g].crowd {
                    continue;
                }
                // What counts goes before what is ignored, however well that fits.
                if place >= counting && choice.is_some_and(|(earlier, _)| earlier < counting) {
                    break;
                }
                if overlaps[g] < best {
                    continue;
                }
                best = overlaps[g];
                choice = Some((place, g));
            }
            if let Some((place, g)) = choice {
                self.taken[g] |= bit;
                ignored |= if place >= counting { bit } else { 0 };
                matched |= if self.truth[g].number_zero { 0 } else { bit };
            }
        }
        (matched, ignored)
    }
}

/// Intersection over union of boxes `[x, y, width, height]`, or over the detection's own area for a crowd. Operation
/// by operation as `bbIou` of pycocotools' maskApi.c, since thresholds are met exactly.
fn overlap(d: &[f64; 4], g: &[f64; 4], crowd: bool) -> f64 {
    let width = (d[2] + d[0]).min(g[2] + g[0]) - d[0].max(g[0]);
    let height = (d[3] + d[1]).min(g[3] + g[1]) - d[1].max(g[1]);
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let shared = width * height;
    let own = d[2] * d[3];
    shared / if crowd { own } else { own + g[2] * g[3] - shared }
}

/// One class, measured.
#[derive(Default)]
struct Measured {
    /// By range of area: mean precision over recall at each threshold, where there are objects.
    precision: [Option<Vec<f64>>; 4],
    /// Recall at each threshold: with few, more and most detections; of small, medium and large objects.
    recall: [Option<Vec<f64>>; 6],
    class: CocoClass,
}

impl Measured {
    fn of(class: &Verdicts, thresholds: &[f64], options: &CocoOptions) -> Self {
        let counting = |range: usize, t: usize, most: usize| {
            let bit = 1u32 << t;
            class.verdicts.iter().filter_map(move |v| {
                let counts = v.ignored[range] & bit == 0 && (v.rank as usize) < most;
                counts.then_some(Judged { score: v.score, right: v.matched[range] & bit != 0 })
            })
        };
        let [few, more, most] = options.most;
        let mut measured = Self::default();
        let (mut steps, mut curve) = (Vec::new(), Curve::default());
        for range in 0..AREAS.len() {
            let positives = class.positives[range];
            if positives == 0 {
                continue;
            }
            let (mut precision, mut recall) = (Vec::new(), Vec::new());
            for t in 0..thresholds.len() {
                recall.push(interpolate(counting(range, t, most), positives, &mut steps, &mut curve));
                precision.push(curve.precision.iter().sum::<f64>() / curve.precision.len() as f64);
                if range == 0 && t == 0 {
                    measured.class.curve = curve.clone();
                }
            }
            if range == 0 {
                for (row, most) in [few, more].into_iter().enumerate() {
                    let recall_of =
                        |t| counting(0, t, most).filter(|j| j.right).count() as f64 / positives as f64;
                    measured.recall[row] = Some((0..thresholds.len()).map(recall_of).collect());
                }
                measured.class.ap = mean(precision.iter());
                measured.class.ap_first = precision.first().copied();
                measured.class.threshold = best_threshold(counting(0, 0, most), positives);
            }
            measured.precision[range] = Some(precision);
            measured.recall[range + 2] = Some(recall);
        }
        measured.class.objects = class.positives[0];
        measured.class.detections = class.verdicts.len();
        measured
    }
}
