//! The report of a run or an evaluation: how the detector learnt, how well it finds what, why it errs, and pictures of
//! its best and worst.

mod pictures;

use serde::Deserialize;

use super::metrics::errors::{Errors, Kind, costs, judge};
use super::metrics::{DetectScores, Style};
use super::predict::Compared;
use crate::error::{Error, Result};
use crate::report::{
    Bar, BarChart, Cell, Column, Facts, LinePlot, Markup, Page, Section, Series, Table, Tile, columns, count,
    duration, fixed, percent,
};

pub use pictures::{Sight, section as pictures_section};

/// One row of the run's log.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct LogRow {
    /// Epochs done, from 1.
    pub epoch: f64,
    /// Mean loss on the training pictures.
    pub train_loss: Option<f64>,
    /// COCO's average precision on the validation pictures.
    pub val_ap: Option<f64>,
    /// The same at IoU 0.5.
    pub val_ap50: Option<f64>,
    /// Learning rate at the end of the row.
    pub lr: Option<f64>,
    /// Seconds since training began.
    pub seconds: Option<f64>,
}

/// Reads `log.csv` of a run folder.
///
/// # Errors
/// [`Error::Input`] naming the line, if it is no such log.
pub fn read_log(text: &str) -> Result<Vec<LogRow>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows = reader.deserialize().collect::<Result<Vec<LogRow>, _>>();
    rows.map_err(|e| Error::Input(format!("log.csv is not the log of a detector's training: {e}")))
}

/// Everything the report tells. What is empty is left out of the page.
pub struct RunReport<'a> {
    /// Name of the run.
    pub title: &'a str,
    /// Name of the network.
    pub net: &'a str,
    /// Number of parameters.
    pub parameters: u64,
    /// On which pictures it was measured, as "87 validation pictures of bccd".
    pub measured_on: &'a str,
    /// The log, in order.
    pub log: &'a [LogRow],
    /// What was found beside what is there.
    pub compared: &'a Compared,
    /// The pictures.
    pub sight: &'a dyn Sight,
    /// Facts about the data, as (what, value).
    pub data: &'a [(String, String)],
    /// The resolved configuration, as TOML.
    pub configuration: &'a str,
    /// Where the model comes from, as (what, value): command, seed, version.
    pub provenance: &'a [(String, String)],
}

/// The page, self-contained, ready to be written.
pub fn run_report(run: &RunReport<'_>) -> String {
    let scores = run.compared.scores(Style::Coco);
    let errors = judge(&run.compared.truth, &run.compared.found);
    let ap50 = scores.ap50.map_or_else(|| "–".into(), |ap| percent(ap, 1));
    let mut page = Page::new(run.title).eyebrow("Opticus · detection").lede(&format!(
        "{} finds {} kinds of objects. On {}, its average precision at IoU 0.5 is {ap50}.",
        run.net,
        count(scores.per_class.len() as u64),
        run.measured_on,
    ));
    for tile in key_figures(&scores) {
        page = page.tile(tile);
    }
    page = page.tile(Tile::new("Parameters", &count(run.parameters)));
    let speed = run.compared.seconds * 1000.0 / scores.images.max(1) as f64;
    page = page.tile(Tile::new("A picture", &format!("{} ms", fixed(speed, 1))).note("detection, CPU"));
    if let Some(seconds) = run.log.iter().rev().find_map(|row| row.seconds) {
        page = page.tile(Tile::new("Training time", &duration(seconds)));
    }
    let sections = [
        learning_section(run.log),
        Some(classes_section(&scores)),
        curves_section(&scores),
        Some(errors_section(run.compared, &scores, &errors)),
        pictures::section(run.compared, &scores, &errors, run.sight),
        Some(data_section(run.data, &scores)),
        provenance_section(run.provenance, run.configuration),
    ];
    page = sections.into_iter().flatten().fold(page, Page::section);
    page.colophon(&format!("Made by Opticus {}.", env!("CARGO_PKG_VERSION"))).render()
}

