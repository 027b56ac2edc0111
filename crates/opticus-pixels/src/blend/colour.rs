//! Luminance fused, colour carried along.

use rayon::prelude::*;

use super::luma;
use crate::preprocess::Planes;

/// A picture whose luma is `fused` and whose colour is that of the pictures, the more colourful counting more at each
/// pixel: chroma `Σ |c| c / Σ |c|` over the pictures' Cb and Cr (the rule of Prabhakar et al. 2017, "DeepFuse", section 3.2).
/// Without a colour picture, one plane.
pub fn carry_colour(pictures: &[&Planes], fused: Vec<f32>) -> Planes {
    let Some(first) = pictures.first() else {
        return Planes { channels: 1, size: crate::geometry::Size::new(0, 0), data: fused };
    };
    let size = first.size;
    let area = fused.len();
    let coloured: Vec<(&Planes, Vec<f32>)> =
        pictures.iter().filter(|p| p.channels >= 3).map(|p| (*p, luma(p))).collect();
    if coloured.is_empty() {
        return Planes { channels: 1, size, data: fused };
    }
    // Differences from luma carry the same as Cb and Cr, which are multiples of them.
    let mut data = vec![0.0f32; 3 * area];
    let (red, rest) = data.split_at_mut(area);
    let (green, blue) = rest.split_at_mut(area);
    red.par_iter_mut().zip(green).zip(blue).enumerate().for_each(|(i, ((red, green), blue))| {
        let mut chroma = [0.0f32; 2];
        for (k, plane) in [(0, 0), (1, 2)] {
            let (mut sum, mut weight) = (0.0, 0.0);
            for (picture, luma) in &coloured {
                let c = picture.data[plane * area + i] - luma[i];
                sum += c.abs() * c;
                weight += c.abs();
            }
            chroma[k] = if weight > 0.0 { sum / weight } else { 0.0 };
        }
        let y = fused[i];
        let [r, b] = [y + chroma[0], y + chroma[1]];
        *red = r.clamp(0.0, 1.0);
        *blue = b.clamp(0.0, 1.0);
        *green = ((y - 0.298_936 * r - 0.114_021 * b) / 0.587_043).clamp(0.0, 1.0);
    });
    Planes { channels: 3, size, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    #[test]
    fn a_picture_with_its_own_luma_is_itself_and_grey_stays_grey() {
        let size = Size::new(3, 1);
        let picture = Planes { channels: 3, size, data: vec![0.1, 0.5, 0.9, 0.2, 0.5, 0.3, 0.7, 0.5, 0.1] };
        let grey = Planes { channels: 1, size, data: vec![0.3; 3] };
        let again = carry_colour(&[&grey, &picture], luma(&picture));
        assert!(again.data.iter().zip(&picture.data).all(|(a, b)| (a - b).abs() < 1e-5), "{again:?}");
        assert_eq!(carry_colour(&[&grey], vec![0.4; 3]).channels, 1);
    }
}
