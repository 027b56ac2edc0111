//! The tour's second chapter: objects found in scenes.

use std::path::Path;

use opticus_pixels::Box2d;
use opticus_pixels::draw::{BoxDrawing, Mark, draw_boxes};
use opticus_pixels::resize::{Filter, resize};
use opticus_pixels::{Image8, Size};

use super::super::{Global, interrupt, progress};
use super::{Chapter, SEED, picture};
use crate::data::synth::{self, Shapes};
use crate::data::{Dataset, detection};
use crate::detect::config::TrainConfig;
use crate::detect::dataset::{Parts, Pictures};
use crate::detect::metrics::Style;
use crate::detect::metrics::errors::judge;
use crate::detect::report::{errors_section, key_figures, learning_section, pictures_section, read_log};
use crate::detect::training;
use crate::detect::{Detector, predict};
use crate::error::{Error, Result};
use crate::files;
use crate::report::{Markup, Section, Tile, columns, count, duration};
use crate::settings::Draft;
use crate::train::{Existing, Order, RunConfig};

/// Scenes made: to learn from, to choose by, to test.
const SCENES: [u32; 3] = [480, 60, 60];
/// Their side in pixels.
const SIDE: u32 = 96;
/// Scenes shown with what is in them, enlarged.
const SHOWN: usize = 6;
const ENLARGED: u32 = 384;

/// The training run, as a user would write it.
const RECIPE: &str = include_str!("../../../configs/tour-detect.toml");

/// Trains a detector on scenes of the shapes that `classifier` tells apart, beginning with its weights.
pub fn chapter(out: &Path, classifier: &Path, global: &Global) -> Result<Chapter> {
    let mut progress = progress::watcher(global);
    let [train, val, test] = SCENES;
    let all = train + val + test;
    progress.message(&format!("drawing {all} scenes of the ten shapes"));
    let scenes = out.join("scenes");
    remove_scenes(&scenes)?;
    let shapes = Shapes { count: all as usize, side: SIDE, seed: SEED };
    let part = |n: u32| f64::from(n) / f64::from(all);
    let fractions = synth::Fractions { val: part(val), test: part(test) };
    synth::write(&scenes, &shapes, synth::Task::Detect, fractions)?;
    let config = TrainConfig::from_draft(Draft::from_text(RECIPE, "the tour's recipe")?)?;
    let device = super::super::device(&global.device)?;
    let run = out.join("detect");
    let order = Order {
        config: &config,
        init_from: Some(classifier),
        out: &run,
        existing: Existing::Overwrite,
        device: &device,
        interrupted: &interrupt::flag(),
    };
    let splits = detection::open(&scenes, crate::data::Format::Auto, &detection::OpenOptions::default())?;
    let none = || Error::Input("the tour's scenes have lost a part".to_owned());
    let (val, test) = (splits.val.ok_or_else(none)?, splits.test.ok_or_else(none)?);
    let unseen = Pictures::new(test.clone(), 64);
    let shown = scenes_section(&unseen)?;
    let parts =
        Parts { train: splits.train, val, test: Some(test), notes: splits.notes, format: splits.format };
    let trained = training::train_on(parts, &order, None, progress.as_mut())?;
    let detector = Detector::load(run.join("best.safetensors"), &device)?;
    let compared = predict::compare(&detector, &unseen, |_, _| {})?;
    let scores = compared.scores(Style::Coco);
    let errors = judge(&compared.truth, &compared.found);
    let mut sections = vec![shown];
    sections.extend(
        learning_section(&read_log(&files::read_text(&run.join("log.csv"))?)?)
            .map(|section| section.renamed("How it learnt to find them")),
    );
    sections.extend(
        pictures_section(&compared, &scores, &errors, &unseen)
            .map(|section| section.renamed("What it found in unseen scenes")),
    );
    sections.push(errors_section(&compared, &scores, &errors).renamed("Why it errs in scenes"));
    let mut tiles: Vec<Tile> = key_figures(&scores).into_iter().skip(1).take(1).collect();
    tiles.push(Tile::new("Training to find", &duration(trained.fitted.seconds)).note("on this processor"));
    Ok(Chapter { tiles, sections, score: scores.ap50.unwrap_or(0.0) })
}

/// Removes the scenes of an earlier tour, and nothing else that may go by their name.
fn remove_scenes(folder: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let name = entry.map_err(|e| Error::io("list the folder", folder, e))?.file_name();
        if !["train", "val", "test"].iter().any(|part| name == *part) {
            return Err(Error::Config(format!(
                "{} holds {}, which no tour made; choose another --out",
                folder.display(),
                name.display()
            )));
        }
    }
    std::fs::remove_dir_all(folder).map_err(|e| Error::io("replace", folder, e))
}

/// Some scenes with what is in them.
fn scenes_section(scenes: &Pictures) -> Result<Section> {
    let classes = scenes.annotated().classes();
    let mut shown = Vec::new();
    for index in 0..SHOWN.min(scenes.len()) {
        let image = enlarged(&scenes.load(index)?);
        let factor = f64::from(ENLARGED) / f64::from(SIDE);
        let mark = |bounds: Box2d, class: usize| Mark {
            bounds: bounds.scaled([factor; 2]),
            class,
            name: classes.get(class).cloned().unwrap_or_default(),
            score: None,
            dashed: false,
        };
        let marks: Vec<Mark> = scenes.target(index).iter().map(|a| mark(a.bounds, a.class)).collect();
        shown.push(Markup::from(picture(&draw_boxes(&image, &marks, &BoxDrawing::default()))?));
    }
    Ok(Section::new("Scenes")
        .lede(&format!(
            "Several of the shapes in one picture: {} scenes to learn from, {} that are seen for the first time after \
             training. The detector begins with the weights of the classifier above.",
            count(SCENES[0].into()),
            count(SCENES[2].into())
        ))
        .push(columns(shown)))
}

fn enlarged(image: &Image8) -> Image8 {
    resize(image, Size::new(ENLARGED, ENLARGED), Filter::Nearest)
}
