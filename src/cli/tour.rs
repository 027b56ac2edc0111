//! `opticus tour`: the jobs at work on pictures made on the spot, ending in one page worth showing.

mod detection;
mod fusion;
mod generation;

use std::path::{Path, PathBuf};

use super::{Global, interrupt, output, progress};
use crate::classify::Classifier;
use crate::classify::config::TrainConfig;
use crate::classify::dataset::{self, Parts};
use crate::classify::explain::{Explainer, Method};
use crate::classify::metrics::ClassifyScores;
use crate::classify::report::{
    ExplainedPictures, key_figures, learning_section, mistakes_section, pictures_section, read_log,
};
use crate::classify::training;
use crate::data::synth::{Shapes, shapes};
use crate::data::{Dataset, Format, Labelled};
use crate::error::{Error, Result};
use crate::files;
use crate::report::{Card, Gallery, Guess, Page, Picture, Section, Tile, Verdict, count, duration, percent};
use crate::settings::Draft;
use crate::train::{Existing, Order, RunConfig};

/// Pictures made: to learn from, to choose by, to test.
const PICTURES: [usize; 3] = [2400, 200, 400];
/// Their side in pixels.
const SIDE: u32 = 32;
/// Other pictures, other page; the page shown in the README is this one's.
const SEED: u64 = 7;
/// Pictures of the data and of the heat maps on the page.
const SHOWN: usize = 20;
const EXPLAINED: usize = 10;
/// Pictures of 32 pixels are enlarged, without smoothing, to be looked at.
const ENLARGED: u32 = 128;

/// The training run of the tour, as a user would write it.
const RECIPE: &str = include_str!("../../configs/tour.toml");

/// Options of `tour`.
#[derive(Debug, clap::Args)]
pub struct TourArgs {
    /// Folder for the page and the trained model; what an earlier tour left there is replaced.
    #[arg(long, value_name = "DIR", default_value = "tour")]
    pub out: PathBuf,
}

/// Runs the tour.
pub fn run(args: &TourArgs, global: &Global) -> Result<()> {
    files::create_folder(&args.out)?;
    let told = classification(&args.out, global)?;
    let found = detection::chapter(&args.out, &args.out.join("run").join("best.safetensors"), global)?;
    let fused = fusion::chapter()?;
    let drawn = generation::chapter(&args.out, global)?;
    let page = Page::new("A tour of Opticus").eyebrow("Opticus").lede(
        "Everything on this page was made by one program in one run: it drew the pictures, trained a network \
             to tell them apart and asked it where it looked, and trained another to find them in scenes, each \
             measured on pictures it had never seen; it made better pictures of several, and learnt to draw.",
    );
    let page = told
        .tiles
        .into_iter()
        .chain(found.tiles)
        .chain(fused.tiles)
        .chain(drawn.tiles)
        .fold(page, Page::tile);
    let sections =
        told.sections.into_iter().chain(found.sections).chain(fused.sections).chain(drawn.sections);
    let page = sections.fold(page, Page::section);
    let html =
        page.colophon(&format!("Made by `opticus tour`, version {}.", env!("CARGO_PKG_VERSION"))).render();
    let path = args.out.join("index.html");
    files::write_atomically(&path, |out| out.write_all(html.as_bytes()))?;
    if global.json {
        return output::json(
            &serde_json::json!({ "page": path.display().to_string(), "top1": told.score, "ap50": found.score }),
        );
    }
    output::line(&format!(
        "top-1 {:.4} on {} unseen pictures; AP50 {:.4} on unseen scenes; the tour's page: {}",
        told.score,
        PICTURES[2],
        found.score,
        path.display()
    ))
}

/// What a job adds to the page.
struct Chapter {
    tiles: Vec<Tile>,
    sections: Vec<Section>,
    /// Its main figure.
    score: f64,
}

