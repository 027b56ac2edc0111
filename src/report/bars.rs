//! Bars along a list of names.

use std::fmt::Write;

use super::markup::{Markup, escape, shortened};

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it stands for.
    pub label: String,
    /// Its length.
    pub value: f64,
    /// The value as it is written at its end.
    pub written: String,
}

/// Horizontal bars that begin at zero: as many as there are names, in several columns where there is room.
#[derive(Clone, Debug, Default)]
pub struct BarChart {
    title: String,
    bars: Vec<Bar>,
    longest: Option<f64>,
    note: String,
}

impl BarChart {
    /// An empty chart.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    /// Adds a bar.
    #[must_use]
    pub fn bar(mut self, bar: Bar) -> Self {
        self.bars.push(bar);
        self
    }

    /// The value of a bar over the whole width; the largest value unless told.
    #[must_use]
    pub fn up_to(mut self, value: f64) -> Self {
        self.longest = Some(value);
        self
    }

    /// A remark under the chart.
    #[must_use]
    pub fn note(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }
}

impl From<BarChart> for Markup {
    fn from(chart: BarChart) -> Self {
        let largest = chart.bars.iter().map(|bar| bar.value).filter(|v| v.is_finite()).fold(0.0, f64::max);
        let longest = chart.longest.unwrap_or(largest);
        let mut rows = String::new();
        for bar in &chart.bars {
            let share = if longest > 0.0 { (bar.value / longest).clamp(0.0, 1.0) } else { 0.0 };
            let share = if share.is_nan() { 0.0 } else { share };
            let _ = writeln!(
                rows,
                "<li><span class=\"name\" title=\"{}\"><bdi>{}</bdi></span>\
                 <span class=\"bar\" style=\"--share:{:.2}%\" aria-hidden=\"true\"></span><span class=\"value\">{}</span></li>",
                escape(&bar.label),
                escape(&shortened(&bar.label, 40)),
                share * 100.0,
                escape(&bar.written),
            );
        }
        let note = if chart.note.is_empty() { Markup::default() } else { Markup::note(&chart.note) };
        let columns = if chart.bars.len() > 12 { " many" } else { "" };
        Markup::written(format!(
            "<figure>\n<figcaption><h3>{}</h3></figcaption>\n<ul class=\"bars{columns}\">\n{rows}</ul>\n{}</figure>\n",
            escape(&chart.title),
            note.as_str(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share_and_never_longer_than_the_room() {
        let bar = |value: f64| Bar { label: "<x>".into(), value, written: value.to_string() };
        let chart = BarChart::new("t").bar(bar(1.0)).bar(bar(4.0)).bar(bar(f64::NAN)).bar(bar(-2.0));
        let html = Markup::from(chart.clone()).as_str().to_owned();
        assert!(html.contains("--share:25.00%") && html.contains("--share:100.00%"));
        assert_eq!(html.matches("--share:0.00%").count(), 2);
        assert!(!html.contains("<x>"));
        assert!(Markup::from(chart.up_to(2.0)).as_str().contains("--share:50.00%"));
    }
}