/// COCO's main figures as tiles.
pub fn key_figures(scores: &DetectScores) -> Vec<Tile> {
    let figure = |name: &str, value: Option<f64>, note: &str| {
        value.map(|value| Tile::new(name, &percent(value, 1)).note(note))
    };
    [
        figure("AP", scores.ap, "mean over IoU 0.50 to 0.95"),
        figure("AP50", scores.ap50, "at IoU 0.50"),
        figure("AP75", scores.ap75, "at IoU 0.75"),
        figure("Recall", scores.ar100, "mean over IoU, 100 detections"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Loss, precision and learning rate over the epochs; `None` without a log.
pub fn learning_section(log: &[LogRow]) -> Option<Section> {
    let last = log.last()?;
    let curve = |value: fn(&LogRow) -> Option<f64>| -> Vec<(f64, f64)> {
        log.iter().filter_map(|row| Some((row.epoch, value(row)?))).collect()
    };
    let ap = curve(|row| row.val_ap);
    let best = ap.iter().copied().reduce(|best, now| if now.1 > best.1 { now } else { best });
    let marked = |plot: LinePlot| match best {
        Some((epoch, _)) => plot.mark(epoch, "best"),
        None => plot,
    };
    let precision = LinePlot::new("Average precision on the validation pictures")
        .x_label("epoch")
        .series(Series::new("AP", ap))
        .series(Series::new("AP50", curve(|row| row.val_ap50)).dashed());
    let loss = LinePlot::new("Training loss").x_label("epoch");
    let loss = loss.series(Series::new("loss", curve(|row| row.train_loss)));
    let rate = LinePlot::new("Learning rate").x_label("epoch");
    let rate = rate.series(Series::new("learning rate", curve(|row| row.lr)));
    let plots: Vec<Markup> = vec![marked(precision).percent().into(), marked(loss).into(), rate.into()];
    let lede = match best {
        Some((epoch, ap)) => format!(
            "Its best average precision, {}, came in epoch {} of {}.",
            percent(ap, 1),
            fixed(epoch, 0),
            fixed(last.epoch, 0)
        ),
        None => String::new(),
    };
    Some(Section::new("How it learnt").lede(&lede).push(columns(plots)))
}

/// Figures of every class, and by the size of objects.
pub fn classes_section(scores: &DetectScores) -> Section {
    let share = |value: Option<f64>| value.map_or(Cell::Empty, Cell::Share);
    let number = |value: Option<f64>| value.map_or(Cell::Empty, |value| Cell::Number(value, 2));
    let headings = ["AP", "AP50", "Objects", "Detections", "Best F1", "at score", "Precision", "Recall"];
    let mut table = Table::new(
        "",
        std::iter::once(Column::words("Class")).chain(headings.into_iter().map(Column::figures)).collect(),
    );
    for class in &scores.per_class {
        let best = class.best_f1;
        table = table.row(vec![
            Cell::text(&class.label),
            share(class.ap),
            share(class.ap50),
            Cell::Count(class.objects as u64),
            Cell::Count(class.detections as u64),
            number(best.map(|best| best.f1)),
            number(best.map(|best| best.score)),
            number(best.map(|best| best.precision)),
            number(best.map(|best| best.recall)),
        ]);
    }
    table = table.total(vec![
        Cell::text("Mean over classes"),
        share(scores.ap),
        share(scores.ap50),
        Cell::Count(scores.objects as u64),
        Cell::Count(scores.detections as u64),
    ]);
    let sizes = [
        ("Small, to 32² pixels", scores.ap_small, scores.ar_small),
        ("Medium, to 96² pixels", scores.ap_medium, scores.ar_medium),
        ("Large", scores.ap_large, scores.ar_large),
    ];
    let mut by_size = Table::new(
        "By size",
        vec![Column::words("Objects"), Column::figures("AP"), Column::figures("Recall")],
    );
    for (name, ap, ar) in sizes {
        by_size = by_size.row(vec![Cell::text(name), share(ap), share(ar)]);
    }
    Section::new("Class by class")
        .lede(
            "Average precision: the mean precision over all recalls. The best F1 is reached by keeping detections from \
             the score beside it on, at IoU 0.5.",
        )
        .push(table)
        .push(by_size)
}

/// Precision by recall of every class at IoU 0.5; `None` without objects.
pub fn curves_section(scores: &DetectScores) -> Option<Section> {
    let mut plot = LinePlot::new("Precision by recall at IoU 0.5").x_label("recall").percent();
    let mut any = false;
    for class in &scores.per_class {
        let Some(curve) = class.curve.as_ref().filter(|_| class.objects > 0) else { continue };
        let points = curve.precision.iter().enumerate();
        let points: Vec<(f64, f64)> = points.map(|(i, p)| (i as f64 / 100.0, *p)).collect();
        any |= !points.is_empty();
        plot = plot.series(Series::new(&class.label, points));
    }
    let lede = "How many of its detections are right, by how many of the objects it is to find.";
    any.then(|| Section::new("Precision and recall").lede(lede).push(plot))
}

/// Why it errs, and what that costs.
pub fn errors_section(compared: &Compared, scores: &DetectScores, errors: &Errors) -> Section {
    let thresholds = thresholds(scores);
    let counted = |kind: Kind| {
        let shown = compared.found.iter().zip(&errors.found);
        let wrong = shown.filter(|(d, k)| {
            **k == Some(kind) && d.score >= thresholds.get(d.class as usize).copied().unwrap_or(0.0)
        });
        match kind {
            Kind::Missed => errors.missed.iter().filter(|missed| **missed).count(),
            _ => wrong.count(),
        }
    };
    let costs = costs(scores.per_class.len(), &compared.truth, &compared.found, errors);
    let mut table = Table::new(
        "",
        vec![Column::words("Error"), Column::figures("How often"), Column::figures("AP50 it costs")],
    );
    let mut chart = BarChart::new("AP50 that each kind of error costs");
    for (kind, cost) in costs {
        table =
            table.row(vec![Cell::text(kind.name()), Cell::Count(counted(kind) as u64), Cell::Share(cost)]);
        chart = chart.bar(Bar { label: kind.name().into(), value: cost, written: percent(cost, 1) });
    }
    Section::new("Why it errs")
        .lede(
            "What AP50 would gain if all errors of a kind were mended, each kind by itself (TIDE, Bolya et al. 2020). \
             How often: among detections from the best F1's score on; a missed object is one that no detection comes near.",
        )
        .push(columns([Markup::from(table), Markup::from(chart)]))
}

/// What it was measured on.
fn data_section(data: &[(String, String)], scores: &DetectScores) -> Section {
    let facts = data.iter().fold(Facts::new(), |facts, (what, value)| facts.fact(what, value));
    let facts = facts
        .fact("Pictures measured", &count(scores.images as u64))
        .fact("Objects in them", &count(scores.objects as u64));
    let mut chart = BarChart::new("Objects of each class, measured");
    for class in &scores.per_class {
        let objects = class.objects as u64;
        chart = chart.bar(Bar { label: class.label.clone(), value: objects as f64, written: count(objects) });
    }
    Section::new("Data").push(columns([Markup::from(facts), Markup::from(chart)]))
}

/// How to make it again; `None` where nothing is known.
fn provenance_section(provenance: &[(String, String)], configuration: &str) -> Option<Section> {
    if provenance.is_empty() && configuration.is_empty() {
        return None;
    }
    let mut section = Section::new("How to make it again");
    if !provenance.is_empty() {
        section = section
            .push(provenance.iter().fold(Facts::new(), |facts, (what, value)| facts.fact(what, value)));
    }
    if !configuration.is_empty() {
        section = section.push(Markup::details("Configuration", Markup::code(configuration)));
    }
    Some(section)
}

/// The score of each class from which on F1 is best.
fn thresholds(scores: &DetectScores) -> Vec<f64> {
    scores.per_class.iter().map(|class| class.best_f1.map_or(1.0, |best| best.score)).collect()
}
