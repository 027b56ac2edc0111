//! `opticus generate sample`.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::Args;
use opticus_pixels::Image8;
use opticus_pixels::codec::encode_png;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{Global, device, interrupt, output};
use super::asked::{AskArgs, Asked, ModelArgs, Source, recipe, refuse_existing};
use super::counter::Counter;
use crate::error::{Error, Result};
use crate::files;
use crate::generate::predict::Request;
use crate::generate::sheet::{Background, Layout, lay_out};
use crate::generate::{Ask, Generator, Recipe, Seeds};

/// Pictures drawn and written together: the memory bound.
const BATCH: usize = 64;
/// Pictures of one wish on a grid, and rows and columns of a grid of several: what a person can look at.
const MOST_ON_GRID: u64 = 256;
const MOST_COLUMNS: u64 = 16;
const MOST_ROWS: usize = 64;
/// Files that the JSON document lists.
const MOST_LISTED: usize = 1000;
/// Largest picture read by `--like`, in bytes.
const MOST_BYTES: u64 = 64 << 20;

/// Options of `generate sample`.
#[derive(Args, Debug)]
pub struct SampleArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Folder for the pictures: `seed0007-label.png`.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub asked: AskArgs,
    /// Pictures of each label, text or numbers.
    #[arg(long, value_name = "N", conflicts_with = "seeds", default_value_t = 8)]
    pub count: u64,
    /// Seeds of the pictures: numbers and ranges, like 0,1,4-6.
    #[arg(long, value_name = "SEEDS")]
    pub seeds: Option<Seeds>,
    /// The first of --count seeds.
    #[arg(long, value_name = "N", conflicts_with = "seeds", default_value_t = 0)]
    pub seed: u64,
    /// Draw latent numbers farther from zero than this again: less variety, more typical pictures. Try 0.7.
    #[arg(long, value_name = "X")]
    pub truncation: Option<f64>,
    /// Also write the pictures side by side into this PNG; of many, the first.
    #[arg(long, value_name = "FILE")]
    pub grid: Option<PathBuf>,
    /// Make this picture of `generate sample` again, byte for byte.
    #[arg(long, value_name = "PICTURE", conflicts_with_all = ["seeds", "seed", "count", "label", "text", "numbers", "truncation", "grid"])]
    pub like: Option<PathBuf>,
    /// Replace existing files.
    #[arg(long)]
    pub overwrite: bool,
}

/// What `generate sample --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Sampled {
    /// The folder.
    pub out: String,
    /// SHA-256 of the model.
    pub model: String,
    /// Number of pictures.
    pub count: u64,
    /// The pictures; of more than a thousand, the first thousand. The others' names are formed alike.
    pub pictures: Vec<SampledPicture>,
    /// The pictures side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<String>,
    /// With `--like`: whether the file is equal to the given one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identical: Option<bool>,
}

/// One picture.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SampledPicture {
    /// The file.
    pub file: String,
    /// Its seed.
    pub seed: u64,
    /// What was asked for.
    pub ask: Ask,
}

/// Runs `generate sample`.
pub fn run(args: &SampleArgs, global: &Global) -> Result<()> {
    let generator = args.model.open(&device(&global.device)?)?;
    let fingerprint = generator.fingerprint();
    let done = match &args.like {
        Some(picture) => again(args, picture, &generator)?,
        None => {
            let job = Job {
                seeds: match &args.seeds {
                    Some(seeds) => seeds.clone(),
                    None => Seeds::from_first(args.seed, args.count)?,
                },
                asked: args.asked.resolve(generator.condition(), global)?,
                source: Source { model: args.model.model.as_deref(), fingerprint: &fingerprint },
                generator: &generator,
                args,
            };
            job.run(global)?
        }
    };
    if global.json {
        return output::json(&done);
    }
    let grid = done.grid.map_or_else(String::new, |grid| format!(", side by side in {grid}"));
    match (done.pictures.as_slice(), done.identical) {
        ([one], Some(true)) => output::line(&format!("{}: made again, byte for byte", one.file)),
        ([one], Some(false)) => output::line(&format!("{}: made again, but not the same bytes", one.file)),
        _ => output::line(&format!("{} pictures in {}{grid}", done.count, done.out)),
    }
}

/// Makes a picture again from what its file says.
fn again(args: &SampleArgs, picture: &Path, generator: &Generator) -> Result<Sampled> {
    let bytes = files::read_limited(picture, MOST_BYTES)?;
    let named = |e: Error| match e {
        Error::Input(message) => Error::Input(format!("{}: {message}", picture.display())),
        Error::Config(message) => Error::Config(format!("{}: {message}", picture.display())),
        other => other,
    };
    let recipe = Recipe::read(&bytes).map_err(named)?;
    let drawn = recipe.png(&recipe.draw(generator).map_err(named)?)?;
    // Projections have no name that a recipe would tell; theirs is kept.
    let name = match recipe.latent {
        Some(_) => {
            picture.file_name().map_or_else(|| "again.png".into(), |n| n.to_string_lossy().into_owned())
        }
        None => file_name(recipe.seed, 4, &recipe.ask.slug()),
    };
    let path = args.out.join(name);
    refuse_existing(&path, args.overwrite)?;
    files::create_folder(&args.out)?;
    files::write_atomically(&path, |out| out.write_all(&drawn))?;
    let file = path.display().to_string();
    Ok(Sampled {
        out: args.out.display().to_string(),
        model: recipe.model,
        count: 1,
        pictures: vec![SampledPicture { file, seed: recipe.seed, ask: recipe.ask }],
        grid: None,
        identical: Some(drawn == bytes),
    })
}

