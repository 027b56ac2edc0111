//! Training of what judges text to picture: a [`Matcher`] that learns from the data's own pictures and descriptions, never
//! from pictures made.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use opticus_pixels::Image8;

use super::augment::Changes;
use super::condition::{Condition, Wish};
use super::config::AugmentSection;
use super::dataset::{Examples, reworded};
use super::extractor::pictures;
use super::metrics::{Features, Retrieval, retrieval};
use super::prepare::prepare;
use crate::data::Dataset;
use crate::data::sampler::{Purpose, epoch_order, rng_for};
use crate::error::{Error, Result};
use crate::nets::gan::{ConditionInput, Matcher, MatcherConfig, same};
use crate::nets::init::Scope;
use crate::nets::state;
use crate::train::{Optimizer, OptimizerConfig, Rule};

const BATCH: usize = 128;
const RATE: f64 = 2e-3;
/// Words left out, so that a part of a description has a meaning.
const DROPOUT: f64 = 0.2;

/// How a matcher is trained.
#[derive(Clone, Copy, Debug)]
pub struct Lessons {
    /// Side of the pictures.
    pub side: u32,
    /// Passes over the pictures.
    pub epochs: u64,
    /// Seed of everything random.
    pub seed: u64,
}

/// A matcher that learnt from these pictures and descriptions; `watch` gets the mean loss of each epoch.
///
/// # Errors
/// [`Error::Config`] for a condition other than text; whatever the pictures report.
pub fn train(
    examples: &Examples,
    condition: &Condition,
    lessons: Lessons,
    device: &Device,
    mut watch: impl FnMut(u64, f64),
) -> Result<Matcher> {
    let (Condition::Text { .. }, Some(encoder)) = (condition, condition.encoder()) else {
        return Err(Error::Config(format!("only descriptions can be matched; this model takes {condition}")));
    };
    let images: Vec<Image8> = load(examples, lessons.side)?;
    let channels = images.first().map_or(3, |image| image.channels);
    let config = MatcherConfig { image_size: lessons.side as usize, channels, width: 32, space: 64, encoder };
    let recorded = device.clone().autodiff();
    let mut matcher = config.build(&Scope::seeded(lessons.seed, &recorded).at("matcher"))?;
    let mut optimizer = Optimizer::new(OptimizerConfig {
        kind: Rule::Adamw,
        weight_decay: 0.05,
        ..OptimizerConfig::default()
    })?;
    let changes = AugmentSection { colour: false, cutout: false, ..AugmentSection::default() };
    let steps = (images.len() / BATCH).max(1) as u64;
    for epoch in 0..lessons.epochs {
        let order = epoch_order(images.len(), lessons.seed, epoch);
        let (mut total, mut count) = (0.0, 0);
        for (step, indices) in order.chunks(BATCH).enumerate().filter(|(_, indices)| indices.len() > 1) {
            let mut rng = rng_for(lessons.seed, Purpose::Augment, epoch, step as u64);
            let batch: Vec<Image8> = indices.iter().map(|&i| images[i].clone()).collect();
            let seen = Changes::draw(batch.len(), lessons.side as usize, 1.0, &changes, &mut rng);
            let x = seen.apply(pictures(&batch, &recorded)?);
            let wishes: Vec<Wish> = indices
                .iter()
                .map(|&i| reworded(examples.wishes[i].clone(), DROPOUT, 0.0, &mut rng))
                .collect();
            let Some(ConditionInput::Tokens(tokens)) = condition.input(&wishes, &recorded)? else { continue };
            let loss = matcher.loss(x, &ConditionInput::Tokens(tokens.clone()), same(&tokens));
            let gradients = GradientsParams::from_grads(loss.backward(), &matcher);
            // A cosine down to nothing (Loshchilov and Hutter 2017).
            let done = (epoch * steps + step as u64) as f64 / (lessons.epochs * steps) as f64;
            let rate = RATE * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos());
            optimizer.improve(&mut matcher, &gradients, rate);
            total += f64::from(loss.into_scalar::<f32>());
            count += 1;
        }
        watch(epoch + 1, total / f64::from(count.max(1)));
    }
    Ok(matcher.valid())
}

/// The pictures at the network's size.
pub fn load(examples: &Examples, side: u32) -> Result<Vec<Image8>> {
    (0..examples.pictures.len())
        .map(|i| examples.pictures.load(i).map(|image| prepare(&image, side)))
        .collect()
}

/// How well pictures find the description that each was made from, among all of these; `own[i]` is the number of
/// picture i's.
///
/// # Errors
/// [`Error::Input`] for no pictures.
pub fn judge(
    matcher: &Matcher,
    condition: &Condition,
    images: &[Image8],
    descriptions: &[Wish],
    own: &[usize],
    device: &Device,
) -> Result<Retrieval> {
    let mut columns = Vec::new();
    for wishes in descriptions.chunks(BATCH) {
        let Some(input) = condition.input(wishes, device)? else {
            return Err(Error::Config("there are no descriptions to match".into()));
        };
        columns.push(matcher.descriptions(&input));
    }
    let columns: Tensor<2> = Tensor::cat(columns, 0).transpose(); // [space, descriptions]
    let mut similar = Vec::with_capacity(images.len() * descriptions.len());
    for images in images.chunks(BATCH) {
        similar.extend(state::host(matcher.pictures(pictures(images, device)?).matmul(columns.clone())));
    }
    retrieval(&Features::new(images.len(), descriptions.len(), similar)?, own)
}

/// Each different wish once, in order of first appearance, and which of them each is.
pub fn distinct(wishes: &[Wish]) -> (Vec<Wish>, Vec<usize>) {
    let mut seen: Vec<Wish> = Vec::new();
    let own = wishes
        .iter()
        .map(|wish| {
            seen.iter().position(|other| other == wish).unwrap_or_else(|| {
                seen.push(wish.clone());
                seen.len() - 1
            })
        })
        .collect();
    (seen, own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_counted_once() {
        let wish = |t: u32| Wish::Tokens(vec![t]);
        let (seen, own) = distinct(&[wish(1), wish(2), wish(1), wish(3)]);
        assert_eq!((seen.len(), own), (3, vec![0, 1, 0, 2]));
    }
}
