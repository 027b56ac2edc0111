//! Why detections are wrong and what it costs (Bolya, Foley, Hays, Hoffman: "TIDE: A General Toolbox for Identifying
//! Object Detection Errors", ECCV 2020, sections 2.2 and 2.3).

use std::collections::BTreeMap;

use opticus_pixels::geometry::Box2d;

use super::{CocoOptions, Found, Truth, coco};

/// Overlap from which on a detection is at its object, and below which it is at none.
const FOREGROUND: f64 = 0.5;
const BACKGROUND: f64 = 0.1;

/// Why a detection, or an object that was not found, is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An object of another class, well placed.
    Class,
    /// An object of its class, badly placed.
    Localisation,
    /// An object of another class, badly placed.
    Both,
    /// An object that a better detection has found already.
    Duplicate,
    /// Nothing is there.
    Background,
    /// An object that no detection has found, not even badly.
    Missed,
}

impl Kind {
    /// All of them, in the paper's order.
    pub const ALL: [Self; 6] =
        [Self::Class, Self::Localisation, Self::Both, Self::Duplicate, Self::Background, Self::Missed];

    /// The kind in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Class => "Wrong class",
            Self::Localisation => "Badly placed",
            Self::Both => "Wrong class and badly placed",
            Self::Duplicate => "Found twice",
            Self::Background => "Nothing there",
            Self::Missed => "Missed",
        }
    }
}

/// What becomes of each detection and object at an overlap of 0.5.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Errors {
    /// Why each detection is wrong; `None` if it is right or does not count (in a crowd).
    pub found: Vec<Option<Kind>>,
    /// The object that each detection found, or is an error about.
    pub object: Vec<Option<usize>>,
    /// Whether no detection found the object.
    pub unfound: Vec<bool>,
    /// Whether the object is an error of its own kind: unfound, and no detection is a misplaced or misnamed one of it.
    pub missed: Vec<bool>,
}

/// Judges detections against objects, picture by picture, better ones first.
pub fn judge(truth: &[Truth], found: &[Found]) -> Errors {
    let mut errors = Errors {
        found: vec![None; found.len()],
        object: vec![None; found.len()],
        unfound: truth.iter().map(|t| !t.crowd).collect(),
        missed: Vec::new(),
    };
    let mut pictures: BTreeMap<u32, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    truth.iter().enumerate().for_each(|(i, t)| pictures.entry(t.image).or_default().0.push(i));
    found.iter().enumerate().for_each(|(i, f)| pictures.entry(f.image).or_default().1.push(i));
    for (objects, mut detections) in pictures.into_values() {
        detections.sort_by(|a, b| found[*b].score.total_cmp(&found[*a].score));
        picture(truth, found, &objects, &detections, &mut errors);
    }
    errors.missed.clone_from(&errors.unfound);
    for (kind, object) in errors.found.iter().zip(&errors.object) {
        if let (Some(Kind::Class | Kind::Localisation), Some(object)) = (kind, object) {
            errors.missed[*object] = false;
        }
    }
    errors
}

fn picture(truth: &[Truth], found: &[Found], objects: &[usize], detections: &[usize], errors: &mut Errors) {
    let overlap = |d: usize, o: usize| Box2d::from_xywh(found[d].bbox).iou(Box2d::from_xywh(truth[o].bbox));
    // The best of the objects that the rule allows.
    let best = |d: usize, allowed: &dyn Fn(usize) -> bool| {
        let mut best: Option<(usize, f64)> = None;
        for &o in objects.iter().filter(|o| !truth[**o].crowd && allowed(**o)) {
            let iou = overlap(d, o);
            if best.is_none_or(|(_, most)| iou > most) {
                best = Some((o, iou));
            }
        }
        best
    };
    for &d in detections {
        let own = |o: usize| truth[o].class == found[d].class;
        if let Some((o, iou)) = best(d, &|o| own(o) && errors.unfound[o])
            && iou >= FOREGROUND
        {
            errors.unfound[o] = false;
            errors.object[d] = Some(o);
            continue;
        }
        let in_crowd = |o: &usize| {
            let (detection, region) = (Box2d::from_xywh(found[d].bbox), Box2d::from_xywh(truth[*o].bbox));
            truth[*o].crowd && own(*o) && detection.ioa(region) >= FOREGROUND
        };
        if objects.iter().any(in_crowd) {
            continue;
        }
        let same = best(d, &own);
        let other = best(d, &|o| !own(o));
        let at_least = |pair: Option<(usize, f64)>, least: f64| pair.filter(|(_, iou)| *iou >= least);
        let (kind, object) = if let Some((o, _)) = at_least(same, FOREGROUND) {
            (Kind::Duplicate, Some(o))
        } else if let Some((o, _)) = at_least(other, FOREGROUND) {
            (Kind::Class, Some(o))
        } else if let Some((o, _)) = at_least(same, BACKGROUND) {
            (Kind::Localisation, Some(o))
        } else if let Some((o, _)) = at_least(other, BACKGROUND) {
            (Kind::Both, Some(o))
        } else {
            (Kind::Background, None)
        };
        errors.found[d] = Some(kind);
        errors.object[d] = object;
    }
}

