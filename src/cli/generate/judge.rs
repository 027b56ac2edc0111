//! Classifiers that `generate eval` trains to measure by; they are kept beside the model.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use super::super::interrupt;
use crate::classify::config::TrainConfig;
use crate::classify::dataset::Parts;
use crate::classify::training;
use crate::data::{Format, Labelled};
use crate::error::{Error, Result};
use crate::settings::Draft;
use crate::train::{Existing, Order, Progress, RunConfig};

/// Part of the made pictures that chooses the best epoch.
const VALIDATION: f64 = 0.1;

/// The recipe of both classifiers.
fn config() -> Result<TrainConfig> {
    let mut draft = Draft::new();
    for (key, value) in [("net.name", "small-cnn"), ("fit.epochs", "5"), ("fit.batch_size", "64")] {
        draft.set_text(&format!("{key}={value}"))?;
    }
    TrainConfig::from_draft(draft)
}

fn beside(model: &Path, name: &str) -> PathBuf {
    model.parent().unwrap_or(Path::new("")).join(name)
}

/// A classifier trained on the real pictures; the one that is there, if there is one.
pub fn of_real(model: &Path, data: &Path, device: &Device, progress: &mut dyn Progress) -> Result<PathBuf> {
    let out = beside(model, "extractor");
    let best = out.join("best.safetensors");
    if out.join("report.html").is_file() && best.is_file() {
        progress.message(&format!("comparing by the features of {}", best.display()));
        return Ok(best);
    }
    progress.message(&format!("training a classifier to compare by, into {}", out.display()));
    let order = Order {
        config: &config()?,
        init_from: None,
        out: &out,
        existing: if out.join("config.toml").is_file() { Existing::Resume } else { Existing::Refuse },
        device,
        interrupted: &interrupt::flag(),
    };
    training::train(data, &order, progress).map_err(|e| match e {
        Error::Input(message) => Error::Input(format!(
            "no classifier can be trained on this data to compare by ({message}); give one with --extractor FILE"
        )),
        other => other,
    })?;
    Ok(best)
}

/// Part of the real pictures that a classifier names which was trained on made ones only.
pub fn of_made(
    model: &Path,
    made: Labelled,
    real: Labelled,
    device: &Device,
    progress: &mut dyn Progress,
) -> Result<f64> {
    let out = beside(model, "accuracy");
    progress.message(&format!("training a classifier on made pictures, into {}", out.display()));
    let config = config()?;
    let (train, val) = made.stratified_split(VALIDATION, config.seed)?;
    let real = real.with_color(train.color());
    let parts = Parts { train, val, test: Some(real), skipped: Vec::new(), format: Format::Auto };
    let order = Order {
        config: &config,
        init_from: None,
        out: &out,
        existing: Existing::Overwrite,
        device,
        interrupted: &interrupt::flag(),
    };
    let trained = training::train_on(parts, "made pictures", &order, progress)?;
    Ok(trained.test.unwrap_or(trained.val).top1)
}
