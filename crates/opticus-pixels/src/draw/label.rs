//! Where labels go.

use super::canvas::Area;
use super::text::{rise_and_sink, text_width};

/// Letters smaller than this cannot be read; a label that would need them is left out.
const SMALLEST: f32 = 6.0;

/// A line of text that fits the picture.
pub(super) struct Text {
    pub line: String,
    pub size: f32,
    width: i64,
    height: i64,
}

impl Text {
    /// Text no larger than the picture: letters get smaller first, down to a size that can be read, then the line is
    /// cut from the left of its last word, so that the score stays. `None` for no text, or no room.
    pub fn fitting(line: &str, size: f32, page: Area) -> Option<Self> {
        // No picture shows more of a line.
        let mut line: String = line.chars().take(300).collect();
        let (across, down) = (page.width() as f32, page.height() as f32);
        let highest = down / box_height(1.0);
        let readable = size.min(highest).min(9.0);
        let mut size = size.min(highest);
        if line.is_empty() || size.is_nan() || size < SMALLEST {
            return None;
        }
        let needed = box_width(&line, size);
        if needed > across {
            size = (size * across / needed).max(readable);
        }
        while box_width(&line, size) > across {
            line = shorter(&line)?;
        }
        let (width, height) =
            (box_width(&line, size).ceil() as i64, box_height(size).floor().max(1.0) as i64);
        Some(Self { line, size, width: width.min(page.width()), height: height.min(page.height()) })
    }

    /// Where the text begins within its area.
    pub fn baseline(&self, area: Area) -> [f64; 2] {
        let [rise, sink] = rise_and_sink(self.size);
        let above = (self.height as f32 - rise - sink) / 2.0 + rise;
        [area.x1 as f64 + f64::from(padding(self.size)), area.y1 as f64 + f64::from(above)]
    }
}

fn padding(size: f32) -> f32 {
    0.25 * size
}

fn box_width(line: &str, size: f32) -> f32 {
    text_width(line, size) + 2.0 * padding(size)
}

/// Accents of capitals may touch the edge: they are rare, and low labels hide less.
fn box_height(size: f32) -> f32 {
    let [rise, sink] = rise_and_sink(size);
    rise + sink + 0.05 * size
}

/// One letter of the name less, `raccoo…: 93%`; `None` when there is no name left to shorten.
fn shorter(line: &str) -> Option<String> {
    let (name, score) = match line.rsplit_once(": ") {
        Some((name, score)) if score.ends_with('%') => (name, format!(": {score}")),
        _ => (line, String::new()),
    };
    let mut name: Vec<char> = name.trim_end_matches('…').chars().collect();
    name.pop()?;
    let name: String = name.into_iter().collect();
    Some(match (name.is_empty(), score.is_empty()) {
        (true, true) => return None,
        (true, false) => score.trim_start_matches([':', ' ']).to_owned(),
        (false, _) => format!("{}…{score}", name.trim_end()),
    })
}

/// A place for each text, the first ones first: of the places at its box where it is inside the picture, that which
/// hides the least of the labels placed before it; of equal ones the first in the order above, inside, below. None
/// where it could not but lie over others by more than a quarter.
pub(super) fn place(texts: &[Option<Text>], boxes: &[Area], page: Area) -> Vec<Option<Area>> {
    let mut placed: Vec<Area> = Vec::new();
    let mut place_one = |text: &Text, at: Area| {
        let mut best: Option<(i64, Area)> = None;
        for candidate in candidates(text, at, page) {
            let hidden: i64 = placed.iter().map(|other| candidate.shared(*other)).sum();
            if best.is_none_or(|(least, _)| hidden < least) {
                best = Some((hidden, candidate));
            }
            if hidden == 0 {
                break;
            }
        }
        // Two labels over each other would both be lost.
        let (_, area) = best.filter(|(hidden, area)| 4 * hidden <= area.width() * area.height())?;
        placed.push(area);
        Some(area)
    };
    texts.iter().zip(boxes).map(|(text, at)| text.as_ref().and_then(|text| place_one(text, *at))).collect()
}

