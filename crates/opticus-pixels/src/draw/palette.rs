//! Colours that tell classes apart.

use std::sync::LazyLock;

/// Colours in [`PALETTE`]; beyond that many, no choice could be told apart.
const COLORS: usize = 64;

/// After Glasbey, van der Heijden, Toh, Gray: "Colour displays for categorical images" (Color Research and
/// Application 32, 2007): each colour is the one farthest from all chosen before it, and from black, white and grey.
/// Distances are Euclidean in Oklab; candidates are neither too dark nor too pale to be seen as lines on a photo.
static PALETTE: LazyLock<[[u8; 3]; COLORS]> = LazyLock::new(|| {
    let level = |i: u32| (i * 255 / 15) as u8;
    let all = (0..16u32.pow(3)).map(|i| [level(i % 16), level(i / 16 % 16), level(i / 256)]);
    let vivid = |lab: [f32; 3]| (0.5..0.9).contains(&lab[0]) && lab[1].hypot(lab[2]) > 0.09;
    let candidates: Vec<_> = all.map(|rgb| (rgb, oklab(rgb))).filter(|(_, lab)| vivid(*lab)).collect();
    let greys = [[0, 0, 0], [90, 90, 90], [150, 150, 150], [200, 200, 200], [255, 255, 255]].map(oklab);
    let nearest = |lab| greys.iter().map(|grey| distance(lab, *grey)).fold(f32::INFINITY, f32::min);
    let mut distances: Vec<f32> = candidates.iter().map(|(_, lab)| nearest(*lab)).collect();
    std::array::from_fn(|_| {
        let farthest =
            (0..distances.len()).max_by(|a, b| distances[*a].total_cmp(&distances[*b]).then(b.cmp(a)));
        let Some((rgb, chosen)) = farthest.and_then(|at| candidates.get(at)) else { return [0; 3] };
        for (least, (_, lab)) in distances.iter_mut().zip(&candidates) {
            *least = least.min(distance(*lab, *chosen));
        }
        *rgb
    })
});

/// The colour of a class, sRGB: always the same for the same index, and far from those of other small indices. They
/// repeat after 64.
pub fn class_color(class: usize) -> [u8; 3] {
    PALETTE[class % COLORS]
}

/// Black or white, whichever has the better contrast on a background (WCAG 2.2, definitions of contrast ratio and
/// relative luminance).
pub fn readable_on(background: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = background.map(linear);
    let luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let (on_black, on_white) = ((luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05));
    if on_black > on_white { [0; 3] } else { [255; 3] }
}

/// sRGB to linear light, 0..=1.
fn linear(sample: u8) -> f32 {
    let v = f32::from(sample) / 255.0;
    if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
}

/// Oklab (Ottosson: "A perceptual color space for image processing", 2020).
#[expect(clippy::excessive_precision, reason = "the coefficients as published")]
fn oklab(rgb: [u8; 3]) -> [f32; 3] {
    let [r, g, b] = rgb.map(linear);
    let l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b).cbrt();
    let m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b).cbrt();
    let s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b).cbrt();
    [
        0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
        1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
        0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
    ]
}

fn distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    a.into_iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_differ_in_colour() {
        for a in 0..COLORS {
            for b in 0..a {
                let apart = distance(oklab(class_color(a)), oklab(class_color(b)));
                assert!(apart > if a < 12 { 0.13 } else { 0.03 }, "{a} and {b}: {apart}");
            }
        }
        assert_eq!(class_color(3), class_color(3 + COLORS));
    }

    #[test]
    fn oklab_of_known_colours() {
        // Values of the published table: white, and sRGB red.
        for (rgb, lab) in [([255, 255, 255], [1.0, 0.0, 0.0]), ([255, 0, 0], [0.62796, 0.22486, 0.12585])] {
            assert!(distance(oklab(rgb), lab) < 1e-4, "{:?}", oklab(rgb));
        }
    }

    /// WCAG asks 4.5 of normal text.
    #[test]
    fn text_is_readable_on_every_colour() {
        for background in (0..COLORS).map(class_color) {
            let light = |rgb: [u8; 3]| {
                let [r, g, b] = rgb.map(linear);
                0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05
            };
            let (a, b) = (light(background), light(readable_on(background)));
            assert!(a.max(b) / a.min(b) > 4.5, "{background:?}");
        }
    }
}
