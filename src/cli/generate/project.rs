//! `opticus generate project`.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;
use opticus_pixels::codec::{ColorMode, Limits, decode_file, encode_png};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{Global, device, interrupt, output};
use super::asked::{AskArgs, ModelArgs, ask_word, model_word, quoted, refuse_existing, wish};
use super::counter::Counter;
use crate::error::{Error, Result};
use crate::files;
use crate::generate::project::{Search, project};
use crate::generate::sheet::sheet;
use crate::generate::{Ask, Condition, Recipe, Wish};

/// Options of `generate project`.
#[derive(Args, Debug)]
pub struct ProjectArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The picture to look for.
    #[arg(value_name = "PICTURE")]
    pub picture: PathBuf,
    /// Folder for the picture found, and both side by side.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// At most one; without, all labels are tried, or the best words or numbers searched for as well.
    #[command(flatten)]
    pub asked: AskArgs,
    /// Steps of the search from each start.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub steps: u32,
    /// Starts of the search; the best end counts.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub starts: u32,
    /// Seed of the first start.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Replace existing files.
    #[arg(long)]
    pub overwrite: bool,
}

/// What `generate project --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Projected {
    /// The given picture.
    pub picture: String,
    /// The picture found; `generate sample --like` draws it again.
    pub out: String,
    /// The given one and the one found.
    pub beside: String,
    /// SHA-256 of the model.
    pub model: String,
    /// Peak signal-to-noise ratio in dB; left out for equal pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr: Option<f64>,
    /// Mean squared difference at full, half and quarter size, summed; values from −1 to 1.
    pub loss: f64,
    /// What was asked for, or the label found.
    pub ask: Ask,
    /// The latent numbers found.
    pub latent: Vec<f32>,
    /// The condition's embedding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Vec<f32>>,
}

/// Runs `generate project`.
pub fn run(args: &ProjectArgs, global: &Global) -> Result<()> {
    let stem = args.picture.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let out = args.out.join(format!("{stem}-projected.png"));
    let beside = args.out.join(format!("{stem}-beside.png"));
    refuse_existing(&out, args.overwrite)?;
    refuse_existing(&beside, args.overwrite)?;
    let generator = args.model.open(&device(&global.device)?)?;
    let asks = args.asked.asks();
    let ask = match asks.as_slice() {
        [] => Ask::Any,
        [one] => one.clone(),
        _ => return Err(Error::Config(format!("{} labels, texts or numbers; give one at most", asks.len()))),
    };
    let condition = generator.condition();
    // A model without condition refuses what it is asked; else nothing asked means that it is searched for.
    let wished = match &ask {
        Ask::Any => None,
        ask => Some(wish(ask, condition, global)?),
    };
    let limits = Limits::default();
    let decoded = decode_file(&args.picture, &limits)
        .map_err(|e| Error::Input(format!("{}: {e}", args.picture.display())))?;
    let image = match generator.config().channels {
        1 => decoded.into_image8(ColorMode::Grey),
        4 => decoded.into_image8(ColorMode::Rgba),
        _ => decoded.into_image8(ColorMode::Rgb),
    };
    let stop = interrupt::flag();
    let mut counter = Counter::new(global, 0, "steps");
    let search = Search {
        steps: args.steps as usize,
        starts: args.starts as usize,
        seed: args.seed,
        ..Search::default()
    };
    let found = project(&generator, &image, wished.as_ref(), &search, &mut |done, of, _| {
        counter.set(done as u64, of as u64);
        !stop.load(Ordering::SeqCst)
    })?;
    drop(counter);
    let ask = match (&found.wish, condition) {
        (Some(Wish::Label(label)), Condition::Label { names }) => {
            names.get(*label).map_or(ask, |name| Ask::Label(name.clone()))
        }
        _ => ask,
    };
    let model = generator.fingerprint();
    let recipe = Recipe {
        seed: args.seed,
        ask: ask.clone(),
        truncation: None,
        latent: Some(found.latent.clone()),
        embedding: found.embedding.clone(),
        model: model.clone(),
        command: command(args, &stem),
        product_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let png = recipe.png(&found.picture)?;
    let psnr = found.psnr.map_or_else(|| "equal".to_owned(), |psnr| format!("{psnr:.1} dB"));
    let page = sheet(&[found.target, found.picture], 2, &["given".to_owned(), psnr.clone()]);
    let page = encode_png(&page).map_err(|e| Error::Input(e.to_string()))?;
    files::create_folder(&args.out)?;
    files::write_atomically(&out, |file| file.write_all(&png))?;
    files::write_atomically(&beside, |file| file.write_all(&page))?;
    let [picture, out, beside] = [&args.picture, &out, &beside].map(|p| p.display().to_string());
    if global.json {
        let (latent, embedding) = (found.latent, found.embedding);
        let (psnr, loss) = (found.psnr, found.loss);
        return output::json(&Projected { picture, out, beside, model, psnr, loss, ask, latent, embedding });
    }
    let asked = if ask == Ask::Any { String::new() } else { format!(", as {ask}") };
    output::line(&format!("{out}: {psnr}{asked}; side by side in {beside}"))
}

/// What to type for the same search.
fn command(args: &ProjectArgs, stem: &str) -> String {
    let mut command =
        format!("opticus generate project{} {}", model_word(args.model.model.as_deref()), quoted(stem));
    for ask in args.asked.asks() {
        command += &ask_word(&ask);
    }
    command + &format!(" --steps {} --starts {} --seed {} --out .", args.steps, args.starts, args.seed)
}
