//! Detection in one stage: at every position, for boxes of fixed shapes, what is there (Liu et al. 2016).

use opticus_kernels::inference::{Output, Program};
use opticus_pixels::geometry::{Box2d, Placement, Size};
use opticus_pixels::preprocess::Planes;
use opticus_pixels::suppress::Candidate;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::anchors::DefaultBoxes;
use super::coder::BoxCoder;
use super::suppression::Suppression;
use super::transform::Transform;
use crate::error::{Error, Result};
use crate::nets::detector::{Ssd, SsdConfig};
use crate::nets::graph::Graph;
use crate::nets::program::compile;

/// A one-stage detector but for its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneStage {
    /// The network.
    pub net: SsdConfig,
    /// The boxes of each map.
    pub boxes: DefaultBoxes,
    /// Detections at or below this probability go.
    pub score: f64,
    /// Candidates of a class before suppression, the best.
    pub candidates: usize,
    /// Overlap above which the worse of two detections of a class goes.
    pub iou: f64,
    /// Detections of a picture.
    pub detections: usize,
    /// How of many boxes for one object one is made.
    #[serde(default)]
    pub suppression: Suppression,
}

impl OneStage {
    /// Checks every value, which may come from a hostile file.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.net.validate()?;
        self.boxes.validate()?;
        let refuse = |what: String| Err(Error::Config(format!("net: {what}")));
        let each: Vec<usize> =
            (0..self.boxes.ratios.len()).map(|level| self.boxes.per_position(level)).collect();
        if each != self.net.boxes {
            return refuse(format!(
                "the network has {:?} boxes a position, the settings {each:?}",
                self.net.boxes
            ));
        }
        match [("score", self.score), ("iou", self.iou)].iter().find(|(_, v)| !(0.0..=1.0).contains(v)) {
            Some((name, value)) => refuse(format!("{name} is {value}; give 0 to 1")),
            None => Ok(()),
        }
    }
}

/// A one-stage detector ready to predict on a CPU.
#[derive(Debug)]
pub struct GridDetector {
    program: Program,
    config: OneStage,
    transform: Transform,
}

impl GridDetector {
    /// For a network with the weights that it has now.
    ///
    /// # Errors
    /// [`Error::Config`] if network and configuration do not fit; [`Error::ModelFile`] if the network cannot be run.
    pub fn new(net: &Ssd, config: OneStage, transform: Transform) -> Result<Self> {
        config.validate()?;
        // Nothing depends on the size that a description is made for.
        let mut graph = Graph::new([3, 320, 320]);
        let input = graph.input();
        let said: Vec<_> = net.describe(&mut graph, &input).into_iter().flatten().collect();
        Ok(Self { program: compile(&graph, &said)?, config, transform })
    }

    /// From now on one box is made of many in this way.
    pub fn suppress_by(&mut self, suppression: Suppression) {
        self.config.suppression = suppression;
    }

    /// What is in a picture of three planes in 0 to 1: best first, boxes in pixels of the picture, classes from 0.
    ///
    /// # Errors
    /// [`Error::Input`] for a picture that is not of three planes, or too large.
    pub fn detect(&self, picture: &Planes) -> Result<Vec<Candidate>> {
        let (input, placement) = self.transform.checked(picture)?;
        let shape = [1, 3, input.size.height as usize, input.size.width as usize];
        let said = self.program.run(&input.data, shape).map_err(|e| Error::Input(e.to_string()))?;
        let candidates = self.decide(&said, &placement);
        let kept = self.config.suppression.run(&candidates, self.config.iou, self.config.score);
        let to_picture = |c: Candidate| Candidate { bounds: placement.box_to_picture(c.bounds), ..c };
        Ok(kept.into_iter().take(self.config.detections).map(to_picture).collect())
    }

    /// The best candidates of each class, class by class, in pixels of the input.
    fn decide(&self, said: &[Output], placement: &Placement) -> Vec<Candidate> {
        let size = |output: &Output| Size::new(output.shape[3] as u32, output.shape[2] as u32);
        let sizes: Vec<Size> = said.iter().step_by(2).map(size).collect();
        let boxes = self.config.boxes.boxes(placement.frame, &sizes);
        let outputs = self.config.net.classes + 1;
        // For every class the numbers and probabilities of boxes: `(score, box, map, position, anchor)` is found again
        // from the number alone.
        let mut of_class: Vec<Vec<(f64, usize, [f32; 4])>> = vec![Vec::new(); outputs - 1];
        let mut first = 0;
        for pair in said.as_chunks::<2>().0 {
            let [logits, corrections] = pair;
            let [_, all, h, w] = logits.shape;
            let (each, area) = (all / outputs, h * w);
            let found: Vec<Vec<(usize, f64, usize)>> = (0..area)
                .into_par_iter()
                .with_min_len(64)
                .map(|position| {
                    let mut found = Vec::new();
                    for anchor in 0..each {
                        let logit = |k: usize| logits.values[(anchor * outputs + k) * area + position];
                        let greatest = (0..outputs).map(logit).fold(f32::NEG_INFINITY, f32::max);
                        let weight = |k: usize| f64::from(logit(k) - greatest).exp();
                        let sum: f64 = (0..outputs).map(weight).sum();
                        for class in 0..outputs - 1 {
                            let score = weight(class + 1) / sum;
                            if score > self.config.score {
                                found.push((class, score, anchor));
                            }
                        }
                    }
                    found
                })
                .collect();
            for (position, found) in found.into_iter().enumerate() {
                for (class, score, anchor) in found {
                    let code = [0, 1, 2, 3].map(|k| corrections.values[(anchor * 4 + k) * area + position]);
                    of_class[class].push((score, first + position * each + anchor, code));
                }
            }
            first += area * each;
        }
        let mut candidates = Vec::new();
        for (class, mut found) in of_class.into_iter().enumerate() {
            found.sort_by(|a, b| b.0.total_cmp(&a.0));
            found.truncate(self.config.candidates);
            candidates.extend(found.into_iter().map(|(score, number, code)| {
                let bounds = BoxCoder::HEAD.decode(code, boxes.get(number).copied().unwrap_or_default());
                Candidate { bounds: bounds.clipped(placement.scaled), score, class }
            }));
        }
        candidates
    }
}

/// The boxes of a network's maps for an input of this size.
pub fn boxes_of(config: &OneStage, input: Size, maps: &[[usize; 2]]) -> Vec<Box2d> {
    let sizes: Vec<Size> = maps.iter().map(|&[h, w]| Size::new(w as u32, h as u32)).collect();
    config.boxes.boxes(input, &sizes)
}
