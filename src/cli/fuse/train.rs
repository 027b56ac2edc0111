//! `opticus fuse train`.

use std::path::PathBuf;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::run::{RunArgs, integer};
use super::super::{Global, device, interrupt, output, progress};
use crate::error::Result;
use crate::fuse::config::TrainConfig;
use crate::fuse::metrics::FuseScores;
use crate::fuse::training;
use crate::train::RunConfig;

/// Options of `fuse train`.
#[derive(Args, Debug)]
pub struct TrainArgs {
    /// Folder of photos, at any depth; nothing need be known of them.
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    #[command(flatten)]
    pub run: RunArgs,
    /// Side of the pieces that pairs are made of, in pixels.
    #[arg(long, value_name = "N")]
    pub image_size: Option<u32>,
    /// Part of the photos set aside to choose the best epoch by, 0 to 1; by default 0.1, at least one photo.
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub val_split: Option<f64>,
    /// Seed of everything random: split, initial weights, order, pairs.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// What to do with a picture that cannot be read.
    #[arg(long, value_name = "WHAT")]
    pub on_bad: Option<crate::data::OnBad>,
}

/// What `fuse train --json` prints.
#[derive(Serialize, JsonSchema)]
pub struct FuserTrained {
    /// Epochs finished.
    pub epochs: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// The best model.
    pub model: String,
    /// Its figures on pairs made of the validation photos, which chose it.
    pub val: FuseScores,
}

/// Runs `fuse train`.
pub fn run(args: &TrainArgs, global: &Global) -> Result<()> {
    let config = TrainConfig::from_draft(args.run.draft([
        ("seed", args.seed.map(integer).transpose()?),
        ("data.crop", args.image_size.map(|n| i64::from(n).into())),
        ("data.val_split", args.val_split.map(Into::into)),
        ("data.on_bad", args.on_bad.map(|what| what.to_string().into())),
    ])?)?;
    let device = device(&global.device)?;
    let interrupted = interrupt::flag();
    let order = args.run.order(&config, &device, &interrupted);
    let trained = training::train(&args.data, &order, progress::watcher(global).as_mut())?;
    let model = args.run.out.join("best.safetensors").display().to_string();
    let (epochs, seconds) = (trained.fitted.epochs, trained.fitted.seconds);
    if global.json {
        return output::json(&FuserTrained { epochs, seconds, model, val: trained.val });
    }
    let FuseScores { pairs, mef_ssim, qabf } = trained.val;
    output::line(&format!("validation: MEF-SSIM {mef_ssim:.4}, Q^AB/F {qabf:.4}, on {pairs} made pairs"))?;
    output::line(&format!("{epochs} epochs in {seconds:.0} s; best model: {model}"))?;
    output::line(&format!("report: {}", args.run.out.join("report.html").display()))
}
