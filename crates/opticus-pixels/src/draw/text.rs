//! Text, anti-aliased at any size.
//!
//! The font is a part of DejaVu Sans Condensed Bold (Latin, Greek, Cyrillic; see `fonts/`). A character that it does
//! not have shows as a box.

use std::sync::LazyLock;

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use super::canvas::Canvas;
use crate::image::Image8;

static FONT: LazyLock<Option<Face<'static>>> =
    LazyLock::new(|| Face::parse(include_bytes!("../../fonts/DejaVuSansCondensed-Bold.subset.ttf"), 0).ok());

/// Largest size of letters, in pixels.
const LARGEST: f32 = 400.0;

/// How text looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextStyle {
    /// The size of the letters' em square in pixels, up to 400; capitals are 0.73 of it high.
    pub size: f32,
    /// sRGB.
    pub color: [u8; 3],
}

/// Writes one line, its baseline beginning at `[x, y]`. What falls outside the picture is left out. The result is
/// RGB.
pub fn draw_text(image: &Image8, text: &str, [x, y]: [f64; 2], style: &TextStyle) -> Image8 {
    let mut canvas = Canvas::of(image);
    write(&mut canvas, text, [x, y], style);
    canvas.into_image()
}

/// Width of a line in pixels at a size of letters.
pub fn text_width(text: &str, size: f32) -> f32 {
    let Some(face) = FONT.as_ref() else { return 0.0 };
    text.chars().map(|c| advance(face, glyph(face, c), size)).sum()
}

/// How far letters rise above the baseline, accents included, and sink below it, at a size.
pub(super) fn rise_and_sink(size: f32) -> [f32; 2] {
    [0.94 * size, 0.24 * size]
}

pub(super) fn write(canvas: &mut Canvas, text: &str, [x, y]: [f64; 2], style: &TextStyle) {
    let Some(face) = FONT.as_ref() else { return };
    let right = canvas.area().x2 as f64;
    if !(style.size > 0.0 && x.is_finite() && y.is_finite() && y.abs() < 1e9) {
        return;
    }
    let size = style.size.min(LARGEST);
    let mut pen = x;
    for c in text.chars() {
        if pen > right {
            break;
        }
        let id = glyph(face, c);
        draw_glyph(canvas, face, id, [pen, y.round()], &TextStyle { size, ..*style });
        pen += f64::from(advance(face, id, size));
    }
}

/// A character's glyph, or the box of glyph 0.
fn glyph(face: &Face, c: char) -> GlyphId {
    face.glyph_index(c).unwrap_or(GlyphId(0))
}

fn scale(face: &Face, size: f32) -> f32 {
    let size = if size > 0.0 { size.min(LARGEST) } else { 0.0 };
    size / f32::from(face.units_per_em())
}

fn advance(face: &Face, id: GlyphId, size: f32) -> f32 {
    f32::from(face.glyph_hor_advance(id).unwrap_or(0)) * scale(face, size)
}

fn draw_glyph(canvas: &mut Canvas, face: &Face, id: GlyphId, [x, y]: [f64; 2], style: &TextStyle) {
    let scale = scale(face, style.size);
    let Some(bounds) = face.glyph_bounding_box(id) else { return };
    let left = (x + f64::from(f32::from(bounds.x_min) * scale)).floor();
    let top = (y - f64::from(f32::from(bounds.y_max) * scale)).floor();
    let cells = |from: i16, to: i16| (f32::from(to) - f32::from(from)).max(0.0) * scale + 3.0;
    let (width, height) =
        (cells(bounds.x_min, bounds.x_max) as usize, cells(bounds.y_min, bounds.y_max) as usize);
    let page = canvas.area();
    if left > page.x2 as f64
        || top > page.y2 as f64
        || left + (width as f64) < 0.0
        || top + (height as f64) < 0.0
    {
        return;
    }
    let mut outline = Outline {
        rasterizer: Rasterizer::new(width, height),
        origin: [(x - left) as f32, (y - top) as f32],
        scale,
        start: point(0.0, 0.0),
        last: point(0.0, 0.0),
    };
    face.outline_glyph(id, &mut outline);
    outline.rasterizer.for_each_pixel_2d(|column, row, coverage| {
        if coverage > 0.0 {
            let at = [left as i64 + i64::from(column), top as i64 + i64::from(row)];
            canvas.blend(at, style.color, coverage.min(1.0));
        }
    });
}