fn classification(out: &Path, global: &Global) -> Result<Chapter> {
    let mut progress = progress::watcher(global);
    let [train, val, test] = PICTURES;
    progress.message(&format!("drawing {} pictures of ten shapes", train + val + test));
    let all = shapes(&Shapes { count: train + val + test, side: SIDE, seed: SEED })?;
    let part = |from: usize, n: usize| all.subset(&(from..from + n).collect::<Vec<_>>());
    let (unseen, gallery) = (part(train + val, test), data_section(&all)?);
    let parts = Parts {
        train: part(0, train),
        val: part(train, val),
        test: Some(unseen.clone()),
        skipped: Vec::new(),
        format: Format::Auto,
    };
    let config = TrainConfig::from_draft(Draft::from_text(RECIPE, "the tour's recipe")?)?;
    let device = super::device(&global.device)?;
    let run = out.join("run");
    let order = Order {
        config: &config,
        init_from: None,
        out: &run,
        existing: Existing::Overwrite,
        device: &device,
        interrupted: &interrupt::flag(),
    };
    let trained = training::train_on(parts, "the tour's shapes", &order, progress.as_mut())?;
    progress.message("asking the network where it looked");
    let classifier = Classifier::load(run.join("best.safetensors"), &device)?;
    let loader = dataset::measuring_loader(unseen, classifier.preprocessing(), 64, 64)?;
    let (scores, answers) = training::answers(&classifier, &loader)?;
    let explainer = Explainer::new(classifier.net(), classifier.device());
    let show = ExplainedPictures {
        pictures: loader.dataset(),
        explainer: &explainer,
        preprocessing: classifier.preprocessing(),
    };
    let mut sections = vec![gallery];
    sections.extend(learning_section(&read_log(&files::read_text(&run.join("log.csv"))?)?));
    sections.push(heat_section(&classifier, loader.dataset(), &scores)?);
    sections.push(mistakes_section(&scores, &answers, &show));
    sections.extend(pictures_section(&scores, &answers, &show));
    let mut tiles: Vec<Tile> = key_figures(&scores).into_iter().take(1).collect();
    tiles.push(
        Tile::new("Training to tell apart", &duration(trained.fitted.seconds)).note("on this processor"),
    );
    Ok(Chapter { tiles, sections, score: scores.top1 })
}

fn data_section(all: &Labelled) -> Result<Section> {
    let gallery: Gallery = (0..SHOWN)
        .map(|i| {
            let shown = enlarged(&all.load(i)?)?;
            Ok(Card::new(shown).title(&all.classes()[all.target(i)]))
        })
        .collect::<Result<Vec<Card>>>()?
        .into_iter()
        .collect();
    Ok(Section::new("The pictures")
        .lede(&format!(
            "{} pictures of ten shapes, drawn with colour, texture, rotation, occlusion and noise: the colours say \
             nothing, only the shape does. The last {} are shown to the network for the first time after training.",
            count(all.len() as u64),
            count(PICTURES[2] as u64)
        ))
        .push(gallery))
}

/// Unseen pictures with the network's heat over them, one of each class.
fn heat_section<D: Dataset<Target = usize>>(
    classifier: &Classifier,
    pictures: &D,
    scores: &ClassifyScores,
) -> Result<Section> {
    let explainer = Explainer::new(classifier.net(), classifier.device());
    let (mut cards, mut gained) = (Vec::new(), Vec::new());
    for index in 0..EXPLAINED.min(pictures.len()) {
        let (preprocessing, truth) = (classifier.preprocessing(), pictures.target(index));
        let explained =
            explainer.explain_picture(preprocessing, &pictures.load(index)?, Some(truth), Method::GradCam)?;
        let planes = preprocessing.normalize(&explained.seen);
        gained.push(explainer.faithfulness(&planes, &explained.heat, truth, SEED)?.deletion_gain());
        let (seen, probability) = (&explained.seen, explained.probability);
        let label = classifier.classes().get(truth).cloned().unwrap_or_default();
        let verdict = if probability >= 0.5 { Verdict::Right } else { Verdict::Wrong };
        cards.push(
            Card::new(enlarged(seen)?)
                .beside(picture(&explained.overlay(ENLARGED))?)
                .verdict(verdict)
                .guess(Guess { label, probability, truth: true }),
        );
    }
    let mean = gained.iter().sum::<f64>() / gained.len().max(1) as f64;
    let gallery: Gallery = cards.into_iter().collect();
    Ok(Section::new("Where it looked")
        .lede(&format!(
            "Grad-CAM: the warmer, the more a place spoke for the true class. Removing the warmest pixels first \
             lowers the network's certainty by {} more, on average, than removing pixels at random. The network \
             recognises {} of the unseen pictures.",
            percent(mean, 0),
            percent(scores.top1, 1)
        ))
        .push(gallery))
}

fn enlarged(image: &opticus_pixels::Image8) -> Result<Picture> {
    use opticus_pixels::resize::{Filter, resize};
    picture(&resize(image, opticus_pixels::Size::new(ENLARGED, ENLARGED), Filter::Nearest))
}

fn picture(picture: &opticus_pixels::Image8) -> Result<Picture> {
    Picture::new(picture, "").map_err(|e| Error::Input(format!("cannot draw a picture of the tour: {e}")))
}