/// Every seed with everything asked.
struct Job<'a> {
    seeds: Seeds,
    asked: Vec<Asked>,
    source: Source<'a>,
    generator: &'a Generator,
    args: &'a SampleArgs,
}

impl Job<'_> {
    fn run(&self, global: &Global) -> Result<Sampled> {
        let args = self.args;
        // A truncation that cannot be is refused before anything is made.
        self.generator.latent(0, args.truncation)?;
        let total = self.seeds.count().saturating_mul(self.asked.len() as u64);
        if let Some(grid) = &args.grid {
            refuse_existing(grid, args.overwrite)?;
        }
        if !args.overwrite && args.out.exists() {
            self.places().try_for_each(|(asked, seed)| refuse_existing(&self.path(asked, seed), false))?;
        }
        files::create_folder(&args.out)?;
        let stop = interrupt::flag();
        let mut counter = Counter::new(global, total, "pictures");
        let mut grid = Grid::new(self);
        let (mut listed, mut done) = (Vec::new(), 0);
        let mut places = self.places();
        loop {
            let batch: Vec<(&Asked, u64)> = places.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            if stop.load(Ordering::SeqCst) {
                drop(counter);
                return Err(Error::Interrupted(format!(
                    "stopped after {done} of {total} pictures, which are whole in {}",
                    args.out.display()
                )));
            }
            let request = |(asked, seed): &(&Asked, u64)| Request { seed: *seed, wish: asked.wish.clone() };
            let requests: Vec<Request> = batch.iter().map(request).collect();
            let pictures = self.generator.sample(&requests, args.truncation)?;
            batch.par_iter().zip(&pictures).try_for_each(|((asked, seed), picture)| {
                let png = recipe(*seed, &asked.ask, args.truncation, &self.source).png(picture)?;
                files::write_atomically(&self.path(asked, *seed), |out| out.write_all(&png))
            })?;
            for ((asked, seed), picture) in batch.iter().zip(pictures) {
                if listed.len() < MOST_LISTED {
                    let file = self.path(asked, *seed).display().to_string();
                    listed.push(SampledPicture { file, seed: *seed, ask: asked.ask.clone() });
                }
                grid.offer(done, picture);
                done += 1;
            }
            counter.add(batch.len() as u64);
        }
        drop(counter);
        if let Some(path) = &args.grid {
            let png = encode_png(&grid.lay_out(self)).map_err(|e| Error::Input(e.to_string()))?;
            files::write_atomically(path, |out| out.write_all(&png))?;
        }
        Ok(Sampled {
            out: args.out.display().to_string(),
            model: self.source.fingerprint.to_owned(),
            count: done,
            pictures: listed,
            grid: args.grid.as_ref().map(|p| p.display().to_string()),
            identical: None,
        })
    }

    /// One after another, never all in memory.
    fn places(&self) -> impl Iterator<Item = (&Asked, u64)> {
        self.asked.iter().flat_map(|asked| self.seeds.iter().map(move |seed| (asked, seed)))
    }

    fn path(&self, asked: &Asked, seed: u64) -> PathBuf {
        let digits = self.seeds.greatest().checked_ilog10().unwrap_or(0) as usize + 1;
        self.args.out.join(file_name(seed, digits.max(4), &asked.slug))
    }
}

/// `seed0007-label.png`.
fn file_name(seed: u64, digits: usize, slug: &str) -> String {
    let dash = if slug.is_empty() { "" } else { "-" };
    format!("seed{seed:0digits$}{dash}{slug}.png")
}

/// The pictures that go on the grid: a row for each wish, or, for one wish, as many columns as rows.
struct Grid {
    pictures: Vec<Image8>,
    /// Seeds of each wish; of them, so many columns are shown.
    seeds: u64,
    columns: u64,
    most: usize,
}

impl Grid {
    fn new(job: &Job<'_>) -> Self {
        let (seeds, rows) = (job.seeds.count(), job.asked.len());
        let (columns, most) = match rows {
            _ if job.args.grid.is_none() => (0, 0),
            1 => (seeds, seeds.min(MOST_ON_GRID) as usize),
            _ => (seeds.min(MOST_COLUMNS), seeds.min(MOST_COLUMNS) as usize * rows.min(MOST_ROWS)),
        };
        Self { pictures: Vec::new(), seeds, columns, most }
    }

    /// Picture number `at` of all.
    fn offer(&mut self, at: u64, picture: Image8) {
        if self.pictures.len() < self.most && at % self.seeds < self.columns {
            self.pictures.push(picture);
        }
    }

    fn lay_out(&self, job: &Job<'_>) -> Image8 {
        let background = Background::default();
        let tops: Vec<String> = job
            .seeds
            .iter()
            .take(self.columns.min(MOST_ON_GRID) as usize)
            .map(|s| format!("seed {s}"))
            .collect();
        if let [only] = job.asked.as_slice() {
            let columns = (self.most as f64).sqrt().ceil() as usize;
            let rows = if only.ask == Ask::Any { Vec::new() } else { vec![only.ask.to_string()] };
            let layout = Layout { columns, titles: &tops, rows: &rows, tops: &[], background };
            return lay_out(&self.pictures, &layout);
        }
        let rows: Vec<String> = job.asked.iter().take(MOST_ROWS).map(|a| a.ask.to_string()).collect();
        let layout =
            Layout { columns: self.columns as usize, titles: &[], rows: &rows, tops: &tops, background };
        lay_out(&self.pictures, &layout)
    }
}
