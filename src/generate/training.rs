//! A whole training run: pictures, networks, loop, report.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use opticus_pixels::codec::{self, ColorMode, Limits};
use sha2::{Digest, Sha256};

use super::cells::Reference;
use super::condition::{Condition, Wish};
use super::config::TrainConfig;
use super::dataset::{self, Examples, Parts, prepare};
use super::learner::{Batches, GanLearner, Recipe, Shown};
use super::net::{Artist, Critic, Pictures, Values};
use super::predict::{Generator, Request};
use super::report::{RunReport, read_log, run_report};
use crate::bundle::{self, Provenance};
use crate::data::sampler::epoch_order;
use crate::data::{Dataset, Labelled};
use crate::error::{Error, Result};
use crate::files;
use crate::nets::init::Scope;
use crate::nets::state;
use crate::train::{Existing, Fitted, Progress, Run, RunFolder, Schedule, fit, run};

/// Real pictures compared with after each epoch, at most.
const COMPARED: usize = 1024;
/// Pictures on the sheets of an epoch, and in each row.
const SHOWN: usize = 80;
const COLUMNS: usize = 10;
/// Frames of the timelapse, at most, and how long each is shown.
const FRAMES: u64 = 60;
const FRAME_MS: u16 = 200;

/// What to train, to where.
#[derive(Debug)]
pub struct Order<'a> {
    /// Everything that decides the result.
    pub config: &'a TrainConfig,
    /// Another generator to take fitting weights from.
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
    /// The best model's distance from the real pictures, by cells.
    pub distance: f64,
}

/// Trains a pair of networks on pictures. See [`fit()`] for what survives an interruption.
///
/// # Errors
/// Whatever is wrong with data, configuration, disk or the course of training; see [`Error`].
pub fn train(data: &Path, order: &Order<'_>, progress: &mut dyn Progress) -> Result<Trained> {
    train_on(dataset::open(data, order.config)?, order, progress)
}

/// Trains a pair of networks on pictures that are already open.
///
/// # Errors
/// As [`train`].
pub fn train_on(parts: Parts, order: &Order<'_>, progress: &mut dyn Progress) -> Result<Trained> {
    let Order { config, device, .. } = order;
    let Parts { train, held_out, condition, skipped, side, channels } = parts;
    for skipped in &skipped {
        progress.message(&format!("skipped {}: {}", skipped.name, skipped.reason));
    }
    let net = config.net.resolve(side, channels, condition.encoder().is_some())?;
    let side = net.image_size as u32;
    let batches = Batches(dataset::training_loader(&train, side, config)?);
    let fingerprint = fingerprint(&train)?;
    let resolved = toml::to_string_pretty(config)
        .map_err(|e| Error::Config(format!("the configuration cannot be written as TOML: {e}")))?;
    let identity = run::identity(&resolved, &fingerprint, order.init_from);
    let scope = Scope::seeded(config.seed, &(*device).clone().autodiff());
    let mut artist = Artist::new(&net, &condition, &scope.at("artist"))?;
    let critic = Critic::new(&net, &condition, &scope.at("critic"))?;
    if let Some(path) = order.init_from {
        let partial = state::load_partial(artist, &bundle::load(path)?.tensors);
        if partial.taken.is_empty() {
            return Err(Error::ModelFile(format!(
                "{} has no tensor that fits this network; --init-from needs a generator of the same kind",
                path.display()
            )));
        }
        progress.message(&format!("took {} tensors from {}", partial.taken.len(), path.display()));
        partial.left.iter().for_each(|left| progress.message(&format!("left out: {left}")));
        artist = partial.module;
    }
    let folder = RunFolder::open(order.out, order.existing)?;
    folder.write_config(&resolved)?;
    let parameters = [state::parameter_count(&artist), state::parameter_count(&critic)];
    progress.message(&format!(
        "{}: {} parameters draw, {} judge; {} pictures of {side}×{side}×{}, asked by {condition}",
        net.name,
        parameters[0],
        parameters[1],
        train.pictures.len(),
        net.channels,
    ));
    let command = config.command()?;
    let facts = [
        ("Pictures learnt from".to_owned(), train.pictures.len().to_string()),
        ("Descriptions set aside".into(), held_out.pictures.len().to_string()),
        ("Asked by".into(), condition.to_string()),
        ("Fingerprint".into(), fingerprint.clone()),
        ("Left out".into(), skipped.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join("; ")),
    ];
    let show = shown(&folder, &condition, &train, config.seed)?;
    let recipe = Recipe {
        net,
        pictures: Pictures { condition, values: Values::default() },
        provenance: Provenance {
            command: command.clone(),
            seed: Some(config.seed),
            data_fingerprint: fingerprint,
            product_version: env!("CARGO_PKG_VERSION").into(),
        },
    };
    let reference = reference(&train, side, config.seed)?;
    let requests = show.requests.clone();
    let sheets = show.clone();
    let mut learner = GanLearner::new(artist, critic, config, recipe, reference.clone(), show)?;
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
    let generator = Generator::load(folder.best(), device)?;
    let distance = reference.distance(&generator)?;
    timelapse(&sheets, fitted.epochs)?;
    let log = folder.log();
    let log = std::fs::read_to_string(&log).map_err(|e| Error::io("read", &log, e))?;
    let page = run_report(&RunReport {
        title: &order.out.file_name().unwrap_or(order.out.as_os_str()).to_string_lossy(),
        parameters: parameters.map(|n| n as u64),
        distance,
        log: &read_log(&log)?,
        samples: &sheets.folder,
        requests: &requests,
        generator: &generator,
        data: &facts,
        configuration: &resolved,
        provenance: &[
            ("Command".into(), format!("opticus {command}")),
            ("Seed".into(), config.seed.to_string()),
            ("Version".into(), env!("CARGO_PKG_VERSION").into()),
        ],
    })?;
    folder.write("report.html", &page)?;
    Ok(Trained { fitted, distance })
}

