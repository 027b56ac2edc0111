//! `opticus fuse panorama`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{Args, ValueEnum};
use opticus_pixels::codec::encode_png;
use opticus_pixels::draw::contact_sheet;
use opticus_pixels::panorama::{
    Composite, MOST_PIXELS, Panorama, PanoramaError, Projection, Registration, View, draw_pair, register,
};
use opticus_pixels::photo::Photo;
use opticus_pixels::{Image8, Size};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{Global, inputs, output};
use super::result::{Figures, OutArgs, Work};
use super::stack::read;
use crate::error::{Error, Result};
use crate::files::{self, name_of};

/// Options of `fuse panorama`.
#[derive(Args, Debug)]
pub struct PanoramaArgs {
    /// Pictures taken by a turning camera, in any order and of any size; folders and quoted patterns such as 'pan/*.jpg'.
    #[arg(required = true, value_name = "PICTURE")]
    pub pictures: Vec<PathBuf>,
    #[command(flatten)]
    pub out: OutArgs,
    /// The surface that the pictures are laid on; by default by the field of view.
    #[arg(long, value_name = "SURFACE")]
    pub projection: Option<Surface>,
    /// Cut down to the largest rectangle without a gap.
    #[arg(long)]
    pub crop: bool,
    /// Also write a picture of the matches, as PNG. Where pictures do not match it is written beside --out in any case.
    #[arg(long, value_name = "FILE")]
    pub matches: Option<PathBuf>,
    /// Memory that the panorama may take, in megabytes.
    #[arg(long, value_name = "MB", default_value_t = 8192)]
    pub max_memory: u64,
}

/// Where a panorama's pictures are laid.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Surface {
    /// A plane: straight lines stay straight; up to about 70 degrees.
    Planar,
    /// A cylinder: all the way round, not far up or down.
    Cylindrical,
    /// A sphere: everything.
    Spherical,
}

impl From<Surface> for Projection {
    fn from(surface: Surface) -> Self {
        match surface {
            Surface::Planar => Self::Planar,
            Surface::Cylindrical => Self::Cylindrical,
            Surface::Spherical => Self::Spherical,
        }
    }
}

/// What `fuse panorama --json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Stitched {
    /// The file written.
    pub out: String,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Number of pictures joined.
    pub pictures: usize,
    /// The surface: `planar`, `cylindrical` or `spherical`.
    pub projection: String,
    /// Degrees seen across and down.
    pub field_of_view: [f64; 2],
    /// Mean distance in pixels between a point and where its partner in another picture says it is.
    pub reprojection_error: f64,
    /// The pairs that overlap.
    pub pairs: Vec<Overlapping>,
    /// Measures of the result by itself.
    pub scores: Figures,
}

/// Two pictures that overlap.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Overlapping {
    /// Name of the first.
    pub first: String,
    /// Name of the second.
    pub second: String,
    /// Matches that agree.
    pub agreeing: usize,
    /// All matches.
    pub matches: usize,
    /// How many had to agree.
    pub needed: usize,
}

/// Bytes a pixel of the panorama while it is made.
const BYTES: u64 = 45;

/// Runs `fuse panorama`.
pub fn run(args: &PanoramaArgs, global: &Global) -> Result<()> {
    args.out.format()?;
    let files = inputs::stack(&args.pictures)?;
    if files.len() < 2 {
        return Err(Error::Input(format!("2 pictures are needed, {} given", files.len())));
    }
    let allowed = args.max_memory << 20;
    // What does not fit is read again when its turn comes.
    let held = AtomicU64::new(0);
    let read_one = |file: &PathBuf| -> Result<(View, Option<Photo>)> {
        let photo = read(file)?;
        let view = View::of(&photo);
        let bytes = photo.size().area() * 16;
        let fits = held.fetch_add(bytes, Ordering::Relaxed) + bytes <= allowed / 8;
        Ok((view, fits.then_some(photo)))
    };
    let (views, photos): (Vec<View>, Vec<Option<Photo>>) =
        files.par_iter().map(read_one).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let registration = register(&views).map_err(|e| explained(e, &files, &views, args))?;
    let options = Panorama {
        projection: args.projection.map(Into::into),
        crop: args.crop,
        most_pixels: (allowed / BYTES).min(MOST_PIXELS),
    };
    let mut composite =
        Composite::new(&views, &registration, &options).map_err(|e| explained(e, &files, &views, args))?;
    for ((number, file), photo) in files.iter().enumerate().zip(photos) {
        if composite.shows(number) {
            composite.push(number, &photo.map_or_else(|| read(file), Ok)?);
        }
    }
    let (projection, field_of_view) = (composite.projection, composite.field_of_view);
    let photo = composite.finish();
    if let Some(path) = &args.matches {
        write_png(path, &sheet(&registration, &views))?;
    }
    let pairs = overlapping(&registration, &files);
    let mut inputs: Vec<(String, Image8)> = Vec::new();
    if args.out.report.is_some() {
        inputs = files.iter().zip(&views).map(|(f, v)| (name_of(f), v.small.clone())).collect();
        inputs.extend(registration.pairs.iter().zip(&pairs).map(|(pair, said)| {
            let title = format!(
                "{} and {}: {} of {} matches agree",
                said.first, said.second, said.agreeing, said.matches
            );
            (title, draw_pair(&views[pair.first], &views[pair.second], &pair.lines(&views)))
        }));
    }
    let work = Work { title: "Panorama", inputs, sources: Vec::new(), maps: Vec::new(), photo };
    let scores = work.write(&args.out, files.len())?;
    let Size { width, height } = work.photo.size();
    let out = args.out.out.display().to_string();
    let projection = format!("{projection:?}").to_lowercase();
    let stitched = Stitched {
        out,
        width,
        height,
        pictures: files.len(),
        projection,
        field_of_view,
        reprojection_error: registration.error,
        pairs,
        scores,
    };
    if global.json {
        return output::json(&stitched);
    }
    output::line(&stitched.line())
}

