//! The report of a run: how it learnt, how well it knows, what it mistakes for what, on what it was trained.
//!
//! [`run_report`] makes the whole page; each section is a function of its own, for pages that want only some (the
//! tour takes [`key_figures`], [`learning_section`], [`mistakes_section`] and [`pictures_section`]).

mod material;

use serde::Deserialize;

pub use material::{ExplainedPictures, answers, read_log};

use crate::classify::metrics::{ClassifyScores, ranked};
use crate::error::Result;
use crate::report::{
    Bar, BarChart, Card, Cell, Column, ConfusionMatrix, Facts, Gallery, Guess, LinePlot, Markup, Page,
    Picture, ReliabilityBin, ReliabilityDiagram, Section, Series, Table, Tile, Verdict, columns, count,
    duration, fixed, percent,
};
use opticus_pixels::resize::{Filter, resize};
use opticus_pixels::{Image8, Size};

/// Longer side of a picture in the report, in pixels.
const THUMBNAIL: u32 = 160;
/// Cards in "worst" and in "best".
const CARDS: usize = 12;
/// Confused pairs shown with pictures, and pictures a pair.
const PAIRS: usize = 6;
const PICTURES_A_PAIR: usize = 6;
/// Guesses listed under a picture.
const GUESSES: usize = 3;

/// One row of the run's log.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct LogRow {
    /// Epochs done, from 1; with fractions for rows within an epoch.
    pub epoch: f64,
    /// Mean loss on the training pictures, as trained: augmented, smoothed, regularised.
    #[serde(default)]
    pub train_loss: Option<f64>,
    /// Fraction recognised of the training pictures, likewise.
    #[serde(default)]
    pub train_top1: Option<f64>,
    /// Mean loss on the validation pictures.
    #[serde(default)]
    pub val_loss: Option<f64>,
    /// Fraction recognised of the validation pictures.
    #[serde(default)]
    pub val_top1: Option<f64>,
    /// Learning rate at the end of the row.
    #[serde(default)]
    pub lr: Option<f64>,
    /// Time since training began.
    #[serde(default)]
    pub seconds: Option<f64>,
}

/// What the network said about one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its place in the data set, by which [`Sight::picture`] finds it.
    pub index: usize,
    /// Its file, or `file#place`.
    pub name: String,
    /// Its true class.
    pub truth: usize,
    /// One value a class.
    pub probabilities: Vec<f32>,
}

impl Answer {
    fn predicted(&self) -> usize {
        ranked(&self.probabilities).first().copied().unwrap_or(0)
    }

    fn right(&self) -> bool {
        self.predicted() == self.truth
    }

    fn probability(&self, class: usize) -> f32 {
        self.probabilities.get(class).copied().unwrap_or(0.0)
    }
}

/// Where the report gets the pictures that it chose to show, so that not all of them need be in memory.
pub trait Sight {
    /// The picture at this place of the data set.
    ///
    /// # Errors
    /// When it cannot be read; the report then does without it.
    fn picture(&self, index: usize) -> Result<Image8>;

    /// The same picture with the heat of `class` over it, where explanations are wanted.
    ///
    /// # Errors
    /// When it cannot be made; the report then does without it.
    fn heat(&self, index: usize, class: usize) -> Result<Option<Image8>> {
        let _ = (index, class);
        Ok(None)
    }
}

/// The pictures a network was trained and measured on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataSummary {
    /// Its name: the folder's or file's.
    pub name: String,
    /// How it is laid out: "folder", "idx", …
    pub format: String,
    /// Training pictures of each class.
    pub train_counts: Vec<u64>,
    /// Number of pictures measured after each epoch.
    pub val: u64,
    /// Number of pictures kept for the end, where there are.
    pub test: Option<u64>,
    /// SHA-256 over names, sizes and labels.
    pub fingerprint: String,
    /// Pictures that could not be used, with the reason.
    pub skipped: Vec<String>,
}

