//! Two pictures side by side and which points of them belong together.

use super::canvas::Canvas;
use crate::geometry::Size;
use crate::image::Image8;

/// Lines from points of the first picture to points of the second, in pixels of each; green for those that agree, drawn
/// over the red others.
pub fn matches(first: &Image8, second: &Image8, lines: &[([f64; 2], [f64; 2], bool)]) -> Image8 {
    let width = first.size.width.saturating_add(second.size.width);
    let size = Size::new(width, first.size.height.max(second.size.height));
    let mut data = vec![0u8; size.area() as usize * 3];
    let mut left = 0usize;
    for picture in [first, second] {
        let rgb = picture.to_mode(crate::codec::ColorMode::Rgb);
        let row = rgb.size.width as usize * 3;
        for (to, from) in data.chunks_exact_mut(width as usize * 3).zip(rgb.data.chunks_exact(row.max(1))) {
            to[left..left + row].copy_from_slice(from);
        }
        left += row;
    }
    let mut canvas = Canvas::of(&Image8 { size, channels: 3, data });
    for wanted in [false, true] {
        let color = if wanted { [40, 220, 90] } else { [235, 60, 50] };
        for (a, b, _) in lines.iter().filter(|(_, _, agrees)| *agrees == wanted) {
            let b = [b[0] + f64::from(first.size.width), b[1]];
            line(&mut canvas, *a, b, color);
        }
    }
    canvas.into_image()
}

/// One pixel wide, smoothed (Wu 1991, without his endpoints).
fn line(canvas: &mut Canvas, a: [f64; 2], b: [f64; 2], color: [u8; 3]) {
    let [dx, dy] = [b[0] - a[0], b[1] - a[1]];
    let steps = dx.abs().max(dy.abs()).ceil().clamp(1.0, 1e5) as usize;
    for i in 0..=steps {
        let t = i as f64 / steps as f64;
        let [x, y] = [a[0] + t * dx, a[1] + t * dy];
        if dx.abs() >= dy.abs() {
            let share = (y - y.floor()) as f32;
            canvas.blend([x.round() as i64, y.floor() as i64], color, 1.0 - share);
            canvas.blend([x.round() as i64, y.floor() as i64 + 1], color, share);
        } else {
            let share = (x - x.floor()) as f32;
            canvas.blend([x.floor() as i64, y.round() as i64], color, 1.0 - share);
            canvas.blend([x.floor() as i64 + 1, y.round() as i64], color, share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_from_picture_to_picture() {
        let grey = |side: u32| Image8 {
            size: Size::new(side, side),
            channels: 1,
            data: vec![9; (side * side) as usize],
        };
        let sheet =
            matches(&grey(10), &grey(12), &[([2.0, 5.0], [3.0, 5.0], true), ([1.0, 1.0], [1e9, 1.0], false)]);
        assert_eq!(sheet.size, Size::new(22, 12));
        let at = |x: usize, y: usize| &sheet.data[(y * 22 + x) * 3..][..3];
        assert_eq!(at(8, 5), [40, 220, 90]);
        assert_eq!(at(2, 7), [9, 9, 9]);
        assert_eq!(at(2, 11), [0, 0, 0]);
    }
}