impl Stitched {
    fn line(&self) -> String {
        let most = 6;
        let mut pairs: Vec<String> = self
            .pairs
            .iter()
            .take(most)
            .map(|p| format!("{}–{} {} of {}", p.first, p.second, p.agreeing, p.matches))
            .collect();
        if self.pairs.len() > most {
            pairs.push(format!("{} more pairs", self.pairs.len() - most));
        }
        let [across, down] = self.field_of_view;
        format!(
            "{}: {}x{}; {} pictures, {}, {across:.0}×{down:.0} degrees, reprojection error {:.2} px; matches that agree: {}",
            self.out,
            self.width,
            self.height,
            self.pictures,
            self.projection,
            self.reprojection_error,
            pairs.join(", ")
        )
    }
}

fn overlapping(registration: &Registration, files: &[PathBuf]) -> Vec<Overlapping> {
    let pairs = registration.pairs.iter();
    pairs
        .map(|pair| Overlapping {
            first: name_of(&files[pair.first]),
            second: name_of(&files[pair.second]),
            agreeing: pair.inliers.len(),
            matches: pair.inliers.len() + pair.outliers.len(),
            needed: pair.needed,
        })
        .collect()
}

/// Pairs on the sheet of matches.
const MOST_PAIRS: usize = 24;

/// All pairs, one below the other, up to a number.
fn sheet(registration: &Registration, views: &[View]) -> Image8 {
    let drawn = |pair: &opticus_pixels::panorama::Pair| {
        draw_pair(&views[pair.first], &views[pair.second], &pair.lines(views))
    };
    let pairs: Vec<Image8> = registration.pairs.iter().take(MOST_PAIRS).map(drawn).collect();
    contact_sheet(&pairs, 1, 4, 32).unwrap_or_else(|| views[0].small.clone())
}

fn write_png(path: &Path, image: &Image8) -> Result<()> {
    let bytes = encode_png(image).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
    files::write_atomically(path, |out| out.write_all(&bytes))
}

/// With the files' names; the matches of a pair that failed are drawn beside the output.
fn explained(error: PanoramaError, files: &[PathBuf], views: &[View], args: &PanoramaArgs) -> Error {
    let name = |number: usize| files[number].display().to_string();
    match error {
        PanoramaError::Unmatched { first, second, agreeing, matches, needed, lines } => {
            let path = args.matches.clone().unwrap_or_else(|| {
                let stem = args.out.out.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                args.out.out.with_file_name(format!("{stem}-matches.png"))
            });
            let drawn = match write_png(&path, &draw_pair(&views[first], &views[second], &lines)) {
                Ok(()) => format!("{} shows them", path.display()),
                Err(e) => e.to_string(),
            };
            Error::Input(format!(
                "{} and {} do not match, and nothing else joins them: too few matches, {agreeing} of {matches} agree, \
                 {needed} needed; {drawn}. Neighbours should share a third of their pictures; leave out what belongs to \
                 another scene",
                name(first),
                name(second)
            ))
        }
        PanoramaError::Plain { number, found, needed } => Error::Input(format!(
            "{}: {found} points that could be found again, at least {needed} are needed; it is too small, too dark, \
             blurred or without texture",
            name(number)
        )),
        PanoramaError::Same { first, second } => Error::Input(format!(
            "{} and {} show the same: there is nothing to join",
            name(first),
            name(second)
        )),
        PanoramaError::Wide { .. } => {
            Error::Config(format!("{error}: --projection cylindrical or spherical"))
        }
        PanoramaError::Large { .. } => Error::Limit(format!("{error}, or allow more with --max-memory")),
        PanoramaError::Few(_) => Error::Input(error.to_string()),
    }
}
