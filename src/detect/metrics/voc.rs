//! Pascal VOC's average precision: Everingham et al. 2010, as the development kit's `VOCevaldet.m` computes it.

use rayon::prelude::*;

use super::curve::{Curve, Judged, POINTS, Threshold, best_threshold, recall_at};
use super::gather::{Gathered, Span, by_score};
use super::{Found, Truth};

/// What of the precision-recall curve is averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// 2007: the best precision at recalls 0, 0.1, …, 1 or higher.
    ElevenPoint,
    /// Since 2010: the area under the curve whose precision is made to fall with recall.
    All,
}

/// What a box's far corner means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corners {
    /// A place between pixels: a box from 0 to 10 is 10 wide. What all our readers give.
    Continuous,
    /// The last pixel inside: the reference tools take widths and heights of integer corners with "+1". For
    /// figures that must equal those of a tool that does so to boxes that are not of that kind.
    Inclusive,
}

/// How to evaluate.
#[derive(Clone, Debug, PartialEq)]
pub struct VocOptions {
    /// IoU from which a detection can be right; VOC's is 0.5. Each gives an average precision of its own.
    pub iou: Vec<f64>,
    /// What is averaged.
    pub area: Area,
    /// What far corners mean.
    pub corners: Corners,
}

/// What [`voc`] gives. A figure is `None` where there is nothing to measure it on.
#[derive(Clone, Debug, PartialEq)]
pub struct VocSummary {
    /// Mean over the classes, at each threshold.
    pub mean: Vec<Option<f64>>,
    /// Figures of each class.
    pub classes: Vec<VocClass>,
}

/// What is measured of one class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VocClass {
    /// Average precision at each threshold.
    pub ap: Vec<Option<f64>>,
    /// Objects that count: neither difficult nor crowds.
    pub objects: usize,
    /// Detections judged.
    pub detections: usize,
    /// Precision by recall at the first threshold.
    pub curve: Curve,
    /// The best threshold on the score, by F1 at the first threshold on the IoU.
    pub threshold: Option<Threshold>,
}

/// Evaluates detections of classes `0..classes`.
pub fn voc(classes: usize, truth: &[Truth], found: &[Found], options: &VocOptions) -> VocSummary {
    let gathered = Gathered::new(classes, truth, found);
    let classes: Vec<VocClass> =
        gathered.classes.par_iter().map(|spans| measure(&gathered, spans, options)).collect();
    let mean = (0..options.iou.len())
        .map(|t| {
            let known: Vec<f64> = classes.iter().filter_map(|c| c.ap[t]).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        })
        .collect();
    VocSummary { mean, classes }
}

fn measure(gathered: &Gathered, spans: &[Span], options: &VocOptions) -> VocClass {
    let counts = |g: &&Truth| !g.difficult && !g.crowd;
    let objects: usize = spans.iter().map(|s| gathered.truth_of(s).filter(counts).count()).sum();
    let mut class = VocClass {
        ap: vec![None; options.iou.len()],
        objects,
        detections: spans.iter().map(|s| s.found.len()).sum(),
        ..VocClass::default()
    };
    if objects == 0 {
        return class;
    }
    let per_picture: Vec<Vec<Hit>> =
        spans.par_iter().map(|span| hits(gathered, span, options.corners)).collect();
    let mut in_order: Vec<(u32, Hit)> = per_picture
        .into_iter()
        .enumerate()
        .flat_map(|(picture, hits)| hits.into_iter().map(move |hit| (picture as u32, hit)))
        .collect();
    in_order.par_sort_by(|a, b| by_score(a.1.score, b.1.score));
    for (t, &threshold) in options.iou.iter().enumerate() {
        let judged = judge(gathered, spans, &in_order, threshold);
        let points = points(&judged, objects);
        class.ap[t] = Some(match options.area {
            Area::ElevenPoint => eleven_points(&points),
            Area::All => whole_area(&points),
        });
        if t == 0 {
            class.curve = curve(&points, &judged);
            class.threshold = best_threshold(judged.iter().copied(), objects);
        }
    }
    class
}

/// The object that a detection fits best, whether or not another has it already.
struct Hit {
    score: f64,
    /// Its place among the class's objects in the picture, and the overlap.
    best: Option<(u32, f64)>,
}

