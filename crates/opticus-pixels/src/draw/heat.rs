//! Heat maps over pictures.

use crate::image::Image8;

/// The Turbo colour map (Mikhailov, "Turbo, An Improved Rainbow Colormap", 2019), by his published polynomial of
/// degree five. `heat` is clipped to 0..=1.
#[expect(clippy::excessive_precision, reason = "the coefficients as published")]
pub fn turbo(heat: f32) -> [u8; 3] {
    const RED: [f32; 6] = [0.13572138, 4.61539260, -42.66032258, 132.13108234, -152.94239396, 59.28637943];
    const GREEN: [f32; 6] = [0.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604];
    const BLUE: [f32; 6] = [0.10667330, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973];
    let x = if heat.is_nan() { 0.0 } else { heat.clamp(0.0, 1.0) };
    [RED, GREEN, BLUE].map(|c| (c.iter().rev().fold(0.0, |sum, k| sum * x + k).clamp(0.0, 1.0) * 255.0) as u8)
}

/// Lays a heat map over a picture: colours of [`turbo`], at most `alpha` opaque, clear where the heat is 0, so that
/// the picture stays readable where nothing is to be seen.
///
/// `heat` holds one value in 0..=1 a pixel, row by row; missing values count as 0. The result is RGB.
pub fn overlay_heat(image: &Image8, heat: &[f32], alpha: f32) -> Image8 {
    let rgb = image.to_mode(crate::codec::ColorMode::Rgb);
    let mut data = rgb.data;
    for (pixel, heat) in data.chunks_exact_mut(3).zip(heat.iter().chain(std::iter::repeat(&0.0))) {
        let opacity = alpha * heat.clamp(0.0, 1.0).sqrt();
        for (sample, colour) in pixel.iter_mut().zip(turbo(*heat)) {
            *sample = (f32::from(*sample) * (1.0 - opacity) + f32::from(colour) * opacity).round() as u8;
        }
    }
    Image8 { size: rgb.size, channels: 3, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    #[test]
    fn turbo_runs_from_blue_over_green_to_red() {
        let ([r0, g0, b0], [r1, g1, b1], [r2, g2, b2]) = (turbo(0.15), turbo(0.5), turbo(0.95));
        assert!(b0 > r0 && b0 > g0 && g1 > r1 && g1 > b1 && r2 > g2 && r2 > b2);
        assert_eq!(turbo(f32::NAN), turbo(0.0));
    }

    #[test]
    fn no_heat_leaves_the_picture() {
        let image = Image8 { size: Size::new(2, 1), channels: 3, data: vec![1, 2, 3, 250, 251, 252] };
        assert_eq!(overlay_heat(&image, &[0.0, 0.0], 0.6), image);
        assert_ne!(overlay_heat(&image, &[0.0, 1.0], 0.6).data[3..], image.data[3..]);
    }
}
