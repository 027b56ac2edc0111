//! Detection in two stages: regions that may hold an object, then what each of them is.

use opticus_kernels::inference::{Output, Program};
use opticus_kernels::{Roi, roi_align};
use opticus_pixels::geometry::{Box2d, Placement, Size};
use opticus_pixels::preprocess::Planes;
use opticus_pixels::suppress::Candidate;
use serde::{Deserialize, Serialize};

use super::anchors::AnchorGrid;
use super::coder::BoxCoder;
use super::proposals::{Keep, Said, propose};
use super::regions::Reading;
use super::suppression::Suppression;
use super::transform::Transform;
use crate::error::{Error, Result};
use crate::nets::detector::{Family, REGION, RegionNet, RegionNetConfig};
use crate::nets::graph::Graph;
use crate::nets::program::compile;

/// A detector of the R-CNN family but for its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwoStage {
    /// The network.
    pub net: RegionNetConfig,
    /// Faster R-CNN's anchors: a list of sizes for each map and one more for what the pyramid adds.
    #[serde(default)]
    pub anchors: AnchorGrid,
    /// Side in pixels to which R-CNN brings a region; the backbone must make 7×7 positions of it.
    #[serde(default)]
    pub crop: usize,
    /// Which regions are looked at.
    #[serde(default)]
    pub proposals: Keep,
    /// Detections at or below this probability go.
    pub score: f64,
    /// Overlap above which the worse of two detections of a class goes.
    pub iou: f64,
    /// Detections of a picture.
    pub detections: usize,
    /// How of many boxes for one object one is made.
    #[serde(default)]
    pub suppression: Suppression,
}

impl TwoStage {
    /// Sides of R-CNN's cut-outs that can be.
    const CROPS: std::ops::RangeInclusive<usize> = 7..=1024;

    /// A network with torchvision's choices in all else.
    pub fn new(net: RegionNetConfig, anchors: AnchorGrid) -> Self {
        let proposals = Keep::default();
        let suppression = Suppression::Nms;
        Self { net, anchors, crop: 0, proposals, score: 0.05, iou: 0.5, detections: 100, suppression }
    }

    /// Checks every value, which may come from a hostile file.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.net.validate()?;
        self.anchors.validate()?;
        let refuse = |what: String| Err(Error::Config(format!("net: {what}")));
        let levels = self.net.maps.len() + 1;
        let anchored = (0..self.anchors.sizes.len()).map(|level| self.anchors.per_position(level));
        let proposes = self.net.family == Family::FasterRcnn;
        if proposes
            && (self.anchors.sizes.len() != levels || anchored.into_iter().any(|n| n != self.net.anchors))
        {
            return refuse(format!(
                "the network has {levels} maps with {} anchors a position; the anchors are for {} maps",
                self.net.anchors,
                self.anchors.sizes.len()
            ));
        }
        if self.net.family == Family::Rcnn && !Self::CROPS.contains(&self.crop) {
            return refuse(format!("crop is {}; give {:?}", self.crop, Self::CROPS));
        }
        let fractions = [
            ("proposals.iou", self.proposals.iou),
            ("proposals.score", self.proposals.score),
            ("score", self.score),
            ("iou", self.iou),
        ];
        if let Some((name, value)) = fractions.into_iter().find(|(_, v)| !(0.0..=1.0).contains(v)) {
            return refuse(format!("{name} is {value}; give 0 to 1"));
        }
        Ok(())
    }
}

/// Sides below which a detection is nothing, in pixels of the network's input.
const LEAST_DETECTION: f64 = 1e-2;
/// Cut-outs of R-CNN that go through the network together.
const TOGETHER: usize = 64;

/// A network of the R-CNN family ready to predict on a CPU.
#[derive(Debug)]
pub struct RegionDetector {
    maps: Program,
    heads: Program,
    config: TwoStage,
    transform: Transform,
}

