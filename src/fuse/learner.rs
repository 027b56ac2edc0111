//! One step and one evaluation of a fuser in training.

use std::path::Path;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use opticus_pixels::Image8;

use super::config::{LossSection, TrainConfig};
use super::dataset::Pieces;
use super::loss;
use super::metrics;
use super::net::{FuserConfig, Input, Merger, Rule};
use super::predict::Fuser;
use crate::bundle::{self, Bundle, Card, FORMAT_VERSION, Metric, Provenance};
use crate::data::{Batch, Loader};
use crate::error::{Error, Result};
use crate::nets::fusion::{FusionNet, REACH};
use crate::nets::state;
use crate::train::{BatchSource, Ema, Evaluation, Learner, LearnerState, Optimizer, StepContext, StepReport};

/// What a fuser is made of, besides its weights; goes into every model file of the run.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The network.
    pub net: FuserConfig,
    /// How pictures are prepared.
    pub input: Input,
    /// Where the model comes from.
    pub provenance: Provenance,
}

/// A fuser that is being trained.
pub struct FuseLearner {
    net: FusionNet,
    optimizer: Optimizer,
    ema: Option<Ema>,
    weights: LossSection,
    device: Device,
    recipe: Recipe,
    pairs: Vec<[Image8; 2]>,
}

impl FuseLearner {
    /// A learner that starts from this network and is measured on these pairs.
    ///
    /// # Errors
    /// [`Error::Config`] for an optimiser that makes no sense.
    pub fn new(
        net: FusionNet,
        config: &TrainConfig,
        recipe: Recipe,
        pairs: Vec<[Image8; 2]>,
        device: &Device,
    ) -> Result<Self> {
        Ok(Self {
            ema: (config.ema.decay > 0.0).then(|| Ema::new(&config.ema, &net)),
            net,
            optimizer: Optimizer::new(config.optimizer.clone())?,
            weights: config.loss.clone(),
            device: device.clone().autodiff(),
            recipe,
            pairs,
        })
    }

    /// The present weights, averaged where the run averages, ready to fuse.
    ///
    /// # Errors
    /// As [`Fuser::from_parts`].
    pub fn fuser(&self) -> Result<Fuser> {
        let net = self.net.valid();
        let net = match &self.ema {
            Some(ema) => ema.apply(net),
            None => net,
        };
        Fuser::from_parts(net, self.recipe.net.clone(), self.recipe.input)
    }
}

impl Learner for FuseLearner {
    type Batch = Batch<()>;

    fn step(&mut self, batch: Batch<()>, context: &StepContext) -> Result<StepReport> {
        let Batch { images, count, size, .. } = batch;
        let (h, w) = (size.height as usize, size.width as usize);
        let all = Tensor::<4>::from_data(TensorData::new(images, [count, 4, h, w]), &self.device);
        let plane = |i: usize| all.clone().slice([0..count, i..i + 1, 0..h, 0..w]); // [n, 1, h, w]
        let (bases, details) = ([plane(0), plane(2)], [plane(1), plane(3)]);
        // Each rule's turn, so that one network serves all of them; the strongest evidence every second step.
        let rule = match context.step % 4 {
            1 => Rule::Mean,
            3 => Rule::L1Attention,
            _ => Rule::Max,
        };
        let mut merger = Merger::new(rule);
        details.iter().for_each(|detail| merger.push(self.net.encode(detail.clone())));
        let features = merger.finish().ok_or_else(|| Error::Input("a batch without pictures".into()))?;
        let [first, second] = [0, 1].map(|i: usize| bases[i].clone() + details[i].clone());
        let [base, other] = bases;
        let fused = self.net.decode(features) + (base + other) * 0.5;
        // Away from the border, where the network sees nothing but the picture.
        let inner = |x: &Tensor<4>| {
            let edge = REACH + 1;
            x.clone().slice([0..count, 0..1, edge..h - edge, edge..w - edge])
        };
        let parts = loss::losses(&inner(&first), &inner(&second), &inner(&fused));
        let total = parts.total(&self.weights);
        let structure = f64::from(parts.structure.into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(total.backward(), &self.net);
        let loss = f64::from(total.into_scalar::<f32>());
        if loss.is_finite() {
            self.optimizer.improve(&mut self.net, &gradients, context.lr);
            if let Some(ema) = &mut self.ema {
                ema.update(&self.net);
            }
        }
        Ok(StepReport {
            loss,
            examples: count,
            figures: vec![("mef_ssim", 1.0 - structure)],
            notes: Vec::new(),
        })
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        let fuser = self.fuser()?;
        let [best, mean, attention] =
            [Rule::Max, Rule::Mean, Rule::L1Attention].map(|r| metrics::measure(&fuser, &self.pairs, r));
        let best = best?;
        Ok(Evaluation {
            score: best.mef_ssim,
            figures: vec![
                ("val_mef_ssim", best.mef_ssim),
                ("val_qabf", best.qabf),
                ("val_mef_ssim_mean", mean?.mef_ssim),
                ("val_mef_ssim_attention", attention?.mef_ssim),
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
        let Recipe { net, input, provenance } = self.recipe.clone();
        let metrics = evaluation
            .figures
            .iter()
            .map(|(name, value)| Metric {
                name: name.trim_start_matches("val_").into(),
                value: *value,
                data: "pairs made of validation photos".into(),
                count: self.pairs.len(),
            })
            .collect();
        let card = Card {
            format_version: FORMAT_VERSION,
            job: super::JOB.into(),
            net: bundle::to_json("net", &net)?,
            classes: Vec::new(),
            preprocessing: bundle::to_json("preprocessing", &input)?,
            metrics,
            provenance,
            licence: String::new(),
        };
        bundle::save(path, &Bundle { card, tensors: state::to_map(self.fuser()?.net()) })
    }
}

/// The batches of a training run.
pub struct Batches(pub Loader<Pieces, ()>);

impl BatchSource for Batches {
    type Batch = Batch<()>;

    fn batches(&self) -> usize {
        self.0.batches()
    }

    fn epoch(&self, epoch: u64, from: usize) -> Box<dyn Iterator<Item = Result<Batch<()>>> + '_> {
        Box::new(self.0.epoch(epoch, from))
    }
}
