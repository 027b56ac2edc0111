//! `opticus model`: look into model files, bring weights in, take them out.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Global, output};
use crate::bundle::{self, Card};
use crate::classify::{self, Classifier, import};
use crate::detect;
use crate::detect::net::DetectorKind;
use crate::error::{Error, Result};
use crate::files;
use crate::nets::{NetKind, onnx, state};

/// What to do with a model file.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show the card of a model file: network, classes, preprocessing, figures, where it came from.
    Info {
        /// Model file.
        #[arg(value_name = "FILE")]
        model: PathBuf,
    },
    /// Make a model file of weights from torchvision, timm and the like (.safetensors, .pth, .pt, .th).
    Import(ImportArgs),
    /// Take a model out for other programs.
    Export(ExportArgs),
    /// Write a model file anew with a licence in its card, before it is given away.
    Licence(LicenceArgs),
}

/// Options of `model import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// Network that the weights belong to, e.g. resnet18, squeezenet1_0, resnet20; or a detector, e.g.
    /// faster-rcnn-resnet50-fpn, ssd300-vgg16, ssdlite320-mobilenet-v3.
    #[arg(long, value_name = "NAME")]
    pub net: String,
    /// File of weights. Pickles are read without running anything in them.
    #[arg(value_name = "FILE")]
    pub weights: PathBuf,
    /// Model file to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Class names, one a line, in the order of the network's outputs; well-known sets are recognised.
    #[arg(long, value_name = "FILE")]
    pub classes: Option<PathBuf>,
    /// Licence of the weights, for the card.
    #[arg(long, value_name = "TEXT")]
    pub licence: Option<String>,
    /// Replace an existing file.
    #[arg(long)]
    pub overwrite: bool,
}

/// Formats that other programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// ONNX, opset 17: input [n, c, h, w], outputs logits and probabilities.
    Onnx,
    /// Plain safetensors with the network's own (torchvision's) parameter names.
    Safetensors,
}

/// Options of `model export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Model file.
    #[arg(value_name = "FILE")]
    pub model: PathBuf,
    /// Format to write.
    #[arg(long, value_name = "FORMAT")]
    pub to: Target,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace an existing file.
    #[arg(long)]
    pub overwrite: bool,
}

/// Options of `model licence`.
#[derive(Debug, clap::Args)]
pub struct LicenceArgs {
    /// Model file.
    #[arg(value_name = "FILE")]
    pub model: PathBuf,
    /// Under what it may be used, e.g. "MIT OR Apache-2.0" (an SPDX expression is understood everywhere).
    #[arg(value_name = "TEXT")]
    pub licence: String,
    /// Model file to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace an existing file.
    #[arg(long)]
    pub overwrite: bool,
}

/// What `model info --json` prints: the card, the number of trained parameters and the file's size.
#[derive(Serialize, JsonSchema)]
pub struct Info {
    /// The model file's card.
    #[serde(flatten)]
    pub card: Card,
    /// Trained parameters (running statistics are not counted).
    pub parameters: usize,
    /// Size of the file.
    pub bytes: u64,
}

/// Runs one verb.
pub fn run(verb: Verb, global: &Global) -> Result<()> {
    match verb {
        Verb::Info { model } => info(&model, global),
        Verb::Import(args) => import_weights(&args, global),
        Verb::Export(args) => export(&args, global),
        Verb::Licence(args) => licence(&args, global),
    }
}