/// Everything the report tells. What is empty is left out of the page.
pub struct RunReport<'a> {
    /// Name of the run.
    pub title: &'a str,
    /// Name of the network, with its number of parameters.
    pub net: &'a str,
    /// Number of parameters.
    pub parameters: u64,
    /// On which pictures `scores` and `answers` were measured, as "200 validation pictures of sign_digits".
    pub measured_on: &'a str,
    /// The log, in order.
    pub log: &'a [LogRow],
    /// Final figures of the best network.
    pub scores: &'a ClassifyScores,
    /// Its answers, one for each picture measured.
    pub answers: &'a [Answer],
    /// Where the pictures are.
    pub sight: &'a dyn Sight,
    /// What it learnt from.
    pub data: &'a DataSummary,
    /// The resolved configuration, as TOML.
    pub configuration: &'a str,
    /// Where the model comes from, as (what, value): command, seed, version, device, …
    pub provenance: &'a [(String, String)],
}

/// The page, self-contained, ready to be written.
pub fn run_report(run: &RunReport) -> String {
    let scores = run.scores;
    let classes = scores.per_class.len();
    let mut page = Page::new(run.title).eyebrow("Opticus · classification").lede(&format!(
        "{} tells {} classes apart. Of {}, it recognises {}.",
        run.net,
        count(classes as u64),
        run.measured_on,
        percent(scores.top1, 1)
    ));
    for tile in key_figures(scores) {
        page = page.tile(tile);
    }
    page = page.tile(Tile::new("Parameters", &count(run.parameters)));
    if let Some(seconds) = run.log.iter().rev().find_map(|row| row.seconds) {
        page = page.tile(Tile::new("Training time", &duration(seconds)));
    }
    let sections = [
        learning_section(run.log),
        Some(mistakes_section(scores, run.answers, run.sight)),
        pictures_section(scores, run.answers, run.sight),
        Some(classes_section(scores)),
        Some(calibration_section(scores)),
        Some(data_section(run.data, scores)),
        Some(provenance_section(run.provenance, run.configuration)),
    ];
    page = sections.into_iter().flatten().fold(page, Page::section);
    page.colophon(&format!("Made by Opticus {}.", env!("CARGO_PKG_VERSION"))).render()
}

/// Accuracy, loss and calibration as tiles.
pub fn key_figures(scores: &ClassifyScores) -> Vec<Tile> {
    let pictures = format!("of {} pictures", count(scores.images));
    let right = (scores.top1 * scores.images as f64).round() as u64;
    let mut tiles = vec![Tile::new("Top-1 accuracy", &percent(scores.top1, 2)).note(&format!(
        "{} of {} pictures",
        count(right),
        count(scores.images)
    ))];
    if scores.per_class.len() > 5 {
        tiles.push(Tile::new("Top-5 accuracy", &percent(scores.top5, 2)).note(&pictures));
    }
    tiles.push(Tile::new("Loss", &fixed(scores.loss, 4)).note("mean cross-entropy, nats"));
    tiles.push(Tile::new("Calibration error", &percent(scores.ece, 2)).note("expected, 15 bins"));
    tiles
}

