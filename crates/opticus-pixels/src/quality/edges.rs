//! Q^AB/F: how much of the sources' edges, in strength and direction, the fused picture has (Xydeas and Petrović 2000).

use rayon::prelude::*;

use super::Luma;

/// The published constants: (Γ, κ, σ) of strength and of direction.
const STRENGTH: [f64; 3] = [0.9994, -15.0, 0.5];
const DIRECTION: [f64; 3] = [0.9879, -22.0, 0.8];

/// Strength and direction of the edges of a row, by Sobel's operators; nothing lies beyond the borders.
fn edges(picture: &Luma, y: usize) -> impl Iterator<Item = [f64; 2]> {
    let [w, h] = [picture.size.width as usize, picture.size.height as usize];
    // With a column of nothing on each side.
    let row = |y: Option<usize>| {
        let mut row = vec![0.0; w + 2];
        if let Some(y) = y.filter(|y| *y < h) {
            row[1..=w].iter_mut().zip(&picture.data[y * w..]).for_each(|(to, v)| *to = f64::from(*v));
        }
        row
    };
    let [above, here, below] = [y.checked_sub(1), Some(y), Some(y + 1)].map(row);
    (0..w).map(move |x| {
        let column = |x: usize| above[x] + 2.0 * here[x] + below[x];
        let line = |row: &[f64]| row[x] + 2.0 * row[x + 1] + row[x + 2];
        // As a convolution has them: turned.
        let (across, down) = (column(x) - column(x + 2), line(&below) - line(&above));
        let angle = if across == 0.0 { std::f64::consts::FRAC_PI_2 } else { (down / across).atan() };
        [(across * across + down * down).sqrt(), angle]
    })
}

/// Between 0 and 1. Each source's edges count by their strength; of any number of sources.
pub(crate) fn qabf(sources: &[Luma], fused: &Luma) -> f64 {
    let sigmoid = |[top, slope, middle]: [f64; 3], v: f64| top / (1.0 + (slope * (v - middle)).exp());
    let of_row = |y: usize| {
        let own: Vec<[f64; 2]> = edges(fused, y).collect();
        let (mut sum, mut weight) = (0.0, 0.0);
        for source in sources {
            for ([strength, angle], [own_strength, own_angle]) in edges(source, y).zip(&own) {
                if strength == 0.0 {
                    continue;
                }
                let kept = strength.min(*own_strength) / strength.max(*own_strength);
                let turned = 1.0 - (angle - own_angle).abs() / std::f64::consts::FRAC_PI_2;
                sum += sigmoid(STRENGTH, kept) * sigmoid(DIRECTION, turned) * strength;
                weight += strength;
            }
        }
        [sum, weight]
    };
    // Rows are summed in their order, whatever the number of threads.
    let rows: Vec<[f64; 2]> = (0..fused.size.height as usize).into_par_iter().map(of_row).collect();
    let (sum, weight) = rows.iter().fold((0.0, 0.0), |(s, w), row| (s + row[0], w + row[1]));
    if weight > 0.0 { sum / weight } else { 0.0 }
}
