//! What every `fuse` ends in: a file, a line of figures, a page.

use std::path::PathBuf;

use clap::Args;
use opticus_pixels::codec::Format;
use opticus_pixels::photo::Photo;
use opticus_pixels::preprocess::Planes;
use opticus_pixels::quality::{self, Scores};
use opticus_pixels::resize::{Filter, resize};
use opticus_pixels::{Image8, Size};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{Global, output};
use crate::error::{Error, Result};
use crate::files;
use crate::report::{Card, Gallery, Page, Picture, Section, Tile, fixed};

/// Where the picture goes.
#[derive(Args, Clone, Debug)]
pub struct OutArgs {
    /// File to write: .png and .tif keep 16 bits and alpha, .jpg has 8 bits.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace an existing file.
    #[arg(long)]
    pub overwrite: bool,
    /// Quality of a JPEG, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = 95, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub quality: u8,
    /// Also write an HTML page here: inputs, weights, result, figures.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

impl OutArgs {
    /// What is written, by the file's ending; asked before any work is done.
    pub fn format(&self) -> Result<Format> {
        let ending = self.out.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        let formats = [Format::Png, Format::Tiff, Format::Jpeg];
        let format =
            formats.into_iter().find(|f| f.endings().contains(&ending.as_str())).ok_or_else(|| {
                Error::Config(format!("--out {}: end the name in .png, .tif or .jpg", self.out.display()))
            })?;
        if self.out.exists() && !self.overwrite {
            return Err(Error::Config(format!(
                "{} exists already; choose another --out, or say --overwrite",
                self.out.display()
            )));
        }
        Ok(format)
    }
}

/// Measures of a picture; those that do not apply are left out.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Figures {
    /// Bits a pixel.
    pub entropy: f64,
    /// With the sources, in bits, summed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutual_information: Option<f64>,
    /// How much of the sources' edges is there, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qabf: Option<f64>,
    /// Against the reference, else the mean over the sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssim: Option<f64>,
    /// As `ssim`, at five scales.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms_ssim: Option<f64>,
    /// Against the sources together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mef_ssim: Option<f64>,
    /// In dB, against the reference, else the mean over the sources. Left out for equal pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr: Option<f64>,
    /// In levels.
    pub spatial_frequency: f64,
    /// In levels.
    pub average_gradient: f64,
    /// In levels.
    pub standard_deviation: f64,
    /// Against the reference, else the mean over the sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vif: Option<f64>,
}

impl From<Scores> for Figures {
    fn from(s: Scores) -> Self {
        Self {
            entropy: s.entropy,
            mutual_information: s.mutual_information,
            qabf: s.qabf,
            ssim: s.ssim,
            ms_ssim: s.ms_ssim,
            mef_ssim: s.mef_ssim,
            psnr: s.psnr,
            spatial_frequency: s.spatial_frequency,
            average_gradient: s.average_gradient,
            standard_deviation: s.standard_deviation,
            vif: s.vif,
        }
    }
}

impl Figures {
    /// Names, values and decimals, in one order everywhere.
    pub fn rows(&self) -> Vec<(&'static str, f64, usize)> {
        let all = [
            ("entropy", Some(self.entropy), 3),
            ("mutual information", self.mutual_information, 3),
            ("Q^AB/F", self.qabf, 4),
            ("SSIM", self.ssim, 4),
            ("MS-SSIM", self.ms_ssim, 4),
            ("MEF-SSIM", self.mef_ssim, 4),
            ("PSNR", self.psnr, 2),
            ("VIF", self.vif, 4),
            ("spatial frequency", Some(self.spatial_frequency), 2),
            ("average gradient", Some(self.average_gradient), 2),
            ("standard deviation", Some(self.standard_deviation), 2),
        ];
        all.into_iter().filter_map(|(name, value, digits)| value.map(|v| (name, v, digits))).collect()
    }

