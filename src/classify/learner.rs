//! One step and one evaluation of a classifier in training.

use std::path::Path;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};

use super::config::TrainConfig;
use super::dataset::Pictures;
use super::loss;
use super::predict::{self, Classifier};
use crate::bundle::{self, Bundle, Card, FORMAT_VERSION, Metric, Provenance};
use crate::data::{Batch, Loader};
use crate::error::Result;
use crate::nets::{Backbone, Net, NetConfig, state};
use crate::train::{BatchSource, Ema, Evaluation, Learner, LearnerState, Optimizer, StepContext, StepReport};
use opticus_pixels::preprocess::Preprocessing;

/// What a classifier is made of, besides its weights; goes into every model file of the run.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The network.
    pub net: NetConfig,
    /// Class names.
    pub classes: Vec<String>,
    /// How pictures are prepared.
    pub preprocessing: Preprocessing,
    /// Where the model comes from.
    pub provenance: Provenance,
    /// What the validation figures were measured on.
    pub val_name: String,
}

/// A classifier that is being trained.
pub struct ClassifyLearner {
    net: Net,
    optimizer: Optimizer,
    ema: Option<Ema>,
    smoothing: f32,
    accumulate: usize,
    device: Device,
    recipe: Recipe,
    val: Loader<Pictures, usize>,
}

impl ClassifyLearner {
    /// A learner that starts from this network.
    pub fn new(
        net: Net,
        config: &TrainConfig,
        recipe: Recipe,
        val: Loader<Pictures, usize>,
        device: &Device,
    ) -> Result<Self> {
        let ema = (config.ema.decay > 0.0).then(|| Ema::new(&config.ema, &net));
        Ok(Self {
            net,
            optimizer: Optimizer::new(config.optimizer.clone())?,
            ema,
            smoothing: config.loss.label_smoothing,
            accumulate: config.fit.accumulate,
            device: device.clone().autodiff(),
            recipe,
            val,
        })
    }

    /// The pictures it is measured on.
    pub fn val(&self) -> &Loader<Pictures, usize> {
        &self.val
    }

    /// The present weights, averaged where the run averages, ready to predict.
    pub fn classifier(&self) -> Result<Classifier> {
        let net = self.net.valid();
        let net = match &self.ema {
            Some(ema) => ema.apply(net),
            None => net,
        };
        let Recipe { net: config, classes, preprocessing, .. } = self.recipe.clone();
        Classifier::from_parts(net, config, classes, preprocessing)
    }

    /// Loss and number of right answers of `images`, with gradients of `loss * weight` left in the graph.
    fn forward(&self, images: Vec<f32>, targets: Vec<f32>, shape: [usize; 4]) -> (Tensor<1>, Tensor<2>) {
        let [n, ..] = shape;
        let images = Tensor::<4>::from_data(TensorData::new(images, shape), &self.device);
        let logits = self.net.forward(images); // [n, classes]
        let targets = TensorData::new(targets, [n, self.recipe.classes.len()]);
        let loss = loss::cross_entropy(logits.clone(), Tensor::from_data(targets, &self.device));
        (loss, logits)
    }
}

impl Learner for ClassifyLearner {
    type Batch = Batch<usize>;

    fn step(&mut self, batch: Batch<usize>, context: &StepContext) -> Result<StepReport> {
        let Batch { images, count, channels, size, targets: labels, mix, .. } = batch;
        let classes = self.recipe.classes.len();
        let soft = loss::targets(&labels, mix.as_ref(), classes, self.smoothing);
        let picture = channels * size.area() as usize;
        let part = count.div_ceil(self.accumulate).max(1);
        self.device.seed(context.seed);
        let (mut total, mut right) = (0.0, 0);
        let mut gradients = GradientsAccumulator::new();
        for (start, labels) in (0..count).step_by(part).zip(labels.chunks(part)) {
            let n = labels.len();
            let (from, to) = (start * picture, (start + n) * picture);
            let shape = [n, channels, size.height as usize, size.width as usize];
            let images = images.get(from..to).unwrap_or_default().to_vec();
            let soft = soft[start * classes..(start + n) * classes].to_vec();
            let (loss, logits) = self.forward(images, soft, shape);
            // The mean over the whole batch is the mean of the parts' means, weighted by their sizes.
            let weighted = loss * (n as f32 / count as f32);
            gradients.accumulate(&self.net, GradientsParams::from_grads(weighted.backward(), &self.net));
            total += f64::from(weighted.into_scalar::<f32>());
            right += state::host(logits)
                .chunks_exact(classes)
                .zip(labels)
                .filter(|(row, l)| top(row) == **l)
                .count();
        }
        if total.is_finite() {
            self.optimizer.improve(&mut self.net, &gradients.grads(), context.lr);
            if let Some(ema) = &mut self.ema {
                ema.update(&self.net);
            }
        }
        Ok(StepReport {
            loss: total,
            examples: count,
            figures: vec![("top1", right as f64 / count.max(1) as f64)],
            notes: Vec::new(),
        })
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        let scores = predict::evaluate(&self.classifier()?, &self.val, |_, _| {})?;
        Ok(Evaluation {
            score: scores.top1,
            figures: vec![
                ("val_loss", scores.loss),
                ("val_top1", scores.top1),
                ("val_top5", scores.top5),
                ("val_ece", scores.ece),
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
        let Recipe { net, classes, preprocessing, provenance, val_name } = self.recipe.clone();
        let count = self.val.pictures();
        let metrics = evaluation
            .figures
            .iter()
            .map(|(name, value)| Metric {
                name: name.trim_start_matches("val_").into(),
                value: *value,
                data: val_name.clone(),
                count,
            })
            .collect();
        let card = Card {
            format_version: FORMAT_VERSION,
            job: super::JOB.into(),
            net: bundle::to_json("net", &net)?,
            classes,
            preprocessing: bundle::to_json("preprocessing", &preprocessing)?,
            metrics,
            provenance,
            licence: String::new(),
        };
        let tensors = state::to_map(self.classifier()?.net());
        bundle::save(path, &Bundle { card, tensors })
    }
}

/// The index of the largest value, the first of equals.
fn top(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, v)| if *v > row[best] { i } else { best })
}

/// The batches of a training run.
pub struct Batches(pub Loader<Pictures, usize>);

impl BatchSource for Batches {
    type Batch = Batch<usize>;

    fn batches(&self) -> usize {
        self.0.batches()
    }

    fn epoch(&self, epoch: u64, from: usize) -> Box<dyn Iterator<Item = Result<Batch<usize>>> + '_> {
        Box::new(self.0.epoch(epoch, from))
    }
}
