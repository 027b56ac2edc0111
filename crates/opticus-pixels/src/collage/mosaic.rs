//! A picture made of many small pictures.

use rayon::prelude::*;

use super::error::setting;
use super::layout::{Cell, CellFit, scaled};
use super::{CollageError, bounded, check, fitted, over};
use crate::geometry::Size;
use crate::image::Image8;
use crate::resize::{Filter, resize};

/// Settings of [`photo_mosaic`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhotoMosaic {
    /// Small pictures in a row; the rows follow from the target's aspect.
    pub columns: u32,
    /// Extent of a small picture in pixels, at least 1×1.
    pub tile: Size,
    /// How often a picture may appear; 0 for any number of times.
    pub max_uses: usize,
    /// Cells, counted across, down or diagonally, within which a picture does not appear again while another one is
    /// left; at most 64.
    pub spacing: u32,
    /// How far each small picture's mean colour is moved to the target's, 0 to 1.
    pub tint: f32,
    /// Largest sheet, in million pixels.
    pub max_megapixels: f64,
}

impl Default for PhotoMosaic {
    fn default() -> Self {
        Self {
            columns: 48,
            tile: Size::new(32, 32),
            max_uses: 0,
            spacing: 2,
            tint: 0.25,
            max_megapixels: 100.0,
        }
    }
}

/// Sub-averages on a side by which a cell and a picture are compared.
const SIDE: u32 = 4;
const NUMBERS: usize = 3 * (SIDE * SIDE) as usize;
/// Best pictures of a cell that are looked at before all are.
const SHORT: usize = 48;

/// The target made of the pictures: each cell shows the one whose 4×4 sub-averages in CIELAB (D65) are nearest to
/// the target's there, cut to the tile's aspect. Cells choose in the order of how much they lose by a wrong one: those
/// of greatest contrast to the mean first. The result has `columns * tile` by `rows * tile` pixels, RGB.
///
/// # Errors
/// If there is no picture, one is broken (the target counts as picture 0 then, the others from 1), the uses allowed do
/// not fill the cells, a setting is out of range, or the sheet is too large.
pub fn photo_mosaic(
    target: &Image8,
    pictures: &[Image8],
    settings: &PhotoMosaic,
) -> Result<Image8, CollageError> {
    let PhotoMosaic { columns, tile, max_uses, spacing, tint, max_megapixels } = *settings;
    check(std::slice::from_ref(target))?;
    check(pictures).map_err(|error| match error {
        CollageError::BadPicture(i) => CollageError::BadPicture(i + 1),
        other => other,
    })?;
    if columns == 0 {
        return Err(setting("columns", columns, "at least 1"));
    }
    if tile.area() == 0 {
        return Err(setting("tile", format!("{}x{}", tile.width, tile.height), "at least 1x1"));
    }
    if !(0.0..=1.0).contains(&tint) {
        return Err(setting("tint", tint, "0 to 1"));
    }
    if spacing > 64 {
        return Err(setting("spacing", spacing, "at most 64"));
    }
    let Size { width, height } = target.size;
    let rows = f64::from(columns) * f64::from(tile.width) * f64::from(height)
        / (f64::from(width) * f64::from(tile.height));
    let rows = rows.round().clamp(1.0, f64::from(u32::MAX)) as u32;
    let (w, h) = (u64::from(columns) * u64::from(tile.width), u64::from(rows) * u64::from(tile.height));
    let sheet = bounded(w, h, max_megapixels)?;
    // The sub-averages take memory too, whatever the tile.
    bounded(
        u64::from(columns) * u64::from(SIDE),
        u64::from(rows) * u64::from(SIDE),
        max_megapixels.max(16.0),
    )?;
    let cells = u64::from(columns) * u64::from(rows);
    if max_uses > 0 && (max_uses as u64).saturating_mul(pictures.len() as u64) < cells {
        return Err(CollageError::Repetition { pictures: pictures.len(), max_uses, cells });
    }
    let backdrop = [255; 3];
    let cell = |picture: &Image8| Cell {
        picture: 0,
        x: 0,
        y: 0,
        size: tile,
        scaled: scaled(picture.size, tile, CellFit::Cover),
    };
    let tiles: Vec<Image8> = pictures.par_iter().map(|p| fitted(p, &cell(p), backdrop)).collect();
    let small = |picture: &Image8, size: Size| over(resize(picture, size, Filter::Bilinear), backdrop);
    let looks: Vec<[f32; NUMBERS]> =
        tiles.par_iter().map(|tile| look(&small(tile, Size::new(SIDE, SIDE)), 0, 0)).collect();
    let wanted = small(target, Size::new(columns * SIDE, rows * SIDE));
    let wants: Vec<[f32; NUMBERS]> =
        (0..cells as u32).into_par_iter().map(|i| look(&wanted, i % columns, i / columns)).collect();
    let chosen = choose(&wants, &looks, columns as usize, max_uses, spacing as usize);
    let means: Vec<[f32; 3]> = tiles.par_iter().map(mean).collect();
    let aims = small(target, Size::new(columns, rows));
    let line = sheet.width as usize * 3;
    let mut data = vec![0; line * sheet.height as usize];
    data.par_chunks_exact_mut(line).enumerate().for_each(|(y, out)| {
        let (row, y) = (y / tile.height as usize, y % tile.height as usize);
        let piece = tile.width as usize * 3;
        for (column, out) in out.chunks_exact_mut(piece).enumerate() {
            let place = row * columns as usize + column;
            let picture = chosen[place];
            let aim = &aims.data[place * 3..place * 3 + 3];
            let shift = [0, 1, 2].map(|c| tint * (f32::from(aim[c]) - means[picture][c]));
            let from = &tiles[picture].data[y * piece..(y + 1) * piece];
            for (i, (out, v)) in out.iter_mut().zip(from).enumerate() {
                *out = (f32::from(*v) + shift[i % 3]).round().clamp(0.0, 255.0) as u8;
            }
        }
    });
    Ok(Image8 { size: sheet, channels: 3, data })
}

