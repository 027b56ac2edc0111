//! What a picture is asked by: nothing, a label, numbers or words; kept in the model file, so that a wish means the same
//! in training and ever after.

use std::fmt;

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::text::{PADDING, Vocabulary, words};
use crate::error::{Error, Result};
use crate::nets::gan::{ConditionInput, EncoderConfig};

/// Bounds that keep a hostile card from asking for absurd memory.
const MAX_NAMES: usize = 1 << 20;
const MAX_COLUMNS: usize = 4096;
const MAX_WORDS: usize = 4096;
/// How many deviations a number may be away from the training data's mean before it is refused.
const FARTHEST: f64 = 10.0;

/// What a model can be asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Condition {
    /// Nothing: any picture like those learnt from.
    #[default]
    None,
    /// One of these labels.
    Label {
        /// Their names.
        names: Vec<String>,
    },
    /// A number for each of these columns.
    Numbers {
        /// Their names.
        columns: Vec<String>,
        /// Mean of each over the training data; taken off.
        means: Vec<f64>,
        /// Standard deviation of each; divided by.
        deviations: Vec<f64>,
    },
    /// Words.
    Text {
        /// The words known.
        vocabulary: Vocabulary,
        /// The most words of a description.
        length: usize,
        /// The part of the descriptions that training set aside, so that evaluation sets the same aside.
        #[serde(default = "usual_part")]
        held_out: f64,
    },
}

/// The part set aside by models whose files do not tell.
fn usual_part() -> f64 {
    0.1
}

/// What one picture is asked by, in the model's terms.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// Anything.
    Any,
    /// A label's number.
    Label(usize),
    /// Standardised numbers.
    Numbers(Vec<f32>),
    /// Tokens of known words.
    Tokens(Vec<u32>),
}

