//! Confusion matrices, from two classes to hundreds.

use std::fmt::Write;

use super::markup::{Markup, escape, shortened};
use super::number::{count, percent};

/// Up to here the cells are large enough to hold their numbers.
const MAX_NUMBERED: usize = 24;
/// Cells drawn at most; beyond, the largest ones.
const MAX_DRAWN: usize = 20_000;
/// Side of a drawing without numbers.
const SIDE: f64 = 640.0;
/// Up to here the rows of a drawing are wide enough for their names.
const MAX_NAMED: usize = 60;

/// Who was taken for whom: rows are the truth, columns the prediction.
#[derive(Clone, Debug)]
pub struct ConfusionMatrix<'a> {
    classes: &'a [String],
    counts: &'a [Vec<u64>],
}

impl<'a> ConfusionMatrix<'a> {
    /// `counts[truth][prediction]`, in the order of `classes`. Rows and cells beyond the classes are left out.
    pub fn new(classes: &'a [String], counts: &'a [Vec<u64>]) -> Self {
        Self { classes, counts }
    }

    fn count(&self, truth: usize, prediction: usize) -> u64 {
        self.counts.get(truth).and_then(|row| row.get(prediction)).copied().unwrap_or(0)
    }

    fn name(&self, class: usize) -> &str {
        self.classes.get(class).map_or("", String::as_str)
    }

    fn total(&self, truth: usize) -> u64 {
        (0..self.classes.len()).map(|prediction| self.count(truth, prediction)).sum()
    }

    fn saying(&self, truth: usize, prediction: usize) -> String {
        let n = self.count(truth, prediction);
        let verdict = if truth == prediction { "recognised" } else { "taken for" };
        let object = if truth == prediction { String::new() } else { format!(" {}", self.name(prediction)) };
        let share = percent(n as f64 / self.total(truth).max(1) as f64, 1);
        escape(&format!("{} {verdict}{object}: {} ({share} of its row)", self.name(truth), count(n)))
    }