/// Loss, accuracy and learning rate over the epochs; `None` without a log.
pub fn learning_section(log: &[LogRow]) -> Option<Section> {
    if log.is_empty() {
        return None;
    }
    let curve = |value: fn(&LogRow) -> Option<f64>| -> Vec<(f64, f64)> {
        log.iter().filter_map(|row| Some((row.epoch, value(row)?))).collect()
    };
    let best =
        curve(|row| row.val_top1).into_iter().reduce(|best, now| if now.1 > best.1 { now } else { best });
    let plot = |title: &str, series: [(&str, Vec<(f64, f64)>); 2]| {
        let [(train, train_points), (val, val_points)] = series;
        let mut plot = LinePlot::new(title).x_label("epoch");
        // Validation is what counts: it comes first, in the first colour, unbroken.
        for (name, points, dashed) in [(val, val_points, false), (train, train_points, true)] {
            if !points.is_empty() {
                let series = Series::new(name, points);
                plot = plot.series(if dashed { series.dashed() } else { series });
            }
        }
        match best {
            Some((epoch, _)) => plot.mark(epoch, "best"),
            None => plot,
        }
    };
    let loss =
        plot("Loss", [("training", curve(|row| row.train_loss)), ("validation", curve(|row| row.val_loss))]);
    let top1 = [("training", curve(|row| row.train_top1)), ("validation", curve(|row| row.val_top1))];
    let mut plots: Vec<Markup> = vec![loss.into()];
    if top1.iter().any(|(_, points)| !points.is_empty()) {
        plots.push(plot("Accuracy", top1).percent().into());
    }
    let lr = curve(|row| row.lr);
    let constant = lr.windows(2).all(|pair| pair[0].1 == pair[1].1);
    if !constant {
        let plot =
            LinePlot::new("Learning rate").x_label("epoch").series(Series::new("learning rate", lr.clone()));
        plots.push(plot.into());
    }
    let mut section = Section::new("How it learnt").push(columns(plots));
    section = section.lede(&match (best, log.last()) {
        (Some((epoch, top1)), Some(last)) => format!(
            "Its best validation accuracy, {}, came in epoch {} of {}.",
            percent(top1, 2),
            number(epoch),
            number(last.epoch)
        ),
        _ => "Training figures are those of pictures as trained on: augmented and with dropout.".to_owned(),
    });
    if let (true, Some(&(_, rate))) = (constant, lr.first()) {
        section = section.push(Markup::note(&format!("The learning rate stayed at {rate}.")));
    }
    Some(section)
}

/// The confusion matrix, and the pairs most often confused with pictures of them.
pub fn mistakes_section(scores: &ClassifyScores, answers: &[Answer], sight: &dyn Sight) -> Section {
    let names: Vec<String> = scores.per_class.iter().map(|class| class.label.clone()).collect();
    let wrong = scores.images - (scores.top1 * scores.images as f64).round() as u64;
    let pairs = scores.most_confused(PAIRS);
    let section = Section::new("What it mistakes").lede(&match wrong {
        0 => "Nothing: every picture was recognised.".to_owned(),
        1 => "One picture was not recognised.".to_owned(),
        _ => format!("{} of {} pictures were not recognised.", count(wrong), count(scores.images)),
    });
    let mut section = section.push(ConfusionMatrix::new(&names, &scores.confusion));
    if pairs.is_empty() {
        return section;
    }
    let mut table = Table::new(
        "Most often confused",
        vec![
            Column::words("Truth"),
            Column::words("Taken for"),
            Column::figures("Pictures"),
            Column::figures("Share of the class"),
        ],
    );
    for &(truth, prediction, n) in &pairs {
        let support = scores.per_class[truth].support.max(1);
        table = table.row(vec![
            Cell::text(&names[truth]),
            Cell::text(&names[prediction]),
            Cell::Count(n),
            Cell::Share(n as f64 / support as f64),
        ]);
    }
    section = section.push(table);
    for &(truth, prediction, _) in &pairs {
        let mut of_pair: Vec<&Answer> =
            answers.iter().filter(|a| a.truth == truth && a.predicted() == prediction).collect();
        of_pair.sort_by(|a, b| b.probability(prediction).total_cmp(&a.probability(prediction)));
        // The heading names both classes for all of them.
        let cards =
            of_pair.into_iter().filter_map(|answer| Some(card(answer, &names, sight, false)?.title("")));
        let gallery: Gallery = cards.take(PICTURES_A_PAIR).collect();
        if !gallery.is_empty() {
            section =
                section.heading(&format!("{}, taken for {}", names[truth], names[prediction])).push(gallery);
        }
    }
    section
}

