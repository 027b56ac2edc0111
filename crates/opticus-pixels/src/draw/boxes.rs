//! Boxes with labels.

use super::canvas::{Area, Canvas};
use super::label::{Text, place};
use super::palette::{class_color, readable_on};
use super::text::{TextStyle, write};
use crate::geometry::{Box2d, Size};
use crate::image::Image8;

/// More boxes than these are never drawn on one picture, whatever is asked for.
pub const MOST_BOXES: usize = 2_000;

/// A box to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Where, in pixels of the picture.
    pub bounds: Box2d,
    /// Chooses the colour, by [`class_color`].
    pub class: usize,
    /// Name of the class; empty for none.
    pub name: String,
    /// 0..=1, shown in per cent; `None` for what is known, not guessed.
    pub score: Option<f64>,
    /// Drawn in dashes, as truth is beside detections.
    pub dashed: bool,
}

impl Mark {
    /// `name: NN%`, or what there is of it.
    pub fn label(&self) -> String {
        let percent =
            self.score.map(|score| format!("{}%", (100.0 * score.clamp(0.0, 1.0)).round_ties_even()));
        match (self.name.as_str(), percent) {
            ("", None) => String::new(),
            ("", Some(percent)) => percent,
            (name, None) => name.to_owned(),
            (name, Some(percent)) => format!("{name}: {percent}"),
        }
    }
}

/// How boxes are drawn. The defaults for what is drawn are those of the TensorFlow Object Detection API's
/// `visualize_boxes_and_labels_on_image_array`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxDrawing {
    /// At most this many boxes with a score, the best.
    pub max_boxes: usize,
    /// Only boxes with a larger score; those without a score are always drawn.
    pub min_score: f64,
    /// Whether to write labels.
    pub labels: bool,
    /// Thickness of lines in pixels; `None` to suit the picture's size.
    pub line: Option<u32>,
    /// Size of letters in pixels; `None` to suit the picture's size.
    pub text_size: Option<f32>,
}

impl Default for BoxDrawing {
    fn default() -> Self {
        Self { max_boxes: 200, min_score: 0.3, labels: true, line: None, text_size: None }
    }
}

/// Draws boxes and their labels; better ones lie above, and labels above all boxes. Labels stay inside the picture and
/// keep clear of each other where there is room; where there is none, the weaker box's is left out. Boxes that are not valid or lie beside the picture are left out. The
/// result is RGB.
pub fn draw_boxes(image: &Image8, marks: &[Mark], settings: &BoxDrawing) -> Image8 {
    let mut canvas = Canvas::of(image);
    let page = canvas.area();
    let line = i64::from(settings.line.unwrap_or_else(|| line_for(image.size)).clamp(1, 1000));
    let shown: Vec<(&Mark, Area)> = chosen(marks, settings)
        .into_iter()
        .filter_map(|mark| Some((mark, outer(mark.bounds, line, page)?)))
        .collect();
    for (mark, area) in shown.iter().rev() {
        outline(&mut canvas, *area, line, mark);
    }
    if settings.labels {
        let size = settings.text_size.unwrap_or_else(|| text_size_for(image.size));
        let texts: Vec<Option<Text>> =
            shown.iter().map(|(mark, _)| Text::fitting(&mark.label(), size, page)).collect();
        let areas: Vec<Area> = shown.iter().map(|(_, area)| *area).collect();
        let places = place(&texts, &areas, page);
        for ((mark, _), (text, place)) in shown.iter().zip(texts.iter().zip(places)).rev() {
            if let (Some(text), Some(place)) = (text, place) {
                let color = class_color(mark.class);
                canvas.fill(place, color);
                let style = TextStyle { size: text.size, color: readable_on(color) };
                write(&mut canvas, &text.line, text.baseline(place), &style);
            }
        }
    }
    canvas.into_image()
}

/// What is to be drawn: those without a score first, then the others, best first.
fn chosen<'a>(marks: &'a [Mark], settings: &BoxDrawing) -> Vec<&'a Mark> {
    let mut scored: Vec<(&Mark, f64)> =
        marks.iter().filter_map(|m| m.score.filter(|s| *s > settings.min_score).map(|s| (m, s))).collect();
    scored.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let known = marks.iter().filter(|m| m.score.is_none());
    let scored = scored.into_iter().map(|(mark, _)| mark).take(settings.max_boxes);
    known.chain(scored).take(MOST_BOXES).collect()
}

/// The side of a square with as many pixels as the picture.
fn side(size: Size) -> f64 {
    (size.area() as f64).sqrt()
}

/// About two pixels for a photo of 640×480, eleven for one of twelve megapixels.
fn line_for(size: Size) -> u32 {
    (side(size) * 0.0032).round().max(1.0) as u32
}

/// A forty-fifth of the picture, and never too small to be read.
fn text_size_for(size: Size) -> f32 {
    (side(size) * 0.022).max(10.0) as f32
}

/// The outer edge of a box's line, which lies half inside the box; at the picture's edges it lies inside altogether.
fn outer(bounds: Box2d, line: i64, page: Area) -> Option<Area> {
    let beside = bounds.x2 < 0.0
        || bounds.y2 < 0.0
        || bounds.x1 > page.x2 as f64
        || bounds.y1 > page.y2 as f64
        || page.width() == 0
        || page.height() == 0;
    if !bounds.valid() || beside {
        return None;
    }
    let pixel = |edge: f64| edge.clamp(-1e9, 1e9).round() as i64;
    let area =
        Area { x1: pixel(bounds.x1), y1: pixel(bounds.y1), x2: pixel(bounds.x2), y2: pixel(bounds.y2) };
    // A box without area still shows as a spot.
    let mut area = area.grown(line / 2);
    area.x2 = area.x2.max(area.x1 + line);
    area.y2 = area.y2.max(area.y1 + line);
    area = area.clipped(page);
    area.x1 = area.x1.min(page.x2 - 1);
    area.y1 = area.y1.min(page.y2 - 1);
    area.x2 = area.x2.max(area.x1 + 1);
    area.y2 = area.y2.max(area.y1 + 1);
    Some(area)
}

fn outline(canvas: &mut Canvas, area: Area, line: i64, mark: &Mark) {
    let color = class_color(mark.class);
    let Area { x1, y1, x2, y2 } = area;
    let sides = [
        Area { y2: (y1 + line).min(y2), ..area },
        Area { y1: (y2 - line).max(y1), ..area },
        Area { x2: (x1 + line).min(x2), ..area },
        Area { x1: (x2 - line).max(x1), ..area },
    ];
    for side in sides {
        canvas.fill(side, color);
    }
    if mark.dashed {
        // Dashes of the colour that stands out from it in between, so that they show on any ground, and beside solid
        // lines of the same class.
        let (dash, other) = (4 * line, readable_on(color));
        for [top_or_left, bottom_or_right] in [[sides[0], sides[1]], [sides[2], sides[3]]] {
            for side in [top_or_left, bottom_or_right] {
                dashes(canvas, side, dash, other);
            }
        }
    }
}

/// Every other dash of a bar, from its beginning.
fn dashes(canvas: &mut Canvas, bar: Area, dash: i64, color: [u8; 3]) {
    let across = bar.width() >= bar.height();
    let length = if across { bar.width() } else { bar.height() };
    for from in (dash..length).step_by(2 * dash as usize) {
        let to = (from + dash).min(length);
        canvas.fill(
            if across {
                Area { x1: bar.x1 + from, x2: bar.x1 + to, ..bar }
            } else {
                Area { y1: bar.y1 + from, y2: bar.y1 + to, ..bar }
            },
            color,
        );
    }
}
