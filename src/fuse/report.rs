//! The report of a run: how the fuser learnt, what it makes of pairs it has not seen.

use opticus_pixels::Image8;
use serde::Deserialize;

use super::metrics::{self, FuseScores};
use super::net::Rule;
use super::predict::Fuser;
use crate::error::{Error, Result};
use crate::report::{
    Card, Facts, Gallery, LinePlot, Markup, Page, Picture, Section, Series, Tile, columns, count, duration,
    fixed,
};

/// Pairs shown.
const SHOWN: usize = 6;

/// One row of the run's log.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct LogRow {
    /// Epochs done, from 1.
    pub epoch: f64,
    /// Mean loss on the training pairs.
    pub train_loss: Option<f64>,
    /// MEF-SSIM on the validation pairs.
    pub val_mef_ssim: Option<f64>,
    /// Q^AB/F on the validation pairs.
    pub val_qabf: Option<f64>,
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
    rows.map_err(|e| Error::Input(format!("log.csv is not the log of a fuser's training: {e}")))
}

/// Everything the report tells.
pub struct RunReport<'a> {
    /// Name of the run.
    pub title: &'a str,
    /// Number of parameters.
    pub parameters: u64,
    /// The best model's figures on the pairs.
    pub scores: &'a FuseScores,
    /// The log, in order.
    pub log: &'a [LogRow],
    /// Pairs made of the validation photos.
    pub pairs: &'a [[Image8; 2]],
    /// The best model.
    pub fuser: &'a Fuser,
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
/// As [`Fuser::fuse`].
pub fn run_report(run: &RunReport<'_>) -> Result<String> {
    let mut page = Page::new(run.title).eyebrow("Opticus · fusion").lede(&format!(
        "A network that makes one picture of several. On {} pairs made of photos that it did not learn from, its pictures \
         keep {} of the pairs' structure (MEF-SSIM).",
        run.scores.pairs,
        fixed(run.scores.mef_ssim, 3),
    ));
    page = page
        .tile(Tile::new("MEF-SSIM", &fixed(run.scores.mef_ssim, 4)).note("structure kept"))
        .tile(Tile::new("Q^AB/F", &fixed(run.scores.qabf, 4)).note("edges kept"))
        .tile(Tile::new("Parameters", &count(run.parameters)));
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
        learning_section(run.log),
        Some(pairs_section(run)?),
        Some(Section::new("Data").push(facts(run.data))),
        Some(made),
    ];
    page = sections.into_iter().flatten().fold(page, Page::section);
    Ok(page.colophon(&format!("Made by Opticus {}.", env!("CARGO_PKG_VERSION"))).render())
}

fn learning_section(log: &[LogRow]) -> Option<Section> {
    log.last()?;
    let curve = |value: fn(&LogRow) -> Option<f64>| -> Vec<(f64, f64)> {
        log.iter().filter_map(|row| Some((row.epoch, value(row)?))).collect()
    };
    let kept = LinePlot::new("Kept of the validation pairs")
        .x_label("epoch")
        .series(Series::new("MEF-SSIM", curve(|row| row.val_mef_ssim)))
        .series(Series::new("Q^AB/F", curve(|row| row.val_qabf)).dashed());
    let loss = LinePlot::new("Training loss").x_label("epoch");
    let loss = loss.series(Series::new("loss", curve(|row| row.train_loss)));
    let rate = LinePlot::new("Learning rate").x_label("epoch");
    let rate = rate.series(Series::new("learning rate", curve(|row| row.lr)));
    let plots: Vec<Markup> = vec![kept.into(), loss.into(), rate.into()];
    Some(Section::new("How it learnt").push(columns(plots)))
}

fn pairs_section(run: &RunReport<'_>) -> Result<Section> {
    let mut cards = Vec::new();
    for pair in run.pairs.iter().take(SHOWN) {
        let fused = metrics::fuse(run.fuser, pair, Rule::Max)?;
        for (image, title) in [(&pair[0], "one"), (&pair[1], "other"), (&fused, "fused")] {
            cards.push(Card::new(Picture::new(image, title)?).title(title));
        }
    }
    let lede = "Sharp in different places, of different exposure, of different sensors: pairs of photos it did not learn from.";
    Ok(Section::new("Pairs and what it makes of them")
        .lede(lede)
        .push(cards.into_iter().collect::<Gallery>()))
}