/// Hands a glyph's outline, which has y upwards in font units, to the rasterizer in pixels.
struct Outline {
    rasterizer: Rasterizer,
    origin: [f32; 2],
    scale: f32,
    start: Point,
    last: Point,
}

impl Outline {
    fn pixel(&self, x: f32, y: f32) -> Point {
        point(self.origin[0] + x * self.scale, self.origin[1] - y * self.scale)
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.start = self.pixel(x, y);
        self.last = self.start;
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let to = self.pixel(x, y);
        self.rasterizer.draw_line(self.last, to);
        self.last = to;
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let (control, to) = (self.pixel(x1, y1), self.pixel(x, y));
        self.rasterizer.draw_quad(self.last, control, to);
        self.last = to;
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let (first, second, to) = (self.pixel(x1, y1), self.pixel(x2, y2), self.pixel(x, y));
        self.rasterizer.draw_cubic(self.last, first, second, to);
        self.last = to;
    }

    fn close(&mut self) {
        self.rasterizer.draw_line(self.last, self.start);
        self.last = self.start;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::geometry::Size;

    fn page(text: &str, at: [f64; 2], size: f32) -> Image8 {
        let white = Image8 { size: Size::new(120, 60), channels: 1, data: vec![255; 120 * 60] };
        draw_text(&white, text, at, &TextStyle { size, color: [0; 3] })
    }

    fn ink(image: &Image8) -> f64 {
        image.data.chunks_exact(3).map(|p| f64::from(255 - p[0]) / 255.0).sum()
    }

    #[test]
    fn the_font_has_what_labels_need() {
        let face = FONT.as_ref().unwrap();
        let needed = (' '..='~').chain('\u{a1}'..='ÿ').chain("ŁřŚžΩяЖ…–€".chars());
        for c in needed {
            assert!(face.glyph_index(c).is_some(), "{c}");
        }
        assert!(face.glyph_index('猫').is_none());
        assert!(ink(&page("猫", [10.0, 40.0], 30.0)) > 30.0);
    }

    #[test]
    fn a_stem_is_where_it_should_be() {
        // The capital I is one upright bar of 0.73 em.
        let image = page("I", [50.0, 50.0], 40.0);
        let dark = |x: usize, y: usize| image.data[(y * 120 + x) * 3] < 128;
        let rows: Vec<_> = (0..60).filter(|y| (0..120).any(|x| dark(x, *y))).collect();
        let columns: Vec<_> = (0..120).filter(|x| (0..60).any(|y| dark(*x, y))).collect();
        assert_eq!((rows[0], rows[rows.len() - 1]), (21, 49));
        assert_eq!(rows.len(), 29);
        assert!(columns[0] >= 50 && columns[columns.len() - 1] <= 50 + text_width("I", 40.0) as usize);
    }

    #[test]
    fn ink_grows_with_the_square_of_the_size() {
        let (small, large) = (ink(&page("Q", [20.0, 50.0], 20.0)), ink(&page("Q", [20.0, 50.0], 40.0)));
        assert!((large / small - 4.0).abs() < 0.05, "{small} {large}");
        // The place within a pixel does not change how much there is.
        let shifted = ink(&page("Q", [20.4, 50.0], 20.0));
        assert!((shifted / small - 1.0).abs() < 0.01);
    }

    #[test]
    fn writing_anywhere_is_safe() {
        for at in [f64::NAN, f64::INFINITY, -1e300, 1e300, -5.0, 119.5] {
            for size in [0.0, -3.0, f32::NAN, f32::INFINITY, 1e9, 0.01, 12.0] {
                page("Ág\n\u{301}\u{10ffff}", [at, 30.0], size);
                page("Ág", [3.0, at], size);
            }
        }
        let text = "long ".repeat(100_000);
        page(&text, [0.0, 30.0], 12.0);
    }
}
