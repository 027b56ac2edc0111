//! A picture with its boxes, and how both move.

use opticus_pixels::geometry::{Placement, Size};
use opticus_pixels::resize::{Filter, flip_horizontal, flip_vertical, place};
use opticus_pixels::{Box2d, Image8};

use super::config::Keep;
use crate::data::detection::Annotation;

/// A picture with what is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The picture.
    pub image: Image8,
    /// The objects, in its pixels.
    pub annotations: Vec<Annotation>,
    /// Regions that may hold an object, in its pixels; they move along.
    pub proposals: Vec<Box2d>,
}

impl Scene {
    /// Scaled and laid into a frame; what the frame cuts off is lost, and where it reaches beyond the picture it has the
    /// level `fill`. Boxes are clipped, and go by the rule.
    pub fn placed(self, placement: &Placement, fill: u8, keep: &Keep) -> Self {
        let same = placement.scaled == placement.picture
            && placement.frame == placement.picture
            && (placement.x, placement.y) == (0, 0);
        if same {
            return self;
        }
        let image = place(&self.image, placement, Filter::Bilinear, fill);
        let [sx, sy] = placement.scale();
        let moved = |bounds: Box2d| keep.clipped(placement.box_to_frame(bounds), placement.frame);
        let annotations = self.annotations.into_iter().filter_map(|a| {
            let bounds = moved(a.bounds)?;
            // The visible part of the object has the visible part's share of its area.
            let share = bounds.area() / a.bounds.area();
            let area = if share.is_finite() { a.area * share } else { a.area * sx * sy };
            Some(Annotation { bounds, area, ..a })
        });
        let annotations = annotations.collect();
        let proposals = self.proposals.into_iter().filter_map(moved).collect();
        Self { image, annotations, proposals }
    }

    /// Without the boxes that the rule does not keep.
    pub fn clipped(mut self, keep: &Keep) -> Self {
        let size = self.image.size;
        self.annotations.retain_mut(|a| match keep.clipped(a.bounds, size) {
            Some(bounds) => {
                a.bounds = bounds;
                true
            }
            None => false,
        });
        self.proposals = self.proposals.into_iter().filter_map(|b| keep.clipped(b, size)).collect();
        self
    }

    /// Left for right.
    pub fn mirrored(self) -> Self {
        let width = self.image.size.width;
        let image = flip_horizontal(&self.image);
        self.turned(image, |bounds| bounds.flipped_horizontal(width))
    }

    /// Top for bottom.
    pub fn upside_down(self) -> Self {
        let height = self.image.size.height;
        let image = flip_vertical(&self.image);
        self.turned(image, |bounds| bounds.flipped_vertical(height))
    }

    fn turned(mut self, image: Image8, turn: impl Fn(Box2d) -> Box2d) -> Self {
        self.image = image;
        self.annotations.iter_mut().for_each(|a| a.bounds = turn(a.bounds));
        self.proposals.iter_mut().for_each(|bounds| *bounds = turn(*bounds));
        self
    }
}

impl Keep {
    /// What of a box is inside of a frame, if enough of it is.
    pub fn clipped(&self, bounds: Box2d, frame: Size) -> Option<Box2d> {
        let inside = bounds.clipped(frame);
        let enough = bounds.valid()
            && inside.area() > 0.0
            && inside.at_least(self.side)
            && inside.area() >= self.visible * bounds.area();
        enough.then_some(inside)
    }
}