fn hits(gathered: &Gathered, span: &Span, corners: Corners) -> Vec<Hit> {
    let extra = match corners {
        Corners::Continuous => 0.0,
        Corners::Inclusive => 1.0,
    };
    gathered
        .found_of(span)
        .map(|d| {
            let mut best: Option<(u32, f64)> = None;
            for (place, g) in gathered.truth_of(span).enumerate() {
                let iou = overlap(&d.bbox, &g.bbox, extra);
                if iou > best.map_or(0.0, |b| b.1) {
                    best = Some((place as u32, iou));
                }
            }
            Hit { score: d.score, best }
        })
        .collect()
}

/// Intersection over union of boxes `[x, y, width, height]` whose far corners lie `extra` further out.
fn overlap(d: &[f64; 4], g: &[f64; 4], extra: f64) -> f64 {
    let width = (d[0] + d[2]).min(g[0] + g[2]) - d[0].max(g[0]) + extra;
    let height = (d[1] + d[3]).min(g[1] + g[3]) - d[1].max(g[1]) + extra;
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let area = |b: &[f64; 4]| (b[2] + extra) * (b[3] + extra);
    let shared = width * height;
    shared / (area(d) + area(g) - shared)
}

/// Right or wrong, by falling score; detections of difficult objects are left out.
fn judge(gathered: &Gathered, spans: &[Span], in_order: &[(u32, Hit)], threshold: f64) -> Vec<Judged> {
    let offsets: Vec<usize> = spans
        .iter()
        .scan(0, |sum, span| {
            let at = *sum;
            *sum += span.truth.len();
            Some(at)
        })
        .collect();
    let set_aside: Vec<bool> =
        spans.iter().flat_map(|s| gathered.truth_of(s).map(|g| g.difficult || g.crowd)).collect();
    let mut taken = vec![false; set_aside.len()];
    let mut judged = Vec::with_capacity(in_order.len());
    for (picture, hit) in in_order {
        let fits = hit.best.filter(|(_, iou)| *iou >= threshold);
        let object = fits.map(|(place, _)| offsets[*picture as usize] + place as usize);
        let right = match object {
            Some(object) if set_aside[object] => continue,
            Some(object) => !std::mem::replace(&mut taken[object], true),
            None => false,
        };
        judged.push(Judged { score: hit.score, right });
    }
    judged
}

/// Recall and precision after each detection.
fn points(judged: &[Judged], objects: usize) -> Vec<(f64, f64)> {
    let mut right = 0usize;
    let after = |(i, one): (usize, &Judged)| {
        right += usize::from(one.right);
        (right as f64 / objects as f64, right as f64 / (i + 1) as f64)
    };
    judged.iter().enumerate().map(after).collect()
}

fn eleven_points(points: &[(f64, f64)]) -> f64 {
    // As `i * 0.1` rounds, which is what the tools in use compare with.
    let best = |recall: f64| points.iter().filter(|p| p.0 >= recall).map(|p| p.1).fold(0.0, f64::max);
    (0..=10).map(|i| best(f64::from(i) * 0.1)).sum::<f64>() / 11.0
}

fn whole_area(points: &[(f64, f64)]) -> f64 {
    let mut area = 0.0;
    let mut precision = 0.0f64;
    for (i, &(recall, here)) in points.iter().enumerate().rev() {
        precision = precision.max(here);
        let before = i.checked_sub(1).map_or(0.0, |j| points[j].0);
        area += (recall - before) * precision;
    }
    area
}

fn curve(points: &[(f64, f64)], judged: &[Judged]) -> Curve {
    let mut falling: Vec<f64> = points.iter().map(|p| p.1).collect();
    for i in (1..falling.len()).rev() {
        falling[i - 1] = falling[i - 1].max(falling[i]);
    }
    let mut curve = Curve::default();
    for point in 0..POINTS {
        let at = points.partition_point(|p| p.0 < recall_at(point));
        curve.precision.push(falling.get(at).copied().unwrap_or(0.0));
        curve.score.push(judged.get(at).map_or(0.0, |j| j.score));
    }
    curve
}
