//! A whole training run: photos, network, loop, final measurement, report.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;

use super::config::TrainConfig;
use super::dataset::{self, Parts};
use super::learner::{Batches, FuseLearner, Recipe};
use super::metrics::{self, FuseScores};
use super::net::{DENSE_FUSE, FuserConfig, Input, Rule};
use super::predict::Fuser;
use super::report::{RunReport, read_log, run_report};
use crate::bundle::{self, Provenance};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::nets::init::Scope;
use crate::nets::state;
use crate::train::{Existing, Fitted, Progress, Run, RunFolder, Schedule, fit, run};

/// What to train, to where.
#[derive(Debug)]
pub struct Order<'a> {
    /// Everything that decides the result.
    pub config: &'a TrainConfig,
    /// Another fuser to take fitting weights from.
    pub init_from: Option<&'a Path>,
    /// The run folder.
    pub out: &'a Path,
    /// What to do with a run that is already there.
    pub existing: Existing,
    /// Where to compute.
    pub device: &'a Device,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Trained {
    /// How the loop ended.
    pub fitted: Fitted,
    /// The best model on pairs made of the validation photos.
    pub val: FuseScores,
}

/// Trains a fuser on a folder of photos. See [`fit()`] for what survives an interruption.
///
/// # Errors
/// Whatever is wrong with data, configuration, disk or the course of training; see [`Error`].
pub fn train(data: &Path, order: &Order<'_>, progress: &mut dyn Progress) -> Result<Trained> {
    let Order { config, device, .. } = order;
    let Parts { train, val, skipped } = dataset::open_for_training(data, config)?;
    for skipped in &skipped {
        progress.message(&format!("skipped {}: {}", skipped.name, skipped.reason));
    }
    let fingerprint = train.fingerprint()?;
    let resolved = toml::to_string_pretty(config)
        .map_err(|e| Error::Config(format!("the configuration cannot be written as TOML: {e}")))?;
    let identity = run::identity(&resolved, &fingerprint, order.init_from);
    let mut net = config.net.build(&Scope::seeded(config.seed, &(*device).clone().autodiff()));
    if let Some(path) = order.init_from {
        let partial = state::load_partial(net, &bundle::load(path)?.tensors);
        if partial.taken.is_empty() {
            return Err(Error::ModelFile(format!(
                "{} has no tensor that fits this network; --init-from needs a fuser of the same width",
                path.display()
            )));
        }
        progress.message(&format!("took {} tensors from {}", partial.taken.len(), path.display()));
        partial.left.iter().for_each(|left| progress.message(&format!("left out: {left}")));
        net = partial.module;
    }
    let folder = RunFolder::open(order.out, order.existing)?;
    folder.write_config(&resolved)?;
    let parameters = state::parameter_count(&net);
    progress.message(&format!(
        "{DENSE_FUSE}: {parameters} parameters; {} photos to learn from, {} to choose by",
        train.len(),
        val.len(),
    ));
    let command = config.command()?;
    let facts = [
        ("Photos learnt from".to_owned(), train.len().to_string()),
        ("Photos chosen by".into(), val.len().to_string()),
        ("Fingerprint".into(), fingerprint.clone()),
        ("Left out".into(), skipped.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join("; ")),
    ];
    let recipe = Recipe {
        net: FuserConfig { name: DENSE_FUSE.into(), layers: config.net },
        input: Input::default(),
        provenance: Provenance {
            command: command.clone(),
            seed: Some(config.seed),
            data_fingerprint: fingerprint,
            product_version: env!("CARGO_PKG_VERSION").into(),
        },
    };
    let pairs = dataset::measuring_pairs(&val, config.seed)?;
    let batches = Batches(dataset::training_loader(train, config, Input::default())?);
    let mut learner = FuseLearner::new(net, config, recipe, pairs.clone(), device)?;
    let steps = batches.0.batches() as u64;
    let schedule = Schedule::new(&config.schedule, config.optimizer.lr, steps, u64::from(config.fit.epochs))?;
    let run = Run {
        folder: &folder,
        config: &config.fit,
        schedule: &schedule,
        seed: config.seed,
        identity: &identity,
        resume: order.existing == Existing::Resume,
        interrupted: order.interrupted,
    };
    let fitted = fit(&mut learner, &batches, &run, progress)?;
    let fuser = Fuser::load(folder.best(), device)?;
    let val = metrics::measure(&fuser, &pairs, Rule::Max)?;
    let log = folder.log();
    let log = std::fs::read_to_string(&log).map_err(|e| Error::io("read", &log, e))?;
    let page = run_report(&RunReport {
        title: &order.out.file_name().unwrap_or(order.out.as_os_str()).to_string_lossy(),
        parameters: parameters as u64,
        scores: &val,
        log: &read_log(&log)?,
        pairs: &pairs,
        fuser: &fuser,
        data: &facts,
        configuration: &resolved,
        provenance: &[
            ("Command".into(), format!("opticus {command}")),
            ("Seed".into(), config.seed.to_string()),
            ("Version".into(), env!("CARGO_PKG_VERSION").into()),
        ],
    })?;
    folder.write("report.html", &page)?;
    Ok(Trained { fitted, val })
}
