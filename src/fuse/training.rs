//! A whole training run: photos, network, loop, final measurement, report.

use std::path::Path;

use super::config::TrainConfig;
use super::dataset::{self, Parts};
use super::learner::{Batches, FuseLearner, Recipe};
use super::metrics::{self, FuseScores};
use super::net::{DENSE_FUSE, FuserConfig, Input, Rule};
use super::predict::Fuser;
use super::report::{RunReport, read_log, run_report};
use crate::bundle::{self, Provenance};
use crate::data::Dataset;
use crate::error::Result;
use crate::nets::init::Scope;
use crate::nets::state;
use crate::train::{Fitted, Order, Progress, RunConfig};

/// What a run came to.
#[derive(Debug)]
pub struct Trained {
    /// How the loop ended.
    pub fitted: Fitted,
    /// The best model on pairs made of the validation photos.
    pub val: FuseScores,
}

/// Trains a fuser on a folder of photos. See [`Order::fit`] for what survives an interruption.
///
/// # Errors
/// Whatever is wrong with data, configuration, disk or the course of training; see [`Error`](crate::Error).
pub fn train(data: &Path, order: &Order<'_, TrainConfig>, progress: &mut dyn Progress) -> Result<Trained> {
    let Order { config, device, .. } = order;
    let Parts { train, val, skipped } = dataset::open_for_training(data, config)?;
    for skipped in &skipped {
        progress.message(&format!("skipped {}: {}", skipped.name, skipped.reason));
    }
    let fingerprint = train.fingerprint()?;
    let mut net = config.net.build(&Scope::seeded(config.seed, &(*device).clone().autodiff()));
    if let Some(path) = order.init_from {
        let (taken, notes) =
            state::take_over(net, &bundle::load(path)?.tensors, path, "a fuser of the same width")?;
        notes.iter().for_each(|note| progress.message(note));
        net = taken;
    }
    let folder = order.open()?;
    let parameters = state::parameter_count(&net);
    progress.message(&format!(
        "{DENSE_FUSE}: {parameters} parameters; {} photos to learn from, {} to choose by",
        train.len(),
        val.len(),
    ));
    let provenance = Provenance::of_training(config.command()?, config.seed, &fingerprint);
    let facts = [
        ("Photos learnt from".to_owned(), train.len().to_string()),
        ("Photos chosen by".into(), val.len().to_string()),
        ("Fingerprint".into(), fingerprint.clone()),
        ("Left out".into(), skipped.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join("; ")),
    ];
    let recipe = Recipe {
        net: FuserConfig { name: DENSE_FUSE.into(), layers: config.net },
        input: Input::default(),
        provenance: provenance.clone(),
    };
    let pairs = dataset::measuring_pairs(&val, config.seed)?;
    let batches = Batches(dataset::training_loader(train, config, Input::default())?);
    let mut learner = FuseLearner::new(net, config, recipe, pairs.clone(), device)?;
    let fitted = order.fit(&mut learner, &batches, &folder, &fingerprint, progress)?;
    let fuser = Fuser::load(folder.best(), device)?;
    let val = metrics::measure(&fuser, &pairs, Rule::Max)?;
    let page = run_report(&RunReport {
        title: &order.name(),
        parameters: parameters as u64,
        scores: &val,
        log: &read_log(&folder.read_log()?)?,
        pairs: &pairs,
        fuser: &fuser,
        data: &facts,
        configuration: &order.configuration()?,
        provenance: &provenance.facts(),
    })?;
    folder.write("report.html", &page)?;
    Ok(Trained { fitted, val })
}
