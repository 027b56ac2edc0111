//! Brightness evened out between the pictures (Brown and Lowe 2007, section 6, equation 29).

use crate::align::linear::solve;

/// Spread of the brightness of what is the same, in levels of 0 to 1.
const NOISE: f64 = 10.0 / 255.0;
/// Spread of the gains around 1.
const GAIN: f64 = 0.1;

/// What two pictures show where they overlap.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overlap {
    /// Pixels.
    pub count: f64,
    /// Mean brightness of the one picture and of the other.
    pub means: [f64; 2],
}

/// A factor for each picture; `overlap(i, j)` says what both show.
pub fn gains(count: usize, overlap: impl Fn(usize, usize) -> Overlap) -> Vec<f64> {
    let (mut matrix, mut vector) = (vec![0.0; count * count], vec![0.0; count]);
    for i in 0..count {
        matrix[i * count + i] += 1e-6;
        vector[i] += 1e-6;
        for j in (0..count).filter(|j| *j != i) {
            let Overlap { count: n, means: [own, other] } = overlap(i, j);
            // The pair is counted from both sides.
            matrix[i * count + i] += n * (2.0 * (own / NOISE).powi(2) + GAIN.powi(-2));
            matrix[i * count + j] -= n * 2.0 * own * other / NOISE.powi(2);
            vector[i] += n / GAIN.powi(2);
        }
    }
    let found = solve(&matrix, &vector).unwrap_or_else(|| vec![1.0; count]);
    found.iter().map(|g| g.clamp(0.3, 3.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_darker_picture_is_brightened_and_its_neighbour_dimmed() {
        let brightness = [0.4, 0.5, 0.5];
        let found = gains(3, |i, j| {
            let count = if i.abs_diff(j) == 1 { 1000.0 } else { 0.0 };
            Overlap { count, means: [brightness[i], brightness[j]] }
        });
        assert!(found[0] > 1.05 && found[1] < 1.0, "{found:?}");
        // Of a difference of 0.1 a quarter stays, which the gains' own spread asks for.
        assert!((found[0] * 0.4 - found[1] * 0.5).abs() < 0.03, "{found:?}");
        assert_eq!(gains(1, |_, _| Overlap::default()), [1.0]);
    }
}
