//! `opticus generate interpolate`.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;
use opticus_pixels::Image8;
use opticus_pixels::codec::{encode_apng, encode_gif};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{Global, device, interrupt, output};
use super::asked::{AskArgs, ModelArgs, ask_word, model_word, refuse_existing, wish};
use super::counter::Counter;
use crate::error::{Error, Result};
use crate::files;
use crate::generate::interpolate::{Place, frames, path};
use crate::generate::sheet::enlarged;
use crate::generate::{Ask, Generator, Seeds};

/// Frames drawn at once.
const BATCH: usize = 64;
/// Bounds on what an animation holds: frames, and bytes of them all in memory.
const MOST_FRAMES: usize = 10_000;
const MOST_BYTES: u64 = 1 << 30;

/// Options of `generate interpolate`.
#[derive(Args, Debug)]
pub struct InterpolateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Seeds to go through, like 1,2,3; with one, only what is asked for changes.
    #[arg(long, value_name = "SEEDS", default_value = "0")]
    pub seeds: Seeds,
    #[command(flatten)]
    pub asked: AskArgs,
    /// Frames from each picture to the next.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub steps: u32,
    /// Go back from the last picture to the first.
    #[arg(long = "loop")]
    pub closed: bool,
    /// Draw latent numbers farther from zero than this again.
    #[arg(long, value_name = "X")]
    pub truncation: Option<f64>,
    /// File to write: .png is an animated PNG, .gif has 256 colours a frame.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Milliseconds that each frame is shown.
    #[arg(long, value_name = "MS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(10..))]
    pub delay: u16,
    /// Each pixel as a square of so many pixels a side.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub scale: u32,
    /// Replace an existing file.
    #[arg(long)]
    pub overwrite: bool,
}

/// What `generate interpolate --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Interpolated {
    /// The animation.
    pub out: String,
    /// SHA-256 of the model.
    pub model: String,
    /// Number of frames.
    pub frames: usize,
    /// Milliseconds that each is shown.
    pub delay_ms: u16,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// What is written.
enum Kind {
    Png,
    Gif,
}

/// Runs `generate interpolate`.
pub fn run(args: &InterpolateArgs, global: &Global) -> Result<()> {
    let ending = args.out.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let kind = match ending.as_str() {
        "png" | "apng" => Kind::Png,
        "gif" => Kind::Gif,
        _ => {
            return Err(Error::Config(format!("--out {}: end the name in .png or .gif", args.out.display())));
        }
    };
    refuse_existing(&args.out, args.overwrite)?;
    let generator = args.model.open(&device(&global.device)?)?;
    let places = places(args, &generator, global)?;
    let count = frames(places.len(), args.steps as usize, args.closed);
    let (config, scale) = (generator.config(), u64::from(args.scale));
    let bytes = generator.size().area() * scale * scale * config.channels as u64 * count as u64;
    if count > MOST_FRAMES || bytes > MOST_BYTES {
        return Err(Error::Limit(format!(
            "{count} frames of {bytes} bytes in all; at most are {MOST_FRAMES} and {MOST_BYTES}. Lower --steps or --scale"
        )));
    }
    let stop = interrupt::flag();
    let mut counter = Counter::new(global, count as u64, "frames");
    let mut pictures: Vec<Image8> = Vec::with_capacity(count);
    for batch in path(&places, args.steps as usize, args.closed).chunks(BATCH) {
        if stop.load(Ordering::SeqCst) {
            drop(counter);
            return Err(Error::Interrupted("stopped; nothing was written".into()));
        }
        let latents: Vec<Vec<f32>> = batch.iter().map(|p| p.latent.clone()).collect();
        let embeddings: Option<Vec<Vec<f32>>> = batch.iter().map(|p| p.embedding.clone()).collect();
        let drawn = generator.draw_embedded(&latents, embeddings.as_deref())?;
        pictures.extend(drawn.iter().map(|p| enlarged(p, args.scale)));
        counter.add(batch.len() as u64);
    }
    drop(counter);
    let model = generator.fingerprint();
    let bytes = match kind {
        Kind::Png => {
            let software = format!("Opticus {}", env!("CARGO_PKG_VERSION"));
            let texts = [("Software", software.as_str()), ("Comment", &command(args)), ("Source", &model)];
            encode_apng(&pictures, args.delay, &texts)
        }
        Kind::Gif => encode_gif(&pictures, args.delay),
    };
    let bytes = bytes.map_err(|e| Error::Input(format!("{}: {e}", args.out.display())))?;
    files::write_atomically(&args.out, |out| out.write_all(&bytes))?;
    let out = args.out.display().to_string();
    let [width, height] = [generator.size().width, generator.size().height].map(|side| side * args.scale);
    if global.json {
        let done = Interpolated { out, model, frames: count, delay_ms: args.delay, width, height };
        return output::json(&done);
    }
    output::line(&format!("{out}: {count} frames of {width}x{height}"))
}

/// The pictures to go through: as many as there are seeds, or labels, texts or numbers; where there is one of a kind,
/// it stays.
fn places(args: &InterpolateArgs, generator: &Generator, global: &Global) -> Result<Vec<Place>> {
    let mut asks = args.asked.asks();
    if asks.is_empty() {
        asks.push(Ask::Any);
    }
    let (seeds, wishes) = (args.seeds.count(), asks.len() as u64);
    let n = seeds.max(wishes);
    if [seeds, wishes].iter().any(|k| ![1, n].contains(k)) || n < 2 {
        return Err(Error::Config(format!(
            "{seeds} seeds and {wishes} labels, texts or numbers; give one or as many of each, and two or more of one"
        )));
    }
    if n > MOST_FRAMES as u64 {
        return Err(Error::Limit(format!("{n} pictures to go through; {MOST_FRAMES} are the most")));
    }
    let wished: Result<Vec<_>> = asks.iter().map(|ask| wish(ask, generator.condition(), global)).collect();
    let embeddings = generator.embed(&wished?)?;
    let seeds: Vec<u64> = args.seeds.iter().collect();
    let place = |i: usize| {
        let latent = generator.latent(seeds[if seeds.len() == 1 { 0 } else { i }], args.truncation)?;
        let embedding = embeddings.as_ref().map(|e| e[if e.len() == 1 { 0 } else { i }].clone());
        Ok(Place { latent, embedding })
    };
    (0..n as usize).map(place).collect()
}

/// What to type for the same animation.
fn command(args: &InterpolateArgs) -> String {
    let mut command = format!(
        "opticus generate interpolate{} --seeds {}",
        model_word(args.model.model.as_deref()),
        args.seeds
    );
    for ask in args.asked.asks() {
        command += &ask_word(&ask);
    }
    command += &format!(" --steps {} --delay {} --scale {}", args.steps, args.delay, args.scale);
    if let Some(truncation) = args.truncation {
        command += &format!(" --truncation {truncation}");
    }
    if args.closed {
        command += " --loop";
    }
    command + " --out morph.png"
}
