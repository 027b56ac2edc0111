//! `opticus classify train`.

use std::path::PathBuf;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{Global, device, interrupt, output, progress};
use super::DataArgs;
use crate::classify::config::TrainConfig;
use crate::classify::metrics::ClassifyScores;
use crate::classify::training::{self, Order};
use crate::error::{Error, Result};
use crate::settings::Draft;
use crate::train::{Existing, Fitted};

/// Options of `classify train`.
#[derive(Args, Debug)]
pub struct TrainArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Run folder to make: log, checkpoints, best and last model, report.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Network, e.g. simple-cnn, small-cnn, resnet18, mobilenet_v3_small.
    #[arg(long, value_name = "NAME")]
    pub net: Option<String>,
    /// Typed TOML configuration; presets are in configs/.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override of one configuration value, e.g. --set optimizer.weight_decay=5e-4. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Passes over the training pictures.
    #[arg(long, value_name = "N")]
    pub epochs: Option<u32>,
    /// Stop after this many minutes of training, if --epochs has not been reached.
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    pub minutes: Option<f64>,
    /// Pictures a step.
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Peak learning rate.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Side of the square input, in pixels.
    #[arg(long, value_name = "N")]
    pub image_size: Option<u32>,
    /// Go on with an interrupted run in --out, to exactly the result it would have had.
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// Replace a run that is already in --out.
    #[arg(long)]
    pub overwrite: bool,
    /// Start from the weights of another Opticus model; tensors that do not fit are left out and named.
    #[arg(long, value_name = "FILE")]
    pub init_from: Option<PathBuf>,
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
    let existing = match (args.resume, args.overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    let order = Order {
        config: &config,
        init_from: args.init_from.as_deref(),
        out: &args.out,
        existing,
        device: &device,
        interrupted: &interrupted,
    };
    let trained = training::train(&args.data.data, &order, progress::watcher(global).as_mut())?;
    if global.json {
        return output::json(&TrainResult {
            epochs: trained.fitted.epochs,
            seconds: trained.fitted.seconds,
            model: args.out.join("best.safetensors").display().to_string(),
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
        args.out.join("best.safetensors").display()
    ))?;
    output::line(&format!("report: {}", args.out.join("report.html").display()))
}

/// The configuration of a run: presets and file, then `--set`, then the flags that have a name of their own.
fn configuration(args: &TrainArgs) -> Result<TrainConfig> {
    let mut draft = match &args.config {
        Some(path) => Draft::from_file(path)?,
        None => Draft::new(),
    };
    for assignment in &args.set {
        draft.set_text(assignment)?;
    }
    let flags: [(&str, Option<toml::Value>); 8] = [
        ("seed", args.data.seed.map(integer).transpose()?),
        ("net.name", args.net.clone().map(Into::into)),
        ("data.val_split", args.data.val_split.map(Into::into)),
        ("fit.epochs", args.epochs.map(|n| i64::from(n).into())),
        ("fit.minutes", args.minutes.map(Into::into)),
        ("fit.batch_size", args.batch_size.map(|n| integer(n as u64)).transpose()?),
        ("optimizer.lr", args.lr.map(Into::into)),
        ("input.size", args.image_size.map(|n| i64::from(n).into())),
    ];
    for (key, value) in flags {
        if let Some(value) = value {
            draft.set(key, value)?;
        }
    }
    TrainConfig::from_draft(draft)
}

fn integer(value: u64) -> Result<toml::Value> {
    i64::try_from(value)
        .map(Into::into)
        .map_err(|_| Error::Config(format!("{value} is too large; give at most {}", i64::MAX)))
}
