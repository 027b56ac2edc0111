//! What takes in a label, numbers or words: each becomes one vector, learnt with the network that it belongs to.

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, activation, module::embedding};
use opticus_kernels::{Function, engine};

use crate::error::{Error, Result};
use crate::nets::init::{Init, Scope, WeightInit};
use crate::nets::layers::{Linear, transparent_module};

/// Bounds that keep a hostile card from asking for absurd memory.
const MAX_ROWS: usize = 1 << 20;
const MAX_VALUES: usize = 1 << 27;

/// What a batch of pictures is asked by.
#[derive(Clone, Debug)]
pub enum ConditionInput {
    /// Labels `[n]`.
    Labels(Tensor<1, Int>),
    /// Standardised numbers [n, count].
    Numbers(Tensor<2>),
    /// Tokens [n, length], 0 where there is none.
    Tokens(Tensor<2, Int>),
}

/// What fixes an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderConfig {
    /// One of so many labels.
    Label {
        /// Their number.
        classes: usize,
    },
    /// So many numbers.
    Numbers {
        /// Their number.
        count: usize,
    },
    /// Words.
    Text {
        /// Tokens, the one of nothing included.
        vocabulary: usize,
        /// The most words of a description.
        length: usize,
    },
}

impl EncoderConfig {
    /// An encoder to vectors of `width` numbers at this place.
    ///
    /// # Errors
    /// [`Error::Config`] for sizes that make no sense.
    pub fn build(self, width: usize, scope: &Scope) -> Result<ConditionEncoder> {
        let rows = match self {
            Self::Label { classes } => classes,
            Self::Numbers { count } => count,
            Self::Text { vocabulary, .. } => vocabulary,
        };
        if width == 0 || rows == 0 || rows > MAX_ROWS || rows.saturating_mul(width) > MAX_VALUES {
            return Err(Error::Config(format!(
                "an encoder of {rows} rows to {width} numbers cannot be built"
            )));
        }
        Ok(match self {
            Self::Label { classes } => ConditionEncoder::Label(LabelEncoder {
                table: scope.param("table", [classes, width], Init::Normal(1.0)),
            }),
            Self::Numbers { count } => ConditionEncoder::Numbers(NumbersEncoder {
                hidden: Linear::new(&scope.at("hidden"), count, width, WeightInit::TorchDefault),
                output: Linear::new(&scope.at("output"), width, width, WeightInit::TorchDefault),
            }),
            Self::Text { vocabulary, .. } => {
                ConditionEncoder::Text(TextEncoder::new(scope, vocabulary, width))
            }
        })
    }
}

/// Turns what pictures are asked by into vectors.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has one")]
pub enum ConditionEncoder {
    /// A row of a table for each label.
    Label(LabelEncoder),
    /// Two dense layers.
    Numbers(NumbersEncoder),
    /// Words, pairs of words, and which of them count.
    Text(TextEncoder),
}

transparent_module!(ConditionEncoder { Label, Numbers, Text });

impl ConditionEncoder {
    /// Vectors [n, width].
    ///
    /// # Panics
    /// For an input of another kind than the encoder's; `generate::Condition` makes those that fit.
    pub fn forward(&self, input: &ConditionInput) -> Tensor<2> {
        match (self, input) {
            (Self::Label(encoder), ConditionInput::Labels(labels)) => encoder.forward(labels.clone()),
            (Self::Numbers(encoder), ConditionInput::Numbers(numbers)) => encoder.forward(numbers.clone()),
            (Self::Text(encoder), ConditionInput::Tokens(tokens)) => encoder.forward(tokens.clone()),
            _ => unreachable!("the condition made both the encoder and its input"),
        }
    }
}

/// A row for each label.
#[derive(Module, Debug)]
pub struct LabelEncoder {
    /// [classes, width].
    table: Param<Tensor<2>>,
}

