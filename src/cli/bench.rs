//! `opticus bench`: throughput and memory on this machine.

mod dcgan;
mod detect;
mod fuse;
mod kernels;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Global, machine, output};
use crate::classify::loss;
use crate::classify::net::architecture;
use crate::error::{Error, Result};
use crate::nets::{Backbone, NetConfig, NetKind, Predictor};
use crate::train::{Optimizer, OptimizerConfig, Rule};

pub use kernels::KernelTable;

/// What to time.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// One step of training: forward, loss, backward, update of the weights.
    Train(BenchArgs),
    /// One batch through the network.
    Infer(BenchArgs),
    /// Both, for the standard network of `classify`, as a table.
    Classify(TableArgs),
    /// Fusion of made pictures.
    Fuse(fuse::FuseArgs),
    /// The kernels by themselves, on the layers of well-known networks, against the machine's measured peak.
    Kernels(kernels::KernelsArgs),
}

/// The work to time.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Network: one of `classify`'s, or dcgan, whose step trains the discriminator and then the generator.
    #[arg(long, default_value = "simple-cnn", value_name = "NAME")]
    pub net: String,
    /// Model file of a detector, whose prediction is timed instead; its work depends on its weights.
    #[arg(long, value_name = "FILE", conflicts_with = "net")]
    pub model: Option<PathBuf>,
    /// Pictures a step.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch_size: u32,
    /// Width and height of the pictures; for detectors the height, the width being a third more.
    #[arg(long, default_value_t = 224, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub image_size: u32,
    /// Steps to time, after warm-up; by default as many as fit in some seconds.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub iterations: Option<u32>,
}

/// The table of `bench classify`.
#[derive(Args, Clone, Debug)]
pub struct TableArgs {
    /// Width and height of the pictures.
    #[arg(long, default_value_t = 224, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub image_size: u32,
    /// Steps to time in each row, after warm-up; by default as many as fit in some seconds.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub iterations: Option<u32>,
}

/// What was timed and how long it took.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Timing {
    /// "train" or "infer".
    pub work: Work,
    /// Network, or model file.
    pub net: String,
    /// Pictures a step.
    pub batch_size: u32,
    /// Width and height of the pictures.
    pub image_size: u32,
    /// Steps timed.
    pub iterations: usize,
    /// Median time of a step, in milliseconds.
    pub median_ms: f64,
    /// Shortest time of a step.
    pub min_ms: f64,
    /// Longest time of a step.
    pub max_ms: f64,
    /// Pictures in a second at the median.
    pub images_per_second: f64,
    /// The most memory the process held; none where the system does not tell.
    pub peak_memory_mb: Option<f64>,
    /// Worker threads.
    pub threads: usize,
}

/// How long something took.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Measured {
    /// Runs timed.
    pub iterations: usize,
    /// Median time of a run, in milliseconds.
    pub median_ms: f64,
    /// Shortest time of a run.
    pub min_ms: f64,
    /// Longest time of a run.
    pub max_ms: f64,
    /// The most memory the process held; none where the system does not tell.
    pub peak_memory_mb: Option<f64>,
    /// Worker threads.
    pub threads: usize,
}

impl Measured {
    fn of(times: &[f64]) -> Self {
        Self {
            iterations: times.len(),
            median_ms: median(times),
            min_ms: times.iter().copied().fold(f64::INFINITY, f64::min),
            max_ms: times.iter().copied().fold(0.0, f64::max),
            peak_memory_mb: machine::peak_memory_mb(),
            threads: rayon::current_num_threads(),
        }
    }
}

/// A step of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Forward, loss, backward, update.
    Train,
    /// Forward.
    Infer,
}

/// What `opticus bench classify --json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Table {
    /// One row a piece of work.
    pub rows: Vec<Timing>,
}

/// Times what was asked for and prints it.
pub fn run(verb: Verb, global: &Global) -> Result<()> {
    let device = super::device(&global.device)?;
    match verb {
        Verb::Train(args) => one(Work::Train, &args, &device, global),
        Verb::Infer(args) => one(Work::Infer, &args, &device, global),
        Verb::Classify(args) => table(&args, &device, global),
        Verb::Fuse(args) => fuse::run(&args, global),
        Verb::Kernels(args) => kernels::run(&args, global),
    }
}