    /// One line.
    pub fn line(&self) -> String {
        let words = self.rows().into_iter().map(|(name, value, digits)| format!("{name} {value:.digits$}"));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// What `fuse … --json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Fused {
    /// The file written.
    pub out: String,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Number of pictures fused.
    pub pictures: usize,
    /// Measures against the pictures as they were fused.
    pub scores: Figures,
}

/// A finished work.
pub struct Work<'a> {
    /// What was done, for the page: "Exposure fusion".
    pub title: &'a str,
    /// The inputs as they were fused, with names.
    pub inputs: Vec<(String, Image8)>,
    /// Those that the result is scored against; they have its size.
    pub sources: Vec<Image8>,
    /// Grey maps beside the inputs, in their order: weights, depth.
    pub maps: Vec<(String, Planes)>,
    /// The picture.
    pub photo: Photo,
}

impl Work<'_> {
    /// Writes everything and says how it went.
    pub fn finish(self, args: &OutArgs, global: &Global) -> Result<()> {
        let pictures = self.inputs.len();
        let scores = self.write(args, pictures)?;
        let Size { width, height } = self.photo.size();
        if global.json {
            let out = args.out.display().to_string();
            return output::json(&Fused { out, width, height, pictures, scores });
        }
        output::line(&format!("{}: {width}x{height}; {}", args.out.display(), scores.line()))
    }

    /// Writes the picture made of so many, and the page if one is wanted.
    pub fn write(&self, args: &OutArgs, pictures: usize) -> Result<Figures> {
        let format = args.format()?;
        let fused = self.photo.to_image8();
        // All measures take longer than the work; the page has them, and `fuse score`.
        let scores = match args.report {
            Some(_) => quality::score(&fused, &self.sources, None),
            None => quality::brief(&fused, &self.sources),
        };
        let scores: Figures = scores.map_err(|e| Error::Input(e.to_string()))?.into();
        let bytes = self
            .photo
            .encode(format, args.quality)
            .map_err(|e| Error::Input(format!("{}: {e}", args.out.display())))?;
        files::write_atomically(&args.out, |out| out.write_all(&bytes))?;
        if let Some(path) = &args.report {
            let page = self.page(&fused, &scores, pictures)?;
            files::write_atomically(path, |out| out.write_all(page.as_bytes()))?;
        }
        Ok(scores)
    }

    fn page(&self, fused: &Image8, scores: &Figures, pictures: usize) -> Result<String> {
        let card = |image: &Image8, title: &str| Ok(Card::new(shown(image)?).title(title));
        let gallery = |cards: Result<Vec<Card>>| Ok::<Gallery, Error>(cards?.into_iter().collect());
        let inputs = gallery(self.inputs.iter().map(|(name, image)| card(image, name)).collect())?;
        let mut page = Page::new(self.title).eyebrow("Opticus · fusion").lede(&format!(
            "{pictures} pictures into one of {}x{} pixels.",
            fused.size.width, fused.size.height
        ));
        for (name, value, digits) in scores.rows() {
            page = page.tile(Tile::new(name, &fixed(value, digits)));
        }
        let result = Card::new(Picture::new(&bounded(fused, LARGE), "the result")?);
        page = page.section(Section::new("Result").push(gallery(Ok(vec![result]))?));
        page = page.section(Section::new("Inputs").push(inputs));
        if !self.maps.is_empty() {
            let maps = self.maps.iter().map(|(name, map)| card(&grey(map), name)).collect();
            let lede = "The lighter, the more of the picture is in the result.";
            page = page.section(Section::new("Shares").lede(lede).push(gallery(maps)?));
        }
        Ok(page.colophon(&format!("Made by Opticus {}.", env!("CARGO_PKG_VERSION"))).render())
    }
}

/// Longer side on the page of an input, and of the result.
const SMALL: u32 = 420;
const LARGE: u32 = 1200;

fn shown(image: &Image8) -> Result<Picture> {
    Picture::new(&bounded(image, SMALL), "")
}

fn bounded(image: &Image8, side: u32) -> Image8 {
    let Size { width, height } = image.size;
    let longer = width.max(height);
    if longer <= side {
        return image.clone();
    }
    let scaled = |v: u32| ((u64::from(v) * u64::from(side)).div_ceil(u64::from(longer)) as u32).max(1);
    resize(image, Size::new(scaled(width), scaled(height)), Filter::Bicubic)
}

fn grey(map: &Planes) -> Image8 {
    let data = map.data.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
    Image8 { size: map.size, channels: 1, data }
}
