//! Where each picture lies on the sheet.

use super::error::setting;
use super::{CollageError, bounded};
use crate::geometry::Size;

/// A picture's place on a sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Which picture.
    pub picture: usize,
    /// Left column on the sheet.
    pub x: u32,
    /// Top row on the sheet.
    pub y: u32,
    /// What it covers of the sheet.
    pub size: Size,
    /// What the picture is scaled to; the middle of it is seen.
    pub scaled: Size,
}

/// A sheet and the pictures on it, none over another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The sheet's extent.
    pub sheet: Size,
    /// One entry per picture, in the pictures' order.
    pub cells: Vec<Cell>,
}

/// How a picture fits its cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CellFit {
    /// All of it, in the middle, background around.
    #[default]
    Contain,
    /// The whole cell, the picture's rims cut.
    Cover,
}

/// Settings of [`super::grid`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Cells in a row, at least 1.
    pub columns: u32,
    /// Rows; 0 for as many as the pictures need.
    pub rows: u32,
    /// Extent of a cell in pixels, at least 1×1.
    pub cell: Size,
    /// How pictures fit their cells.
    pub fit: CellFit,
    /// Pixels between cells.
    pub gap: u32,
    /// Pixels around all cells.
    pub margin: u32,
    /// Colour of what no picture covers.
    pub background: [u8; 3],
    /// Largest sheet, in million pixels.
    pub max_megapixels: f64,
}

impl Default for Grid {
    fn default() -> Self {
        Self {
            columns: 4,
            rows: 0,
            cell: Size::new(256, 256),
            fit: CellFit::Contain,
            gap: 8,
            margin: 8,
            background: [255; 3],
            max_megapixels: 100.0,
        }
    }
}

/// The places of a grid's pictures, row by row. The sheet is `columns * cell + (columns - 1) * gap + 2 * margin` wide
/// and accordingly high. Scaled sides are rounded to the nearest pixel.
///
/// # Errors
/// As [`super::grid`].
pub fn grid_layout(pictures: &[Size], settings: &Grid) -> Result<Layout, CollageError> {
    let Grid { columns, rows, cell, fit, gap, margin, max_megapixels, .. } = *settings;
    if pictures.is_empty() {
        return Err(CollageError::NoPictures);
    }
    if columns == 0 {
        return Err(setting("columns", columns, "at least 1"));
    }
    if cell.area() == 0 {
        return Err(setting("cell", format!("{}x{}", cell.width, cell.height), "at least 1x1"));
    }
    let needed = (pictures.len() as u64).div_ceil(u64::from(columns));
    let rows = if rows == 0 { needed } else { u64::from(rows) };
    if rows < needed {
        return Err(CollageError::Crowded { pictures: pictures.len(), cells: rows * u64::from(columns) });
    }
    let side = |count: u64, cell: u32| {
        let sum = u128::from(count) * u128::from(cell)
            + u128::from(count.saturating_sub(1)) * u128::from(gap)
            + 2 * u128::from(margin);
        u64::try_from(sum).unwrap_or(u64::MAX)
    };
    let sheet = bounded(side(columns.into(), cell.width), side(rows, cell.height), max_megapixels)?;
    let place = |(i, size): (usize, &Size)| {
        let scaled = scaled(*size, cell, fit);
        let seen = Size::new(scaled.width.min(cell.width), scaled.height.min(cell.height));
        let (column, row) = (i as u32 % columns, i as u32 / columns);
        Cell {
            picture: i,
            x: margin + column * (cell.width + gap) + (cell.width - seen.width) / 2,
            y: margin + row * (cell.height + gap) + (cell.height - seen.height) / 2,
            size: seen,
            scaled,
        }
    };
    Ok(Layout { sheet, cells: pictures.iter().enumerate().map(place).collect() })
}

/// A picture's size when it just fits into, or just covers, a cell.
pub(super) fn scaled(picture: Size, cell: Size, fit: CellFit) -> Size {
    let ratio = |cell: u32, picture: u32| f64::from(cell) / f64::from(picture.max(1));
    let (across, down) = (ratio(cell.width, picture.width), ratio(cell.height, picture.height));
    let side = |ratio: f64, have: u32| (f64::from(have) * ratio).round().max(1.0) as u32;
    match fit {
        CellFit::Contain => {
            let ratio = across.min(down);
            Size::new(
                side(ratio, picture.width).min(cell.width),
                side(ratio, picture.height).min(cell.height),
            )
        }
        CellFit::Cover => {
            let ratio = across.max(down);
            Size::new(
                side(ratio, picture.width).max(cell.width),
                side(ratio, picture.height).max(cell.height),
            )
        }
    }
}

/// Settings of [`super::justified`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Justified {
    /// Width of the sheet in pixels.
    pub width: u32,
    /// Height in pixels that rows are near to, at least 1.
    pub row_height: u32,
    /// Pixels between pictures.
    pub gap: u32,
    /// Pixels around all pictures.
    pub margin: u32,
    /// Colour of what no picture covers.
    pub background: [u8; 3],
    /// Largest sheet, in million pixels.
    pub max_megapixels: f64,
}

