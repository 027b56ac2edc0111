//! `opticus generate eval`.

use std::path::PathBuf;

use clap::Args;

use super::super::{Global, device, output, progress};
use super::judge;
use crate::bundle;
use crate::error::Result;
use crate::files;
use crate::generate::config::TrainConfig;
use crate::generate::dataset::open_for_measuring;
use crate::generate::evaluation::{GenerateScores, Question, evaluate, labelled};
use crate::generate::report::evaluation_report;
use crate::generate::{Condition, Generator};
use crate::settings::Draft;
use crate::train::RunConfig;

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
    /// For labels: also train a classifier on the made pictures alone and measure it on the real ones (classification
    /// accuracy score, Ravuri and Vinyals 2019). Takes minutes; it is kept beside the model.
    #[arg(long)]
    pub accuracy: bool,
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
        (None, Condition::Label { .. }) => {
            Some(judge::of_real(&args.model, &args.data, &device, watcher.as_mut())?)
        }
        _ => None,
    };
    let question = Question {
        count: args.count as usize,
        seed: args.seed,
        truncation: args.truncation,
        matcher_epochs: u64::from(args.matcher_epochs),
        shown: if args.report.is_some() { SHOWN } else { 0 },
    };
    let made = args.accuracy.then(|| labelled(&generator, question)).transpose()?;
    let (mut scores, evidence) =
        evaluate(&generator, &data, extractor.as_deref(), question, &device, watcher.as_mut())?;
    if let Some(made) = made {
        scores.classification_accuracy =
            Some(judge::of_made(&args.model, made, data.real.pictures, &device, watcher.as_mut())?);
    }
    if let Some(path) = &args.report {
        let title = format!("{} on {}", args.model.display(), args.data.display());
        let page = evaluation_report(&title, generator.condition(), &scores, &evidence)?;
        files::write_atomically(path, |out| out.write_all(page.as_bytes()))?;
    }
    if global.json { output::json(&scores) } else { tell(&scores) }
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
    if let Some(part) = scores.classification_accuracy {
        output::line(&format!(
            "classification accuracy score: {part:.4} of the real pictures, by a classifier of made ones"
        ))?;
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