/// The answers furthest from the truth and those most certainly right; `None` without answers.
pub fn pictures_section(scores: &ClassifyScores, answers: &[Answer], sight: &dyn Sight) -> Option<Section> {
    if answers.is_empty() {
        return None;
    }
    let names: Vec<String> = scores.per_class.iter().map(|class| class.label.clone()).collect();
    let truth_probability = |a: &&Answer| a.probability(a.truth);
    let mut worst: Vec<&Answer> = answers.iter().filter(|a| !a.right()).collect();
    worst.sort_by(|a, b| truth_probability(a).total_cmp(&truth_probability(b)));
    let mut best: Vec<&Answer> = answers.iter().filter(|a| a.right()).collect();
    best.sort_by(|a, b| truth_probability(b).total_cmp(&truth_probability(a)));
    let best = spread_over_classes(best, CARDS);

    let mut section = Section::new("Worst and best").lede(
        "The mistakes it was surest of, and the right answers it was surest of, some of each class. \
         Under each picture: what it said; the true class is set in bold.",
    );
    let shown = |chosen: &[&Answer], heat| -> Gallery {
        chosen.iter().filter_map(|answer| card(answer, &names, sight, heat)).take(CARDS).collect()
    };
    for (heading, gallery) in [("Worst", shown(&worst, true)), ("Best", shown(&best, false))] {
        if !gallery.is_empty() {
            section = section.heading(heading).push(gallery);
        }
    }
    Some(section)
}

/// Precision, recall and F1 of every class, with their means.
pub fn classes_section(scores: &ClassifyScores) -> Section {
    let mut table = Table::new(
        "",
        vec![
            Column::words("Class"),
            Column::figures("Precision"),
            Column::figures("Recall"),
            Column::figures("F1"),
            Column::figures("Pictures"),
        ],
    );
    for class in &scores.per_class {
        table = table.row(vec![
            Cell::text(&class.label),
            Cell::Share(class.precision),
            Cell::Share(class.recall),
            Cell::Share(class.f1),
            Cell::Count(class.support),
        ]);
    }
    for (name, mean) in
        [("Mean over classes", scores.macro_average()), ("Mean over pictures", scores.weighted_average())]
    {
        table = table.total(vec![
            Cell::text(name),
            Cell::Share(mean.precision),
            Cell::Share(mean.recall),
            Cell::Share(mean.f1),
            Cell::Count(scores.images),
        ]);
    }
    Section::new("Class by class")
        .lede(
            "Precision: of the pictures it called so, how many were. Recall: of those that were, how many it called so. \
             F1: the harmonic mean of both.",
        )
        .push(table)
}

/// Whether its confidence can be taken at its word.
pub fn calibration_section(scores: &ClassifyScores) -> Section {
    let bins = &scores.calibration;
    let total = bins.iter().map(|bin| bin.count).sum::<u64>().max(1) as f64;
    let confidence = bins.iter().map(|bin| bin.confidence * bin.count as f64).sum::<f64>() / total;
    let lean = confidence - scores.top1;
    let saying = match lean {
        _ if lean.abs() < 0.005 => "as sure of itself as it may be",
        _ if lean > 0.0 => "surer of itself than it may be",
        _ => "less sure of itself than it may be",
    };
    let bins = bins.iter().map(|bin| ReliabilityBin {
        count: bin.count,
        confidence: bin.confidence,
        accuracy: bin.accuracy,
    });
    Section::new("How sure it may be")
        .lede(&format!(
            "It is right in {} of cases and says {} on average: {saying}.",
            percent(scores.top1, 1),
            percent(confidence, 1)
        ))
        .push(ReliabilityDiagram::new(bins.collect(), scores.ece))
}

/// What it learnt from.
pub fn data_section(data: &DataSummary, scores: &ClassifyScores) -> Section {
    let train: u64 = data.train_counts.iter().sum();
    let some = |n: u64| if n > 0 { count(n) } else { String::new() };
    let facts = Facts::new()
        .fact("Data set", &data.name)
        .fact("Format", &data.format)
        .fact("Training pictures", &some(train))
        .fact("Validation pictures", &some(data.val))
        .fact("Test pictures", &some(data.test.unwrap_or(0)))
        .fact("Pictures measured", &count(scores.images))
        .fact("Left out", &some(data.skipped.len() as u64))
        .fact("Fingerprint", &data.fingerprint);
    let mut section = Section::new("Data");
    if data.train_counts.is_empty() {
        section = section.push(facts);
    } else {
        let mut chart = BarChart::new("Training pictures of each class");
        for (class, &n) in scores.per_class.iter().zip(&data.train_counts) {
            chart = chart.bar(Bar { label: class.label.clone(), value: n as f64, written: count(n) });
        }
        // Many classes want the whole width for themselves.
        section = match data.train_counts.len() {
            0..=24 => section.push(columns([Markup::from(facts), Markup::from(chart)])),
            _ => section.push(facts).push(chart),
        };
    }
    if !data.skipped.is_empty() {
        let summary = format!("Pictures left out ({})", count(data.skipped.len() as u64));
        section = section.push(Markup::details(&summary, Markup::code(&data.skipped.join("\n"))));
    }
    section
}