impl LabelEncoder {
    fn forward(&self, labels: Tensor<1, Int>) -> Tensor<2> {
        let [n] = labels.dims();
        let width = self.table.dims()[1];
        embedding(self.table.val(), labels.reshape([n, 1])).reshape([n, width])
    }
}

/// Two dense layers.
#[derive(Module, Debug)]
pub struct NumbersEncoder {
    hidden: Linear,
    output: Linear,
}

impl NumbersEncoder {
    fn forward(&self, numbers: Tensor<2>) -> Tensor<2> {
        let hidden = engine::activate(self.hidden.forward(numbers), Function::LeakyRelu(0.2));
        self.output.forward(hidden)
    }
}

/// A vector for each word; to it is added what the word means behind the one before it; their mean by weights that the
/// words themselves give; a dense layer.
#[derive(Module, Debug)]
pub struct TextEncoder {
    /// [vocabulary, width]; row 0 is nothing.
    table: Param<Tensor<2>>,
    pairs: Linear,
    weight: Linear,
    output: Linear,
}

impl TextEncoder {
    fn new(scope: &Scope, vocabulary: usize, width: usize) -> Self {
        let dense = |name: &str, inputs, outputs| {
            Linear::new(&scope.at(name), inputs, outputs, WeightInit::TorchDefault)
        };
        Self {
            table: scope.param("table", [vocabulary, width], Init::Normal(1.0)),
            pairs: dense("pairs", 2 * width, width),
            weight: dense("weight", width, 1),
            output: dense("output", width, width),
        }
    }

    fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let [n, length] = tokens.dims();
        let width = self.table.dims()[1];
        let there = tokens.clone().greater_elem(0).float().reshape([n, length, 1]);
        let words = embedding(self.table.val(), tokens) * there.clone(); // [n, length, width]
        let nothing = Tensor::zeros([n, 1, width], &words.device());
        let before = match length {
            1 => nothing,
            _ => Tensor::cat(vec![nothing, words.clone().slice([0..n, 0..length - 1, 0..width])], 1),
        };
        let both = Tensor::cat(vec![words.clone(), before], 2).reshape([n * length, 2 * width]);
        let pairs = engine::activate(self.pairs.forward(both), Function::LeakyRelu(0.2));
        let words = words + pairs.reshape([n, length, width]);
        // Bounded, so that no word can silence all others.
        let weights = self.weight.forward(words.clone().reshape([n * length, width]));
        let weights = (activation::tanh(weights) * 3.0).exp().reshape([n, length, 1]) * there; // [n, length, 1]
        let total = weights.clone().sum_dim(1) + 1e-6; // [n, 1, 1]
        let mean = (words * weights).sum_dim(1) / total; // [n, 1, width]
        self.output.forward(mean.reshape([n, width]))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::nets::state::host;

    fn tokens(rows: &[[i32; 4]]) -> ConditionInput {
        let data = TensorData::new(rows.concat(), [rows.len(), 4]);
        ConditionInput::Tokens(Tensor::from_data(data, &Device::flex()))
    }

    #[test]
    fn text_depends_on_words_and_their_order_but_not_on_padding_or_neighbours() {
        let scope = Scope::seeded(1, &Device::flex());
        let encoder = EncoderConfig::Text { vocabulary: 9, length: 4 }.build(6, &scope).unwrap();
        let all = host(encoder.forward(&tokens(&[[3, 5, 0, 0], [5, 3, 0, 0], [3, 5, 7, 0], [0; 4]])));
        let alone = host(encoder.forward(&tokens(&[[3, 5, 0, 0]])));
        let rows: Vec<&[f32]> = all.chunks(6).collect();
        assert!(rows[0].iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-6));
        assert!(rows.iter().enumerate().all(|(i, a)| rows[..i].iter().all(|b| a != b)));
        assert!(all.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn absurd_encoders_are_refused() {
        let scope = Scope::blank(&Device::flex());
        for config in [EncoderConfig::Label { classes: usize::MAX }, EncoderConfig::Numbers { count: 0 }] {
            assert!(config.build(64, &scope).is_err());
        }
    }
}
