//! The tour's third chapter: several pictures of a scene into one better picture.

use opticus_pixels::blend::{
    Exposure, Focus, FocusStack, Gradients, Mask, clone_into, fuse_exposures, stretch,
};
use opticus_pixels::photo::Photo;
use opticus_pixels::quality;
use opticus_pixels::resize::{Filter, resize};
use opticus_pixels::{Box2d, Image8, Size};

use super::{Chapter, SEED, picture};
use crate::data::synth::Shapes;
use crate::error::{Error, Result};
use crate::report::{Card, Gallery, Section, Tile, fixed};

/// Side of the scenes in pixels.
const SIDE: u32 = 256;
/// Their sides when out of focus: what is finer is lost.
const BLURRED: u32 = 48;

/// Makes stacks of drawn scenes and fuses them.
pub fn chapter() -> Result<Chapter> {
    let shapes = Shapes { count: 3, side: SIDE, seed: SEED };
    let (scene, _) = shapes.several(0);
    let exposures = exposures(&scene)?;
    let (focus, gained) = focus(&scene)?;
    let gallery: Gallery = [exposures, focus, clone(&shapes)?].into_iter().collect();
    let section = Section::new("Several pictures into one")
        .lede(
            "Each last picture is made of those before it: two exposures of a scene with deep shadows, two pictures each \
             sharp in one half, and a shape with its surroundings set into another scene.",
        )
        .push(gallery);
    let tile = Tile::new("Focus stack", &format!("{} dB", fixed(gained, 1))).note("against the sharp scene");
    Ok(Chapter { tiles: vec![tile], sections: vec![section], score: gained })
}

fn fault(error: impl std::fmt::Display) -> Error {
    Error::Input(format!("the tour's fusion: {error}"))
}

/// A scene lit from the left, exposed for its light and for its shadow.
fn exposures(scene: &Image8) -> Result<Card> {
    let exposed = |gain: f64| {
        let lit = |i: usize| 0.12 + 0.88 * (1.0 - (i / 3 % SIDE as usize) as f64 / f64::from(SIDE));
        let data =
            scene.data.iter().enumerate().map(|(i, v)| (f64::from(*v) * lit(i) * gain).min(255.0) as u8);
        Image8 { data: data.collect(), ..scene.clone() }
    };
    let (dark, light) = (exposed(0.8), exposed(4.0));
    let [a, b] = [&dark, &light].map(Photo::from_image8);
    let (mut fused, _) = fuse_exposures(&[&a.colour, &b.colour], &Exposure::default()).map_err(fault)?;
    stretch(&mut fused, 0.5, 0.5);
    let fused = a.with_colour(fused).to_image8();
    Ok(Card::new(picture(&dark)?).beside(picture(&light)?).beside(picture(&fused)?).title("Exposure fusion"))
}

/// The scene sharp on the left, then on the right; and how near the stack comes to it, in dB.
fn focus(scene: &Image8) -> Result<(Card, f64)> {
    let small = resize(scene, Size::new(BLURRED, BLURRED), Filter::Bicubic);
    let blurred = resize(&small, scene.size, Filter::Bicubic);
    let half = |left: bool| {
        let sharp = |i: usize| (i / 3 % SIDE as usize) < SIDE as usize / 2;
        let both = scene.data.iter().zip(&blurred.data).enumerate();
        Image8 {
            data: both.map(|(i, (s, b))| if sharp(i) == left { *s } else { *b }).collect(),
            ..scene.clone()
        }
    };
    let (left, right) = (half(true), half(false));
    let mut stack = FocusStack::new(scene.size, 3, &Focus::default()).map_err(fault)?;
    for image in [&left, &right] {
        stack.push(&Photo::from_image8(image).colour).map_err(fault)?;
    }
    let fused = Photo::from_image8(scene).with_colour(stack.finish().map_err(fault)?.picture).to_image8();
    let gained = quality::psnr(&fused.data, &scene.data).unwrap_or(100.0);
    let card =
        Card::new(picture(&left)?).beside(picture(&right)?).beside(picture(&fused)?).title("Focus stack");
    Ok((card, gained))
}

/// The first object of one scene, within an ellipse, in the middle of another.
fn clone(shapes: &Shapes) -> Result<Card> {
    let ((from, objects), (into, _)) = (shapes.several(1), shapes.several(2));
    let Some(object) = objects.first() else { return Err(fault("a scene without objects")) };
    let [x, y, w, h] = Box2d::from_xywh(object.bounds.map(f64::from)).to_center();
    let inside = |i: u64| {
        let (u, v) = ((i % u64::from(SIDE)) as f64 - x, (i / u64::from(SIDE)) as f64 - y);
        (u / (0.75 * w)).hypot(v / (0.75 * h)) < 1.0
    };
    let data = (0..from.size.area()).map(|i| f32::from(u8::from(inside(i)))).collect();
    let mask = Mask { size: from.size, data };
    let middle = f64::from(SIDE) / 2.0;
    let at = [(middle - x).round() as i64, (middle - y).round() as i64];
    let [source, target] = [&from, &into].map(Photo::from_image8);
    let fused = clone_into(&source.colour, &mask, &target.colour, at, Gradients::Import).map_err(fault)?;
    let fused = target.with_colour(fused).to_image8();
    Ok(Card::new(picture(&from)?).beside(picture(&into)?).beside(picture(&fused)?).title("Seamless cloning"))
}