fn one(work: Work, args: &BenchArgs, device: &Device, global: &Global) -> Result<()> {
    let timing = time(work, args, device)?;
    if global.json { output::json(&timing) } else { output::line(&page(&[timing])) }
}

fn table(args: &TableArgs, device: &Device, global: &Global) -> Result<()> {
    let mut rows = Vec::new();
    // Small batches first: the peak of memory never falls.
    for (work, batch_size) in [(Work::Infer, 1), (Work::Infer, 32), (Work::Train, 32)] {
        let TableArgs { image_size, iterations } = *args;
        let args = BenchArgs {
            net: NetKind::SimpleCnn.name().to_owned(),
            model: None,
            batch_size,
            image_size,
            iterations,
        };
        rows.push(time(work, &args, device)?);
    }
    if global.json { output::json(&Table { rows }) } else { output::line(&page(&rows)) }
}

/// Classes that the timed networks tell apart; their number hardly matters for the time.
const CLASSES: usize = 10;

fn time(work: Work, args: &BenchArgs, device: &Device) -> Result<Timing> {
    let mut net = args.net.clone();
    let times = if let Some(model) = &args.model {
        net = model.display().to_string();
        detect::time(work, model, args, device)?
    } else if args.net == dcgan::NAME {
        dcgan::time(work, args, device)?
    } else {
        let kind: NetKind = args.net.parse()?;
        let config = architecture(kind, CLASSES, 3, args.image_size);
        match work {
            Work::Infer => infer(&config, args, device)?,
            Work::Train => train(&config, args, device)?,
        }
    };
    let median_ms = median(&times);
    Ok(Timing {
        work,
        net,
        batch_size: args.batch_size,
        image_size: args.image_size,
        iterations: times.len(),
        median_ms,
        min_ms: times.iter().copied().fold(f64::INFINITY, f64::min),
        max_ms: times.iter().copied().fold(0.0, f64::max),
        images_per_second: f64::from(args.batch_size) / median_ms * 1e3,
        peak_memory_mb: machine::peak_memory_mb(),
        threads: rayon::current_num_threads(),
    })
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// Pictures of noise, `[n, 3, h, w]` flattened.
fn pictures(config: &NetConfig, batch_size: usize) -> Vec<f32> {
    noise(batch_size * config.in_channels * config.input.area() as usize)
}

/// Numbers in [-1, 1): what they are does not change the time.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Runs `step` until it is warm, then `iterations` times or for some seconds: milliseconds of each run.
fn repeat(iterations: Option<u32>, mut step: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    const WARM: (usize, Duration) = (2, Duration::from_millis(500));
    const MEASURE: (usize, Duration) = (5, Duration::from_secs(4));
    let start = Instant::now();
    let mut warmed = 0;
    while warmed < WARM.0 || start.elapsed() < WARM.1 {
        step()?;
        warmed += 1;
    }
    let start = Instant::now();
    let mut times = Vec::new();
    loop {
        let enough = match iterations {
            Some(wanted) => times.len() >= wanted as usize,
            None => times.len() >= MEASURE.0 && start.elapsed() >= MEASURE.1,
        };
        if enough {
            return Ok(times);
        }
        let before = Instant::now();
        step()?;
        times.push(before.elapsed().as_secs_f64() * 1e3);
    }
}

fn infer(config: &NetConfig, args: &BenchArgs, device: &Device) -> Result<Vec<f64>> {
    let net = config.init(0, device)?;
    let n = args.batch_size as usize;
    let shape = [n, config.in_channels, config.input.height as usize, config.input.width as usize];
    let predictor = Predictor::new(&net, config.picture())?;
    let images = pictures(config, n);
    repeat(args.iterations, || {
        if predictor.logits(&images, shape)?.iter().all(|v| v.is_finite()) {
            return Ok(());
        }
        Err(Error::Device("the network gave numbers that are not finite".to_owned()))
    })
}

fn train(config: &NetConfig, args: &BenchArgs, device: &Device) -> Result<Vec<f64>> {
    let device = device.clone().autodiff();
    let mut net = config.init(0, &device)?;
    let mut optimizer = Optimizer::new(OptimizerConfig { kind: Rule::Adam, ..OptimizerConfig::default() })?;
    let n = args.batch_size as usize;
    let shape = [n, config.in_channels, config.input.height as usize, config.input.width as usize];
    let images = pictures(config, n);
    let labels: Vec<usize> = (0..n).map(|i| i % CLASSES).collect();
    let targets = loss::targets(&labels, None, CLASSES, 0.0);
    repeat(args.iterations, || {
        let x = Tensor::<4>::from_data(TensorData::new(images.clone(), shape), &device);
        let targets = Tensor::from_data(TensorData::new(targets.clone(), [n, CLASSES]), &device);
        let loss = loss::cross_entropy(net.forward(x), targets);
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        // A rate so small that the weights stay sane however long the timing takes.
        optimizer.improve(&mut net, &gradients, 1e-6);
        let loss: f32 = loss.into_scalar();
        if loss.is_finite() {
            return Ok(());
        }
        Err(Error::Device("a step of training gave a loss that is not finite".to_owned()))
    })
}

/// The timings as a table for people.
fn page(rows: &[Timing]) -> String {
    let mut text = format!(
        "{:<6} {:<20} {:>5} {:>5} {:>10} {:>10} {:>10} {:>10} {:>10}\n",
        "work", "net", "batch", "size", "median ms", "min ms", "max ms", "images/s", "peak MB"
    );
    for row in rows {
        let work = match row.work {
            Work::Train => "train",
            Work::Infer => "infer",
        };
        let memory = row.peak_memory_mb.map_or_else(|| "?".to_owned(), |mb| format!("{mb:.0}"));
        text.push_str(&format!(
            "{work:<6} {:<20} {:>5} {:>5} {:>10.2} {:>10.2} {:>10.2} {:>10.1} {memory:>10}\n",
            row.net,
            row.batch_size,
            row.image_size,
            row.median_ms,
            row.min_ms,
            row.max_ms,
            row.images_per_second,
        ));
    }
    let threads = rows.first().map_or(0, |row| row.threads);
    text.push_str(&format!("\n{threads} threads; the peak of memory is the process's so far"));
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn args(net: &str) -> BenchArgs {
        BenchArgs { net: net.to_owned(), model: None, batch_size: 2, image_size: 32, iterations: Some(3) }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn both_kinds_of_work_are_timed_as_often_as_asked() {
        for work in [Work::Train, Work::Infer] {
            let timing = time(work, &args("simple-cnn"), &Device::flex()).unwrap();
            assert_eq!(timing.iterations, 3);
            assert!(
                0.0 < timing.min_ms && timing.min_ms <= timing.median_ms && timing.median_ms <= timing.max_ms
            );
            assert!((timing.images_per_second - 2e3 / timing.median_ms).abs() < 1e-6);
            assert!(page(&[timing]).contains("simple-cnn"));
            assert_eq!(time(work, &args("dcgan"), &Device::flex()).unwrap().iterations, 3);
        }
        let odd = BenchArgs { image_size: 224, ..args("dcgan") };
        assert_eq!(time(Work::Train, &odd, &Device::flex()).unwrap_err().exit_status(), 2);
    }

    #[test]
    fn a_network_that_cannot_be_built_is_a_matter_of_configuration() {
        let device = Device::flex();
        let unknown = time(Work::Infer, &args("simple-cmm"), &device).unwrap_err();
        assert_eq!(unknown.exit_status(), 2);
        let small =
            time(Work::Infer, &BenchArgs { image_size: 8, ..args("simple-cnn") }, &device).unwrap_err();
        assert_eq!(small.exit_status(), 2);
    }

    #[test]
    fn a_training_step_changes_the_time_but_never_the_sanity() {
        let timing =
            time(Work::Train, &BenchArgs { iterations: Some(1), ..args("resnet20") }, &Device::flex());
        assert_eq!(timing.unwrap().iterations, 1);
    }
}