/// What AP50 would gain if all errors of a kind were mended, each kind by itself: the class made right, the box moved onto
/// its object (of several on one object the best stays), what is left over removed, missed objects forgotten.
pub fn costs(classes: usize, truth: &[Truth], found: &[Found], errors: &Errors) -> Vec<(Kind, f64)> {
    let options = CocoOptions { iou: vec![FOREGROUND], ..CocoOptions::default() };
    let ap =
        |truth: &[Truth], found: &[Found]| coco(classes, truth, found, &options).figures[0].unwrap_or(0.0);
    let now = ap(truth, found);
    let gain = |kind: Kind| {
        if kind == Kind::Missed {
            let kept: Vec<Truth> =
                truth.iter().zip(&errors.missed).filter(|(_, missed)| !**missed).map(|(t, _)| *t).collect();
            return ap(&kept, found) - now;
        }
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by(|a, b| found[*b].score.total_cmp(&found[*a].score));
        // An object that a detection has found is taken; a mended one that comes second is removed.
        let mut taken: Vec<bool> = errors.unfound.iter().map(|unfound| !unfound).collect();
        let mut mended = Vec::with_capacity(found.len());
        for d in order {
            match (errors.found[d] == Some(kind), errors.object[d]) {
                (false, _) => mended.push(found[d]),
                (true, Some(o)) if matches!(kind, Kind::Class | Kind::Localisation) => {
                    if !std::mem::replace(&mut taken[o], true) {
                        let Truth { class, bbox, .. } = truth[o];
                        let class = if kind == Kind::Class { class } else { found[d].class };
                        let bbox = if kind == Kind::Localisation { bbox } else { found[d].bbox };
                        mended.push(Found { class, bbox, ..found[d] });
                    }
                }
                (true, _) => {}
            }
        }
        ap(truth, &mended) - now
    };
    Kind::ALL.into_iter().map(|kind| (kind, gain(kind).max(0.0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(class: u32, x: f64) -> Truth {
        let bbox = [x, 0.0, 10.0, 10.0];
        let area = 100.0;
        Truth { image: 0, class, bbox, area, crowd: false, difficult: false, number_zero: false }
    }

    fn found(class: u32, x: f64, score: f64) -> Found {
        Found { image: 0, class, bbox: [x, 0.0, 10.0, 10.0], score }
    }

    #[test]
    fn every_kind_is_told_from_the_others() {
        // Objects 100 apart: of class 0 at 0, 100, 200 and 300; of class 1 at 400.
        let objects = [truth(0, 0.0), truth(0, 100.0), truth(0, 200.0), truth(0, 300.0), truth(1, 400.0)];
        let detections = [
            found(0, 0.0, 0.9),   // right
            found(0, 1.0, 0.8),   // the same again
            found(0, 107.0, 0.7), // 3 of 17 pixels: badly placed
            found(1, 200.0, 0.6), // the other class
            found(0, 407.0, 0.5), // the other class, badly placed
            found(1, 600.0, 0.4), // nothing there
        ];
        let errors = judge(&objects, &detections);
        use Kind::{Background, Both, Class, Duplicate, Localisation};
        assert_eq!(
            errors.found,
            [None, Some(Duplicate), Some(Localisation), Some(Class), Some(Both), Some(Background)]
        );
        assert_eq!(errors.unfound, [false, true, true, true, true]);
        // That which was found in another place or under another name is no miss of its own.
        assert_eq!(errors.missed, [false, false, false, true, true]);
        let costs = costs(2, &objects, &detections, &errors);
        assert_eq!(costs.len(), 6);
        assert!(costs.iter().all(|(_, cost)| (0.0..=1.0).contains(cost)));
        let cost = |kind| costs.iter().find(|(k, _)| *k == kind).map_or(0.0, |(_, cost)| *cost);
        // Mended, class 0 has 2 of 4 objects found instead of 1, the duplicate between them.
        let interpolated = |points: &[(f64, f64)]| {
            let at = |r: f64| points.iter().find(|p| p.0 >= r - 1e-12).map_or(0.0, |p| p.1);
            (0..=100).map(|i| at(f64::from(i) / 100.0)).sum::<f64>() / 101.0
        };
        let before = interpolated(&[(0.25, 1.0)]);
        let after = interpolated(&[(0.25, 1.0), (0.5, 2.0 / 3.0)]);
        assert!((cost(Localisation) - (after - before) / 2.0).abs() < 1e-9, "{costs:?}");
    }

    #[test]
    fn what_is_in_a_crowd_is_no_error() {
        let crowd = Truth { crowd: true, bbox: [0.0, 0.0, 100.0, 100.0], ..truth(0, 0.0) };
        let errors = judge(&[crowd], &[found(0, 20.0, 0.9), found(1, 20.0, 0.9)]);
        assert_eq!(errors.found, [None, Some(Kind::Background)]);
        assert_eq!(errors.missed, [false]);
    }
}
