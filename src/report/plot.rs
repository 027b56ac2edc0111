//! Line plots as inline SVG, coloured by the page's style so that they follow light and dark.

use std::fmt::Write;

use super::markup::{Markup, escape};
use super::number::fixed;
use super::scale::{Axis, Scale};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const TOP: f64 = 14.0;
const RIGHT: f64 = 18.0;
/// Width of one character of a tick label.
const CHARACTER: f64 = 7.2;
/// Colours that the style defines; series beyond them begin again.
const COLOURS: usize = 6;
/// Curves with more points are thinned: more than two a pixel column cannot be seen.
const MAX_POINTS: usize = 1200;
/// Curves with more points show no dots and answer to no pointer.
const MAX_DOTS: usize = 120;

/// One curve.
#[derive(Clone, Debug)]
pub struct Series {
    name: String,
    points: Vec<(f64, f64)>,
    dashed: bool,
}

impl Series {
    /// A curve through these points, in order. A point that is not finite is a gap.
    pub fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, dashed: false }
    }

    /// Drawn in dashes: told from its neighbour without colour.
    #[must_use]
    pub fn dashed(mut self) -> Self {
        self.dashed = true;
        self
    }
}

/// A plot of several curves over one axis.
#[derive(Clone, Debug, Default)]
pub struct LinePlot {
    title: String,
    x_label: String,
    scale: Scale,
    percent: bool,
    series: Vec<Series>,
    mark: Option<(f64, String)>,
    note: String,
}

impl LinePlot {
    /// An empty plot.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    /// What runs along the bottom.
    #[must_use]
    pub fn x_label(mut self, label: &str) -> Self {
        label.clone_into(&mut self.x_label);
        self
    }

    /// Spreads the values logarithmically.
    #[must_use]
    pub fn logarithmic(mut self) -> Self {
        self.scale = Scale::Logarithmic;
        self
    }

    /// The values are fractions, to be read in per cent.
    #[must_use]
    pub fn percent(mut self) -> Self {
        self.percent = true;
        self
    }

    /// Adds a curve.
    #[must_use]
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// A thin upright line at `x` with a word on it: the best epoch, say.
    #[must_use]
    pub fn mark(mut self, x: f64, label: &str) -> Self {
        self.mark = Some((x, label.to_owned()));
        self
    }

    /// A remark under the plot.
    #[must_use]
    pub fn note(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }

    fn shown(&self, value: f64) -> f64 {
        if self.percent { value * 100.0 } else { value }
    }

    fn drawing(&self) -> String {
        let xs = self.series.iter().flat_map(|s| s.points.iter().map(|p| p.0));
        let ys = self.series.iter().flat_map(|s| s.points.iter().map(|p| self.shown(p.1)));
        let y = Axis::rounded(self.scale, ys, 5);
        let unit = if self.percent { "%" } else { "" };
        let widest = y.ticks().map(|(_, label)| label.chars().count() + unit.len()).max().unwrap_or(1);
        let left = 14.0 + CHARACTER * widest as f64;
        let bottom = HEIGHT - if self.x_label.is_empty() { 26.0 } else { 42.0 };
        let x = Axis::tight(xs, 8).onto(left + 6.0, WIDTH - RIGHT);
        let y = y.onto(bottom, TOP);

        let mut out = String::new();
        for (value, label) in y.ticks() {
            let Some(place) = y.place(value) else { continue };
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{left:.1}\" x2=\"{:.1}\" y1=\"{place:.1}\" y2=\"{place:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}{unit}</text>",
                WIDTH - RIGHT + 6.0,
                left - 7.0,
                place + 4.0,
            );
        }
        for (value, label) in x.ticks() {
            let Some(place) = x.place(value) else { continue };
            let _ = write!(
                out,
                "<line class=\"axis\" x1=\"{place:.1}\" x2=\"{place:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/>\
                 <text x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                bottom + 4.0,
                bottom + 18.0,
            );
        }
        let _ = write!(
            out,
            "<line class=\"axis\" x1=\"{left:.1}\" x2=\"{:.1}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            WIDTH - RIGHT + 6.0,
            (left + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0,
            escape(&self.x_label),
        );
        if let Some((at, label)) = &self.mark
            && let Some(place) = x.place(*at)
        {
            let (anchor, side) = if place > WIDTH * 0.7 { ("end", -5.0) } else { ("start", 5.0) };
            let _ = write!(
                out,
                "<line class=\"mark\" x1=\"{place:.1}\" x2=\"{place:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text class=\"mark\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                place + side,
                TOP + 9.0,
                escape(label),
            );
        }
        for (number, series) in self.series.iter().enumerate() {
            self.curve(&mut out, number, series, &x, &y);
        }
        out
    }

