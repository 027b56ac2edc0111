//! `opticus classify train`.

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::run::{RunArgs, integer};
use super::super::{Global, device, interrupt, output, progress};
use super::DataArgs;
use crate::classify::config::TrainConfig;
use crate::classify::metrics::ClassifyScores;
use crate::classify::training;
use crate::error::Result;
use crate::train::{Fitted, RunConfig};

/// Options of `classify train`.
#[derive(Args, Debug)]
pub struct TrainArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub run: RunArgs,
    /// Network, e.g. simple-cnn, small-cnn, resnet18, mobilenet_v3_small.
    #[arg(long, value_name = "NAME")]
    pub net: Option<String>,
    /// Side of the square input, in pixels.
    #[arg(long, value_name = "N")]
    pub image_size: Option<u32>,
}

/// What `classify train --json` prints.
#[derive(Serialize, JsonSchema)]
pub struct TrainResult {
    /// Epochs finished.
    pub epochs: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// The best model.
    pub model: String,
    /// Its figures on the validation part, which chose it.
    pub val: ClassifyScores,
    /// Its figures on the test part, where the data set has one.
    pub test: Option<ClassifyScores>,
}

/// Runs `classify train`.
pub fn run(args: TrainArgs, global: &Global) -> Result<()> {
    let config = configuration(&args)?;
    let device = device(&global.device)?;
    let interrupted = interrupt::flag();
    let order = args.run.order(&config, &device, &interrupted);
    let trained = training::train(&args.data.data, &order, progress::watcher(global).as_mut())?;
    if global.json {
        return output::json(&TrainResult {
            epochs: trained.fitted.epochs,
            seconds: trained.fitted.seconds,
            model: args.run.out.join("best.safetensors").display().to_string(),
            val: trained.val,
            test: trained.test,
        });
    }
    let say = |part: &str, scores: &ClassifyScores| {
        output::line(&format!(
            "{part}: top-1 {:.4}, loss {:.4}, on {} pictures",
            scores.top1, scores.loss, scores.images
        ))
    };
    say("validation", &trained.val)?;
    trained.test.iter().try_for_each(|scores| say("test", scores))?;
    let Fitted { epochs, seconds, .. } = trained.fitted;
    output::line(&format!(
        "{epochs} epochs in {seconds:.0} s; best model: {}",
        args.run.out.join("best.safetensors").display()
    ))?;
    output::line(&format!("report: {}", args.run.out.join("report.html").display()))
}

fn configuration(args: &TrainArgs) -> Result<TrainConfig> {
    TrainConfig::from_draft(args.run.draft([
        ("seed", args.data.seed.map(integer).transpose()?),
        ("net.name", args.net.clone().map(Into::into)),
        ("data.format", args.data.format.map(|format| format.to_string().into())),
        ("data.on_bad", args.data.on_bad.map(|what| what.to_string().into())),
        ("data.val_split", args.data.val_split.map(Into::into)),
        ("input.size", args.image_size.map(|n| i64::from(n).into())),
    ])?)
}
