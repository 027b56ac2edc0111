//! Q^AB/F: how much of the sources' edges, in strength and direction, the fused picture has (Xydeas and Petrović 2000).

use rayon::prelude::*;

use super::Luma;

/// The published constants: (Γ, κ, σ) of strength and of direction.
const STRENGTH: [f64; 3] = [0.9994, -15.0, 0.5];
const DIRECTION: [f64; 3] = [0.9879, -22.0, 0.8];

/// Strength and direction of edges, by Sobel's operators; nothing lies beyond the borders.
fn edges(picture: &Luma) -> Vec<[f64; 2]> {
    let [w, h] = [picture.size.width as isize, picture.size.height as isize];
    let at = |x: isize, y: isize| match (0..w).contains(&x) && (0..h).contains(&y) {
        true => f64::from(picture.data[(y * w + x) as usize]),
        false => 0.0,
    };
    (0..h * w)
        .into_par_iter()
        .map(|i| {
            let (x, y) = (i % w, i / w);
            let column = |x: isize| at(x, y - 1) + 2.0 * at(x, y) + at(x, y + 1);
            let row = |y: isize| at(x - 1, y) + 2.0 * at(x, y) + at(x + 1, y);
            // As a convolution has them: turned.
            let (across, down) = (column(x - 1) - column(x + 1), row(y + 1) - row(y - 1));
            let angle = if across == 0.0 { std::f64::consts::FRAC_PI_2 } else { (down / across).atan() };
            [across.hypot(down), angle]
        })
        .collect()
}

/// Between 0 and 1. Each source's edges count by their strength; of any number of sources.
pub(crate) fn qabf(sources: &[Luma], fused: &Luma) -> f64 {
    let own = edges(fused);
    let sigmoid = |[top, slope, middle]: [f64; 3], v: f64| top / (1.0 + (slope * (v - middle)).exp());
    let (mut sum, mut weight) = (0.0, 0.0);
    for source in sources {
        for ([strength, angle], [own_strength, own_angle]) in edges(source).into_iter().zip(&own) {
            let high = strength.max(*own_strength);
            let kept = if high > 0.0 { strength.min(*own_strength) / high } else { 1.0 };
            let turned = 1.0 - (angle - own_angle).abs() / std::f64::consts::FRAC_PI_2;
            sum += sigmoid(STRENGTH, kept) * sigmoid(DIRECTION, turned) * strength;
            weight += strength;
        }
    }
    if weight > 0.0 { sum / weight } else { 0.0 }
}
