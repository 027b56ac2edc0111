//! One step and one evaluation of a detector in training.

use std::path::Path;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use opticus_kernels::Roi;
use opticus_kernels::engine::roi_align;
use opticus_pixels::geometry::{Box2d, Size};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::coder::BoxCoder;
use super::config::{LossSection, TrainConfig};
use super::dataset::{Pictures, Target};
use super::loss::multibox::multibox;
use super::loss::regions::{self, AnchorSample, RegionSample};
use super::matcher::{Match, Matcher, sample};
use super::net::{DetectorConfig, DetectorNet, Stages};
use super::one_stage::{OneStage, boxes_of};
use super::predict::{self, Detector};
use super::proposals::{Keep, Said, propose};
use super::regions::Reading;
use super::transform::Transform;
use super::two_stage::TwoStage;
use crate::bundle::{self, Bundle, Card, FORMAT_VERSION, Metric, Provenance};
use crate::data::{Batch, Loader};
use crate::error::Result;
use crate::nets::detector::{Family, RegionNet, Ssd, per_anchor};
use crate::nets::state;
use crate::train::{BatchSource, Ema, Evaluation, Learner, LearnerState, Optimizer, StepContext, StepReport};

/// What a detector is made of, besides its weights; goes into every model file of the run.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The network.
    pub net: DetectorConfig,
    /// Class names.
    pub classes: Vec<String>,
    /// How pictures are prepared.
    pub transform: Transform,
    /// Where the model comes from.
    pub provenance: Provenance,
    /// What the validation figures were measured on.
    pub val_name: String,
}

/// A detector that is being trained.
pub struct DetectLearner {
    net: DetectorNet,
    optimizer: Optimizer,
    ema: Option<Ema>,
    loss: LossSection,
    accumulate: usize,
    device: Device,
    recipe: Recipe,
    val: Pictures,
}

/// Part of the anchors learnt from that may be objects, and of the regions.
const OBJECT_ANCHORS: f64 = 0.5;
const OBJECT_REGIONS: f64 = 0.25;

