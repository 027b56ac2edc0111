//! Contact sheets.

use crate::geometry::Size;
use crate::image::Image8;

/// Pictures side by side in rows of `columns`, each in a cell of the largest one's size, `gap` pixels apart on a
/// background of one grey level. The result is RGB; `None` if there is no picture.
pub fn contact_sheet(pictures: &[Image8], columns: usize, gap: u32, background: u8) -> Option<Image8> {
    let cell = pictures.iter().fold(Size::new(0, 0), |cell, p| {
        Size::new(cell.width.max(p.size.width), cell.height.max(p.size.height))
    });
    if pictures.is_empty() || cell.area() == 0 {
        return None;
    }
    let columns = columns.clamp(1, pictures.len());
    let rows = pictures.len().div_ceil(columns);
    let width = columns as u32 * (cell.width + gap) + gap;
    let height = rows as u32 * (cell.height + gap) + gap;
    let mut data = vec![background; width as usize * height as usize * 3];
    for (i, picture) in pictures.iter().enumerate() {
        let rgb = picture.to_mode(crate::codec::ColorMode::Rgb);
        let x = gap as usize + (i % columns) * (cell.width + gap) as usize;
        let y = gap as usize + (i / columns) * (cell.height + gap) as usize;
        let row = rgb.size.width as usize * 3;
        for (line, samples) in rgb.data.chunks_exact(row).enumerate() {
            let at = ((y + line) * width as usize + x) * 3;
            data[at..at + row].copy_from_slice(samples);
        }
    }
    Some(Image8 { size: Size::new(width, height), channels: 3, data })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_sheet_holds_every_picture() {
        let dot = |v| Image8 { size: Size::new(2, 2), channels: 1, data: vec![v; 4] };
        let sheet = contact_sheet(&[dot(1), dot(2), dot(3)], 2, 1, 9).unwrap();
        assert_eq!((sheet.size.width, sheet.size.height), (7, 7));
        assert_eq!(sheet.data[(7 + 1) * 3], 1);
        assert_eq!(sheet.data[(4 * 7 + 1) * 3], 3);
        assert!(contact_sheet(&[], 2, 1, 9).is_none());
    }
}