impl Default for Justified {
    fn default() -> Self {
        Self { width: 1600, row_height: 240, gap: 8, margin: 8, background: [255; 3], max_megapixels: 100.0 }
    }
}

/// The places of pictures in rows that fill the width, in their order, each row at one height and each picture at its
/// aspect (to the nearest pixel, and at least 1×1).
///
/// Of all ways to break the rows, the one whose heights deviate least from `row_height` (in the sum of squared
/// logarithms), as paragraphs are broken by Knuth and Plass ("Breaking paragraphs into lines", 1981). The last row
/// is not enlarged beyond `row_height`, and no row beyond three times that, so that they may end early.
///
/// # Errors
/// As [`super::justified`].
pub fn justified_layout(pictures: &[Size], settings: &Justified) -> Result<Layout, CollageError> {
    let Justified { width, row_height, gap, margin, max_megapixels, .. } = *settings;
    if pictures.is_empty() {
        return Err(CollageError::NoPictures);
    }
    let inner = i64::from(width) - 2 * i64::from(margin);
    if inner < 1 {
        return Err(setting("width", width, "more than two margins"));
    }
    if row_height == 0 {
        return Err(setting("row_height", row_height, "at least 1"));
    }
    let aspects: Vec<f64> =
        pictures.iter().map(|s| f64::from(s.width.max(1)) / f64::from(s.height.max(1))).collect();
    let row = Row { inner: inner as u64, gap: u64::from(gap), target: f64::from(row_height) };
    let breaks = row.breaks(&aspects);
    let mut cells = Vec::with_capacity(pictures.len());
    let mut y = u64::from(margin);
    let mut from = 0;
    for to in breaks {
        let (height, widths) = row.set(&aspects[from..to], to == pictures.len());
        // Before any coordinate could overflow.
        bounded(width.into(), y + height + u64::from(margin), max_megapixels)?;
        let mut x = margin;
        for (i, width) in (from..to).zip(widths) {
            let size = Size::new(width as u32, height as u32);
            cells.push(Cell { picture: i, x, y: y as u32, size, scaled: size });
            x = x.saturating_add(width as u32).saturating_add(gap);
        }
        y += height + u64::from(gap);
        from = to;
    }
    let height = (y - u64::from(gap).min(y) + u64::from(margin)).max(1);
    Ok(Layout { sheet: bounded(width.into(), height, max_megapixels)?, cells })
}

/// A row of pictures.
struct Row {
    /// Pixels to fill.
    inner: u64,
    gap: u64,
    /// Height to be near to.
    target: f64,
}

impl Row {
    /// Pixels left for pictures, if each gets at least one.
    fn room(&self, count: usize) -> Option<u64> {
        let gaps = (count as u64 - 1).checked_mul(self.gap)?;
        self.inner.checked_sub(gaps).filter(|room| *room >= count as u64)
    }

    /// The index behind each row's last picture.
    fn breaks(&self, aspects: &[f64]) -> Vec<usize> {
        let n = aspects.len();
        // The least cost of setting what is before each index, and where the last row of it begins.
        let mut best = vec![(f64::INFINITY, 0usize); n + 1];
        best[0].0 = 0.0;
        for to in 1..=n {
            let mut sum = 0.0;
            for from in (0..to).rev() {
                sum += aspects[from];
                let Some(room) = self.room(to - from).or((to - from == 1).then_some(1)) else { break };
                let ratio = (room as f64 / sum / self.target).max(1e-9);
                let cost = if to == n && ratio > 1.0 { 0.0 } else { ratio.ln().powi(2) };
                let total = best[from].0 + cost;
                if total < best[to].0 {
                    best[to] = (total, from);
                }
                // Fuller rows only get lower.
                if ratio < 0.1 {
                    break;
                }
            }
        }
        let mut breaks = Vec::new();
        let mut to = n;
        while to > 0 {
            breaks.push(to);
            to = best[to].1;
        }
        breaks.reverse();
        breaks
    }

    /// A row's height and its pictures' widths.
    fn set(&self, aspects: &[f64], last: bool) -> (u64, Vec<u64>) {
        let room = self.room(aspects.len()).unwrap_or(1);
        let sum: f64 = aspects.iter().sum();
        let full = room as f64 / sum;
        let most = if last { self.target } else { 3.0 * self.target };
        let height = full.min(most);
        // Where the pictures end, rounded, so that the row ends where it should.
        let mut widths = Vec::with_capacity(aspects.len());
        let (mut end, mut before) = (0.0, 0u64);
        for aspect in aspects {
            end += aspect * height;
            let at = (end.round() as u64).clamp(before, room);
            widths.push(at - before);
            before = at;
        }
        // Slivers get their pixel from the widest.
        for i in 0..widths.len() {
            if widths[i] == 0 {
                widths[i] = 1;
                if widths.iter().sum::<u64>() > room
                    && let Some(widest) = widths.iter_mut().max_by_key(|w| **w)
                {
                    *widest -= 1;
                }
            }
        }
        ((height.round() as u64).max(1), widths)
    }
}
