//! `opticus generate train`.

use std::path::PathBuf;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::run::{RunArgs, integer};
use super::super::{Global, device, interrupt, output, progress};
use crate::data::OnBad;
use crate::error::Result;
use crate::generate::config::{Asked, TrainConfig};
use crate::generate::training;
use crate::nets::gan::GanKind;
use crate::train::RunConfig;

/// Options of `generate train`.
#[derive(Args, Debug)]
pub struct TrainArgs {
    /// Pictures: class folders, IDX, CIFAR, a table of captions or numbers, emoji, or any folder of pictures.
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    #[command(flatten)]
    pub run: RunArgs,
    /// Networks: dense-gan, dcgan, modulated-gan (default) or resnet-gan.
    #[arg(long, value_name = "NAME")]
    pub net: Option<GanKind>,
    /// What pictures will be asked by: auto, none, label, numbers or text.
    #[arg(long, value_name = "WHAT")]
    pub condition: Option<Asked>,
    /// Columns of the table to ask by, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Side of the square pictures.
    #[arg(long, value_name = "S")]
    pub image_size: Option<u32>,
    /// Seed of everything random.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Pictures that cannot be read: error or skip.
    #[arg(long, value_name = "WHAT")]
    pub on_bad: Option<OnBad>,
}

/// What `generate train --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GeneratorTrained {
    /// Epochs done.
    pub epochs: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// The best model.
    pub model: String,
    /// How far its pictures are from the real ones by means and deviations of 8×8 cells; 0 is alike.
    pub cell_distance: f64,
}

/// Runs `generate train`.
pub fn run(args: &TrainArgs, global: &Global) -> Result<()> {
    let columns = (!args.columns.is_empty()).then(|| args.columns.clone().into());
    let config = TrainConfig::from_draft(args.run.draft([
        ("seed", args.seed.map(integer).transpose()?),
        ("net.name", args.net.map(|kind| kind.name().into())),
        ("net.image_size", args.image_size.map(|n| i64::from(n).into())),
        ("data.condition", args.condition.map(|what| what.name().into())),
        ("data.columns", columns),
        ("data.on_bad", args.on_bad.map(|what| what.to_string().into())),
    ])?)?;
    let device = device(&global.device)?;
    let interrupted = interrupt::flag();
    let order = args.run.order(&config, &device, &interrupted);
    let trained = training::train(&args.data, &order, progress::watcher(global).as_mut())?;
    let model = args.run.out.join("best.safetensors").display().to_string();
    let (epochs, seconds, cell_distance) = (trained.fitted.epochs, trained.fitted.seconds, trained.distance);
    if global.json {
        return output::json(&GeneratorTrained { epochs, seconds, model, cell_distance });
    }
    output::line(&format!(
        "{epochs} epochs in {seconds:.0} s; distance by cells {cell_distance:.3}; best model: {model}"
    ))?;
    output::line(&format!("report: {}", args.run.out.join("report.html").display()))
}
