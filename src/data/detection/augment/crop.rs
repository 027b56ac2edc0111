//! SSD's random part of a scene.

use opticus_pixels::Box2d;
use opticus_pixels::geometry::{Placement, Size};
use rand::RngExt;

use super::config::{IouCrop, Keep};
use super::{Scene, chance};
use crate::data::augment::uniform;
use crate::data::sampler::DataRng;

impl IouCrop {
    /// A part of the scene, or the scene itself where none was found that fits. At least one object stays, where there
    /// are any.
    pub fn apply(&self, mut scene: Scene, keep: &Keep, rng: &mut DataRng) -> Scene {
        if !chance(self.probability, rng) || scene.annotations.is_empty() {
            return scene;
        }
        let overlap = self.overlaps[rng.random_range(0..self.overlaps.len())];
        let size = scene.image.size;
        for _ in 0..self.trials {
            let Some(part) = self.part(size, rng) else { continue };
            let inside = |bounds: &Box2d| {
                let [x, y] = bounds.center();
                x > part.x1 && x < part.x2 && y > part.y1 && y < part.y2
            };
            let kept = scene.annotations.iter().map(|a| a.bounds).filter(inside);
            // No object is kept, or none is overlapped enough, or the rule of boxes would take them all.
            let frame = Size::new(part.width() as u32, part.height() as u32);
            let moved = |b: Box2d| keep.clipped(b.translated([-part.x1, -part.y1]), frame).is_some();
            let (mut most, mut any) = (0.0f64, false);
            for bounds in kept {
                most = most.max(bounds.iou(part));
                any |= moved(bounds);
            }
            if !any || most < overlap {
                continue;
            }
            scene.annotations.retain(|a| inside(&a.bounds));
            let placement =
                Placement { picture: size, scaled: size, frame, x: -(part.x1 as i64), y: -(part.y1 as i64) };
            return scene.placed(&placement, 0, keep);
        }
        scene
    }

    /// A part with whole edges, if the one drawn fits the aspect.
    fn part(&self, size: Size, rng: &mut DataRng) -> Option<Box2d> {
        let side = |side: u32, factor: f64| (f64::from(side) * factor) as u32;
        let width = side(size.width, uniform(self.scale, rng));
        let height = side(size.height, uniform(self.scale, rng));
        let [right, down] = [rng.random::<f64>(), rng.random::<f64>()];
        let aspect = f64::from(width) / f64::from(height);
        if width == 0 || height == 0 || !(self.aspect[0]..=self.aspect[1]).contains(&aspect) {
            return None;
        }
        let at = |share: f64, room: u32| f64::from((share * f64::from(room)) as u32);
        let (x, y) = (at(right, size.width - width), at(down, size.height - height));
        Some(Box2d::from_xywh([x, y, f64::from(width), f64::from(height)]))
    }
}