impl RegionDetector {
    /// For a network with the weights that it has now.
    ///
    /// # Errors
    /// [`Error::Config`] if network and configuration do not fit; [`Error::ModelFile`] if the network cannot be run.
    pub fn new(net: &RegionNet, config: TwoStage, transform: Transform) -> Result<Self> {
        config.validate()?;
        // Nothing depends on the size that a description is made for, but the cut-out's.
        let side = if config.net.family == Family::Rcnn { config.crop } else { 64 };
        let mut graph = Graph::new([3, side, side]);
        let input = graph.input();
        let (maps, proposals) = net.describe_maps(&mut graph, &input);
        let [channels, h, w] = maps.first().map_or([0; 3], |map| map.map());
        if config.net.family == Family::Rcnn && [h, w] != [REGION; 2] {
            return Err(Error::Config(format!(
                "net: of a cut-out of {side} pixels {} makes {h}x{w} positions; the heads take {REGION}x{REGION}",
                config.net.backbone
            )));
        }
        let outputs: Vec<_> = maps.iter().cloned().chain(proposals.into_iter().flatten()).collect();
        let program = compile(&graph, &outputs)?;
        let mut graph = Graph::new([channels, REGION, REGION]);
        let regions = graph.input();
        let [logits, corrections] = net.heads().describe(&mut graph, &regions);
        let heads = compile(&graph, &[logits, corrections])?;
        Ok(Self { maps: program, heads, config, transform })
    }

    /// From now on one box is made of many in this way.
    pub fn suppress_by(&mut self, suppression: Suppression) {
        self.config.suppression = suppression;
    }

    /// Whether regions must be given, because the network proposes none.
    pub fn needs_proposals(&self) -> bool {
        self.config.net.family != Family::FasterRcnn
    }

    /// What is in a picture of three planes in 0 to 1: best first, boxes in pixels of the picture, classes from 0.
    /// `proposals` are regions in pixels of the picture, best first, for the networks that propose none.
    ///
    /// # Errors
    /// [`Error::Input`] for a picture that is not of three planes, or too large.
    pub fn detect(&self, picture: &Planes, proposals: &[Box2d]) -> Result<Vec<Candidate>> {
        let seen = self.look(picture)?;
        let regions: Vec<Box2d> = match self.config.net.family {
            Family::FasterRcnn => self.proposed(&seen).into_iter().map(|c| c.bounds).collect(),
            Family::Rcnn | Family::FastRcnn => {
                let within = seen.placement.scaled;
                let regions = proposals.iter().map(|b| seen.placement.box_to_frame(*b).clipped(within));
                regions.filter(|b| b.valid()).take(self.config.proposals.after).collect()
            }
        };
        let channels = self.config.net.region_channels();
        let mut found = Vec::new();
        for regions in regions.chunks(self.together()) {
            let values = self.read(&seen, regions)?;
            let shape = [regions.len(), channels, REGION, REGION];
            let said = self.heads.run(&values, shape).map_err(|e| Error::Input(e.to_string()))?;
            let [logits, corrections] = &said[..] else { continue };
            self.decide(regions, &logits.values, &corrections.values, &seen.placement, &mut found);
        }
        let kept = self.config.suppression.run(&found, self.config.iou, self.config.score);
        let to_picture = |c: Candidate| Candidate { bounds: seen.placement.box_to_picture(c.bounds), ..c };
        Ok(kept.into_iter().take(self.config.detections).map(to_picture).collect())
    }

