//! Words: flags, progress, exit status. The only room that prints.

mod bench;
mod classify;
mod data;
mod detect;
mod doctor;
mod fuse;
mod generate;
mod inputs;
mod interrupt;
mod machine;
mod model;
mod output;
mod part;
mod progress;
mod run;
mod schema;
mod tour;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::error::Error;

pub use schema::schemas;

/// Recognise and create images.
#[derive(Debug, Parser)]
#[command(name = "opticus", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    job: Job,
    #[command(flatten)]
    global: Global,
}

/// Options that mean the same in every job.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Print exactly one JSON document on standard output; everything for people goes to standard error.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say less.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Where to compute: auto or cpu.
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub device: String,
    /// Worker threads; all cores by default.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Pictures to labels: train, measure, predict, explain.
    #[command(subcommand)]
    Classify(classify::Verb),
    /// Pictures to boxes: train, measure, predict, score what was found.
    #[command(subcommand)]
    Detect(detect::Verb),
    /// Several pictures into one better picture.
    #[command(subcommand)]
    Fuse(fuse::Verb),
    /// Words and numbers into new pictures.
    #[command(subcommand)]
    Generate(generate::Verb),
    /// Look at, convert and synthesise data sets.
    #[command(subcommand)]
    Data(data::DataArgs),
    /// Look into model files, bring weights in, take them out.
    #[command(subcommand)]
    Model(model::Verb),
    /// All jobs at work on pictures made on the spot, ending in one page worth showing.
    Tour(tour::TourArgs),
    /// Throughput and memory on this machine.
    #[command(subcommand)]
    Bench(bench::Verb),
    /// What this machine offers, what of it is used, and whether it works.
    Doctor(doctor::DoctorArgs),
}

/// Entry point of the binary: the exit status is 0 done, 1 failed, 2 usage or configuration, 130 interrupted.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are not failures and go to standard output; clap knows which is which.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            output::error(&e);
            ExitCode::from(e.exit_status())
        }
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    let global = cli.global;
    if let Some(threads) = global.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(usize::from(threads))
            .build_global()
            .map_err(|e| Error::Config(format!("cannot start {threads} threads: {e}")))?;
    }
    match cli.job {
        Job::Classify(verb) => classify::run(verb, &global),
        Job::Detect(verb) => detect::run(verb, &global),
        Job::Fuse(verb) => fuse::run(verb, &global),
        Job::Generate(verb) => generate::run(verb, &global),
        Job::Data(args) => data::run(args, global.json),
        Job::Model(verb) => model::run(verb, &global),
        Job::Tour(args) => tour::run(&args, &global),
        Job::Bench(verb) => bench::run(verb, &global),
        Job::Doctor(args) => doctor::run(args, &global),
    }
}

/// The compute device that `--device` names.
pub(crate) fn device(name: &str) -> Result<burn::tensor::Device, Error> {
    match name {
        "auto" | "cpu" => Ok(burn::tensor::Device::flex()),
        other => Err(Error::Config(format!(
            "--device {other:?}: this build computes on the CPU only; use --device auto or --device cpu"
        ))),
    }
}
