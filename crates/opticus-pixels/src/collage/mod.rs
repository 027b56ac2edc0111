//! Many pictures on one sheet: a grid, justified rows, a puzzle of tiles, a mosaic of photographs.
//!
//! Sheets are RGB. Their size is checked before memory is asked for. Grey pictures are repeated into three channels,
//! and translucent ones laid over the background.

mod error;
mod layout;
mod mosaic;
mod puzzle;

pub use error::CollageError;
pub use layout::{Cell, CellFit, Grid, Justified, Layout, grid_layout, justified_layout};
pub use mosaic::{PhotoMosaic, photo_mosaic};
pub use puzzle::{assemble, cut, shuffle, solve};

use rayon::prelude::*;

use crate::geometry::{Placement, Size};
use crate::image::Image8;
use crate::resize::{Filter, place};

/// Pictures in rows and columns. The sheet's size is that of [`grid_layout`].
///
/// # Errors
/// If there is no picture, one is broken, there are more pictures than cells, a setting is out of range, or the sheet
/// is too large.
pub fn grid(pictures: &[Image8], settings: &Grid) -> Result<Image8, CollageError> {
    check(pictures)?;
    let sizes: Vec<Size> = pictures.iter().map(|p| p.size).collect();
    Ok(compose(pictures, &grid_layout(&sizes, settings)?, settings.background))
}

/// Pictures in rows that fill the width, as galleries show them. The sheet's size is that of [`justified_layout`].
///
/// # Errors
/// If there is no picture, one is broken, a setting is out of range, or the sheet is too large.
pub fn justified(pictures: &[Image8], settings: &Justified) -> Result<Image8, CollageError> {
    check(pictures)?;
    let sizes: Vec<Size> = pictures.iter().map(|p| p.size).collect();
    Ok(compose(pictures, &justified_layout(&sizes, settings)?, settings.background))
}

fn check(pictures: &[Image8]) -> Result<(), CollageError> {
    let sound = |p: &Image8| {
        let samples = p.size.area().checked_mul(p.channels as u64);
        p.size.area() > 0 && [1, 3, 4].contains(&p.channels) && samples == Some(p.data.len() as u64)
    };
    match pictures.iter().position(|p| !sound(p)) {
        _ if pictures.is_empty() => Err(CollageError::NoPictures),
        Some(index) => Err(CollageError::BadPicture(index)),
        None => Ok(()),
    }
}

/// Refuses a sheet of more than `max_megapixels` million pixels.
fn bounded(width: u64, height: u64, max_megapixels: f64) -> Result<Size, CollageError> {
    if !(max_megapixels > 0.0 && max_megapixels <= 10_000.0) {
        return Err(error::setting("max_megapixels", max_megapixels, "above 0 and at most 10,000"));
    }
    let megapixels = width as f64 * height as f64 / 1e6;
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(width), Ok(height)) if megapixels <= max_megapixels => Ok(Size::new(width, height)),
        _ => Err(CollageError::TooLarge { megapixels, max_megapixels }),
    }
}

/// The pictures where the layout puts them; those beyond the layout's cells do not appear.
fn compose(pictures: &[Image8], layout: &Layout, background: [u8; 3]) -> Image8 {
    let row = layout.sheet.width as usize * 3;
    let mut data = background.repeat(layout.sheet.area() as usize);
    // One thread scales a picture; rows are laid one after the other.
    for cells in layout.cells.chunks(64) {
        let scaled: Vec<Image8> =
            cells.par_iter().map(|cell| fitted(&pictures[cell.picture], cell, background)).collect();
        for (cell, picture) in cells.iter().zip(&scaled) {
            let length = cell.size.width as usize * 3;
            for (y, line) in picture.data.chunks_exact(length).enumerate() {
                let at = (cell.y as usize + y) * row + cell.x as usize * 3;
                data[at..at + length].copy_from_slice(line);
            }
        }
    }
    Image8 { size: layout.sheet, channels: 3, data }
}

/// The middle of a picture scaled to its cell, in RGB over the background.
fn fitted(picture: &Image8, cell: &Cell, background: [u8; 3]) -> Image8 {
    let middle = |have: u32, want: u32| -i64::from(have.saturating_sub(want) / 2);
    let placement = Placement {
        picture: picture.size,
        scaled: cell.scaled,
        frame: cell.size,
        x: middle(cell.scaled.width, cell.size.width),
        y: middle(cell.scaled.height, cell.size.height),
    };
    over(place(picture, &placement, Filter::Lanczos3, 0), background)
}

/// A picture in RGB, laid over a background where it is translucent.
fn over(picture: Image8, background: [u8; 3]) -> Image8 {
    let data = match picture.channels {
        3 => return picture,
        1 => picture.data.iter().flat_map(|v| [*v; 3]).collect(),
        _ => {
            let blend = |[r, g, b, alpha]: &[u8; 4]| {
                let alpha = u32::from(*alpha);
                let mix = |colour: u8, under: u8| {
                    ((u32::from(colour) * alpha + u32::from(under) * (255 - alpha) + 127) / 255) as u8
                };
                [mix(*r, background[0]), mix(*g, background[1]), mix(*b, background[2])]
            };
            picture.data.as_chunks::<4>().0.iter().flat_map(blend).collect()
        }
    };
    Image8 { size: picture.size, channels: 3, data }
}