    fn numbered(&self) -> String {
        let mut out = String::from(
            "<div class=\"scroll\" tabindex=\"0\"><table class=\"confusion\">\n<thead><tr><td class=\"corner\">\
             truth ↓ &nbsp;predicted →</td>",
        );
        let classes = self.classes.len();
        let turned = classes > 2 && self.classes.iter().any(|name| name.chars().count() > 3);
        let class = if turned { " class=\"turned\"" } else { "" };
        for name in self.classes {
            let _ = write!(
                out,
                "<th scope=\"col\"{class} title=\"{}\"><span><bdi>{}</bdi></span></th>",
                escape(name),
                escape(&shortened(name, 18))
            );
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for truth in 0..classes {
            let name = self.name(truth);
            let _ = write!(
                out,
                "<tr><th scope=\"row\" title=\"{}\"><bdi>{}</bdi></th>",
                escape(name),
                escape(&shortened(name, 24))
            );
            let total = self.total(truth).max(1) as f64;
            for prediction in 0..classes {
                let n = self.count(truth, prediction);
                let kind = if truth == prediction { "hit" } else { "miss" };
                let _ = match n {
                    0 => write!(out, "<td class=\"{kind} none\">0</td>"),
                    _ => write!(
                        out,
                        "<td class=\"{kind}{}\" style=\"--heat:{:.1}%\" title=\"{}\">{}</td>",
                        if n as f64 / total > 0.55 { " strong" } else { "" },
                        heat(n as f64 / total),
                        self.saying(truth, prediction),
                        count(n)
                    ),
                };
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>\n");
        out
    }

    fn drawn(&self) -> (String, bool) {
        let classes = self.classes.len();
        let named = classes <= MAX_NAMED;
        let (left, top) = if named { (120.0, 104.0) } else { (22.0, 22.0) };
        let cell = SIDE / classes as f64;
        let mut cells: Vec<(usize, usize)> = (0..classes)
            .flat_map(|truth| (0..classes).map(move |prediction| (truth, prediction)))
            .filter(|&(truth, prediction)| self.count(truth, prediction) > 0)
            .collect();
        let cut = cells.len() > MAX_DRAWN;
        if cut {
            cells.sort_by_key(|&(truth, prediction)| std::cmp::Reverse(self.count(truth, prediction)));
            cells.truncate(MAX_DRAWN);
        }
        let mut out = format!(
            "<div class=\"scroll\" tabindex=\"0\"><svg class=\"confusion\" viewBox=\"0 0 {:.0} {:.0}\" role=\"img\" \
             aria-label=\"Confusion matrix of {classes} classes\">\
             <rect class=\"frame\" x=\"{left}\" y=\"{top}\" width=\"{SIDE}\" height=\"{SIDE}\"/>",
            left + SIDE + 4.0,
            top + SIDE + 4.0,
        );
        if named {
            let font = (cell * 0.8).min(12.0);
            for class in 0..classes {
                let name = escape(&shortened(self.name(class), 18));
                let middle = cell * (class as f64 + 0.5);
                let _ = write!(
                    out,
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"{font:.1}\">{name}</text>\
                     <text transform=\"translate({:.1} {:.1}) rotate(-90)\" font-size=\"{font:.1}\">{name}</text>",
                    left - 6.0,
                    top + middle + font * 0.35,
                    left + middle + font * 0.35,
                    top - 6.0,
                );
            }
        } else {
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"14\" text-anchor=\"middle\">predicted →</text>\
                 <text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">← truth</text>",
                left + SIDE / 2.0,
                top + SIDE / 2.0,
            );
        }
        for (truth, prediction) in cells {
            let kind = if truth == prediction { "hit" } else { "miss" };
            let share = self.count(truth, prediction) as f64 / self.total(truth).max(1) as f64;
            let _ = write!(
                out,
                "<rect class=\"{kind}\" x=\"{:.2}\" y=\"{:.2}\" width=\"{cell:.2}\" height=\"{cell:.2}\" \
                 opacity=\"{:.2}\"><title>{}</title></rect>",
                left + cell * prediction as f64,
                top + cell * truth as f64,
                heat(share) / 100.0,
                self.saying(truth, prediction),
            );
        }
        out.push_str("</svg></div>\n");
        (out, cut)
    }
}

impl From<ConfusionMatrix<'_>> for Markup {
    fn from(matrix: ConfusionMatrix<'_>) -> Self {
        let (drawing, cut) = match matrix.classes.len() {
            0 => return Markup::default(),
            1..=MAX_NUMBERED => (matrix.numbered(), false),
            _ => matrix.drawn(),
        };
        let left_out = if cut {
            format!(" Only the {} fullest cells are drawn.", count(MAX_DRAWN as u64))
        } else {
            String::new()
        };
        Markup::written(format!(
            "<figure class=\"matrix\">\n{drawing}<p class=\"note\">Each row is a true class; depth of colour is the share \
             of that row. The diagonal is right, all else is wrong.{left_out}</p></figure>\n"
        ))
    }
}

/// Depth of colour in per cent: rises steeply at first, so that one mistake in a hundred can be seen.
fn heat(share: f64) -> f64 {
    8.0 + 92.0 * share.clamp(0.0, 1.0).powf(0.6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("<class {i}>")).collect()
    }

    fn html(n: usize, counts: &[Vec<u64>]) -> String {
        Markup::from(ConfusionMatrix::new(&classes(n), counts)).as_str().to_owned()
    }

    #[test]
    fn a_small_matrix_shows_every_number() {
        let html = html(2, &[vec![1234, 0], vec![7, 3]]);
        assert!(html.contains(">1,234</td>") && html.contains(">7</td>") && html.contains("none\">0</td>"));
        assert!(html.contains("&lt;class 1&gt; taken for &lt;class 0&gt;: 7 (70.0% of its row)"));
        assert!(!html.contains("<class"));
    }

    #[test]
    fn a_large_matrix_draws_only_what_happened() {
        let mut counts = vec![vec![0; 100]; 100];
        (0..100).for_each(|i| counts[i][i] = 90);
        counts[3][97] = 10;
        let html = html(100, &counts);
        assert_eq!(html.matches("class=\"hit\"").count(), 100);
        assert_eq!(html.matches("class=\"miss\"").count(), 1);
        assert!(html.contains("&lt;class 3&gt; taken for &lt;class 97&gt;: 10 (10.0% of its row)"));
        assert!(html.len() < 40_000);
    }

    #[test]
    fn a_thousand_noisy_classes_stay_within_bounds() {
        let html = html(300, &vec![vec![1; 300]; 300]);
        assert_eq!(html.matches("<title>").count(), MAX_DRAWN);
        assert!(html.contains("Only the 20,000 fullest"));
    }

    #[test]
    fn counts_that_do_not_fit_the_classes_do_not_panic() {
        assert_eq!(html(0, &[]), "");
        assert!(html(3, &[vec![1]]).contains("none"));
        assert!(html(2, &[vec![1, 2, 3], vec![], vec![4]]).contains(">2</td>"));
    }
}
