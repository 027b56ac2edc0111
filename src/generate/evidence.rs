//! What figures cannot say: made pictures beside the nearest of those learnt from, and those that are mistaken.

use opticus_pixels::Image8;

use super::condition::Wish;
use super::dataset::Examples;
use super::evaluation::Question;
use super::metrics::Features;
use super::predict::{Generator, Request};
use super::prepare::prepare;
use crate::data::Dataset;
use crate::error::Result;

/// Pictures to look at; of each kind at most [`Question::shown`].
#[derive(Debug)]
pub struct Evidence {
    /// The first pictures made, each with the nearest of those learnt from.
    pub nearest: Vec<Nearest>,
    /// How many of those learnt from were compared.
    pub among: usize,
    /// Pictures that the classifier takes for something else.
    pub mistaken: Vec<Mistaken>,
}

/// A picture made, and the one learnt from that is nearest to it by the features: a copy shows here.
#[derive(Debug)]
pub struct Nearest {
    /// What was asked for.
    pub request: Request,
    /// What was made.
    pub made: Image8,
    /// The nearest.
    pub learnt: Image8,
}

/// A picture that is taken for another label than was asked for.
#[derive(Debug)]
pub struct Mistaken {
    /// What was asked for.
    pub request: Request,
    /// What was made.
    pub made: Image8,
    /// What it is taken for.
    pub seen: String,
    /// How surely.
    pub probability: f64,
}

/// The first pictures made, beside the nearest of these: their features, which pictures they are of, and the pictures.
pub(super) fn nearest(
    generator: &Generator,
    requests: &[Request],
    question: Question,
    fake: &Features,
    (learnt, order, examples): (&Features, &[usize], &Examples),
) -> Result<Vec<Nearest>> {
    let requests = &requests[..question.shown.min(requests.len())];
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let made = generator.sample(requests, question.truncation)?;
    let side = generator.size().width;
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    let closest = |row: &[f32]| {
        let distances = learnt.rows().map(|other| apart(row, other)).zip(order);
        distances.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, index)| *index)
    };
    requests
        .iter()
        .zip(made)
        .zip(fake.rows())
        .map(|((request, made), row)| {
            let learnt = prepare(&examples.pictures.load(closest(row))?, side);
            Ok(Nearest { request: request.clone(), made, learnt })
        })
        .collect()
}

/// Some of the pictures that are taken for another label than was asked for, the surest first.
pub(super) fn mistaken(
    generator: &Generator,
    requests: &[Request],
    question: Question,
    (probabilities, seen): (&Features, &[usize]),
    classes: &[String],
) -> Result<Vec<Mistaken>> {
    let mut wrong: Vec<(usize, usize, f32)> = seen
        .iter()
        .copied()
        .zip(probabilities.rows())
        .enumerate()
        .filter(|(i, (seen, _))| requests[*i].wish != Wish::Label(*seen))
        .map(|(i, (seen, row))| (i, seen, row[seen]))
        .collect();
    wrong.sort_by(|a, b| b.2.total_cmp(&a.2));
    wrong.truncate(question.shown);
    let asked: Vec<Request> = wrong.iter().map(|(i, ..)| requests[*i].clone()).collect();
    let made = if asked.is_empty() { Vec::new() } else { generator.sample(&asked, question.truncation)? };
    let of = |((request, made), (_, seen, probability)): ((Request, Image8), (usize, usize, f32))| Mistaken {
        request,
        made,
        seen: classes[seen].clone(),
        probability: f64::from(probability),
    };
    Ok(asked.into_iter().zip(made).zip(wrong).map(of).collect())
}
