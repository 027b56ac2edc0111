//! `opticus generate eval`.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::Args;

use super::super::{Global, device, interrupt, output, progress};
use crate::bundle;
use crate::classify::config::TrainConfig as ClassifierConfig;
use crate::classify::training as classifier;
use crate::error::{Error, Result};
use crate::files;
use crate::generate::config::TrainConfig;
use crate::generate::dataset::open_for_measuring;
use crate::generate::evaluation::{GenerateScores, Question, evaluate};
use crate::generate::report::evaluation_report;
use crate::generate::{Condition, Generator};
use crate::settings::Draft;
use crate::train::{Existing, Order, Progress, RunConfig};

/// Pictures of a kind on the page of a report.
const SHOWN: usize = 24;

/// Options of `generate eval`.
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// The generator.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// The real pictures.
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// A classifier whose features pictures are compared by. By default one that is trained on the same data and kept
    /// beside the model (labels), or a matcher of pictures and descriptions (text).
    #[arg(long, value_name = "FILE")]
    pub extractor: Option<PathBuf>,
    /// Pictures to make.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(20..=10_000_000))]
    pub count: u32,
    /// Seed of the first picture.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Draw latent numbers beyond this again.
    #[arg(long, value_name = "X")]
    pub truncation: Option<f64>,
    /// For text: passes of the matcher over the pictures.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub matcher_epochs: u32,
    /// Also write an HTML report here.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// Runs `generate eval`.
pub fn run(args: &EvalArgs, global: &Global) -> Result<()> {
    let device = device(&global.device)?;
    let generator = Generator::load(&args.model, &device)?;
    let config = {
        let mut draft = Draft::new();
        if let Some(seed) = bundle::load_card(&args.model)?.0.provenance.seed {
            draft.set("seed", super::super::run::integer(seed)?)?;
        }
        TrainConfig::from_draft(draft)?
    };
    let shape = [generator.config().image_size, generator.config().channels];
    let data = open_for_measuring(&args.data, generator.condition(), shape, &config)?;
    let mut watcher = progress::watcher(global);
    let extractor = match (&args.extractor, generator.condition()) {
        (Some(path), _) => Some(path.clone()),
        (None, Condition::Label { .. }) => Some(own_classifier(args, &device, watcher.as_mut())?),
        _ => None,
    };
    let question = Question {
        count: args.count as usize,
        seed: args.seed,
        truncation: args.truncation,
        matcher_epochs: u64::from(args.matcher_epochs),
        shown: if args.report.is_some() { SHOWN } else { 0 },
    };
    let (scores, evidence) =
        evaluate(&generator, &data, extractor.as_deref(), question, &device, watcher.as_mut())?;
    if let Some(path) = &args.report {
        let title = format!("{} on {}", args.model.display(), args.data.display());
        let page = evaluation_report(&title, generator.condition(), &scores, &evidence)?;
        files::write_atomically(path, |out| out.write_all(page.as_bytes()))?;
    }
    if global.json { output::json(&scores) } else { tell(&scores) }
}

/// A classifier trained on the same data, kept beside the model.
fn own_classifier(args: &EvalArgs, device: &Device, progress: &mut dyn Progress) -> Result<PathBuf> {
    let out = args.model.parent().unwrap_or(Path::new("")).join("extractor");
    let best = out.join("best.safetensors");
    if out.join("report.html").is_file() && best.is_file() {
        progress.message(&format!("comparing by the features of {}", best.display()));
        return Ok(best);
    }
    progress.message(&format!("training a classifier to compare by, into {}", out.display()));
    let mut draft = Draft::new();
    for (key, value) in [("net.name", "small-cnn"), ("fit.epochs", "5"), ("fit.batch_size", "64")] {
        draft.set_text(&format!("{key}={value}"))?;
    }
    let order = Order {
        config: &ClassifierConfig::from_draft(draft)?,
        init_from: None,
        out: &out,
        existing: if out.join("config.toml").is_file() { Existing::Resume } else { Existing::Refuse },
        device,
        interrupted: &interrupt::flag(),
    };
    classifier::train(&args.data, &order, progress).map_err(|e| match e {
        Error::Input(message) => Error::Input(format!(
            "no classifier can be trained on this data to compare by ({message}); give one with --extractor FILE"
        )),
        other => other,
    })?;
    Ok(best)
}

fn tell(scores: &GenerateScores) -> Result<()> {
    let GenerateScores { protocol, .. } = scores;
    let real = scores.fid_real.map_or_else(String::new, |fid| format!(" (real against real: {fid:.4})"));
    output::line(&format!("FID {:.4}{real}, KID {:.6}", scores.fid, scores.kid))?;
    output::line(&format!(
        "precision {:.4}, recall {:.4}, density {:.4}, coverage {:.4}",
        scores.precision, scores.recall, scores.density, scores.coverage
    ))?;
    if let Some(score) = scores.inception_score {
        output::line(&format!("inception score {score:.3}"))?;
    }
    if let Some(part) = scores.recognised {
        output::line(&format!("taken for what was asked for: {part:.4} of {} pictures", protocol.fake))?;
        for of in &scores.recognised_of {
            output::line(&format!("  {:<24} {:.4} of {}", of.label, of.part, of.count))?;
        }
    }
    for (whose, found) in [("made", scores.retrieval), ("real", scores.retrieval_real)] {
        if let Some(found) = found {
            output::line(&format!(
                "{whose} pictures find their description among {}: {:.4}, {:.1} times chance (mean reciprocal rank {:.4}, {} \
                 pictures of held-out descriptions)",
                found.descriptions,
                found.top1,
                found.top1 / found.chance,
                found.mean_reciprocal_rank,
                found.pictures
            ))?;
        }
    }
    output::line(&format!(
        "protocol: {} real pictures ({}), {} made from seed {} on; {} features of {}; resized: {}",
        protocol.real,
        protocol.part,
        protocol.fake,
        protocol.seed,
        protocol.features,
        protocol.extractor,
        protocol.resize
    ))
}
