//! Pictures side by side, large enough to look at, with words beside them.

use opticus_pixels::codec::ColorMode;
use opticus_pixels::draw::{TextStyle, draw_text, text_width};
use opticus_pixels::resize::{Filter, resize};
use opticus_pixels::{Image8, Size};

/// Pixels between pictures, and around them.
const GAP: usize = 6;
/// Size of letters, height of a line and the baseline in it, in pixels.
const LETTERS: f32 = 13.0;
const LINE: usize = 18;
const BASELINE: f64 = 13.0;
/// The widest title of a row, in pixels.
const WIDEST: usize = 200;
/// The page, and what is written on it.
const PAPER: [u8; 3] = [255; 3];
const INK: [u8; 3] = [24; 3];

/// What shows through where a picture has alpha.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Background {
    /// Squares in two light greys.
    #[default]
    Checkerboard,
    /// One sRGB colour.
    Plain([u8; 3]),
}

/// How a sheet is laid out; titles may be left out, or be fewer than there are places for them.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    /// Pictures in a row; at least one.
    pub columns: usize,
    /// One under each picture.
    pub titles: &'a [String],
    /// One left of each row.
    pub rows: &'a [String],
    /// One above each column.
    pub tops: &'a [String],
    /// Behind pictures with alpha.
    pub background: Background,
}

/// Pictures in rows of `columns`, with a title under each where there is one. See [`lay_out`].
pub fn sheet(pictures: &[Image8], columns: usize, titles: &[String]) -> Image8 {
    let background = Background::default();
    lay_out(pictures, &Layout { columns, titles, rows: &[], tops: &[], background })
}

/// Pictures in rows, as RGB on white, each in a cell of the largest one's size. Small pictures are enlarged by a whole
/// factor, so that every pixel is a square. Without pictures the sheet is an empty one.
pub fn lay_out(pictures: &[Image8], layout: &Layout<'_>) -> Image8 {
    let columns = layout.columns.clamp(1, pictures.len().max(1));
    let rows = pictures.len().div_ceil(columns);
    let most = |side: fn(Size) -> u32| pictures.iter().map(|p| side(p.size) as usize).max().unwrap_or(0);
    let (wide, high) = (most(|s| s.width), most(|s| s.height));
    let factor = factor(wide.max(high), columns);
    let line = |titles: &[String]| if titles.is_empty() { 0 } else { LINE };
    let [cell_width, cell_height] = [wide * factor + GAP, high * factor + line(layout.titles) + GAP];
    let longest = layout.rows.iter().map(|t| text_width(t, LETTERS).ceil() as usize + GAP).max().unwrap_or(0);
    let (left, top) = (GAP + longest.min(WIDEST), GAP + line(layout.tops));
    let mut page = Page::new(left + columns * cell_width, top + rows * cell_height);
    for (title, column) in layout.tops.iter().zip(0..columns) {
        page.write(title, [left + column * cell_width, GAP / 2], cell_width);
    }
    for (title, row) in layout.rows.iter().zip(0..rows) {
        let middle = top + row * cell_height + (high * factor).saturating_sub(LINE) / 2;
        page.write(title, [GAP, middle], left - GAP);
    }
    for (i, picture) in pictures.iter().enumerate() {
        let (x, y) = (left + i % columns * cell_width, top + i / columns * cell_height);
        page.paste(&flattened(&enlarged(picture, factor as u32), layout.background), [x, y]);
        if let Some(title) = layout.titles.get(i) {
            page.write(title, [x, y + high * factor], cell_width);
        }
    }
    page.0
}

/// Each pixel as a square of `factor` pixels a side.
pub fn enlarged(image: &Image8, factor: u32) -> Image8 {
    let Size { width, height } = image.size;
    match factor {
        0 | 1 => image.clone(),
        _ => resize(
            image,
            Size::new(width.saturating_mul(factor), height.saturating_mul(factor)),
            Filter::Nearest,
        ),
    }
}

/// The picture over a background, as RGB.
pub fn flattened(image: &Image8, background: Background) -> Image8 {
    const SQUARE: usize = 8;
    if image.channels != 4 {
        return image.to_mode(ColorMode::Rgb);
    }
    let width = image.size.width as usize;
    let behind = |i: usize| match background {
        Background::Plain(color) => color,
        Background::Checkerboard if (i % width / SQUARE + i / width / SQUARE).is_multiple_of(2) => [235; 3],
        Background::Checkerboard => [205; 3],
    };
    let over = |(i, pixel): (usize, &[u8])| {
        let alpha = u32::from(pixel[3]);
        let mix = |c: usize, under: u8| {
            ((u32::from(pixel[c]) * alpha + u32::from(under) * (255 - alpha) + 127) / 255) as u8
        };
        let [r, g, b] = behind(i);
        [mix(0, r), mix(1, g), mix(2, b)]
    };
    let data = image.data.chunks_exact(4).enumerate().flat_map(over).collect();
    Image8 { size: image.size, channels: 3, data }
}

