//! `opticus classify explain`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use opticus_pixels::codec;
use opticus_pixels::codec::Limits;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{Global, device, inputs, output};
use crate::classify::Classifier;
use crate::classify::explain::{Explainer, Method};
use crate::error::{Error, Result};
use crate::files;
use crate::settings::nearest;

/// Options of `classify explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// Opticus model file.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Pictures, folders of pictures, or quoted patterns.
    #[arg(required = true, value_name = "PICTURE")]
    pub inputs: Vec<PathBuf>,
    /// Folder for the overlays, one PNG a picture.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// grad-cam (Selvaraju et al. 2017), grad-cam++ (Chattopadhay et al. 2018) or occlusion (Zeiler and Fergus 2014).
    #[arg(long, value_name = "METHOD", default_value = "grad-cam")]
    pub method: Method,
    /// Explain this class instead of the most probable one.
    #[arg(long, value_name = "LABEL")]
    pub label: Option<String>,
}

/// What `classify explain --json` prints.
#[derive(Serialize, JsonSchema)]
pub struct Explanations {
    /// One entry a picture.
    pub explanations: Vec<Explanation>,
}

/// Where the network looked, and how far that explains its answer.
#[derive(Serialize, JsonSchema)]
pub struct Explanation {
    /// The picture.
    pub file: String,
    /// The overlay written.
    pub overlay: String,
    /// grad-cam, grad-cam++ or occlusion.
    pub method: String,
    /// The explained class.
    pub label: String,
    /// Its index.
    pub index: usize,
    /// Its probability.
    pub probability: f32,
    /// Area under the deletion curve, 0 to 1: lower is more faithful.
    pub deletion: f64,
    /// The same for pixels removed in random order.
    pub deletion_random: f64,
    /// Area under the insertion curve: higher is more faithful.
    pub insertion: f64,
    /// The same for pixels inserted in random order.
    pub insertion_random: f64,
}

/// Longer side of an overlay, at least, in pixels: the pixels of small pictures are enlarged to it.
const OVERLAY: u32 = 224;

/// Runs `classify explain`.
pub fn run(args: &ExplainArgs, global: &Global) -> Result<()> {
    let classifier = Classifier::load(&args.model, &device(&global.device)?)?;
    let files = inputs::pictures(&args.inputs)?;
    let asked = args.label.as_deref().map(|label| class_index(label, classifier.classes())).transpose()?;
    files::create_folder(&args.out)?;
    let explainer = Explainer::new(classifier.net(), classifier.device());
    let mut explanations = Vec::with_capacity(files.len());
    let mut names = BTreeSet::new();
    for file in &files {
        let (preprocessing, image) = (classifier.preprocessing(), classifier.read(file, &Limits::default())?);
        let explained = explainer.explain_picture(preprocessing, &image, asked, args.method)?;
        let planes = preprocessing.normalize(&explained.seen);
        let faithfulness = explainer.faithfulness(&planes, &explained.heat, explained.class, 0)?;
        let overlay = explained.overlay(OVERLAY);
        let path = args.out.join(overlay_name(file, args.method, &mut names));
        let png = codec::encode_png(&overlay)
            .map_err(|e| Error::Input(format!("{}: cannot draw the overlay: {e}", file.display())))?;
        files::write_atomically(&path, |out| out.write_all(&png))?;
        explanations.push(Explanation {
            file: file.display().to_string(),
            overlay: path.display().to_string(),
            method: args.method.name().into(),
            label: classifier.classes().get(explained.class).cloned().unwrap_or_default(),
            index: explained.class,
            probability: explained.probability as f32,
            deletion: faithfulness.deletion,
            deletion_random: faithfulness.deletion_random,
            insertion: faithfulness.insertion,
            insertion_random: faithfulness.insertion_random,
        });
    }
    if global.json {
        return output::json(&Explanations { explanations });
    }
    for e in &explanations {
        output::line(&format!(
            "{}\t{} {:.1}%  deletion {:.3} (random {:.3})  insertion {:.3} (random {:.3})  {}",
            e.file,
            e.label,
            100.0 * e.probability,
            e.deletion,
            e.deletion_random,
            e.insertion,
            e.insertion_random,
            e.overlay
        ))?;
    }
    Ok(())
}

/// The index of a class by name.
fn class_index(label: &str, classes: &[String]) -> Result<usize> {
    classes.iter().position(|c| c == label).ok_or_else(|| {
        let near = nearest(label, classes.iter().map(String::as_str));
        let advice = near.map_or_else(String::new, |n| format!(" Did you mean `{n}`?"));
        Error::Config(format!(
            "the model knows no class `{label}`.{advice} `opticus model info` lists its classes"
        ))
    })
}

/// A name for a picture's overlay that no other picture of this call has.
fn overlay_name(file: &Path, method: Method, taken: &mut BTreeSet<String>) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut name = format!("{stem}.{}.png", method.name());
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{stem}-{number}.{}.png", method.name());
        number += 1;
    }
    name
}
