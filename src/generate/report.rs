//! Two reports: of a run, how the pair learnt and what it drew from beginning to end; and of an evaluation.

use std::path::Path;

use opticus_pixels::codec::{self, ColorMode, Limits};
use serde::Deserialize;

use super::condition::Condition;
use super::evaluation::GenerateScores;
use super::evidence::Evidence;
use super::predict::{Generator, Request};
use crate::error::{Error, Result};
use crate::report::{
    Bar, BarChart, Card, Facts, Gallery, Guess, LinePlot, Markup, Page, Picture, Section, Series, Tile,
    columns, count, duration, fixed, percent,
};

/// Sheets of the course of training that are shown.
const STAGES: usize = 4;
/// Pictures of the finished generator that are shown one by one.
const PICTURES: usize = 24;

/// One row of the run's log.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct LogRow {
    /// Epochs done, from 1.
    pub epoch: f64,
    /// Mean loss of the discriminator.
    pub train_loss: Option<f64>,
    /// Mean loss of the generator.
    pub train_generator_loss: Option<f64>,
    /// Mean verdict on real pictures less that on made ones.
    pub train_gap: Option<f64>,
    /// Probability of augmentation, where it adapts.
    pub train_augment: Option<f64>,
    /// Distance from real pictures by cells.
    pub cell_distance: Option<f64>,
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
    rows.map_err(|e| Error::Input(format!("log.csv is not the log of a generator's training: {e}")))
}

/// Everything the report tells.
pub struct RunReport<'a> {
    /// Name of the run.
    pub title: &'a str,
    /// Numbers of parameters: of the generator, of the discriminator.
    pub parameters: [u64; 2],
    /// The best model's distance from real pictures by cells.
    pub distance: f64,
    /// The log, in order.
    pub log: &'a [LogRow],
    /// The folder of the epochs' sheets.
    pub samples: &'a Path,
    /// What the sheets show.
    pub requests: &'a [Request],
    /// The best model.
    pub generator: &'a Generator,
    /// Facts about the data, as (what, value).
    pub data: &'a [(String, String)],
    /// The resolved configuration, as TOML.
    pub configuration: &'a str,
    /// Where the model comes from, as (what, value).
    pub provenance: &'a [(String, String)],
}

/// The page, self-contained, ready to be written.
///
/// # Errors
/// As [`Generator::sample`]; [`Error::Io`] if a sheet cannot be read.
pub fn run_report(run: &RunReport<'_>) -> Result<String> {
    let size = run.generator.size();
    let mut page = Page::new(run.title).eyebrow("Opticus · generation").lede(&format!(
        "A network that draws pictures of {} by {} pixels, asked by {}, and what it drew on the way.",
        size.width,
        size.height,
        run.generator.condition(),
    ));
    page = page
        .tile(
            Tile::new("Distance by cells", &fixed(run.distance, 3)).note("0 is alike; pictures learnt from"),
        )
        .tile(Tile::new("Draws with", &count(run.parameters[0])).note("parameters"))
        .tile(Tile::new("Judged with", &count(run.parameters[1])).note("parameters"));
    if let Some(seconds) = run.log.iter().rev().find_map(|row| row.seconds) {
        page = page.tile(Tile::new("Training time", &duration(seconds)));
    }
    let facts = |all: &[(String, String)]| {
        all.iter().fold(Facts::new(), |facts, (what, value)| facts.fact(what, value))
    };
    let made = Section::new("How to make it again")
        .push(facts(run.provenance))
        .push(Markup::details("Configuration", Markup::code(run.configuration)));
    let sections = [
        Some(pictures_section(run)?),
        stages_section(run)?,
        learning_section(run.log),
        Some(Section::new("Data").push(facts(run.data))),
        Some(made),
    ];
    page = sections.into_iter().flatten().fold(page, Page::section);
    Ok(page.colophon(&format!("Made by Opticus {}.", env!("CARGO_PKG_VERSION"))).render())
}

fn pictures_section(run: &RunReport<'_>) -> Result<Section> {
    let requests = &run.requests[..PICTURES.min(run.requests.len())];
    let pictures = run.generator.sample(requests, None)?;
    let cards = requests.iter().zip(&pictures).map(|(request, picture)| {
        let said = run.generator.condition().describe(&request.wish);
        Ok(Card::new(Picture::new(picture, &said)?).title(&said).caption(&format!("seed {}", request.seed)))
    });
    let gallery = cards.collect::<Result<Gallery>>()?;
    Ok(Section::new("What it draws").lede("Not chosen: the first seeds, as they come.").push(gallery))
}

