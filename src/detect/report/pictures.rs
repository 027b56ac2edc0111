//! The best and the worst pictures, drawn.

use opticus_pixels::Image8;
use opticus_pixels::draw::{BoxDrawing, Mark, draw_boxes};
use opticus_pixels::geometry::{Box2d, Size};
use opticus_pixels::resize::{Filter, resize};

use super::super::metrics::DetectScores;
use super::super::metrics::errors::Errors;
use super::super::predict::Compared;
use super::thresholds;
use crate::error::Result;
use crate::report::{Markup, Picture, Section, columns};

/// Longer side of a picture in the report, in pixels.
const SIDE: u32 = 420;
/// Pictures in "worst" and in "best".
const CARDS: usize = 6;

/// Where the report gets the pictures that it chose to show, so that not all of them need be in memory.
pub trait Sight {
    /// The picture of this number.
    ///
    /// # Errors
    /// When it cannot be read; the report then does without it.
    fn picture(&self, index: usize) -> Result<Image8>;

    /// Its name.
    fn name(&self, index: usize) -> String;
}

/// How a picture went: detections from the best F1's score on against its objects.
#[derive(Clone, Copy, Default)]
struct Went {
    right: usize,
    wrong: usize,
    missed: usize,
}

impl Went {
    fn f1(self) -> f64 {
        let all = 2 * self.right + self.wrong + self.missed;
        if all == 0 { 1.0 } else { 2.0 * self.right as f64 / all as f64 }
    }
}

/// The pictures that went worst and best; `None` if there are none.
pub fn section(
    compared: &Compared,
    scores: &DetectScores,
    errors: &Errors,
    sight: &dyn Sight,
) -> Option<Section> {
    let thresholds = thresholds(scores);
    let least = |class: u32| thresholds.get(class as usize).copied().unwrap_or(1.0);
    let mut went = vec![Went::default(); compared.images];
    let mut seen = vec![false; compared.truth.len()];
    for ((d, kind), object) in compared.found.iter().zip(&errors.found).zip(&errors.object) {
        let Some(picture) = went.get_mut(d.image as usize).filter(|_| d.score >= least(d.class)) else {
            continue;
        };
        match (kind, object) {
            (Some(_), _) => picture.wrong += 1,
            (None, Some(object)) => {
                picture.right += 1;
                seen[*object] = true;
            }
            // In a crowd.
            (None, None) => {}
        }
    }
    for (t, seen) in compared.truth.iter().zip(&seen) {
        if let Some(picture) = went.get_mut(t.image as usize).filter(|_| !t.crowd && !seen) {
            picture.missed += 1;
        }
    }
    let mut order: Vec<usize> = (0..went.len()).collect();
    // Of equally good ones those with more in them.
    order.sort_by(|&a, &b| {
        went[b].f1().total_cmp(&went[a].f1()).then(went[b].right.cmp(&went[a].right)).then(a.cmp(&b))
    });
    let best = order.iter().copied().filter(|&i| went[i].right > 0).take(CARDS);
    let worst = order.iter().rev().copied().filter(|&i| went[i].f1() < 1.0).take(CARDS);
    let drawn = |index: usize| drawn(compared, &thresholds, sight, index, went[index]);
    let (best, worst): (Vec<Markup>, Vec<Markup>) =
        (best.filter_map(drawn).collect(), worst.filter_map(drawn).collect());
    let mut section = Section::new("Worst and best").lede(
        "Detections from the best F1's score on, with their scores; what is there is drawn in dashes. A picture is good if \
         little is wrong and little missed.",
    );
    let mut any = false;
    for (heading, pictures) in [("Worst", worst), ("Best", best)] {
        if !pictures.is_empty() {
            any = true;
            section = section.heading(heading).push(columns(pictures));
        }
    }
    any.then_some(section)
}

/// One picture with its boxes, and how it went.
fn drawn(
    compared: &Compared,
    thresholds: &[f64],
    sight: &dyn Sight,
    index: usize,
    went: Went,
) -> Option<Markup> {
    let image = sight.picture(index).ok()?;
    let small = thumbnail(&image);
    let factors = [
        f64::from(small.size.width) / f64::from(image.size.width),
        f64::from(small.size.height) / f64::from(image.size.height),
    ];
    let name = |class: u32| compared.classes.get(class as usize).cloned().unwrap_or_default();
    let mut marks: Vec<Mark> = (compared.truth.iter().filter(|t| t.image as usize == index))
        .map(|t| Mark {
            bounds: Box2d::from_xywh(t.bbox).scaled(factors),
            class: t.class as usize,
            // Detections say the names; a picture full of them cannot be read.
            name: String::new(),
            score: None,
            dashed: true,
        })
        .collect();
    let shown = compared.found.iter().filter(|d| d.image as usize == index);
    let shown = shown.filter(|d| thresholds.get(d.class as usize).is_some_and(|least| d.score >= *least));
    marks.extend(shown.map(|d| Mark {
        bounds: Box2d::from_xywh(d.bbox).scaled(factors),
        class: d.class as usize,
        name: name(d.class),
        score: Some(d.score),
        dashed: false,
    }));
    let drawing = BoxDrawing { min_score: 0.0, ..BoxDrawing::default() };
    let image = draw_boxes(&small, &marks, &drawing);
    let file = sight.name(index);
    let Went { right, wrong, missed } = went;
    let title = format!("{right} right, {wrong} wrong, {missed} missed");
    let picture = Picture::new(&image, &format!("{file}: {title}")).ok()?;
    Some(Markup::from(picture).then(Markup::note(&format!("{title} · {file}"))))
}

/// At most [`SIDE`] pixels on the longer side; small pictures are enlarged whole times, so that their labels do not
/// hide them.
fn thumbnail(image: &Image8) -> Image8 {
    let Size { width, height } = image.size;
    let longer = width.max(height);
    if longer <= SIDE {
        let times = (SIDE / longer.max(1)).max(1);
        return resize(image, Size::new(width * times, height * times), Filter::Nearest);
    }
    let scaled = |side: u32| ((u64::from(side) * u64::from(SIDE)).div_ceil(u64::from(longer)) as u32).max(1);
    resize(image, Size::new(scaled(width), scaled(height)), Filter::Bicubic)
}
