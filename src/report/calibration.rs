//! Reliability diagrams (DeGroot and Fienberg 1983; Guo et al. 2017, fig. 1): is it right as often as it says?

use std::fmt::Write;

use super::markup::Markup;
use super::number::{count, percent};

const SIDE: f64 = 260.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 10.0;
const STRIP: f64 = 44.0;

/// Predictions of about the same confidence.
#[derive(Clone, Copy, Debug)]
pub struct ReliabilityBin {
    /// Number of predictions.
    pub count: u64,
    /// Their mean confidence, 0..=1.
    pub confidence: f64,
    /// The fraction of them that were right, 0..=1.
    pub accuracy: f64,
}

/// Accuracy against confidence, over bins of equal width that cover 0..=1, lowest first.
#[derive(Clone, Debug)]
pub struct ReliabilityDiagram {
    bins: Vec<ReliabilityBin>,
    error: f64,
}

impl ReliabilityDiagram {
    /// A diagram of these bins, whose expected calibration error is `error`.
    pub fn new(bins: Vec<ReliabilityBin>, error: f64) -> Self {
        Self { bins, error }
    }
}

impl From<ReliabilityDiagram> for Markup {
    fn from(diagram: ReliabilityDiagram) -> Self {
        let bottom = TOP + SIDE;
        let strip_top = bottom + 14.0;
        let strip_bottom = strip_top + STRIP;
        let up = |share: f64| bottom - SIDE * share.clamp(0.0, 1.0);
        let total: u64 = diagram.bins.iter().map(|bin| bin.count).sum();
        let fullest = diagram.bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1) as f64;
        let width = SIDE / diagram.bins.len().max(1) as f64;

        let mut out = String::new();
        for tick in 0..=5 {
            let share = f64::from(tick) / 5.0;
            let (x, y) = (LEFT + SIDE * share, up(share));
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}%</text>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}%</text>",
                LEFT + SIDE,
                LEFT - 7.0,
                y + 4.0,
                tick * 20,
                strip_bottom + 17.0,
                tick * 20,
            );
        }
        for (number, bin) in diagram.bins.iter().enumerate().filter(|(_, bin)| bin.count > 0) {
            let x = LEFT + width * number as f64;
            let (left, bar) = (x + 0.75, width - 1.5);
            let (accuracy, confidence) = (up(bin.accuracy), up(bin.confidence));
            let lower = accuracy.max(confidence);
            let gap = if bin.accuracy < bin.confidence { "over" } else { "under" };
            let height = STRIP * bin.count as f64 / fullest;
            let _ = write!(
                out,
                "<g class=\"bin\"><title>confidence {}: right {} of {}</title>\
                 <rect class=\"right\" x=\"{left:.1}\" y=\"{lower:.1}\" width=\"{bar:.1}\" height=\"{:.1}\"/>\
                 <rect class=\"{gap}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{bar:.1}\" height=\"{:.1}\"/>\
                 <rect class=\"amount\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{bar:.1}\" height=\"{height:.1}\"/></g>",
                percent(bin.confidence, 1),
                percent(bin.accuracy, 1),
                count(bin.count),
                bottom - lower,
                accuracy.min(confidence),
                (accuracy - confidence).abs(),
                strip_bottom - height,
            );
        }
        let _ = write!(
            out,
            "<line class=\"mark\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{:.1}\" y2=\"{TOP}\"/>\
             <line class=\"axis\" x1=\"{LEFT}\" y1=\"{strip_bottom}\" x2=\"{:.1}\" y2=\"{strip_bottom}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">confidence</text>",
            LEFT + SIDE,
            LEFT + SIDE,
            LEFT + SIDE / 2.0,
            strip_bottom + 34.0,
        );
        Markup::written(format!(
            "<figure class=\"plot reliability\">\n<figcaption><h3>Reliability</h3><ul class=\"legend\">\
             <li class=\"right\"><i></i>right as often as it says</li><li class=\"over\"><i></i>says more</li>\
             <li class=\"under\"><i></i>says less</li></ul></figcaption>\n\
             <svg viewBox=\"0 0 {:.0} {:.0}\" role=\"img\" aria-label=\"Accuracy against confidence; \
             expected calibration error {error}\">{out}</svg>\n\
             <p class=\"note\">A bar should reach the dashed line: of the predictions made with 80% confidence, 80% \
             should be right. On average over {} pictures the gap is {error}. Below: how many pictures have which \
             confidence.</p></figure>\n",
            LEFT + SIDE + 18.0,
            strip_bottom + 40.0,
            count(total),
            error = percent(diagram.error, 2),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_bins_draw_nothing_and_full_ones_reach_their_accuracy() {
        let bin = |count, confidence, accuracy| ReliabilityBin { count, confidence, accuracy };
        let diagram = ReliabilityDiagram::new(vec![bin(0, 0.0, 0.0), bin(4, 0.75, 0.5)], 0.25);
        let html = Markup::from(diagram).as_str().to_owned();
        assert_eq!(html.matches("class=\"bin\"").count(), 1);
        // Half of 260 above the bottom at 270, and a gap of a quarter of it: it says more than it should.
        assert!(html.contains("y=\"140.0\" width=\"128.5\" height=\"130.0\""), "{html}");
        assert!(html.contains("y=\"75.0\" width=\"128.5\" height=\"65.0\""), "{html}");
        assert!(html.contains("<rect class=\"over\"") && !html.contains("<rect class=\"under\""));
        assert!(html.contains("25.00%"));
    }
}
