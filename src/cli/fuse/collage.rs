//! `opticus fuse collage`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use opticus_pixels::collage::{
    CellFit, CollageError, Grid, Justified, PhotoMosaic, assemble, cut, grid, justified, photo_mosaic,
    shuffle, solve,
};
use opticus_pixels::photo::Photo;
use opticus_pixels::{Image8, Size};
use rayon::prelude::*;

use super::super::{Global, inputs};
use super::result::{OutArgs, Work};
use super::stack::read;
use crate::error::{Error, Result};
use crate::files::name_of;

/// Options of `fuse collage`.
#[derive(Args, Debug)]
pub struct CollageArgs {
    /// Pictures, in order; folders and quoted patterns give theirs by name.
    #[arg(required = true, value_name = "PICTURE")]
    pub pictures: Vec<PathBuf>,
    #[command(flatten)]
    pub out: OutArgs,
    /// How they lie.
    #[arg(long, value_name = "HOW", default_value = "rows")]
    pub layout: Layout,
    /// Columns of the grid, of the mosaic, of the puzzle.
    #[arg(long, value_name = "N")]
    pub columns: Option<u32>,
    /// Rows of the grid or of the puzzle.
    #[arg(long, value_name = "N")]
    pub rows: Option<u32>,
    /// Width of the sheet of rows, in pixels.
    #[arg(long, value_name = "N", default_value_t = 1600)]
    pub width: u32,
    /// Height of a row, of a grid's cell, or of a mosaic's tile, in pixels.
    #[arg(long, value_name = "N")]
    pub height: Option<u32>,
    /// Fill the grid's cells, cutting rims.
    #[arg(long)]
    pub cover: bool,
    /// Pixels between pictures.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub gap: u32,
    /// Pixels around all.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub margin: u32,
    /// Colour of what no picture covers, as rrggbb.
    #[arg(long, value_name = "COLOUR", default_value = "ffffff", value_parser = colour)]
    pub background: Colour,
    /// The picture that a mosaic shows.
    #[arg(long, value_name = "FILE")]
    pub target: Option<PathBuf>,
    /// How far a mosaic's tiles are tinted, 0 to 1.
    #[arg(long, value_name = "F", default_value_t = 0.25)]
    pub tint: f32,
    /// Seed of the puzzle's shuffle.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// How pictures lie on the sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// Rows that fill the width, every picture at its aspect.
    Rows,
    /// Rows and columns of equal cells.
    Grid,
    /// The --target made of the pictures as small tiles.
    Mosaic,
    /// One picture cut into tiles and shuffled.
    Puzzle,
    /// A shuffled picture of tiles put together again.
    Solve,
}

/// Red, green and blue.
#[derive(Clone, Copy, Debug)]
pub struct Colour([u8; 3]);

fn colour(text: &str) -> Result<Colour, String> {
    let fault = || "give six hexadecimal digits, such as ffffff".to_owned();
    let text = text.strip_prefix('#').unwrap_or(text);
    let value = u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 6).ok_or_else(fault)?;
    let [_, r, g, b] = value.to_be_bytes();
    Ok(Colour([r, g, b]))
}

/// Runs `fuse collage`.
pub fn run(args: &CollageArgs, global: &Global) -> Result<()> {
    args.out.format()?;
    let files = inputs::stack(&args.pictures)?;
    let pictures: Vec<Image8> =
        files.par_iter().map(|file| read(file).map(|photo| photo.to_image8())).collect::<Result<_>>()?;
    let sheet = sheet(args, &pictures)?;
    let inputs = files.iter().map(|f| name_of(f)).zip(pictures).collect();
    let photo = Photo::from_image8(&sheet);
    Work { title: "Collage", inputs, sources: Vec::new(), maps: Vec::new(), photo }.finish(&args.out, global)
}

fn sheet(args: &CollageArgs, pictures: &[Image8]) -> Result<Image8> {
    let fault = |e: CollageError| Error::Input(e.to_string());
    let (gap, margin, background) = (args.gap, args.margin, args.background.0);
    match args.layout {
        Layout::Rows => {
            let usual = Justified::default();
            let row_height = args.height.unwrap_or(usual.row_height);
            justified(
                pictures,
                &Justified { width: args.width, row_height, gap, margin, background, ..usual },
            )
            .map_err(fault)
        }
        Layout::Grid => {
            let usual = Grid::default();
            let columns = args.columns.unwrap_or((pictures.len() as f64).sqrt().ceil() as u32);
            let side = args.height.unwrap_or(usual.cell.height);
            let fit = if args.cover { CellFit::Cover } else { CellFit::Contain };
            let (rows, cell) = (args.rows.unwrap_or(0), Size::new(side, side));
            grid(pictures, &Grid { columns, rows, cell, fit, gap, margin, background, ..usual })
                .map_err(fault)
        }
        Layout::Mosaic => {
            let Some(path) = &args.target else {
                return Err(Error::Config("--layout mosaic needs the --target that it shows".to_owned()));
            };
            let usual = PhotoMosaic::default();
            let side = args.height.unwrap_or(usual.tile.height);
            let (columns, tile) = (args.columns.unwrap_or(usual.columns), Size::new(side, side));
            let target = read(path)?.to_image8();
            photo_mosaic(&target, pictures, &PhotoMosaic { columns, tile, tint: args.tint, ..usual })
                .map_err(fault)
        }
        Layout::Puzzle | Layout::Solve => {
            let (Some(columns), Some(rows), [picture]) = (args.columns, args.rows, pictures) else {
                return Err(Error::Config(
                    "a puzzle is of one picture; say its --columns and --rows".to_owned(),
                ));
            };
            let tiles = cut(picture, columns, rows).map_err(fault)?;
            let order = match args.layout {
                Layout::Solve => solve(&tiles, columns, rows).map_err(fault)?,
                _ => shuffle(tiles.len(), args.seed),
            };
            assemble(&tiles, &order, columns).map_err(fault)
        }
    }
}