/// `samples/timelapse.png`: the sheets of all epochs, or of some evenly over them, one after another.
fn timelapse(sheets: &Shown, epochs: u64) -> Result<()> {
    let count = epochs.min(FRAMES);
    let frame = |i: u64| {
        let file = sheets.file(1 + i * (epochs - 1) / (count - 1).max(1));
        let decoded = codec::decode_file(&file, &Limits::default());
        decoded
            .map(|decoded| decoded.into_image8(ColorMode::Rgb))
            .map_err(|e| Error::Input(format!("{}: {e}", file.display())))
    };
    if count == 0 {
        return Ok(());
    }
    let frames = (0..count).map(frame).collect::<Result<Vec<_>>>()?;
    let png = codec::encode_apng(&frames, FRAME_MS, &[]).map_err(|e| Error::Input(e.to_string()))?;
    files::write_atomically(&sheets.folder.join("timelapse.png"), |out| out.write_all(&png))
}

/// Of pictures and what they are asked by: a resumed run must see the same.
fn fingerprint(train: &Examples) -> Result<String> {
    let mut sum = Sha256::new().chain_update(train.pictures.fingerprint()?);
    for wish in train.wishes.iter() {
        sum.update(format!("{wish:?}\n"));
    }
    Ok(sum.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect())
}

/// Some pictures of the data, evenly over it, at the network's size.
fn reference(train: &Examples, side: u32, seed: u64) -> Result<Reference> {
    let order = epoch_order(train.pictures.len(), seed, u64::MAX);
    let load = |pictures: &Labelled, i: usize| pictures.load(i).map(|image| prepare(&image, side));
    Reference::new(
        order.into_iter().take(COMPARED).map(|i| Ok((load(&train.pictures, i)?, train.wishes[i].clone()))),
    )
}

/// What is drawn after each epoch: every label in turn, or what some pictures are asked by.
fn shown(folder: &RunFolder, condition: &Condition, train: &Examples, seed: u64) -> Result<Shown> {
    let (mut tops, mut titles) = (Vec::new(), Vec::new());
    let (wishes, columns): (Vec<Wish>, usize) = match condition {
        Condition::Label { names } => {
            let columns = names.len().clamp(1, COLUMNS);
            tops.extend_from_slice(&names[..columns]);
            ((0..SHOWN).map(|i| Wish::Label(i % columns)).collect(), columns)
        }
        _ => {
            let order = epoch_order(train.wishes.len(), seed, u64::MAX);
            let wishes: Vec<Wish> =
                order.into_iter().cycle().take(SHOWN).map(|i| train.wishes[i].clone()).collect();
            if *condition != Condition::None {
                titles = wishes.iter().map(|wish| condition.describe(wish)).collect();
            }
            (wishes, COLUMNS)
        }
    };
    let requests = (0..).zip(wishes).map(|(seed, wish)| Request { seed, wish }).collect();
    Ok(Shown { folder: folder.samples()?, requests, columns, tops, titles })
}