/// A loss with its parts by name.
type Loss = (Tensor<1>, Vec<(&'static str, Tensor<1>)>);

impl DetectLearner {
    /// A learner that starts from this network.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) from the optimiser's settings.
    pub fn new(
        net: DetectorNet,
        config: &TrainConfig,
        recipe: Recipe,
        val: Pictures,
        device: &Device,
    ) -> Result<Self> {
        let ema = (config.ema.decay > 0.0).then(|| Ema::new(&config.ema, &net));
        Ok(Self {
            net,
            optimizer: Optimizer::new(config.optimizer.clone())?,
            ema,
            loss: config.loss.clone(),
            accumulate: config.fit.accumulate,
            device: device.clone().autodiff(),
            recipe,
            val,
        })
    }

    /// The pictures it is measured on.
    pub fn val(&self) -> &Pictures {
        &self.val
    }

    /// The present weights, averaged where the run averages.
    fn averaged(&self) -> DetectorNet {
        let net = self.net.valid();
        match &self.ema {
            Some(ema) => ema.apply(net),
            None => net,
        }
    }

    /// The present weights ready to predict.
    ///
    /// # Errors
    /// As [`Detector::from_parts`].
    pub fn detector(&self) -> Result<Detector> {
        let Recipe { net, classes, transform, .. } = self.recipe.clone();
        Detector::from_parts(&self.averaged(), net, classes, transform)
    }

    /// Loss over pictures `[n, 3, h, w]`, with gradients left in the graph.
    fn forward(&self, images: Tensor<4>, targets: &[Target], rng: &mut ChaCha8Rng) -> Loss {
        match (&self.net, &self.recipe.net.stages) {
            (DetectorNet::Grid(net), Stages::One(one)) => grid_step(net, one, images, targets),
            (DetectorNet::Regions(net), Stages::Two(two)) => {
                RegionStep { net, config: two, loss: &self.loss, targets }.forward(images, rng)
            }
            _ => unreachable!("a network is made of its configuration"),
        }
    }
}

/// Loss of a one-stage detector.
fn grid_step(net: &Ssd, config: &OneStage, images: Tensor<4>, targets: &[Target]) -> Loss {
    let [_, _, h, w] = images.dims();
    let (logits, corrections, maps) = net.forward(images);
    let boxes = boxes_of(config, Size::new(w as u32, h as u32), &maps);
    let truth: Vec<Vec<(usize, Box2d)>> = targets.iter().map(|target| target.truth.clone()).collect();
    let (class, bounds) = multibox(logits, corrections, &boxes, &truth);
    (class.clone() + bounds.clone(), vec![("loss_class", class), ("loss_box", bounds)])
}

/// One step of a network of the R-CNN family.
struct RegionStep<'a> {
    net: &'a RegionNet,
    config: &'a TwoStage,
    loss: &'a LossSection,
    targets: &'a [Target],
}

impl RegionStep<'_> {
    fn forward(&self, images: Tensor<4>, rng: &mut ChaCha8Rng) -> Loss {
        let [_, _, h, w] = images.dims();
        let frame = Size::new(w as u32, h as u32);
        let mut parts = Vec::new();
        let (maps, proposals) = match self.config.net.family {
            Family::Rcnn => (vec![images], self.given()),
            Family::FastRcnn | Family::FasterRcnn => {
                let mut maps = self.net.maps(images);
                let proposals = match self.net.rpn() {
                    Some(_) => {
                        let (losses, proposals) = self.propose(&maps, frame, rng);
                        parts.extend(losses);
                        proposals
                    }
                    None => self.given(),
                };
                // The coarsest map is for proposals only.
                maps.pop();
                (maps, proposals)
            }
        };
        let (rois, sample) = self.choose(proposals, rng);
        let (regions, order) = self.read(&maps, frame, &rois);
        let [logits, corrections] = self.net.heads().forward(regions);
        let sample = RegionSample {
            labels: order.iter().map(|&i| sample.labels[i]).collect(),
            codes: order.iter().map(|&i| sample.codes[i]).collect(),
        };
        let (class, bounds) = regions::heads(logits, corrections, &sample);
        parts.extend([("loss_class", class), ("loss_box", bounds)]);
        let total = parts.iter().map(|(_, loss)| loss.clone()).reduce(|a, b| a + b);
        (total.unwrap_or_else(|| unreachable!("the heads have a loss")), parts)
    }

    /// The regions that came with the pictures.
    fn given(&self) -> Vec<Vec<Box2d>> {
        let most = self.loss.proposals;
        self.targets.iter().map(|t| t.proposals.iter().take(most).copied().collect()).collect()
    }

    /// What the network proposes, with its losses.
    fn propose(
        &self,
        maps: &[Tensor<4>],
        frame: Size,
        rng: &mut ChaCha8Rng,
    ) -> (Vec<(&'static str, Tensor<1>)>, Vec<Vec<Box2d>>) {
        let Some(rpn) = self.net.rpn() else { return (Vec::new(), self.given()) };
        let said: Vec<[Tensor<4>; 2]> = maps.iter().map(|map| rpn.forward(map.clone())).collect();
        let shapes: Vec<[usize; 4]> = said.iter().map(|[logits, _]| logits.dims()).collect();
        let sizes: Vec<Size> = shapes.iter().map(|s| Size::new(s[3] as u32, s[2] as u32)).collect();
        let anchors = self.config.anchors.anchors(frame, &sizes);
        let host: Vec<[Vec<f32>; 2]> =
            said.iter().map(|pair| pair.clone().map(|tensor| state::host(tensor.detach()))).collect();
        let keep = Keep { after: self.loss.proposals, ..self.config.proposals };
        let proposals: Vec<Vec<Box2d>> = (0..self.targets.len())
            .into_par_iter()
            .map(|image| {
                let said: Vec<Said<'_>> = shapes
                    .iter()
                    .zip(&host)
                    .map(|(&[_, each, h, w], [logits, corrections])| {
                        let one = each * h * w;
                        Said {
                            shape: [each, h, w],
                            logits: &logits[image * one..][..one],
                            corrections: &corrections[image * 4 * one..][..4 * one],
                        }
                    })
                    .collect();
                let proposed = propose(&said, &anchors, self.targets[image].within, &keep);
                proposed.into_iter().map(|candidate| candidate.bounds).collect()
            })
            .collect();
        let mut all = AnchorSample::default();
        for (image, target) in self.targets.iter().enumerate() {
            let truth: Vec<Box2d> = target.truth.iter().map(|(_, bounds)| *bounds).collect();
            let matches = Matcher::PROPOSALS.run(&truth, &anchors);
            let (objects, background) = sample(&matches, self.loss.anchors, OBJECT_ANCHORS, rng);
            for &anchor in &objects {
                if let Match::Object(number) = matches[anchor] {
                    all.codes.push(BoxCoder::PLAIN.encode(truth[number], anchors[anchor]));
                    all.objects.push(image * anchors.len() + anchor);
                }
            }
            all.background.extend(background.into_iter().map(|anchor| image * anchors.len() + anchor));
        }
        let (logits, corrections) = flat(said);
        let (object, bounds) = regions::proposals(logits, corrections, &all);
        (vec![("loss_object", object), ("loss_anchor", bounds)], proposals)
    }

    /// A choice of regions to learn from, true boxes among them, and what they stand for.
    fn choose(
        &self,
        proposals: Vec<Vec<Box2d>>,
        rng: &mut ChaCha8Rng,
    ) -> (Vec<(usize, Box2d)>, RegionSample) {
        let (mut rois, mut chosen) = (Vec::new(), RegionSample::default());
        for (image, (target, mut regions)) in self.targets.iter().zip(proposals).enumerate() {
            let truth: Vec<Box2d> = target.truth.iter().map(|(_, bounds)| *bounds).collect();
            regions.extend_from_slice(&truth);
            let matches = Matcher::HEADS.run(&truth, &regions);
            let (objects, background) = sample(&matches, self.loss.regions, OBJECT_REGIONS, rng);
            for region in objects.into_iter().chain(background) {
                rois.push((image, regions[region]));
                let (label, code) = match matches[region] {
                    Match::Object(number) => {
                        let (class, bounds) = target.truth[number];
                        (class + 1, Some(BoxCoder::HEAD.encode(bounds, regions[region])))
                    }
                    Match::Background | Match::Neither => (0, None),
                };
                chosen.labels.push(label);
                chosen.codes.push(code);
            }
        }
        (rois, chosen)
    }

    /// What the heads see of the regions, `[regions, channels, 7, 7]`, and the regions' numbers in that order: map by
    /// map.
    fn read(&self, maps: &[Tensor<4>], frame: Size, rois: &[(usize, Box2d)]) -> (Tensor<4>, Vec<usize>) {
        let reading = match self.config.net.family {
            Family::Rcnn => Reading::Picture(self.config.crop),
            Family::FastRcnn | Family::FasterRcnn => {
                let sizes = maps.iter().map(Tensor::dims).map(|[_, _, h, w]| Size::new(w as u32, h as u32));
                Reading::of_maps(sizes, frame)
            }
        };
        let boxes: Vec<Box2d> = rois.iter().map(|(_, bounds)| *bounds).collect();
        let (mut read, mut order) = (Vec::new(), Vec::new());
        for (map, (align, numbers)) in maps.iter().zip(reading.parts(&boxes)) {
            if !numbers.is_empty() {
                let rois: Vec<Roi> = numbers.iter().map(|&i| reading.roi(rois[i].0, rois[i].1)).collect();
                read.push(roi_align(map.clone(), align, rois.into()));
                order.extend(numbers);
            }
        }
        let read = Tensor::cat(read, 0);
        let read = match self.config.net.family {
            Family::Rcnn => self.net.maps(read).remove(0),
            Family::FastRcnn | Family::FasterRcnn => read,
        };
        (read, order)
    }
}

/// Logits `[n · anchors]` and corrections `[n · anchors, 4]` of all maps, anchors map by map, position by position.
fn flat(said: Vec<[Tensor<4>; 2]>) -> (Tensor<1>, Tensor<2>) {
    let (logits, corrections): (Vec<_>, Vec<_>) =
        said.into_iter().map(|[object, code]| (per_anchor(object, 1), per_anchor(code, 4))).unzip();
    let (logits, corrections) = (Tensor::cat(logits, 1), Tensor::cat(corrections, 1));
    let [n, anchors, _] = logits.dims();
    (logits.reshape([n * anchors]), corrections.reshape([n * anchors, 4]))
}

impl Learner for DetectLearner {
    type Batch = Batch<Target>;

    fn step(&mut self, batch: Batch<Target>, context: &StepContext) -> Result<StepReport> {
        let Batch { images, count, channels, size, targets, .. } = batch;
        let picture = channels * size.area() as usize;
        let part = count.div_ceil(self.accumulate).max(1);
        self.device.seed(context.seed);
        let mut rng = ChaCha8Rng::seed_from_u64(context.seed);
        let (mut total, mut figures) = (0.0, Vec::new());
        let mut gradients = GradientsAccumulator::new();
        for (start, targets) in (0..count).step_by(part).zip(targets.chunks(part)) {
            let n = targets.len();
            let shape = [n, channels, size.height as usize, size.width as usize];
            let images = images.get(start * picture..(start + n) * picture).unwrap_or_default().to_vec();
            let images = Tensor::<4>::from_data(TensorData::new(images, shape), &self.device);
            let (loss, parts) = self.forward(images, targets, &mut rng);
            let share = n as f32 / count as f32;
            let weighted = loss * share;
            gradients.accumulate(&self.net, GradientsParams::from_grads(weighted.backward(), &self.net));
            total += f64::from(weighted.into_scalar::<f32>());
            let values = parts.into_iter().map(|(name, loss)| (name, f64::from(loss.into_scalar::<f32>())));
            add(&mut figures, values, f64::from(share));
        }
        if total.is_finite() {
            self.optimizer.improve(&mut self.net, &gradients.grads(), context.lr);
            if let Some(ema) = &mut self.ema {
                ema.update(&self.net);
            }
        }
        Ok(StepReport { loss: total, examples: count, figures, notes: Vec::new() })
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        let scores = predict::evaluate(&self.detector()?, &self.val)?;
        // What cannot be measured (no object at all) counts as nothing found.
        let figure = |value: Option<f64>| value.unwrap_or(0.0);
        Ok(Evaluation {
            score: figure(scores.ap),
            figures: vec![
                ("val_ap", figure(scores.ap)),
                ("val_ap50", figure(scores.ap50)),
                ("val_ap75", figure(scores.ap75)),
                ("val_ar100", figure(scores.ar100)),
            ],
        })
    }

    fn state(&self) -> Result<LearnerState> {
        let mut all = LearnerState::default();
        all.put("net", state::to_map(&self.net).into());
        all.put("optimizer", self.optimizer.state());
        if let Some(ema) = &self.ema {
            all.put("ema", ema.state());
        }
        Ok(all)
    }

    fn load_state(&mut self, mut state: LearnerState) -> Result<()> {
        self.net = state::load_map(self.net.clone(), &state.take("net").tensors)?;
        self.optimizer.load_state(&self.net, state.take("optimizer"))?;
        match &mut self.ema {
            Some(ema) => ema.load_state(state.take("ema")),
            None => Ok(()),
        }
    }

    fn write_model(&self, path: &Path, evaluation: &Evaluation) -> Result<()> {
        let Recipe { net, classes, transform, provenance, val_name } = self.recipe.clone();
        let metric = |(name, value): &(&str, f64)| Metric {
            name: name.trim_start_matches("val_").into(),
            value: *value,
            data: val_name.clone(),
            count: self.val.annotated().pictures().len(),
        };
        let card = Card {
            format_version: FORMAT_VERSION,
            job: super::JOB.into(),
            net: bundle::to_json("net", &net)?,
            classes,
            preprocessing: bundle::to_json("preprocessing", &transform)?,
            metrics: evaluation.figures.iter().map(metric).collect(),
            provenance,
            licence: String::new(),
        };
        bundle::save(path, &Bundle { card, tensors: state::to_map(&self.averaged()) })
    }
}

/// Adds figures, each times its share, to those of the parts before.
fn add(sums: &mut Vec<(&'static str, f64)>, figures: impl Iterator<Item = (&'static str, f64)>, share: f64) {
    for (i, (name, value)) in figures.enumerate() {
        match sums.get_mut(i) {
            Some((_, sum)) => *sum += value * share,
            None => sums.push((name, value * share)),
        }
    }
}

/// The batches of a training run.
pub struct Batches(pub Loader<Pictures, Target>);

impl BatchSource for Batches {
    type Batch = Batch<Target>;

    fn batches(&self) -> usize {
        self.0.batches()
    }

    fn epoch(&self, epoch: u64, from: usize) -> Box<dyn Iterator<Item = Result<Batch<Target>>> + '_> {
        Box::new(self.0.epoch(epoch, from))
    }
}