/// The same latent numbers at the beginning, in between and at the end.
fn stages_section(run: &RunReport<'_>) -> Result<Option<Section>> {
    let listed = std::fs::read_dir(run.samples).map_err(|e| Error::io("list", run.samples, e))?;
    let mut files: Vec<_> = listed.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("epoch-")));
    files.sort();
    let Some(last) = files.len().checked_sub(1) else { return Ok(None) };
    let mut stages: Vec<usize> = (0..STAGES).map(|i| i * last / (STAGES - 1)).collect();
    stages.dedup();
    let mut cards = Vec::new();
    for stage in stages {
        let decoded =
            codec::decode_file(&files[stage], &Limits::default()).map_err(|e| Error::Input(e.to_string()))?;
        let title = format!("after {} of {} looks", stage + 1, files.len());
        cards.push(Card::new(Picture::new(&decoded.into_image8(ColorMode::Rgb), &title)?).title(&title));
    }
    let lede = "The same latent numbers, drawn by the averaged weights of their time.";
    Ok(Some(Section::new("How they came about").lede(lede).push(cards.into_iter().collect::<Gallery>())))
}

fn learning_section(log: &[LogRow]) -> Option<Section> {
    log.last()?;
    let curve = |value: fn(&LogRow) -> Option<f64>| -> Vec<(f64, f64)> {
        log.iter().filter_map(|row| Some((row.epoch, value(row)?))).collect()
    };
    let distance = LinePlot::new("Distance from real pictures, by cells").x_label("epoch");
    let distance = distance.series(Series::new("distance", curve(|row| row.cell_distance)));
    let losses = LinePlot::new("Losses")
        .x_label("epoch")
        .series(Series::new("discriminator", curve(|row| row.train_loss)))
        .series(Series::new("generator", curve(|row| row.train_generator_loss)).dashed());
    let gap = LinePlot::new("Verdict on real pictures, less that on made ones").x_label("epoch");
    let gap = gap.series(Series::new("gap", curve(|row| row.train_gap)));
    let mut plots: Vec<Markup> = vec![distance.into(), losses.into(), gap.into()];
    let augment = curve(|row| row.train_augment);
    if !augment.is_empty() {
        plots.push(
            LinePlot::new("Probability of changes").x_label("epoch").series(Series::new("p", augment)).into(),
        );
    }
    Some(Section::new("How it learnt").push(columns(plots)))
}

/// The page of an evaluation, self-contained, ready to be written.
///
/// # Errors
/// [`Error::Input`] for a picture that cannot be encoded.
pub fn evaluation_report(
    title: &str,
    condition: &Condition,
    scores: &GenerateScores,
    evidence: &Evidence,
) -> Result<String> {
    let protocol = &scores.protocol;
    let mut page = Page::new(title).eyebrow("Opticus · generation").lede(&format!(
        "{} pictures made, asked by {condition}, against {} real ones ({}).",
        count(protocol.fake as u64),
        count(protocol.real as u64),
        protocol.part
    ));
    let floor = scores.fid_real.map(|fid| format!("real against real: {}", fixed(fid, 4)));
    page = page.tile(Tile::new("FID", &fixed(scores.fid, 4)).note(floor.as_deref().unwrap_or("0 is alike")));
    if let Some(part) = scores.recognised {
        page = page.tile(Tile::new("Recognised", &percent(part, 2)).note("taken for what was asked for"));
    }
    if let Some(found) = &scores.retrieval {
        let times = format!("{} times chance", fixed(found.top1 / found.chance, 1));
        page = page.tile(Tile::new("Find their words", &percent(found.top1, 1)).note(&times));
    }
    page = page
        .tile(
            Tile::new("Precision", &fixed(scores.precision, 3))
                .note("made pictures that lie among real ones"),
        )
        .tile(
            Tile::new("Coverage", &fixed(scores.coverage, 3)).note("real pictures with a made one near by"),
        );
    let sections =
        [Some(nearest_section(condition, evidence)?), recognised_section(condition, scores, evidence)?];
    page = sections.into_iter().flatten().fold(page, Page::section);
    Ok(page
        .section(figures_section(scores))
        .colophon(&format!("Made by Opticus {}.", env!("CARGO_PKG_VERSION")))
        .render())
}

