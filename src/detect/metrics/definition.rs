//! COCO's evaluation as COCOeval is written: slow, plain, sharing nothing with what it checks.

#![allow(clippy::unwrap_used)]

use super::{AREAS, Found, Truth};

/// `computeIoU` of one pair.
fn iou(d: &[f64; 4], g: &[f64; 4], crowd: bool) -> f64 {
    let w = f64::min(d[2] + d[0], g[2] + g[0]) - f64::max(d[0], g[0]);
    let h = f64::min(d[3] + d[1], g[3] + g[1]) - f64::max(d[1], g[1]);
    if w <= 0.0 || h <= 0.0 {
        return 0.0;
    }
    let (i, da, ga) = (w * h, d[2] * d[3], g[2] * g[3]);
    if crowd { i / da } else { i / (da + ga - i) }
}

struct Judgement {
    scores: Vec<f64>,
    /// [threshold][detection]
    matched: Vec<Vec<bool>>,
    ignored: Vec<Vec<bool>>,
    positives: usize,
}

/// `evaluateImg`.
fn evaluate_image(truth: &[Truth], found: &[Found], area: [f64; 2], most: usize, ious: &[f64]) -> Judgement {
    let outside = |a: f64| a < area[0] || a > area[1];
    let mut gt: Vec<(Truth, bool)> = truth.iter().map(|g| (*g, g.crowd || outside(g.area))).collect();
    gt.sort_by_key(|g| g.1);
    let mut dt = found.to_vec();
    dt.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap());
    dt.truncate(most);
    let mut matched = vec![vec![false; dt.len()]; ious.len()];
    let mut ignored = matched.clone();
    for (t, threshold) in ious.iter().enumerate() {
        let mut taken = vec![false; gt.len()];
        let mut ids = vec![false; dt.len()];
        for (d, one) in dt.iter().enumerate() {
            let mut best = threshold.min(1.0 - 1e-10);
            let mut m: Option<usize> = None;
            for g in 0..gt.len() {
                if taken[g] && !gt[g].0.crowd {
                    continue;
                }
                if let Some(m) = m
                    && !gt[m].1
                    && gt[g].1
                {
                    break;
                }
                let overlap = iou(&one.bbox, &gt[g].0.bbox, gt[g].0.crowd);
                if overlap < best {
                    continue;
                }
                best = overlap;
                m = Some(g);
            }
            let Some(m) = m else { continue };
            ignored[t][d] = gt[m].1;
            ids[d] = !gt[m].0.number_zero;
            taken[m] = true;
        }
        for (d, one) in dt.iter().enumerate() {
            matched[t][d] = ids[d];
            if !ids[d] && outside(one.bbox[2] * one.bbox[3]) {
                ignored[t][d] = true;
            }
        }
    }
    let positives = gt.iter().filter(|g| !g.1).count();
    Judgement { scores: dt.iter().map(|d| d.score).collect(), matched, ignored, positives }
}

/// `evaluate`, `accumulate` and `summarize`.
pub(super) fn figures(
    classes: u32,
    images: u32,
    truth: &[Truth],
    found: &[Found],
    ious: &[f64],
) -> [f64; 12] {
    let most = [1usize, 10, 100];
    // precision[t][r][k][a][m], recall[t][k][a][m] as lists of (t, a, m, value), absent ones left out.
    let mut precision: Vec<(usize, usize, usize, f64)> = Vec::new();
    let mut recall = precision.clone();
    for k in 0..classes {
        for (a, area) in AREAS.iter().enumerate() {
            let mut per_image = Vec::new();
            for i in 0..images {
                let gt: Vec<Truth> = truth.iter().filter(|g| (g.image, g.class) == (i, k)).copied().collect();
                let dt: Vec<Found> = found.iter().filter(|d| (d.image, d.class) == (i, k)).copied().collect();
                if !gt.is_empty() || !dt.is_empty() {
                    per_image.push(evaluate_image(&gt, &dt, *area, 100, ious));
                }
            }
            let positives: usize = per_image.iter().map(|e| e.positives).sum();
            if positives == 0 {
                continue;
            }
            for (m, &most) in most.iter().enumerate() {
                for t in 0..ious.len() {
                    let mut all: Vec<(f64, bool, bool)> = Vec::new();
                    for e in &per_image {
                        for d in 0..e.scores.len().min(most) {
                            all.push((e.scores[d], e.matched[t][d], e.ignored[t][d]));
                        }
                    }
                    all.sort_by(|x, y| y.0.partial_cmp(&x.0).unwrap());
                    let (mut tp, mut fp) = (0.0f64, 0.0f64);
                    let mut rc = Vec::new();
                    let mut pr = Vec::new();
                    for (_, matched, ignored) in &all {
                        tp += f64::from(u8::from(*matched && !*ignored));
                        fp += f64::from(u8::from(!*matched && !*ignored));
                        rc.push(tp / positives as f64);
                        pr.push(tp / (fp + tp + f64::EPSILON));
                    }
                    recall.push((t, a, m, rc.last().copied().unwrap_or(0.0)));
                    for i in (1..pr.len()).rev() {
                        if pr[i] > pr[i - 1] {
                            pr[i - 1] = pr[i];
                        }
                    }
                    for r in 0..=100 {
                        let wanted = if r == 100 { 1.0 } else { f64::from(r) * 0.01 };
                        let at = rc.iter().position(|v| *v >= wanted);
                        precision.push((t, a, m, at.map_or(0.0, |at| pr[at])));
                    }
                }
            }
        }
    }
    let mean = |values: &[(usize, usize, usize, f64)], iou: Option<f64>, a: usize, m: usize| {
        let known: Vec<f64> = values
            .iter()
            .filter(|v| (v.1, v.2) == (a, m) && iou.is_none_or(|iou| ious[v.0] == iou))
            .map(|v| v.3)
            .collect();
        if known.is_empty() { -1.0 } else { known.iter().sum::<f64>() / known.len() as f64 }
    };
    [
        mean(&precision, None, 0, 2),
        mean(&precision, Some(0.5), 0, 2),
        mean(&precision, Some(0.75), 0, 2),
        mean(&precision, None, 1, 2),
        mean(&precision, None, 2, 2),
        mean(&precision, None, 3, 2),
        mean(&recall, None, 0, 0),
        mean(&recall, None, 0, 1),
        mean(&recall, None, 0, 2),
        mean(&recall, None, 1, 2),
        mean(&recall, None, 2, 2),
        mean(&recall, None, 3, 2),
    ]
}
