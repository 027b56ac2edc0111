//! Four scenes in one (Bochkovskiy et al. 2020, "YOLOv4", section 3.3): objects in other company and smaller.

use opticus_pixels::Image8;
use opticus_pixels::geometry::{Placement, Size};
use rand::RngExt;

use super::{Scene, SceneAugment, Scenes};
use crate::data::augment::uniform;
use crate::data::sampler::DataRng;
use crate::error::Result;

/// Where the four meet, in sides of the frame.
const MEETING: [f64; 2] = [0.3, 0.7];

/// Scene `index` and three others around a random point of a frame of the first one's size. Each is as large as covers
/// its corner, and shows a random part.
pub fn mosaic(scenes: &impl Scenes, index: usize, all: &SceneAugment, rng: &mut DataRng) -> Result<Scene> {
    let first = scenes.scene(index)?;
    let size = first.image.size;
    let at = |side: u32, rng: &mut DataRng| {
        ((f64::from(side) * uniform(MEETING, rng)).round() as u32).clamp(1, side.saturating_sub(1).max(1))
    };
    let meeting = Size::new(at(size.width, rng), at(size.height, rng));
    if meeting.width >= size.width || meeting.height >= size.height {
        return Ok(first.clipped(&all.keep));
    }
    let channels = first.image.channels;
    let data = vec![all.fill; size.area() as usize * channels];
    let mut whole =
        Scene { image: Image8 { size, channels, data }, annotations: Vec::new(), proposals: Vec::new() };
    let mut first = Some(first);
    // Which corner the first scene gets.
    let turn = rng.random_range(0..4usize);
    for corner in 0..4 {
        let scene = match first.take() {
            Some(first) => first,
            None => scenes.scene(rng.random_range(0..scenes.count()))?,
        };
        let [right, down] = [rng.random::<f64>(), rng.random::<f64>()];
        let place = (corner + turn) % 4;
        let (left, top) = (place % 2 == 0, place < 2);
        let frame = Size::new(
            if left { meeting.width } else { size.width - meeting.width },
            if top { meeting.height } else { size.height - meeting.height },
        );
        let tile = covering(scene, frame, [right, down], all);
        paste(&mut whole, tile, [if left { 0 } else { meeting.width }, if top { 0 } else { meeting.height }]);
    }
    Ok(whole)
}

/// The scene as large as covers the frame, a random part of it.
fn covering(scene: Scene, frame: Size, [right, down]: [f64; 2], all: &SceneAugment) -> Scene {
    let picture = scene.image.size;
    let ratio = |frame: u32, side: u32| f64::from(frame) / f64::from(side.max(1));
    let factor = ratio(frame.width, picture.width).max(ratio(frame.height, picture.height));
    let side = |side: u32, least: u32| ((f64::from(side) * factor).round() as u32).max(least);
    let scaled = Size::new(side(picture.width, frame.width), side(picture.height, frame.height));
    let at = |share: f64, room: u32| -((share * f64::from(room)).round() as i64);
    let placement = Placement {
        picture,
        scaled,
        frame,
        x: at(right, scaled.width - frame.width),
        y: at(down, scaled.height - frame.height),
    };
    scene.placed(&placement, all.fill, &all.keep)
}

/// Lays a tile of the same number of channels into the whole.
fn paste(whole: &mut Scene, tile: Scene, [x, y]: [u32; 2]) {
    let channels = whole.image.channels;
    let (wide, across) =
        (whole.image.size.width as usize * channels, tile.image.size.width as usize * tile.image.channels);
    if tile.image.channels == channels {
        let rows = whole.image.data.chunks_exact_mut(wide.max(1)).skip(y as usize);
        for (to, from) in rows.zip(tile.image.data.chunks_exact(across.max(1))) {
            to[x as usize * channels..][..across].copy_from_slice(from);
        }
    }
    let by = [f64::from(x), f64::from(y)];
    let moved = tile.annotations.into_iter().map(|mut a| {
        a.bounds = a.bounds.translated(by);
        a
    });
    whole.annotations.extend(moved);
    whole.proposals.extend(tile.proposals.into_iter().map(|b| b.translated(by)));
}
