//! `opticus detect train`.

use std::path::PathBuf;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::run::{RunArgs, integer};
use super::super::{Global, device, interrupt, output, progress};
use super::DataArgs;
use crate::detect::config::TrainConfig;
use crate::detect::metrics::DetectScores;
use crate::detect::training;
use crate::error::Result;
use crate::train::{Fitted, RunConfig};

/// Options of `detect train`.
#[derive(Args, Debug)]
pub struct TrainArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Detector, e.g. ssd-lite, faster-rcnn, fast-rcnn, rcnn.
    #[arg(long, value_name = "NAME")]
    pub net: Option<String>,
    /// Shorter side of the input, in pixels; the side of the square for one-stage detectors.
    #[arg(long, value_name = "N")]
    pub image_size: Option<u32>,
    /// Regions that `detect propose --to` wrote, for rcnn and fast-rcnn; by default those of selective search.
    #[arg(long, value_name = "FILE")]
    pub proposals: Option<PathBuf>,
    #[command(flatten)]
    pub run: RunArgs,
}

/// What `detect train --json` prints.
#[derive(Serialize, JsonSchema)]
pub struct TrainResult {
    /// Epochs finished.
    pub epochs: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// The best model.
    pub model: String,
    /// Its figures on the validation part, which chose it.
    pub val: DetectScores,
    /// Its figures on the test part, where the data set has one.
    pub test: Option<DetectScores>,
}

/// Runs `detect train`.
pub fn run(args: TrainArgs, global: &Global) -> Result<()> {
    let config = TrainConfig::from_draft(args.run.draft([
        ("seed", args.data.seed.map(integer).transpose()?),
        ("net.name", args.net.clone().map(Into::into)),
        ("data.format", args.data.format.map(|format| format.to_string().into())),
        ("data.val_split", args.data.val_split.map(Into::into)),
        ("input.size", args.image_size.map(|n| i64::from(n).into())),
    ])?)?;
    let device = device(&global.device)?;
    let interrupted = interrupt::flag();
    let order = args.run.order(&config, &device, &interrupted);
    let trained = training::train(
        &args.data.data,
        &order,
        args.proposals.as_deref(),
        progress::watcher(global).as_mut(),
    )?;
    let model = args.run.out.join("best.safetensors").display().to_string();
    let Fitted { epochs, seconds, .. } = trained.fitted;
    if global.json {
        let (val, test) = (trained.val.without_curves(), trained.test.map(DetectScores::without_curves));
        return output::json(&TrainResult { epochs, seconds, model, val, test });
    }
    output::line(&format!("validation: {}", trained.val.to_string().trim_end()))?;
    trained
        .test
        .iter()
        .try_for_each(|scores| output::line(&format!("test: {}", scores.to_string().trim_end())))?;
    output::line(&format!("{epochs} epochs in {seconds:.0} s; best model: {model}"))?;
    output::line(&format!("report: {}", args.run.out.join("report.html").display()))
}