/// What makes pictures of this side well seen, without making the sheet wider than a screen.
fn factor(side: usize, columns: usize) -> usize {
    let room = (1600 / columns).clamp(32, 128);
    (room / side.max(1)).clamp(1, 8)
}

/// A white RGB page.
struct Page(Image8);

impl Page {
    fn new(width: usize, height: usize) -> Self {
        Self(plain(width, height))
    }

    fn paste(&mut self, rgb: &Image8, [x, y]: [usize; 2]) {
        let (width, row) = (self.0.size.width as usize, rgb.size.width as usize * 3);
        for (line, samples) in rgb.data.chunks_exact(row).enumerate() {
            let at = ((y + line) * width + x) * 3;
            if let Some(place) = self.0.data.get_mut(at..at + row) {
                place.copy_from_slice(samples);
            }
        }
    }

    /// One line, cut to `room` pixels. Drawn apart: the letters' rasterizer copies what it draws on.
    fn write(&mut self, text: &str, at: [usize; 2], room: usize) {
        let room = room.saturating_sub(2).min(self.0.size.width as usize - at[0]);
        if room == 0 {
            return;
        }
        let style = TextStyle { size: LETTERS, color: INK };
        let line = draw_text(&plain(room, LINE), &cut(text, room as f32), [0.0, BASELINE], &style);
        self.paste(&line, at);
    }
}

fn plain(width: usize, height: usize) -> Image8 {
    let (width, height) = (width.max(1), height.max(1));
    Image8 {
        size: Size::new(width as u32, height as u32),
        channels: 3,
        data: PAPER.iter().copied().cycle().take(width * height * 3).collect(),
    }
}

/// The text, or as much of it as fits, with an ellipsis.
fn cut(text: &str, room: f32) -> String {
    const MOST: usize = 200;
    if text.chars().count() <= MOST && text_width(text, LETTERS) <= room {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(MOST).collect();
    while !kept.is_empty() && text_width(&kept, LETTERS) + text_width("…", LETTERS) > room {
        kept.pop();
    }
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(channels: usize, value: u8) -> Image8 {
        Image8 { size: Size::new(4, 4), channels, data: vec![value; 16 * channels] }
    }

    fn at(sheet: &Image8, [x, y]: [usize; 2]) -> [u8; 3] {
        let i = (y * sheet.size.width as usize + x) * 3;
        [sheet.data[i], sheet.data[i + 1], sheet.data[i + 2]]
    }

    #[test]
    fn small_pictures_are_enlarged_in_rows() {
        let pictures = [dot(1, 10), dot(3, 20), dot(4, 30)];
        let found = sheet(&pictures, 2, &[]);
        // Eight times four pixels, and the gaps.
        assert_eq!(found.size, Size::new(6 + 2 * 38, 6 + 2 * 38));
        assert_eq!(at(&found, [6, 6]), [10; 3]);
        assert_eq!(at(&found, [44, 37]), [20; 3]);
        assert_eq!(at(&found, [5, 5]), [255; 3]);
        // 30 / 255 opaque over light grey.
        assert_eq!(at(&found, [6, 44]), [211; 3]);
        assert_eq!(at(&found, [14, 44]), [184; 3]);
        assert_eq!(flattened(&dot(4, 0), Background::Plain([1, 2, 3])).data[..3], [1, 2, 3]);
        assert_eq!(sheet(&[], 3, &[]).size, Size::new(12, 6));
    }

    #[test]
    fn titles_take_room_and_show() {
        let pictures = vec![dot(3, 200); 4];
        let words = |n: usize| (0..n).map(|i| format!("title number {i}")).collect::<Vec<_>>();
        let (titles, rows, tops) = (words(4), words(9), words(1));
        let background = Background::Checkerboard;
        let layout = Layout { columns: 2, titles: &titles, rows: &rows, tops: &tops, background };
        let found = lay_out(&pictures, &layout);
        let plain = sheet(&pictures, 2, &[]);
        assert_eq!(found.size.height, plain.size.height + 3 * LINE as u32);
        assert!(found.size.width > plain.size.width + 50);
        let dark = found.data.iter().filter(|v| **v < 100).count();
        assert!(dark > 300, "{dark}");
        assert!(cut("abc", 100.0) == "abc" && cut(&"long ".repeat(999), 60.0).ends_with('…'));
    }

    #[test]
    fn enlarging_repeats_pixels() {
        let image = Image8 { size: Size::new(2, 1), channels: 1, data: vec![1, 2] };
        assert_eq!(enlarged(&image, 2).data, [1, 1, 2, 2, 1, 1, 2, 2]);
        assert_eq!(enlarged(&image, 0), image);
    }
}
