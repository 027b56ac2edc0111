//! Detection in two stages: regions that may hold an object, then what each of them is.

use opticus_kernels::inference::{Output, Program};
use opticus_kernels::{Roi, RoiAlign, roi_align};
use opticus_pixels::geometry::{Box2d, Placement, Size};
use opticus_pixels::preprocess::Planes;
use opticus_pixels::suppress::{Candidate, nms_per_class};
use serde::{Deserialize, Serialize};

use super::anchors::AnchorGrid;
use super::coder::BoxCoder;
use super::transform::Transform;
use crate::error::{Error, Result};
use crate::nets::detector::{FasterRcnn, REGION};
use crate::nets::graph::Graph;
use crate::nets::program::compile;

/// What is kept on the way from anchors to detections. The defaults are torchvision's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TwoStage {
    /// Proposals of each map before suppression.
    pub proposals_before: usize,
    /// Proposals of a picture after it.
    pub proposals_after: usize,
    /// Overlap above which the worse of two proposals goes.
    pub proposal_iou: f64,
    /// Proposals below this probability go.
    pub proposal_score: f64,
    /// Detections at or below this probability go.
    pub score: f64,
    /// Overlap above which the worse of two detections of a class goes.
    pub iou: f64,
    /// Detections of a picture.
    pub detections: usize,
}

impl Default for TwoStage {
    fn default() -> Self {
        Self {
            proposals_before: 1000,
            proposals_after: 1000,
            proposal_iou: 0.7,
            proposal_score: 0.0,
            score: 0.05,
            iou: 0.5,
            detections: 100,
        }
    }
}

/// Sides below which a proposal or a detection is nothing, in pixels of the network's input.
const LEAST_PROPOSAL: f64 = 1e-3;
const LEAST_DETECTION: f64 = 1e-2;
/// Side of the region that the pyramid's level 4 is for (Lin et al. 2017, equation 1).
const CANONICAL: f64 = 224.0;
/// Samples along each side of a bin of a region.
const SAMPLES: usize = 2;

/// A Faster R-CNN ready to predict on a CPU.
#[derive(Debug)]
pub struct RegionDetector {
    maps: Program,
    heads: Program,
    levels: usize,
    classes: usize,
    anchors: AnchorGrid,
    transform: Transform,
    keep: TwoStage,
}

impl RegionDetector {
    /// For a network with the weights that it has now. The grid must have as many lists of sizes as the pyramid has
    /// maps.
    ///
    /// # Errors
    /// [`Error::Config`] if grid and network do not fit; [`Error::ModelFile`] if the network cannot be run.
    pub fn new(net: &FasterRcnn, anchors: AnchorGrid, transform: Transform, keep: TwoStage) -> Result<Self> {
        // Nothing depends on the size that a description is made for.
        let mut graph = Graph::new([3, 64, 64]);
        let input = graph.input();
        let (maps, proposals) = net.describe_maps(&mut graph, &input);
        let anchored = proposals.first().map_or(0, |[logits, _]| logits.map()[0]);
        if anchors.sizes.len() != maps.len()
            || (0..maps.len()).any(|level| anchors.per_position(level) != anchored)
        {
            return Err(Error::Config(format!(
                "the network has {} maps with {anchored} anchors a position; the anchors are for {} maps",
                maps.len(),
                anchors.sizes.len()
            )));
        }
        let channels = maps.first().map_or(0, |map| map.map()[0]);
        let outputs: Vec<_> = maps.iter().cloned().chain(proposals.into_iter().flatten()).collect();
        let program = compile(&graph, &outputs)?;
        let mut graph = Graph::new([channels, REGION, REGION]);
        let regions = graph.input();
        let [logits, corrections] = net.heads().describe(&mut graph, &regions);
        let classes = logits.shape().iter().product::<usize>().saturating_sub(1);
        let heads = compile(&graph, &[logits, corrections])?;
        Ok(Self { maps: program, heads, levels: maps.len(), classes, anchors, transform, keep })
    }

    /// What is in a picture of three planes in 0 to 1: best first, boxes in pixels of the picture, classes from 0.
    ///
    /// # Errors
    /// [`Error::Input`] for a picture that is not of three planes, or too large.
    pub fn detect(&self, picture: &Planes) -> Result<Vec<Candidate>> {
        let Size { width, height } = picture.size;
        if picture.channels != 3 || width == 0 || height == 0 {
            return Err(Error::Input(format!(
                "a picture of {} planes at {width}x{height}; the detector takes three planes",
                picture.channels
            )));
        }
        let (input, placement) = self.transform.apply(picture);
        let shape = [1, 3, input.size.height as usize, input.size.width as usize];
        let outputs = self.maps.run(&input.data, shape).map_err(|e| Error::Input(e.to_string()))?;
        let (maps, said) = outputs.split_at(self.levels);
        let proposals = self.propose(said, &placement);
        let regions = self.regions(maps, &proposals, &placement);
        let channels = maps.first().map_or(0, |map| map.shape[1]);
        let shape = [proposals.len(), channels, REGION, REGION];
        let said = self.heads.run(&regions, shape).map_err(|e| Error::Input(e.to_string()))?;
        let [logits, corrections] = &said[..] else { return Ok(Vec::new()) };
        Ok(self.decide(&proposals, &logits.values, &corrections.values, &placement))
    }