    fn curve(&self, out: &mut String, number: usize, series: &Series, x: &Axis, y: &Axis) {
        let dashed = if series.dashed { " dashed" } else { "" };
        let _ = write!(out, "<g class=\"s{}{dashed}\">", number % COLOURS);
        let mut path = String::new();
        let mut alone = Vec::new();
        let mut run = 0;
        let mut last = None;
        for &(px, py) in &thinned(&series.points) {
            let place = x.place(px).zip(y.place(self.shown(py)));
            match place {
                Some((px, py)) => {
                    let _ = write!(path, "{}{px:.1} {py:.1}", if run == 0 { "M" } else { "L" });
                    run += 1;
                }
                None => {
                    alone.extend(last.filter(|_| run == 1));
                    run = 0;
                }
            }
            last = place;
        }
        alone.extend(last.filter(|_| run == 1));
        let _ = write!(out, "<path d=\"{path}\"/>");
        let dots = series.points.len() <= MAX_DOTS;
        if !dots {
            // A point with gaps on both sides is no line: it must be seen all the same.
            for (px, py) in alone {
                let _ = write!(out, "<circle class=\"dot\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"2.2\"/>");
            }
        }
        for &(px, py) in series.points.iter().filter(|_| dots) {
            let Some((cx, cy)) = x.place(px).zip(y.place(self.shown(py))) else { continue };
            let _ = write!(
                out,
                "<g class=\"point\"><circle class=\"dot\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"2.2\"/>\
                 <circle class=\"reach\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"9\"><title>{}, {} {}: {}</title>\
                 </circle></g>",
                escape(&series.name),
                escape(&self.x_label),
                reading(px),
                if self.percent { format!("{}%", fixed(self.shown(py), 2)) } else { reading(py) },
            );
        }
        out.push_str("</g>");
    }
}

impl From<LinePlot> for Markup {
    fn from(plot: LinePlot) -> Self {
        let mut legend = String::new();
        // One curve needs no key: the title names it.
        for (number, series) in plot.series.iter().enumerate().filter(|_| plot.series.len() > 1) {
            let dashed = if series.dashed { " dashed" } else { "" };
            let _ = write!(
                legend,
                "<li class=\"s{}{dashed}\"><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path d=\"M1 4H23\"/></svg>{}</li>",
                number % COLOURS,
                escape(&series.name),
            );
        }
        let last = |series: &Series| {
            let end = series.points.iter().rev().find(|p| p.1.is_finite());
            end.map(|p| format!("{} ends at {}", series.name, reading(p.1)))
        };
        let ends: Vec<_> = plot.series.iter().filter_map(last).collect();
        let note =
            if plot.note.is_empty() { String::new() } else { Markup::note(&plot.note).as_str().to_owned() };
        Markup::written(format!(
            "<figure class=\"plot\">\n<figcaption><h3>{title}</h3><ul class=\"legend\">{legend}</ul></figcaption>\n\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}. {}\">{}</svg>\n{note}</figure>\n",
            escape(&ends.join("; ")),
            plot.drawing(),
            title = escape(&plot.title),
        ))
    }
}

/// A value with about four telling digits.
fn reading(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_owned(),
        _ if value.fract() == 0.0 && value.abs() < 1e7 => fixed(value, 0),
        0.0..1e-3 | 1e7.. => format!("{value:.2e}").replace('-', "−"),
        0.0..10.0 => fixed(value, 4),
        _ => fixed(value, 2),
    }
}

/// Keeps the smallest and largest of every stretch, so that thinning hides no spike.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(MAX_POINTS / 2);
    let mut kept = Vec::with_capacity(MAX_POINTS + 2);
    for part in points.chunks(stretch) {
        let order = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let finite = || part.iter().filter(|p| p.1.is_finite());
        match (finite().min_by(order), finite().max_by(order)) {
            (Some(low), Some(high)) => {
                kept.extend(if low.0 <= high.0 { [*low, *high] } else { [*high, *low] })
            }
            _ => kept.extend(part.first()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(plot: LinePlot) -> String {
        Markup::from(plot).as_str().to_owned()
    }

    #[test]
    fn a_gap_breaks_the_line() {
        let points = vec![(1.0, 1.0), (2.0, 2.0), (3.0, f64::NAN), (4.0, 1.0), (5.0, 3.0)];
        let html = html(LinePlot::new("Loss").series(Series::new("val", points)));
        let path = html.split("<g class=\"s0\"><path d=\"").nth(1).and_then(|rest| rest.split('"').next());
        assert_eq!(path.map(|p| p.matches('M').count()), Some(2), "{path:?}");
        assert_eq!(html.matches("class=\"reach\"").count(), 4);
        assert!(!html.contains("NaN"));
    }

    #[test]
    fn names_from_outside_are_escaped_everywhere() {
        let series = Series::new("<b>\"'&", vec![(0.0, 1.0), (1.0, 2.0)]);
        let html = html(LinePlot::new("<i>").x_label("<u>").note("<s>").mark(0.5, "<q>").series(series));
        for tag in ["<b>", "<i>", "<u>", "<s>", "<q>"] {
            assert!(!html.contains(tag), "{tag}");
        }
    }

    #[test]
    fn thinning_keeps_the_spike_and_the_order() {
        let mut points: Vec<_> =
            (0..100_000).map(|i| (f64::from(i), (f64::from(i) / 5000.0).sin())).collect();
        points[54_321].1 = 40.0;
        let kept = thinned(&points);
        assert!(kept.len() <= MAX_POINTS + 2);
        assert!(kept.contains(&(54_321.0, 40.0)));
        assert!(kept.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn an_empty_plot_still_draws_its_axes() {
        assert!(html(LinePlot::new("Nothing yet")).contains("class=\"axis\""));
    }
}