/// How to make it again.
pub fn provenance_section(provenance: &[(String, String)], configuration: &str) -> Section {
    let mut section = Section::new("How to make it again");
    if !provenance.is_empty() {
        section = section
            .push(provenance.iter().fold(Facts::new(), |facts, (what, value)| facts.fact(what, value)));
    }
    if !configuration.is_empty() {
        section = section.push(Markup::details("Configuration", Markup::code(configuration)));
    }
    section
}

/// One answer with its picture; `None` where the picture cannot be had.
fn card(answer: &Answer, names: &[String], sight: &dyn Sight, heat: bool) -> Option<Card> {
    let name = |class: usize| names.get(class).map_or("?", String::as_str);
    let image = sight.picture(answer.index).ok()?;
    let predicted = answer.predicted();
    let alt = format!("{}: {}", answer.name, name(answer.truth));
    let mut card = Card::new(Picture::new(&thumbnail(&image), &alt).ok()?)
        .caption(&answer.name)
        .verdict(if answer.right() { Verdict::Right } else { Verdict::Wrong });
    card = if answer.right() {
        card.title(name(predicted))
    } else {
        card.title(&format!("{}, not {}", name(answer.truth), name(predicted)))
    };
    if heat && let Ok(Some(over)) = sight.heat(answer.index, predicted) {
        let alt = format!("{}: where it saw {}", answer.name, name(predicted));
        card = card.beside(Picture::new(&thumbnail(&over), &alt).ok()?);
    }
    let mut listed = ranked(&answer.probabilities);
    listed.truncate(GUESSES);
    if !listed.contains(&answer.truth) {
        // The truth is always listed: how little it got is what the picture is shown for.
        listed.truncate(GUESSES - 1);
        listed.push(answer.truth);
    }
    for class in listed {
        card = card.guess(Guess {
            label: name(class).to_owned(),
            probability: f64::from(answer.probability(class)),
            truth: class == answer.truth,
        });
    }
    Some(card)
}

/// The first `limit` in order, but none of a class twice before every class came once, and so on.
fn spread_over_classes(answers: Vec<&Answer>, limit: usize) -> Vec<&Answer> {
    let mut seen = std::collections::BTreeMap::<usize, usize>::new();
    let mut by_turn: Vec<(usize, &Answer)> = answers
        .into_iter()
        .map(|answer| {
            let turn = seen.entry(answer.truth).or_default();
            *turn += 1;
            (*turn, answer)
        })
        .collect();
    by_turn.sort_by_key(|&(turn, _)| turn);
    by_turn.into_iter().take(limit).map(|(_, answer)| answer).collect()
}

/// At most [`THUMBNAIL`] pixels on the longer side; small pictures as they are.
fn thumbnail(image: &Image8) -> Image8 {
    let Size { width, height } = image.size;
    let longer = width.max(height);
    if longer <= THUMBNAIL {
        return image.clone();
    }
    let scaled =
        |side: u32| ((u64::from(side) * u64::from(THUMBNAIL)).div_ceil(u64::from(longer)) as u32).max(1);
    resize(image, Size::new(scaled(width), scaled(height)), Filter::Bicubic)
}

/// An epoch: whole where it is, else with one decimal.
fn number(epoch: f64) -> String {
    fixed(epoch, usize::from(epoch.fract() != 0.0))
}

#[cfg(test)]
mod tests;
