//! One line of a label file.

use opticus_pixels::Box2d;

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The class's number, from 0.
    pub class: usize,
    /// Edges as fractions of the picture's width and height.
    pub bounds: Box2d,
    /// The sixth number of a detection.
    pub score: Option<f64>,
}

/// Reads a line that is not empty. Numbers may be NaN or infinite.
///
/// # Errors
/// What is wrong with it.
pub fn parse_line(line: &str) -> Result<Line, String> {
    let mut words = line.split_ascii_whitespace();
    let class = words.next().unwrap_or_default();
    // Some tools write `0.0`.
    let number: f64 = class.parse().map_err(|_| format!("{class:?} is no class number"))?;
    if number.fract() != 0.0 || !(0.0..1e6).contains(&number) {
        return Err(format!("{class} is no class number"));
    }
    let values: Vec<f64> = words
        .map(|word| word.parse().map_err(|_| format!("{word:?} is no number")))
        .collect::<Result<_, _>>()?;
    let (bounds, score) = match values.as_slice() {
        &[x, y, w, h] => (Box2d::from_center([x, y, w, h]), None),
        &[x, y, w, h, score] => (Box2d::from_center([x, y, w, h]), Some(score)),
        outline if outline.len() >= 6 && outline.len() % 2 == 0 => {
            let around = |points: &mut dyn Iterator<Item = f64>| {
                points.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                    // A NaN must not vanish here.
                    if v.is_nan() || low.is_nan() { (f64::NAN, f64::NAN) } else { (low.min(v), high.max(v)) }
                })
            };
            let (x1, x2) = around(&mut outline.iter().step_by(2).copied());
            let (y1, y2) = around(&mut outline.iter().skip(1).step_by(2).copied());
            (Box2d::new(x1, y1, x2, y2), None)
        }
        other => {
            return Err(format!(
                "{} numbers behind the class instead of 4: x, y, width, height",
                other.len()
            ));
        }
    };
    Ok(Line { class: number as usize, bounds, score })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn boxes_outlines_and_detections_are_read() {
        let corners = |line: &str| parse_line(line).unwrap().bounds.to_corners();
        assert_eq!(corners("0 0.5 0.5 0.5 0.25"), [0.25, 0.375, 0.75, 0.625]);
        assert_eq!(corners("3 0.1 0.2 0.9 0.2 0.5 0.75"), [0.1, 0.2, 0.9, 0.75]);
        let line = parse_line("2.0\t0.5 0.5 1 1 0.9").unwrap();
        assert_eq!((line.class, line.score), (2, Some(0.9)));
        assert!(parse_line("0 nan 0.5 0.5 0.5").unwrap().bounds.x1.is_nan());
        assert!(corners("0 0.1 0.2 nan 0.2 0.5 0.75")[0].is_nan());
        for bad in [
            "0",
            "cat 0.5 0.5 1 1",
            "-1 0.5 0.5 1 1",
            "0.5 0 0 1 1",
            "0 0.5 0.5 1",
            "0 a b c d",
            "1e300 0 0 1 1",
        ] {
            assert!(parse_line(bad).is_err(), "{bad}");
        }
    }
}