/// Rows of labels that may be stacked at one box.
const ROWS: i64 = 6;

fn candidates(text: &Text, at: Area, page: Area) -> impl Iterator<Item = Area> {
    let Text { width, height, .. } = *text;
    let (left, right) = (at.x1, at.x2 - width);
    let row = move |x: i64, y: i64| Area { x1: x, y1: y, x2: x + width, y2: y + height };
    // Pushed back where it would stick out at a side; above and below only as they are.
    let inside = move |area: Area| {
        let x1 = area.x1.clamp(page.x1, page.x2 - width);
        let area = Area { x1, x2: x1 + width, ..area };
        area.is_inside(page).then_some(area)
    };
    // Inside a large box a label hides little and is plainly its own; a small box would be covered.
    let roomy = at.height() >= 3 * height && at.width() >= width;
    let around = (0..ROWS).flat_map(move |n| {
        let down = n * height;
        let [above, below, top, bottom] =
            [at.y1 - height - down, at.y2 + down, at.y1 + down, at.y2 - height - down];
        let vertical = if roomy { [above, top, bottom, below] } else { [above, below, top, bottom] };
        vertical.into_iter().flat_map(move |y| [row(left, y), row(right, y)])
    });
    let anywhere = {
        let y1 = at.y1.clamp(page.y1, page.y2 - height);
        row(left, y1)
    };
    around.chain([anywhere]).filter_map(inside)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PAGE: Area = Area { x1: 0, y1: 0, x2: 640, y2: 480 };

    fn area(x1: i64, y1: i64, x2: i64, y2: i64) -> Area {
        Area { x1, y1, x2, y2 }
    }

    fn labels(boxes: &[Area], page: Area) -> Vec<Area> {
        let texts: Vec<_> = boxes.iter().map(|_| Text::fitting("raccoon: 97%", 14.0, page)).collect();
        place(&texts, boxes, page).into_iter().flatten().collect()
    }

    #[test]
    fn a_label_stands_on_its_box() {
        let label = labels(&[area(100, 100, 300, 300)], PAGE)[0];
        assert_eq!((label.x1, label.y2), (100, 100));
    }

    #[test]
    fn inside_a_large_box_and_below_a_small_one_where_there_is_no_room_above() {
        assert_eq!(labels(&[area(100, 3, 300, 300)], PAGE)[0].y1, 3);
        assert_eq!(labels(&[area(100, 3, 140, 30)], PAGE)[0].y1, 30);
        assert_eq!(labels(&[PAGE], PAGE)[0].y1, 0);
        assert_eq!(labels(&[area(600, 100, 640, 200)], PAGE)[0].x2, 640);
    }

    #[test]
    fn labels_of_the_same_box_do_not_hide_each_other() {
        let boxes = [area(100, 100, 140, 120); 12];
        let labels = labels(&boxes, PAGE);
        assert_eq!(labels.len(), 12);
        for (i, a) in labels.iter().enumerate() {
            assert!(a.is_inside(PAGE));
            assert!(labels[..i].iter().all(|b| a.shared(*b) == 0), "{i}");
        }
    }

    #[test]
    fn no_room_for_all_leaves_out_the_last() {
        let page = area(0, 0, 100, 60);
        let labels = labels(&[area(10, 10, 90, 50); 50], page);
        assert!((2..4).contains(&labels.len()), "{}", labels.len());
        assert!(labels.iter().all(|label| label.is_inside(page)));
    }

    #[test]
    fn a_long_name_is_cut_and_the_score_stays() {
        let page = area(0, 0, 100, 100);
        let text = Text::fitting("a very long name of a kind of thing: 97%", 12.0, page).unwrap();
        assert!(text.line.starts_with("a very") && text.line.ends_with("…: 97%"), "{}", text.line);
        assert!(text.width <= 100 && text.size >= 9.0);
        assert!(Text::fitting("raccoon: 97%", 12.0, area(0, 0, 5, 5)).is_none());
        assert_eq!(Text::fitting("raccoon: 97%", 12.0, area(0, 0, 30, 100)).unwrap().line, "97%");
    }
}
