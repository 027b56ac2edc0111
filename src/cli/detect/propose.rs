//! `opticus detect propose`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use opticus_pixels::Image8;
use opticus_pixels::codec::{self, Limits};
use opticus_pixels::draw::{BoxDrawing, Mark, draw_boxes};
use opticus_pixels::geometry::Box2d;
use opticus_pixels::propose::{Effort, Proposing, propose};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::part::Part;
use super::super::{Global, device, inputs, output};
use super::DataArgs;
use super::eval::{Watch, part_to_measure};
use crate::data::OnBad;
use crate::detect::proposal_file::{ProposalFile, Proposed, VERSION};
use crate::detect::recall::{Gathered, Recall};
use crate::detect::{Detector, predict};
use crate::error::{Error, Result};
use crate::files;

/// Options of `detect propose`.
#[derive(Args, Debug)]
pub struct ProposeArgs {
    /// Pictures, folders of pictures, or quoted patterns such as 'photos/**/*.jpg'.
    #[arg(value_name = "PICTURE", required_unless_present = "data", conflicts_with = "data")]
    pub inputs: Vec<PathBuf>,
    /// Data set with boxes instead: COCO, Pascal VOC, YOLO. Tells how many objects the best 10, 100, 300… proposals
    /// cover.
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Kind of data set; recognised when left out.
    #[arg(long, value_name = "KIND", requires = "data")]
    pub format: Option<crate::data::Format>,
    /// Which part of the data set to look at.
    #[arg(long, value_name = "PART", requires = "data", default_value = "all")]
    pub part: Part,
    /// Part of the training pictures set aside as validation part, as in training; for --part val.
    #[arg(long, value_name = "F", allow_negative_numbers = true, requires = "data")]
    pub val_split: Option<f64>,
    /// Seed of that split.
    #[arg(long, value_name = "N", requires = "data")]
    pub seed: Option<u64>,
    /// Opticus model file of a detector that proposes regions, such as faster-rcnn; by default selective search.
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// How many ways selective search goes: single 1, fast 8, quality 80.
    #[arg(long, value_name = "HOW", default_value = "fast", conflicts_with = "model")]
    pub effort: Thoroughness,
    /// Proposals of a picture at most, the best.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub count: usize,
    /// File to write the proposals to, for `--proposals` of train, eval and predict.
    #[arg(long, value_name = "FILE.json")]
    pub to: Option<PathBuf>,
    /// Folder to write pictures to, as PNG, with the best proposals drawn; with --data, each object in dashes and the
    /// proposal that covers it best.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Proposals drawn on a picture without known objects.
    #[arg(long, value_name = "N", default_value_t = 30, requires = "out")]
    pub max_boxes: usize,
    /// What to do with a picture that cannot be read.
    #[arg(long, value_name = "WHAT", default_value = "error")]
    pub on_bad: OnBad,
}

/// How thoroughly selective search looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Thoroughness {
    /// One strategy.
    Single,
    /// 8 strategies; what rcnn and fast-rcnn are trained with.
    Fast,
    /// 80 strategies.
    Quality,
}

impl Thoroughness {
    fn effort(self) -> Effort {
        match self {
            Self::Single => Effort::Single,
            Self::Fast => Effort::Fast,
            Self::Quality => Effort::Quality,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Fast => "fast",
            Self::Quality => "quality",
        }
    }
}

/// What `detect propose --json` prints; `--proposals` reads it as well.
#[derive(Serialize, JsonSchema)]
pub struct ProposedRegions {
    /// The regions.
    #[serde(flatten)]
    pub proposals: ProposalFile,
    /// How many objects they cover, with `--data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<Recall>,
}

/// Numbers of proposals at which recall is told.
const COUNTS: [usize; 5] = [10, 100, 300, 1000, 2000];

/// A picture to look at.
struct Item {
    path: PathBuf,
    name: String,
    /// The class and box of each object that counts, where they are known.
    objects: Vec<(usize, Box2d)>,
}

/// What proposes.
enum Proposer {
    Search(Proposing),
    Network(Box<Detector>),
}

/// Runs `detect propose`.
pub fn run(args: &ProposeArgs, global: &Global) -> Result<()> {
    if args.count == 0 {
        return Err(Error::Config("--count 0: give at least 1".into()));
    }
    let (proposer, source) = proposer(args, global)?;
    let items = items(args, global)?;
    args.out.iter().try_for_each(|out| files::create_folder(out))?;
    let keep = global.json || args.to.is_some();
    let mut counts: Vec<usize> = COUNTS.into_iter().filter(|count| *count < args.count).collect();
    counts.push(args.count);
    let mut gathered = Gathered::new(counts);
    let (mut pictures, mut faults, mut names) = (Vec::new(), Vec::new(), inputs::Names::default());
    let (mut watch, limits) = (Watch::default(), Limits::default());
    let look = |item: &Item| -> Result<(Image8, Proposed)> {
        let image = predict::read(&item.path, &limits)?;
        let proposed = proposer.propose(&image, item.name.clone(), args.count)?;
        Ok((image, proposed))
    };
    // A network has all threads for one picture; searches share them.
    let together = match proposer {
        Proposer::Search(_) => 2 * rayon::current_num_threads(),
        Proposer::Network(_) => 1,
    };
    for some in items.chunks(together) {
        let looked: Vec<_> = match some {
            [one] => vec![look(one)],
            some => some.par_iter().map(look).collect(),
        };
        for (item, looked) in some.iter().zip(looked) {
            let (image, proposed) = match looked {
                Ok(looked) => looked,
                Err(fault @ Error::Input(_)) => {
                    faults.push(fault);
                    continue;
                }
                Err(other) => return Err(other),
            };
            let boxes: Vec<Box2d> = proposed.boxes.iter().map(|b| (*b).into()).collect();
            let objects: Vec<Box2d> = item.objects.iter().map(|(_, b)| *b).collect();
            gathered.add(&objects, &boxes);
            if let Some(out) = &args.out {
                let name = out.join(format!("{}.png", names.of(&item.path)));
                draw(&name, &image, &marks(item, &boxes, args))?;
            }
            match args.data {
                Some(_) if !global.quiet => watch.tick(),
                None if !global.json => {
                    output::line(&format!("{}\t{} proposals", item.name, boxes.len()))?;
                }
                _ => {}
            }
            if keep {
                pictures.push(proposed);
            }
        }
    }
    let proposals = ProposalFile { version: VERSION, source, pictures };
    if let Some(file) = &args.to {
        proposals.save(file)?;
    }
    let recall = args.data.is_some().then(|| gathered.recall());
    if global.json {
        output::json(&ProposedRegions { proposals, recall })?;
    } else if let Some(recall) = recall {
        table(&recall)?;
    }
    inputs::account_for(&faults, items.len(), args.on_bad)
}

