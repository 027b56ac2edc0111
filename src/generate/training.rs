//! A whole training run: pictures, networks, loop, report.

use std::path::Path;

use opticus_pixels::codec::{self, ColorMode, Limits};
use sha2::{Digest, Sha256};

use super::cells::Reference;
use super::condition::{Condition, Wish};
use super::config::TrainConfig;
use super::dataset::{self, Examples, Parts};
use super::learner::{Batches, GanLearner, Recipe, Shown};
use super::net::{Artist, Critic, Pictures, Values};
use super::predict::{Generator, Request};
use super::prepare::prepare;
use super::report::{RunReport, read_log, run_report};
use crate::bundle::{self, Provenance};
use crate::data::sampler::epoch_order;
use crate::data::{Dataset, Labelled};
use crate::error::{Error, Result};
use crate::files;
use crate::nets::init::Scope;
use crate::nets::state;
use crate::train::{Fitted, Order, Progress, RunConfig, RunFolder};

/// Real pictures compared with after each epoch, at most.
const COMPARED: usize = 1024;
/// Pictures on the sheets of an epoch, and in each row.
const SHOWN: usize = 80;
const COLUMNS: usize = 10;
/// Frames of the timelapse, at most, and how long each is shown.
const FRAMES: u64 = 60;
const FRAME_MS: u16 = 200;

/// What a run came to.
#[derive(Debug)]
pub struct Trained {
    /// How the loop ended.
    pub fitted: Fitted,
    /// The best model's distance from the real pictures, by cells.
    pub distance: f64,
}

/// Trains a pair of networks on pictures. See [`Order::fit`] for what survives an interruption.
///
/// # Errors
/// Whatever is wrong with data, configuration, disk or the course of training; see [`Error`].
pub fn train(data: &Path, order: &Order<'_, TrainConfig>, progress: &mut dyn Progress) -> Result<Trained> {
    train_on(dataset::open(data, order.config)?, order, progress)
}

/// Trains a pair of networks on pictures that are already open.
///
/// # Errors
/// As [`train`].
pub fn train_on(
    parts: Parts,
    order: &Order<'_, TrainConfig>,
    progress: &mut dyn Progress,
) -> Result<Trained> {
    let Order { config, device, .. } = order;
    let Parts { train, held_out, condition, skipped, side, channels, .. } = parts;
    for skipped in &skipped {
        progress.message(&format!("skipped {}: {}", skipped.name, skipped.reason));
    }
    let net = config.net.resolve(side, channels, condition.encoder().is_some())?;
    let side = net.image_size as u32;
    let batches = Batches(dataset::training_loader(&train, side, config)?);
    let fingerprint = fingerprint(&train)?;
    let scope = Scope::seeded(config.seed, &(*device).clone().autodiff());
    let mut artist = Artist::new(&net, &condition, &scope.at("artist"))?;
    let critic = Critic::new(&net, &condition, &scope.at("critic"))?;
    if let Some(path) = order.init_from {
        let (taken, notes) =
            state::take_over(artist, &bundle::load(path)?.tensors, path, "a generator of the same kind")?;
        notes.iter().for_each(|note| progress.message(note));
        artist = taken;
    }
    let folder = order.open()?;
    let parameters = [state::parameter_count(&artist), state::parameter_count(&critic)];
    progress.message(&format!(
        "{}: {} parameters draw, {} judge; {} pictures of {side}×{side}×{}, asked by {condition}",
        net.name,
        parameters[0],
        parameters[1],
        train.pictures.len(),
        net.channels,
    ));
    let provenance = Provenance::of_training(config.command()?, config.seed, &fingerprint);
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
        provenance: provenance.clone(),
    };
    let reference = reference(&train, side, config.seed)?;
    let requests = show.requests.clone();
    let sheets = show.clone();
    let mut learner = GanLearner::new(artist, critic, config, recipe, reference.clone(), show)?;
    let fitted = order.fit(&mut learner, &batches, &folder, &fingerprint, progress)?;
    let generator = Generator::load(folder.best(), device)?;
    let distance = reference.distance(&generator)?;
    timelapse(&sheets, fitted.epochs)?;
    let page = run_report(&RunReport {
        title: &order.name(),
        parameters: parameters.map(|n| n as u64),
        distance,
        log: &read_log(&folder.read_log()?)?,
        samples: &sheets.folder,
        requests: &requests,
        generator: &generator,
        data: &facts,
        configuration: &order.configuration()?,
        provenance: &provenance.facts(),
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