    /// Regions that may hold an object, best first, from the logits and corrections of each map.
    fn propose(&self, said: &[Output], placement: &Placement) -> Vec<Box2d> {
        let size = |output: &Output| Size::new(output.shape[3] as u32, output.shape[2] as u32);
        let maps: Vec<Size> = said.iter().step_by(2).map(size).collect();
        let anchors = self.anchors.anchors(placement.frame, &maps);
        let mut first = 0;
        let mut candidates = Vec::new();
        for (level, pair) in said.chunks_exact(2).enumerate() {
            let [logits, corrections] = pair else { continue };
            let [_, each, h, w] = logits.shape;
            // Anchors are counted position by position, values anchor by anchor.
            let logit = |i: usize| logits.values[i % each * h * w + i / each];
            let mut order: Vec<usize> = (0..each * h * w).collect();
            order.sort_by(|a, b| logit(*b).total_cmp(&logit(*a)));
            order.truncate(self.keep.proposals_before);
            for i in order {
                let at = |k: usize| corrections.values[(i % each * 4 + k) * h * w + i / each];
                let bounds = BoxCoder::PLAIN.decode([at(0), at(1), at(2), at(3)], anchors[first + i]);
                let bounds = bounds.clipped(placement.scaled);
                let score = 1.0 / (1.0 + f64::from(-logit(i)).exp());
                if bounds.width().min(bounds.height()) >= LEAST_PROPOSAL && score >= self.keep.proposal_score
                {
                    candidates.push(Candidate { bounds, score, class: level });
                }
            }
            first += each * h * w;
        }
        let kept = nms_per_class(&candidates, self.keep.proposal_iou);
        kept.into_iter().take(self.keep.proposals_after).map(|i| candidates[i].bounds).collect()
    }

    /// The regions of the maps, `[regions, channels, 7, 7]`: each from the map that suits its size. The coarsest map is
    /// for proposals only.
    fn regions(&self, maps: &[Output], proposals: &[Box2d], placement: &Placement) -> Vec<f32> {
        let maps = &maps[..maps.len().saturating_sub(1)];
        let channels = maps.first().map_or(0, |map| map.shape[1]);
        let one = channels * REGION * REGION;
        let mut regions = vec![0.0f32; proposals.len() * one];
        // Scales are powers of two of the scaled picture, not of its frame.
        let scales: Vec<f64> = maps
            .iter()
            .map(|map| (map.shape[2] as f64 / f64::from(placement.scaled.height)).log2().round())
            .collect();
        let (Some(finest), Some(coarsest)) = (scales.first(), scales.last()) else { return regions };
        let level = |b: &Box2d| {
            let level = (4.0 + (b.area().sqrt() / CANONICAL).log2() + 1e-6).floor();
            (level.clamp(-finest, -coarsest) + finest) as usize
        };
        for (index, (map, scale)) in maps.iter().zip(&scales).enumerate() {
            let (numbers, rois): (Vec<usize>, Vec<Roi>) = proposals
                .iter()
                .enumerate()
                .filter(|(_, b)| level(b) == index)
                .map(|(i, b)| (i, Roi { image: 0, corners: b.to_corners().map(|edge| edge as f32) }))
                .unzip();
            let align = RoiAlign {
                bins: [REGION; 2],
                scale: scale.exp2() as f32,
                samples: Some(SAMPLES),
                aligned: false,
            };
            let mut read = vec![0.0f32; rois.len() * one];
            roi_align(&align, map.shape, &map.values, &rois, &mut read);
            for (number, values) in numbers.into_iter().zip(read.chunks_exact(one.max(1))) {
                regions[number * one..][..one].copy_from_slice(values);
            }
        }
        regions
    }

    /// Detections from what the heads say of each region.
    fn decide(
        &self,
        proposals: &[Box2d],
        logits: &[f32],
        corrections: &[f32],
        placement: &Placement,
    ) -> Vec<Candidate> {
        let outputs = self.classes + 1;
        let mut candidates = Vec::new();
        for ((proposal, logits), corrections) in
            proposals.iter().zip(logits.chunks_exact(outputs)).zip(corrections.chunks_exact(4 * outputs))
        {
            let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit - greatest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            // Output 0 is for background.
            for class in 0..self.classes {
                let score = weights[class + 1] / sum;
                if score <= self.keep.score {
                    continue;
                }
                let at = 4 * (class + 1);
                let code = [0, 1, 2, 3].map(|k| corrections[at + k]);
                let bounds = BoxCoder::HEAD.decode(code, *proposal).clipped(placement.scaled);
                if bounds.width().min(bounds.height()) >= LEAST_DETECTION {
                    candidates.push(Candidate { bounds, score, class });
                }
            }
        }
        let kept = nms_per_class(&candidates, self.keep.iou);
        let to_picture =
            |i: usize| Candidate { bounds: placement.box_to_picture(candidates[i].bounds), ..candidates[i] };
        kept.into_iter().take(self.keep.detections).map(to_picture).collect()
    }
}
