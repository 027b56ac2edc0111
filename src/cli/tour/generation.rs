//! The tour's last chapter: a network learns to draw.

use std::path::Path;

use opticus_pixels::codec::{self, ColorMode, Limits};

use super::super::{Global, device, interrupt, progress};
use super::{Chapter, SEED, picture};
use crate::data::synth::{Shapes, silhouettes};
use crate::error::{Error, Result};
use crate::generate::config::TrainConfig;
use crate::generate::dataset::labelled;
use crate::generate::training;
use crate::report::{Card, Gallery, Section, Tile, duration, fixed};
use crate::settings::Draft;
use crate::train::{Existing, Order, RunConfig};

/// Pictures learnt from.
const PICTURES: usize = 2000;
/// Their side in pixels.
const SIDE: u32 = 24;
/// The training run, as a user would write it.
const RECIPE: &str = include_str!("../../../configs/tour-generate.toml");

/// Trains a pair of networks on drawn shapes, and shows what it draws at the beginning, in the middle and at the end.
pub fn chapter(out: &Path, global: &Global) -> Result<Chapter> {
    let mut progress = progress::watcher(global);
    progress.message(&format!("drawing {PICTURES} pictures to learn to draw from"));
    let pictures = silhouettes(&Shapes { count: PICTURES, side: SIDE, seed: SEED })?;
    let config = TrainConfig::from_draft(Draft::from_text(RECIPE, "the tour's recipe for drawing")?)?;
    let run = out.join("drawing");
    let order = Order {
        config: &config,
        init_from: None,
        out: &run,
        existing: Existing::Overwrite,
        device: &device(&global.device)?,
        interrupted: &interrupt::flag(),
    };
    let trained = training::train_on(labelled(pictures), &order, progress.as_mut())?;
    let epochs = trained.fitted.epochs.max(1);
    let mut cards = Vec::new();
    for (epoch, title) in
        [(1, "At the beginning"), (epochs.div_ceil(2), "In the middle"), (epochs, "At the end")]
    {
        let sheet = run.join("samples").join(format!("epoch-{epoch:04}.png"));
        let decoded = codec::decode_file(&sheet, &Limits::default())
            .map_err(|e| Error::Input(format!("{}: {e}", sheet.display())))?;
        cards.push(Card::new(picture(&decoded.into_image8(ColorMode::Rgb))?).title(title));
    }
    let section = Section::new("Learning to draw")
        .lede(
            "A generator draws from random numbers, a discriminator tells its pictures from 2000 plain shapes on paper, and \
             both learn. Each column is one shape that was asked for by name; the random numbers are the same in all three.",
        )
        .push(cards.into_iter().collect::<Gallery>());
    let time = Tile::new("Training to draw", &duration(trained.fitted.seconds)).note("on this processor");
    let distance =
        Tile::new("Distance of what it draws", &fixed(trained.distance, 2)).note("by cells; 0 is alike");
    Ok(Chapter { tiles: vec![distance, time], sections: vec![section], score: trained.distance })
}
