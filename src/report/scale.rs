//! Axes: from values to places, and ticks at numbers that people like.

use super::number::fixed;

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences take equal room.
    #[default]
    Linear,
    /// Equal ratios take equal room; values that are not positive are left out.
    Logarithmic,
}

/// An axis: values `low..=high` laid onto places `from..=to`.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
    decimals: usize,
}

impl Axis {
    /// An axis that holds all finite `values` and ends on ticks, about `wanted` of them.
    pub fn rounded(scale: Scale, values: impl Iterator<Item = f64>, wanted: usize) -> Self {
        let (low, high) = extent(scale, values);
        match scale {
            Scale::Linear => {
                let step = nice_step((high - low) / wanted.max(1) as f64);
                let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
                Self::with_steps(first, last, step)
            }
            Scale::Logarithmic => {
                let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
                let stride = ((last - first) as usize).div_ceil(wanted.max(1)).max(1);
                let ticks = (first..=last).step_by(stride).map(|e| 10_f64.powi(e)).collect();
                let (low, high) = (10_f64.powi(first), 10_f64.powi(last.max(first + 1)));
                Self { scale, low, high, from: 0.0, to: 1.0, ticks, decimals: 0 }
            }
        }
    }

    /// A linear axis that ends exactly where the values do, with ticks inside; whole numbers only if all are.
    pub fn tight(values: impl Iterator<Item = f64> + Clone, wanted: usize) -> Self {
        let (low, high) = extent(Scale::Linear, values.clone());
        let mut step = nice_step((high - low) / wanted.max(1) as f64);
        if values.filter(|v| v.is_finite()).all(|v| v.fract() == 0.0) {
            step = step.max(1.0).ceil();
        }
        let mut axis = Self::with_steps((low / step - 1e-9).ceil(), (high / step + 1e-9).floor(), step);
        (axis.low, axis.high) = (low, high);
        axis
    }

    fn with_steps(first: f64, last: f64, step: f64) -> Self {
        let ticks: Vec<f64> =
            (0..=(last - first).max(0.0) as usize).map(|i| (first + i as f64) * step).collect();
        let decimals = (0..12).find(|&d| near_whole(step * 10_f64.powi(d))).unwrap_or(12) as usize;
        let (low, high) = (first * step, last * step);
        Self { scale: Scale::Linear, low, high, from: 0.0, to: 1.0, ticks, decimals }
    }

    /// The same axis on these places (`from` may be the larger: rows count downwards).
    pub fn onto(mut self, from: f64, to: f64) -> Self {
        (self.from, self.to) = (from, to);
        self
    }

    /// Where a value lies; `None` for what this axis cannot show.
    pub fn place(&self, value: f64) -> Option<f64> {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        share.is_finite().then_some(self.from + share * (self.to - self.from))
    }

    /// Values of the ticks with what to write beside them.
    pub fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        self.ticks.iter().map(|&tick| (tick, self.label(tick)))
    }

    fn label(&self, tick: f64) -> String {
        let large = tick.abs() >= 1e5 || (self.decimals > 4 && tick != 0.0);
        match self.scale {
            Scale::Linear if large => scientific(tick),
            Scale::Linear => fixed(tick, self.decimals),
            Scale::Logarithmic if (1e-3..1e4).contains(&tick) => format!("{tick}"),
            Scale::Logarithmic => scientific(tick),
        }
    }
}

fn scientific(value: f64) -> String {
    format!("{value:.1e}").replace(".0e", "e").replace('-', "−")
}

fn near_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6 * value.abs().max(1.0)
}

/// Smallest and largest value that the scale can show, never equal.
fn extent(scale: Scale, values: impl Iterator<Item = f64>) -> (f64, f64) {
    let shown = values.filter(|v| v.is_finite() && (scale == Scale::Linear || *v > 0.0));
    let (low, high) =
        shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    match scale {
        _ if low > high => (if scale == Scale::Linear { 0.0 } else { 0.1 }, 1.0),
        Scale::Linear if high - low <= f64::EPSILON * high.abs().max(low.abs()) => {
            let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low - room, high + room)
        }
        _ => (low, high),
    }
}

/// The smallest of 1, 2, 2.5, 5 × 10ⁿ that is not below `rough`.
fn nice_step(rough: f64) -> f64 {
    if !rough.is_finite() || rough <= f64::MIN_POSITIVE {
        return 1.0;
    }
    let power = 10_f64.powf(rough.log10().floor());
    let leading = [1.0, 2.0, 2.5, 5.0].into_iter().find(|lead| lead * power >= rough * (1.0 - 1e-9));
    leading.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_fall_on_numbers_that_people_like() {
        assert_eq!(
            labels(&Axis::rounded(Scale::Linear, [0.03, 0.97].into_iter(), 5)),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            labels(&Axis::rounded(Scale::Linear, [-12.0, 31.0].into_iter(), 5)),
            ["−20", "−10", "0", "10", "20", "30", "40"]
        );
        assert_eq!(
            labels(&Axis::rounded(Scale::Logarithmic, [3e-5, 0.5].into_iter(), 6)),
            ["1e−5", "1e−4", "0.001", "0.01", "0.1", "1"]
        );
    }

    #[test]
    fn an_axis_of_epochs_has_whole_ticks_only() {
        assert_eq!(labels(&Axis::tight([1.0, 2.0, 3.0].into_iter(), 8)), ["1", "2", "3"]);
        assert_eq!(labels(&Axis::tight([1.0, 90.0].into_iter(), 5)), ["20", "40", "60", "80"]);
    }

    #[test]
    fn one_value_or_none_still_makes_an_axis() {
        for values in [vec![], vec![f64::NAN], vec![0.0], vec![7.0, 7.0], vec![-3.0]] {
            let axis = Axis::rounded(Scale::Linear, values.iter().copied(), 4).onto(0.0, 100.0);
            assert!(axis.ticks().count() >= 2, "{values:?}");
            for value in values.iter().filter(|v| v.is_finite()) {
                let place = axis.place(*value).unwrap_or(-1.0);
                assert!((0.0..=100.0).contains(&place), "{values:?} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_value_lies_on_the_axis(
            values in prop::collection::vec(-1e9_f64..1e9, 1..20), wanted in 1_usize..12, log: bool
        ) {
            let scale = if log { Scale::Logarithmic } else { Scale::Linear };
            let axis = Axis::rounded(scale, values.iter().copied(), wanted).onto(200.0, 0.0);
            prop_assert!(axis.ticks().count() <= 2 * wanted + 4);
            for value in values.into_iter().filter(|v| !log || *v > 0.0) {
                let place = axis.place(value).unwrap_or(f64::NAN);
                prop_assert!((-1e-6..=200.0 + 1e-6).contains(&place), "{} at {}", value, place);
            }
        }
    }
}