impl Condition {
    /// # Errors
    /// [`Error::ModelFile`] for a condition that makes no sense.
    pub fn validate(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::ModelFile(format!("the card's condition {what}")));
        match self {
            Self::None => Ok(()),
            Self::Label { names } if !(1..=MAX_NAMES).contains(&names.len()) => {
                refuse("has no labels, or too many")
            }
            Self::Numbers { columns, means, deviations } => {
                let fits = (1..=MAX_COLUMNS).contains(&columns.len())
                    && [means.len(), deviations.len()] == [columns.len(); 2]
                    && means.iter().all(|m| m.is_finite())
                    && deviations.iter().all(|d| d.is_finite() && *d > 0.0);
                if fits { Ok(()) } else { refuse("has columns without mean or deviation") }
            }
            Self::Text { vocabulary, length, held_out } => {
                let fits = (0.0..1.0).contains(held_out)
                    && (1..=MAX_NAMES).contains(&vocabulary.len())
                    && vocabulary.is_ordered()
                    && (1..=MAX_WORDS).contains(length);
                if fits {
                    Ok(())
                } else {
                    refuse("has no vocabulary in alphabetical order, or absurd numbers beside it")
                }
            }
            Self::Label { .. } => Ok(()),
        }
    }

    /// What the networks need to take it in; `None` for no condition.
    pub fn encoder(&self) -> Option<EncoderConfig> {
        match self {
            Self::None => None,
            Self::Label { names } => Some(EncoderConfig::Label { classes: names.len() }),
            Self::Numbers { columns, .. } => Some(EncoderConfig::Numbers { count: columns.len() }),
            Self::Text { vocabulary, length, .. } => {
                Some(EncoderConfig::Text { vocabulary: vocabulary.len() + 1, length: *length })
            }
        }
    }

    /// The wish for a label, by name or number.
    ///
    /// # Errors
    /// [`Error::Config`] that lists the labels there are.
    pub fn label(&self, name: &str) -> Result<Wish> {
        let Self::Label { names } = self else { return Err(self.mismatch("a label")) };
        if let Some(at) = names.iter().position(|known| known == name) {
            return Ok(Wish::Label(at));
        }
        const SHOWN: usize = 40;
        let mut known = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        if names.len() > SHOWN {
            known.push_str(&format!(", … ({} in all)", names.len()));
        }
        Err(Error::Config(format!("the model does not know the label {name:?}; it knows {known}")))
    }

    /// The wish for numbers, one a column.
    ///
    /// # Errors
    /// [`Error::Config`] naming the column whose number is missing or far outside of what was learnt.
    pub fn numbers(&self, given: &[f64]) -> Result<Wish> {
        let Self::Numbers { columns, means, deviations } = self else { return Err(self.mismatch("numbers")) };
        if given.len() != columns.len() {
            return Err(Error::Config(format!(
                "{} numbers are given; the model takes {}: {}",
                given.len(),
                columns.len(),
                columns.join(", ")
            )));
        }
        let mut standard = Vec::with_capacity(given.len());
        for (((column, mean), deviation), value) in columns.iter().zip(means).zip(deviations).zip(given) {
            let z = (value - mean) / deviation;
            if !z.is_finite() || z.abs() > FARTHEST {
                return Err(Error::Config(format!(
                    "{column} = {value} is far from what the model learnt, {mean:.4} ± {deviation:.4}; give a number from {:.4} to {:.4}",
                    mean - FARTHEST * deviation,
                    mean + FARTHEST * deviation
                )));
            }
            standard.push(z as f32);
        }
        Ok(Wish::Numbers(standard))
    }

    /// The wish for a text, beside the words of it that the model does not know and that do not count therefore.
    ///
    /// # Errors
    /// [`Error::Config`] if the model is asked by something else, or knows no word of the text.
    pub fn text(&self, text: &str) -> Result<(Wish, Vec<String>)> {
        let Self::Text { vocabulary, length, .. } = self else { return Err(self.mismatch("a text")) };
        let (tokens, unknown) = vocabulary.tokens(text, *length);
        if tokens.is_empty() && !words(text).is_empty() {
            const SHOWN: usize = 30;
            let step = (vocabulary.len() / SHOWN).max(1);
            let some: Vec<&str> = vocabulary.words().iter().step_by(step).map(String::as_str).collect();
            return Err(Error::Config(format!(
                "the model knows no word of {text:?}. It knows {} words, such as {}",
                vocabulary.len(),
                some.join(", ")
            )));
        }
        Ok((Wish::Tokens(tokens), unknown))
    }

    /// Several wishes as the networks take them; `None` where there is no condition.
    ///
    /// # Errors
    /// [`Error::Config`] for a wish of another kind or outside of its range.
    pub fn input(&self, wishes: &[Wish], device: &Device) -> Result<Option<ConditionInput>> {
        let n = wishes.len();
        let foreign = || Error::Config("a wish is not of the model's kind".into());
        Ok(Some(match self {
            Self::None => return Ok(None),
            Self::Label { names } => {
                let mut values = Vec::with_capacity(n);
                for wish in wishes {
                    let Wish::Label(label) = wish else { return Err(foreign()) };
                    if *label >= names.len() {
                        return Err(Error::Config(format!("label {label} of {} is asked for", names.len())));
                    }
                    values.push(*label as i32);
                }
                let values = Tensor::<1, Int>::from_data(TensorData::new(values, [n]), device);
                ConditionInput::Labels(values)
            }
            Self::Numbers { columns, .. } => {
                let mut values: Vec<f32> = Vec::with_capacity(n * columns.len());
                for wish in wishes {
                    match wish {
                        Wish::Numbers(numbers) if numbers.len() == columns.len() => values.extend(numbers),
                        _ => return Err(foreign()),
                    }
                }
                ConditionInput::Numbers(Tensor::from_data(
                    TensorData::new(values, [n, columns.len()]),
                    device,
                ))
            }
            Self::Text { vocabulary, length, .. } => {
                let mut values = Vec::with_capacity(n * length);
                for wish in wishes {
                    let Wish::Tokens(tokens) = wish else { return Err(foreign()) };
                    if tokens.len() > *length || tokens.iter().any(|t| *t as usize > vocabulary.len()) {
                        return Err(foreign());
                    }
                    values.extend(tokens.iter().map(|t| *t as i32));
                    values.extend(std::iter::repeat_n(PADDING as i32, length - tokens.len()));
                }
                let values = Tensor::<2, Int>::from_data(TensorData::new(values, [n, *length]), device);
                ConditionInput::Tokens(values)
            }
        }))
    }

    /// What a wish says, for titles.
    pub fn describe(&self, wish: &Wish) -> String {
        match (self, wish) {
            (Self::Label { names }, Wish::Label(label)) => {
                names.get(*label).cloned().unwrap_or_else(|| label.to_string())
            }
            (Self::Numbers { means, deviations, .. }, Wish::Numbers(values)) => {
                let given = values.iter().zip(means).zip(deviations).map(|((z, m), d)| f64::from(*z) * d + m);
                given.map(|v| format!("{v:.3}")).collect::<Vec<_>>().join(", ")
            }
            (Self::Text { vocabulary, .. }, Wish::Tokens(tokens)) => {
                let word = |t: &u32| {
                    (*t as usize)
                        .checked_sub(1)
                        .and_then(|i| vocabulary.words().get(i))
                        .map_or("?", String::as_str)
                };
                tokens.iter().map(word).collect::<Vec<_>>().join(" ")
            }
            _ => "any".into(),
        }
    }

    fn mismatch(&self, given: &str) -> Error {
        Error::Config(format!("{given} is given, but this model takes {self}"))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no condition"),
            Self::Label { names } => write!(f, "one of {} labels (--label)", names.len()),
            Self::Numbers { columns, .. } => write!(f, "{} (--numbers)", columns.join(", ")),
            Self::Text { vocabulary, .. } => write!(f, "text of {} words (--text)", vocabulary.len()),
        }
    }
}