/// What proposes, and what to call it.
fn proposer(args: &ProposeArgs, global: &Global) -> Result<(Proposer, String)> {
    let Some(model) = &args.model else {
        let settings = Proposing { most: args.count, ..Proposing::new(args.effort.effort()) };
        return Ok((Proposer::Search(settings), format!("selective search, {}", args.effort.name())));
    };
    let detector = Detector::load(model, &device(&global.device)?)?;
    let name = detector.config().name.clone();
    if !detector.proposes() {
        return Err(Error::Config(format!(
            "{}: {name} proposes no regions; give a model of the faster-rcnn family, or no --model for selective search",
            model.display()
        )));
    }
    Ok((Proposer::Network(Box::new(detector)), name))
}

impl Proposer {
    fn propose(&self, image: &Image8, name: String, count: usize) -> Result<Proposed> {
        Ok(match self {
            Self::Search(settings) => Proposed::boxes(name, image.size, &propose(image, settings)),
            Self::Network(detector) => {
                let mut found = detector.propose(image)?.unwrap_or_default();
                found.retain(|c| !c.bounds.clipped(image.size).degenerate());
                found.truncate(count);
                Proposed::scored(name, image.size, &found)
            }
        })
    }
}

/// The pictures to look at.
fn items(args: &ProposeArgs, global: &Global) -> Result<Vec<Item>> {
    let Some(data) = &args.data else {
        let item = |path: PathBuf| Item { name: path.display().to_string(), path, objects: Vec::new() };
        return Ok(inputs::pictures(&args.inputs)?.into_iter().map(item).collect());
    };
    let data =
        DataArgs { data: data.clone(), format: args.format, val_split: args.val_split, seed: args.seed };
    let (part, _) = part_to_measure(&data, Some(args.part), args.on_bad, global)?;
    let pictures = part.pictures().iter();
    let item = |p: &crate::data::detection::Picture| Item {
        path: p.path.clone(),
        name: p.relative.to_string(),
        objects: {
            let one = p.annotations.iter().filter(|a| !a.crowd && !a.difficult);
            one.map(|a| (a.class, a.bounds)).collect()
        },
    };
    Ok(pictures.map(item).collect())
}

/// The best proposals; or each object, and the proposal that covers it best with its IoU.
fn marks(item: &Item, boxes: &[Box2d], args: &ProposeArgs) -> Vec<Mark> {
    let plain = |(class, bounds): (usize, Box2d)| Mark {
        bounds,
        class,
        name: String::new(),
        score: None,
        dashed: false,
    };
    if args.data.is_none() {
        return boxes.iter().copied().take(args.max_boxes).enumerate().map(plain).collect();
    }
    let of_object = |(class, object): &(usize, Box2d)| {
        let overlap = |b: &Box2d| (b.iou(*object), *b);
        let best = boxes.iter().map(overlap).max_by(|(a, _), (b, _)| a.total_cmp(b));
        let covering = best.filter(|(iou, _)| *iou > 0.0).map(|(iou, bounds)| Mark {
            name: "IoU".into(),
            score: Some(iou),
            ..plain((*class, bounds))
        });
        let object = Mark { dashed: true, ..plain((*class, *object)) };
        covering.into_iter().chain([object])
    };
    item.objects.iter().flat_map(of_object).collect()
}

fn draw(path: &Path, image: &Image8, marks: &[Mark]) -> Result<()> {
    let settings = BoxDrawing { max_boxes: usize::MAX, min_score: 0.0, ..BoxDrawing::default() };
    let drawn = draw_boxes(image, marks, &settings);
    let png = codec::encode_png(&drawn)
        .map_err(|e| Error::Input(format!("{}: cannot be drawn: {e}", path.display())))?;
    files::write_atomically(path, |out| out.write_all(&png))
}

/// Recall for people.
fn table(recall: &Recall) -> Result<()> {
    let Recall { images, objects, proposals_per_image, rows } = recall;
    output::line(&format!(
        "{images} pictures, {objects} objects, {proposals_per_image:.0} proposals a picture"
    ))?;
    output::line("proposals  recall@0.5  recall@0.7  average recall")?;
    rows.iter().try_for_each(|row| {
        output::line(&format!(
            "{:>9}  {:>10.3}  {:>10.3}  {:>14.3}",
            row.proposals, row.recall50, row.recall70, row.average_recall
        ))
    })
}