fn info(path: &Path, global: &Global) -> Result<()> {
    let (card, tensors) = bundle::load_card(path)?;
    let bytes = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?.len();
    let parameters =
        tensors.iter().filter(|entry| !state::is_buffer(&entry.name)).map(|entry| entry.values).sum();
    if global.json {
        return output::json(&Info { card, parameters, bytes });
    }
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let net = card.net.get("name").map_or_else(|| "?".into(), text);
    let mut rows = vec![
        ("job", card.job.clone()),
        ("network", format!("{net}, {parameters} parameters")),
        ("file", format!("{bytes} bytes")),
        ("classes", if card.classes.is_empty() { String::new() } else { summary(&card.classes) }),
        ("input", members(&card.preprocessing)),
    ];
    for metric in &card.metrics {
        rows.push((
            "measured",
            format!("{} {:.4} on {} ({} pictures)", metric.name, metric.value, metric.data, metric.count),
        ));
    }
    rows.push(("made by", card.provenance.command.clone()));
    rows.extend(card.provenance.seed.map(|seed| ("seed", seed.to_string())));
    rows.push(("data", card.provenance.data_fingerprint.clone()));
    rows.push(("version", card.provenance.product_version.clone()));
    rows.push(("licence", card.licence.clone()));
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        output::line(&format!("{name:<10} {value}"))?;
    }
    Ok(())
}

/// The members of a document on one line.
fn members(value: &serde_json::Value) -> String {
    let Some(object) = value.as_object() else { return value.to_string() };
    object.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

/// The first names and how many there are.
fn summary(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let first = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        format!("{}: {first}, …", names.len())
    } else {
        format!("{}: {first}", names.len())
    }
}

fn import_weights(args: &ImportArgs, global: &Global) -> Result<()> {
    let device = super::device(&global.device)?;
    refuse_existing(&args.out, args.overwrite)?;
    let (weights, classes) = (args.weights.as_path(), args.classes.as_deref());
    let licence = args.licence.as_deref().unwrap_or_default();
    let imported = match DetectorKind::ALL.iter().find(|kind| kind.name() == args.net) {
        Some(&net) => {
            detect::import::import(&detect::import::Request { weights, net, classes, licence }, &device)?
        }
        None => {
            let net: NetKind = args.net.parse().map_err(|e: Error| {
                let detectors: Vec<_> = DetectorKind::ALL.iter().map(|kind| kind.name()).collect();
                Error::Config(format!("{e}; or a detector: {}", detectors.join(", ")))
            })?;
            let imported = import::import(&import::Request { weights, net, classes, licence })?;
            // The file must predict, not only parse.
            Classifier::from_bundle(imported.clone(), &device)?;
            imported
        }
    };
    bundle::save(&args.out, &imported)?;
    if global.json { info(&args.out, global) } else { output::line(&format!("wrote {}", args.out.display())) }
}

fn licence(args: &LicenceArgs, global: &Global) -> Result<()> {
    refuse_existing(&args.out, args.overwrite)?;
    let mut bundle = bundle::load(&args.model)?;
    bundle.card.licence.clone_from(&args.licence);
    bundle::save(&args.out, &bundle)?;
    if global.json { info(&args.out, global) } else { output::line(&format!("wrote {}", args.out.display())) }
}

fn export(args: &ExportArgs, global: &Global) -> Result<()> {
    refuse_existing(&args.out, args.overwrite)?;
    let bundle = bundle::load(&args.model)?;
    if args.to == Target::Onnx && bundle.card.job != classify::JOB {
        return Err(Error::Config(format!(
            "--to onnx is for classifiers; {} is for the job `{}`. Use --to safetensors",
            args.model.display(),
            bundle.card.job
        )));
    }
    match args.to {
        Target::Safetensors => bundle::save_plain(&args.out, &bundle.tensors)?,
        Target::Onnx => {
            let metadata = [
                ("classes".to_string(), json(&bundle.card.classes)?),
                ("preprocessing".to_string(), json(&bundle.card.preprocessing)?),
            ];
            let classifier = Classifier::from_bundle(bundle, &super::device(&global.device)?)?;
            let bytes = onnx::export(classifier.net(), classifier.config(), &metadata);
            files::write_atomically(&args.out, |out| out.write_all(&bytes))?;
        }
    }
    output::line(&format!("wrote {}", args.out.display()))
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::ModelFile(format!("the card cannot be written as JSON: {e}")))
}

fn refuse_existing(path: &Path, overwrite: bool) -> Result<()> {
    match path.exists() && !overwrite {
        true => Err(Error::Config(format!(
            "{} exists; replace it with --overwrite or choose another --out",
            path.display()
        ))),
        false => Ok(()),
    }
}