    /// Regions that the network proposes, best first, in pixels of the picture; none if it proposes none.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn propose(&self, picture: &Planes) -> Result<Vec<Candidate>> {
        let seen = self.look(picture)?;
        let to_picture = |c: Candidate| Candidate { bounds: seen.placement.box_to_picture(c.bounds), ..c };
        Ok(self.proposed(&seen).into_iter().map(to_picture).collect())
    }

    /// The picture as the network gets it, and the maps that it makes of it.
    fn look(&self, picture: &Planes) -> Result<Seen> {
        let (input, placement) = self.transform.checked(picture)?;
        if self.config.net.family == Family::Rcnn {
            return Ok(Seen { input, maps: Vec::new(), said: Vec::new(), placement });
        }
        let shape = [1, 3, input.size.height as usize, input.size.width as usize];
        let mut maps = self.maps.run(&input.data, shape).map_err(|e| Error::Input(e.to_string()))?;
        let said = maps.split_off(self.config.net.maps.len() + 1);
        // The coarsest map is for proposals only.
        maps.pop();
        Ok(Seen { input, maps, said, placement })
    }

    fn proposed(&self, seen: &Seen) -> Vec<Candidate> {
        let size = |output: &Output| Size::new(output.shape[3] as u32, output.shape[2] as u32);
        let sizes: Vec<Size> = seen.said.iter().step_by(2).map(size).collect();
        let anchors = self.config.anchors.anchors(seen.placement.frame, &sizes);
        let pairs = seen.said.as_chunks::<2>().0.iter();
        let said: Vec<Said<'_>> = pairs
            .map(|[logits, corrections]| Said {
                shape: [logits.shape[1], logits.shape[2], logits.shape[3]],
                logits: &logits.values,
                corrections: &corrections.values,
            })
            .collect();
        propose(&said, &anchors, seen.placement.scaled, &self.config.proposals)
    }

    /// Regions that are read and judged together.
    fn together(&self) -> usize {
        if self.config.net.family == Family::Rcnn { TOGETHER } else { usize::MAX }
    }

    /// What the heads see of the regions: `[regions, channels, 7, 7]`.
    fn read(&self, seen: &Seen, regions: &[Box2d]) -> Result<Vec<f32>> {
        let [across, down] = [seen.input.size.width, seen.input.size.height].map(|side| side as usize);
        let (reading, maps) = match self.config.net.family {
            Family::Rcnn => {
                (Reading::Picture(self.config.crop), vec![([1, 3, down, across], &seen.input.data[..])])
            }
            Family::FastRcnn | Family::FasterRcnn => {
                let sizes = seen.maps.iter().map(|map| Size::new(map.shape[3] as u32, map.shape[2] as u32));
                let maps = seen.maps.iter().map(|map| (map.shape, &map.values[..])).collect();
                (Reading::of_maps(sizes, seen.placement.scaled), maps)
            }
        };
        let mut all = Vec::new();
        for ((align, numbers), (shape, values)) in reading.parts(regions).into_iter().zip(maps) {
            let one = shape[1] * align.bins[0] * align.bins[1];
            all.resize(regions.len() * one, 0.0f32);
            let rois: Vec<Roi> = numbers.iter().map(|&i| reading.roi(0, regions[i])).collect();
            let mut read = vec![0.0f32; rois.len() * one];
            roi_align(&align, shape, values, &rois, &mut read);
            for (number, values) in numbers.into_iter().zip(read.chunks_exact(one.max(1))) {
                all[number * one..][..one].copy_from_slice(values);
            }
        }
        if self.config.net.family != Family::Rcnn {
            return Ok(all);
        }
        let shape = [regions.len(), 3, self.config.crop, self.config.crop];
        let mut maps = self.maps.run(&all, shape).map_err(|e| Error::Input(e.to_string()))?;
        Ok(maps.pop().map_or_else(Vec::new, |map| map.values))
    }

    /// Adds detections from what the heads say of each region, before suppression, in pixels of the input.
    fn decide(
        &self,
        regions: &[Box2d],
        logits: &[f32],
        corrections: &[f32],
        placement: &Placement,
        found: &mut Vec<Candidate>,
    ) {
        let outputs = self.config.net.classes + 1;
        let heads = logits.chunks_exact(outputs).zip(corrections.chunks_exact(4 * outputs));
        for (region, (logits, corrections)) in regions.iter().zip(heads) {
            let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit - greatest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            // Output 0 is for background.
            for class in 0..outputs - 1 {
                let score = weights[class + 1] / sum;
                if score <= self.config.score {
                    continue;
                }
                let at = 4 * (class + 1);
                let code = [0, 1, 2, 3].map(|k| corrections[at + k]);
                let bounds = BoxCoder::HEAD.decode(code, *region).clipped(placement.scaled);
                if bounds.width().min(bounds.height()) >= LEAST_DETECTION {
                    found.push(Candidate { bounds, score, class });
                }
            }
        }
    }
}

/// A picture as the network sees it.
struct Seen {
    input: Planes,
    maps: Vec<Output>,
    /// Logits and corrections of each map in turn.
    said: Vec<Output>,
    placement: Placement,
}
