//! The report of a run: how the pair learnt, and what it drew from beginning to end.

use std::path::Path;

use opticus_pixels::codec::{self, ColorMode, Limits};
use serde::Deserialize;

use super::predict::{Generator, Request};
use crate::error::{Error, Result};
use crate::report::{
    Card, Facts, Gallery, LinePlot, Markup, Page, Picture, Section, Series, Tile, columns, count, duration,
    fixed,
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
    let gallery = cards.collect::<Result<Vec<Card>>>()?.into_iter().collect::<Gallery>();
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