/// Made pictures beside what they come closest to, where copies would show.
fn nearest_section(condition: &Condition, evidence: &Evidence) -> Result<Section> {
    let cards = evidence.nearest.iter().map(|pair| {
        let said = condition.describe(&pair.request.wish);
        let card =
            Card::new(Picture::new(&pair.made, &said)?).beside(Picture::new(&pair.learnt, "the nearest")?);
        Ok(card.title(&said).caption(&format!("seed {}", pair.request.seed)))
    });
    let lede = format!(
        "Not chosen: the first seeds, as they come; to the right of each the nearest, by the features, of {} real \
         pictures learnt from. A generator that copies would show here.",
        count(evidence.among as u64)
    );
    let gallery = cards.collect::<Result<Gallery>>()?;
    Ok(Section::new("What it draws, and what that is nearest to").lede(&lede).push(gallery))
}

fn recognised_section(
    condition: &Condition,
    scores: &GenerateScores,
    evidence: &Evidence,
) -> Result<Option<Section>> {
    if scores.recognised_of.is_empty() {
        return Ok(None);
    }
    let bar = |of: &super::evaluation::Recognised| Bar {
        label: of.label.clone(),
        value: of.part,
        written: percent(of.part, 1),
    };
    let chart = BarChart::new("Taken for what was asked for").up_to(1.0);
    let mut section =
        Section::new("Recognised").push(scores.recognised_of.iter().map(bar).fold(chart, BarChart::bar));
    if !evidence.mistaken.is_empty() {
        let cards = evidence.mistaken.iter().map(|wrong| {
            let said = condition.describe(&wrong.request.wish);
            let card = Card::new(Picture::new(&wrong.made, &said)?);
            let guess = Guess { label: wrong.seen.clone(), probability: wrong.probability, truth: false };
            Ok(card.title(&said).caption(&format!("seed {}", wrong.request.seed)).guess(guess))
        });
        let gallery = cards.collect::<Result<Gallery>>()?;
        section = section.heading("Taken for something else, the surest first").push(gallery);
    }
    Ok(Some(section))
}

fn figures_section(scores: &GenerateScores) -> Section {
    let protocol = &scores.protocol;
    let mut facts = Facts::new().fact("FID", &fixed(scores.fid, 4));
    let optional = [
        ("FID, real against real", scores.fid_real.map(|v| fixed(v, 4))),
        ("KID", Some(fixed(scores.kid, 6))),
        ("Precision", Some(fixed(scores.precision, 4))),
        ("Recall", Some(fixed(scores.recall, 4))),
        ("Density", Some(fixed(scores.density, 4))),
        ("Coverage", Some(fixed(scores.coverage, 4))),
        ("Inception score", scores.inception_score.map(|v| fixed(v, 3))),
        ("Taken for what was asked for", scores.recognised.map(|v| fixed(v, 4))),
        ("Classification accuracy score", scores.classification_accuracy.map(|v| fixed(v, 4))),
    ];
    for (name, value) in optional.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        facts = facts.fact(name, value);
    }
    for (whose, found) in [("made", &scores.retrieval), ("real", &scores.retrieval_real)] {
        if let Some(found) = found {
            let name = format!("Held-out descriptions found by {whose} pictures");
            facts = facts.fact(
                &name,
                &format!(
                    "{} of {} among {}, {} times chance; mean reciprocal rank {}",
                    fixed(found.top1, 4),
                    found.pictures,
                    found.descriptions,
                    fixed(found.top1 / found.chance, 1),
                    fixed(found.mean_reciprocal_rank, 4)
                ),
            );
        }
    }
    let truncated = protocol.truncation.map_or_else(|| "none".to_owned(), |at| format!("at {at}"));
    let how = Facts::new()
        .fact("Real pictures", &format!("{} ({})", protocol.real, protocol.part))
        .fact("Made pictures", &format!("{}, from seed {} on", protocol.fake, protocol.seed))
        .fact("Features", &format!("{} of {}", protocol.features, protocol.extractor))
        .fact("Resized", &protocol.resize)
        .fact("Truncation", &truncated);
    Section::new("Figures").push(facts).heading("Protocol").push(how)
}
