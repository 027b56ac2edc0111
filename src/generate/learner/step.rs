//! The two moves of a step: the discriminator learns to judge, then the generator to draw.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use super::super::augment::Changes;
use super::super::condition::Wish;
use super::super::loss::{diversity, gradient_penalty};
use super::super::predict::normal;
use super::GanLearner;
use crate::data::sampler::DataRng;
use crate::error::Result;
use crate::nets::gan::ConditionInput;
use crate::nets::state;
use crate::train::StepContext;

/// How far from a real picture its slope is felt for, in units of the network's values.
const FEELER: f32 = 0.05;

/// What both networks see in a step.
pub(super) struct Round {
    pub(super) real: Tensor<4>,
    /// What the pictures made were made from.
    pub(super) latent: Tensor<2>,
    pub(super) made: Tensor<4>,
    pub(super) input: Option<ConditionInput>,
    /// What other pictures of the batch are asked by, where that means something.
    pub(super) other: Option<ConditionInput>,
    pub(super) n: usize,
}

/// What came of the discriminator's step.
pub(super) struct Judged {
    pub(super) loss: f64,
    pub(super) on_real: Vec<f32>,
    pub(super) on_made: Vec<f32>,
}

pub(super) fn mean(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len().max(1) as f64
}

/// Each wish, and that of the next picture which asks for something else.
pub(super) fn others(wishes: &[Wish]) -> Option<Vec<Wish>> {
    let n = wishes.len();
    let next = |i: usize| (1..n).map(|k| &wishes[(i + k) % n]).find(|other| **other != wishes[i]);
    (0..n).map(|i| next(i).cloned()).collect()
}

/// The input where gradients are recorded.
pub(super) fn onto(input: ConditionInput, device: &Device) -> ConditionInput {
    match input {
        ConditionInput::Labels(x) => ConditionInput::Labels(x.to_device(device)),
        ConditionInput::Numbers(x) => ConditionInput::Numbers(x.to_device(device)),
        ConditionInput::Tokens(x) => ConditionInput::Tokens(x.to_device(device)),
    }
}

impl GanLearner {
    /// The discriminator's step.
    pub(super) fn judge(
        &mut self,
        round: &Round,
        rng: &mut DataRng,
        context: &StepContext,
    ) -> Result<Judged> {
        let Round { real, made, input, other, n, .. } = round;
        let loss = &self.config.loss;
        self.critic.discriminator.iterate();
        let seen = |x: Tensor<4>, changes: Option<Changes>| match changes {
            Some(changes) => changes.apply(x),
            None => x,
        };
        let asked = self.critic.encode(input.as_ref());
        let of_real = self.critic.discriminator.look(seen(real.clone(), self.changes(*n, rng)));
        let on_real = of_real.verdict(asked.clone());
        let of_made = self.critic.discriminator.look(seen(made.clone().detach(), self.changes(*n, rng)));
        let on_made = of_made.verdict(asked.clone());
        let mut total = loss.kind.real(on_real.clone()) + loss.kind.made(on_made.clone());
        if let Some(other) = other {
            let foreign = of_real.verdict(self.critic.encode(Some(other)));
            total = total + loss.kind.made(foreign) * loss.mismatch;
        }
        if loss.r1 > 0.0 && context.step.is_multiple_of(loss.r1_every) {
            let directions: Vec<f32> =
                (0..real.shape().num_elements()).map(|_| normal(rng) * FEELER).collect();
            let away = Tensor::<4>::from_data(TensorData::new(directions, real.dims()), &self.device);
            let at = |x| self.critic.discriminator.forward(x, asked.clone());
            let penalty = gradient_penalty(at(real.clone() + away.clone()), at(real.clone() - away), FEELER);
            total = total + penalty * (loss.r1 * loss.r1_every as f64);
        }
        let gradients = GradientsParams::from_grads(total.backward(), &self.critic);
        let judged = Judged {
            loss: f64::from(total.into_scalar::<f32>()),
            on_real: state::host(on_real),
            on_made: state::host(on_made),
        };
        if judged.loss.is_finite() {
            let rate = context.lr * self.slower() * self.config.loss.discriminator_rate;
            self.of_critic.improve(&mut self.critic, &gradients, rate);
        }
        Ok(judged)
    }

    /// The generator's step: its gradient passes through the discriminator, whose own weights' is not asked for.
    pub(super) fn draw(&mut self, round: &Round, rng: &mut DataRng, context: &StepContext) -> f64 {
        let judge = self.critic.clone().no_grad();
        let seen = match self.changes(round.n, rng) {
            Some(changes) => changes.apply(round.made.clone()),
            None => round.made.clone(),
        };
        let asked = judge.encode(round.input.as_ref());
        let verdicts = judge.discriminator.forward(seen, asked);
        let loss = &self.config.loss;
        let mut total = loss.kind.generator(verdicts);
        if loss.diversity > 0.0 {
            let latent = self.latents(round.n, rng);
            let again = self.artist.forward(latent.clone(), round.input.as_ref());
            let differ =
                diversity([round.made.clone(), again], [round.latent.clone(), latent], loss.diversity_bound);
            total = total - differ * loss.diversity;
        }
        drop(judge);
        let gradients = GradientsParams::from_grads(total.backward(), &self.artist);
        let loss = f64::from(total.into_scalar::<f32>());
        if loss.is_finite() {
            let rate = context.lr * self.slower();
            self.of_artist.improve(&mut self.artist, &gradients, rate);
            if let Some(ema) = &mut self.ema {
                ema.update(&self.artist);
            }
        }
        loss
    }
}