/// The picture of each cell.
fn choose(
    wants: &[[f32; NUMBERS]],
    looks: &[[f32; NUMBERS]],
    columns: usize,
    max_uses: usize,
    spacing: usize,
) -> Vec<usize> {
    let cost = |want: &[f32; NUMBERS], look: &[f32; NUMBERS]| -> f32 {
        want.iter().zip(look).map(|(a, b)| (a - b) * (a - b)).sum()
    };
    let ranked = |want: &[f32; NUMBERS], keep: usize| -> Vec<usize> {
        let mut costs: Vec<(f32, usize)> = looks.iter().map(|look| cost(want, look)).zip(0..).collect();
        let order = |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if keep < costs.len() {
            costs.select_nth_unstable_by(keep, order);
            costs.truncate(keep);
        }
        costs.sort_unstable_by(order);
        costs.into_iter().map(|(_, picture)| picture).collect()
    };
    let short: Vec<Vec<usize>> = wants.par_iter().map(|want| ranked(want, SHORT)).collect();
    let count = wants.len().max(1) as f32;
    let middle: [f32; NUMBERS] = std::array::from_fn(|k| wants.iter().map(|w| w[k]).sum::<f32>() / count);
    let mut order: Vec<(f32, usize)> = wants.iter().map(|want| cost(want, &middle)).zip(0..).collect();
    order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    const NONE: usize = usize::MAX;
    let mut chosen = vec![NONE; wants.len()];
    let mut uses = vec![0usize; looks.len()];
    for (_, cell) in order {
        let (x, y) = (cell % columns, cell / columns);
        let near: Vec<usize> = (y.saturating_sub(spacing)..=(y + spacing).min((wants.len() - 1) / columns))
            .flat_map(|ny| {
                (x.saturating_sub(spacing)..=(x + spacing).min(columns - 1)).map(move |nx| ny * columns + nx)
            })
            .map(|i| chosen[i])
            .filter(|picture| *picture != NONE)
            .collect();
        let left = |picture: &usize| max_uses == 0 || uses[*picture] < max_uses;
        let apart = |picture: &usize| !near.contains(picture);
        let pick = short[cell].iter().copied().find(|p| left(p) && apart(p));
        let pick = pick.unwrap_or_else(|| {
            let all = ranked(&wants[cell], looks.len());
            let apart = all.iter().copied().find(|p| left(p) && apart(p));
            apart.or_else(|| all.iter().copied().find(left)).unwrap_or(0)
        });
        uses[pick] += 1;
        chosen[cell] = pick;
    }
    chosen
}

/// The sub-averages of one cell, in CIELAB.
fn look(small: &Image8, column: u32, row: u32) -> [f32; NUMBERS] {
    let mut numbers = [0.0; NUMBERS];
    let pixels = small.data.as_chunks::<3>().0;
    for (i, lab) in (0..SIDE * SIDE).zip(numbers.as_chunks_mut::<3>().0) {
        let (x, y) = (column * SIDE + i % SIDE, row * SIDE + i / SIDE);
        *lab = cielab(pixels[y as usize * small.size.width as usize + x as usize]);
    }
    numbers
}

fn mean(picture: &Image8) -> [f32; 3] {
    let pixels = picture.data.as_chunks::<3>().0;
    [0, 1, 2].map(|c| pixels.iter().map(|p| u64::from(p[c])).sum::<u64>() as f32 / pixels.len().max(1) as f32)
}

/// CIE 1976 L*a*b* (D65) of an sRGB colour (IEC 61966-2-1).
fn cielab(rgb: [u8; 3]) -> [f32; 3] {
    let [r, g, b] = rgb.map(|v| {
        let v = f32::from(v) / 255.0;
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    });
    let x = (0.412_456_4 * r + 0.357_576_1 * g + 0.180_437_5 * b) / 0.950_47;
    let y = 0.212_672_9 * r + 0.715_152_2 * g + 0.072_175 * b;
    let z = (0.019_333_9 * r + 0.119_192 * g + 0.950_304_1 * b) / 1.088_83;
    let f = |t: f32| if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 };
    let (x, y, z) = (f(x), f(y), f(z));
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

#[cfg(test)]
mod tests {
    use super::cielab;

    /// Published values of sRGB's primaries (Bruce Lindbloom's calculator, D65).
    #[test]
    fn colours_have_their_published_lab() {
        for (rgb, lab) in [
            ([255, 0, 0], [53.24, 80.09, 67.20]),
            ([0, 255, 0], [87.73, -86.18, 83.18]),
            ([0, 0, 255], [32.30, 79.19, -107.86]),
            ([255, 255, 255], [100.0, 0.0, 0.0]),
            ([0, 0, 0], [0.0, 0.0, 0.0]),
        ] {
            for (got, want) in cielab(rgb).into_iter().zip(lab) {
                assert!((got - want).abs() < 0.03, "{rgb:?}: {got} for {want}");
            }
        }
    }
}
