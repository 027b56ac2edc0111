//! Whether made pictures show what they were asked to: by a classifier, and by which text belongs to them.

use super::features::Features;
use crate::error::{Error, Result};

/// What a classifier sees in pictures made for given classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Recognition {
    /// Fraction of pictures seen as the class that they were made for.
    pub accuracy: f64,
    /// The same of each class, in class order.
    pub per_class: Vec<ClassRecognition>,
}

/// What a classifier sees in pictures made for one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassRecognition {
    /// Number of pictures made for the class.
    pub count: u64,
    /// Fraction of them seen as it; 0 where there are none.
    pub accuracy: f64,
}

/// The fraction of pictures that a classifier takes for what they were made as. `wanted` and `seen` hold one class
/// a picture.
///
/// # Errors
/// [`Error::Input`] for no pictures, lists of different length, or classes that there are not.
pub fn recognition(classes: usize, wanted: &[usize], seen: &[usize]) -> Result<Recognition> {
    if wanted.is_empty() || wanted.len() != seen.len() {
        return Err(Error::Input(format!(
            "{} pictures were asked for and {} classified; give one wanted and one seen class a picture, of at least one",
            wanted.len(),
            seen.len()
        )));
    }
    if let Some(class) = wanted.iter().chain(seen).find(|class| **class >= classes) {
        return Err(Error::Input(format!(
            "class {class} is not among the {classes} classes; number them from 0, and use one classifier for both"
        )));
    }
    let mut per_class = vec![(0u64, 0u64); classes];
    for (wanted, seen) in wanted.iter().zip(seen) {
        per_class[*wanted].0 += 1;
        per_class[*wanted].1 += u64::from(wanted == seen);
    }
    let right: u64 = per_class.iter().map(|(_, right)| right).sum();
    let of_class = |(count, right): (u64, u64)| ClassRecognition {
        count,
        accuracy: if count > 0 { right as f64 / count as f64 } else { 0.0 },
    };
    Ok(Recognition {
        accuracy: right as f64 / wanted.len() as f64,
        per_class: per_class.into_iter().map(of_class).collect(),
    })
}

/// How well pictures find the text that they were made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retrieval {
    /// Fraction of pictures whose own text is the most similar of the candidates.
    pub top1: f64,
    /// Mean of one divided by the place of the own text.
    pub mean_reciprocal_rank: f64,
    /// What `top1` is by chance: one divided by the number of candidates.
    pub chance: f64,
    /// Number of candidates.
    pub candidates: usize,
}

/// R-precision (Xu et al. 2018, "AttnGAN", section 4) and mean reciprocal rank. `similarities` has one row a
/// picture and one column a candidate; `truth` holds each picture's own candidate. Where others are just as similar,
/// all orders among them count alike, so that a measure that tells nothing apart comes out at chance.
///
/// # Errors
/// [`Error::Input`] if there is not one own candidate a picture, or not among the candidates.
pub fn retrieval(similarities: &Features, truth: &[usize]) -> Result<Retrieval> {
    let (count, candidates) = (similarities.count(), similarities.width());
    if truth.len() != count {
        return Err(Error::Input(format!(
            "{} own candidates were given for {count} pictures; give one a picture",
            truth.len()
        )));
    }
    if let Some(own) = truth.iter().find(|own| **own >= candidates) {
        return Err(Error::Input(format!(
            "candidate {own} is not among the {candidates} of each row; number them from 0"
        )));
    }
    let (mut top1, mut reciprocal) = (0.0, 0.0);
    for (row, own) in similarities.rows().zip(truth) {
        let above = row.iter().filter(|value| **value > row[*own]).count();
        // With itself.
        let tied = row.iter().filter(|value| **value == row[*own]).count();
        if above == 0 {
            top1 += 1.0 / tied as f64;
        }
        reciprocal += (above + 1..=above + tied).map(|place| 1.0 / place as f64).sum::<f64>() / tied as f64;
    }
    Ok(Retrieval {
        top1: top1 / count as f64,
        mean_reciprocal_rank: reciprocal / count as f64,
        chance: 1.0 / candidates as f64,
        candidates,
    })
}
