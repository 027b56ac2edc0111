//! What a fuser is made of, and the rules by which features of several pictures become one picture's.

use burn::tensor::Tensor;
use opticus_kernels::engine;
use opticus_pixels::Size;
use opticus_pixels::pyramid::{Border, add_up, down, half};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::nets::fusion::FusionNetConfig;

/// A fuser but for its weights: the part of a model's card that the job owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FuserConfig {
    /// The architecture's name.
    pub name: String,
    /// Its layers.
    pub layers: FusionNetConfig,
}

/// The only architecture.
pub const DENSE_FUSE: &str = "dense-fuse";

impl FuserConfig {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a name that is not known or layers that make no sense.
    pub fn validate(&self) -> Result<()> {
        if self.name != DENSE_FUSE {
            return Err(crate::Error::Config(format!(
                "the network `{}` is not known; there is {DENSE_FUSE}",
                self.name
            )));
        }
        self.layers.validate()
    }
}

/// What pictures become for the network, stored in the model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// How often luma (ITU-R BT.601, display values, 0 to 1) is halved in size to give the base; the network sees the
    /// rest, the detail.
    pub halvings: usize,
}

impl Default for Input {
    fn default() -> Self {
        Self { halvings: 4 }
    }
}

impl Input {
    /// # Errors
    /// [`Error::ModelFile`](crate::Error::ModelFile) for more halvings than any picture bears.
    pub fn validate(self) -> Result<()> {
        match self.halvings {
            1..=16 => Ok(()),
            n => Err(crate::Error::ModelFile(format!("the card's {n} halvings are not 1 to 16"))),
        }
    }

    /// Luma as [base, detail], which add up to it: the base is smooth, made as the pyramid of Burt and Adelson (1983)
    /// makes its coarser levels.
    pub fn split(self, luma: &[f32], size: Size) -> [Vec<f32>; 2] {
        let mut levels = vec![(size, luma.to_vec())];
        for _ in 0..self.halvings {
            let Some((size, plane)) = levels.last() else { break };
            levels.push((half(*size), down(plane, *size, Border::default())));
        }
        let mut base = levels.pop().map(|(_, coarsest)| coarsest).unwrap_or_default();
        while let Some((size, plane)) = levels.pop() {
            let mut finer = vec![0.0; plane.len()];
            add_up(&mut finer, size, &base, 1.0, Border::default());
            base = finer;
        }
        let detail = luma.iter().zip(&base).map(|(l, b)| l - b).collect();
        [base, detail]
    }
}

/// How features are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Of each feature the value of greatest magnitude: the strongest evidence anywhere (Zhang et al., 2020, "IFCNN",
    /// eq. 5, for features of either sign).
    #[default]
    Max,
    /// The mean of each feature.
    Mean,
    /// Weighted by activity: the magnitudes of all features around a pixel (Li and Wu, 2019, "DenseFuse", eq. 3 to 5, the
    /// L1-norm strategy with r = 1).
    L1Attention,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Max, Self::Mean, Self::L1Attention];
}

/// Features of any number of pictures becoming one picture's: two maps in memory, however many pictures.
pub struct Merger {
    rule: Rule,
    count: usize,
    sum: Option<Tensor<4>>,
    weight: Option<Tensor<4>>,
}

impl Merger {
    /// Nothing yet.
    pub fn new(rule: Rule) -> Self {
        Self { rule, count: 0, sum: None, weight: None }
    }

    /// Adds one picture's features [n, c, h, w].
    pub fn push(&mut self, features: Tensor<4>) {
        self.count += 1;
        let (value, weight) = match self.rule {
            Rule::Max | Rule::Mean => (features, None),
            Rule::L1Attention => {
                let activity = activity(features.clone()); // [n, 1, h, w]
                (features * activity.clone(), Some(activity))
            }
        };
        self.sum = Some(match self.sum.take() {
            None => value,
            Some(sum) if self.rule == Rule::Max => {
                let weaker = sum.clone().abs().lower(value.clone().abs());
                sum.mask_where(weaker, value)
            }
            Some(sum) => sum + value,
        });
        self.weight = match (self.weight.take(), weight) {
            (Some(all), Some(one)) => Some(all + one),
            (all, one) => all.or(one),
        };
    }

    /// The merged features; `None` if there was no picture.
    pub fn finish(self) -> Option<Tensor<4>> {
        let sum = self.sum?;
        Some(match (self.rule, self.weight) {
            (Rule::Mean, _) => sum / self.count as f32,
            (_, Some(weight)) => sum / weight,
            _ => sum,
        })
    }
}

/// The mean magnitude of all features around each pixel, up to a factor, [n, c, h, w] to [n, 1, h, w]; never zero.
fn activity(features: Tensor<4>) -> Tensor<4> {
    let [_, c, _, _] = features.dims();
    let around = Tensor::<4>::ones([1, c, 3, 3], &features.device()) / 9.0;
    let window = engine::Window { stride: [1; 2], padding: [1; 2], dilation: [1; 2], groups: 1 };
    engine::conv2d(features.abs(), around, None, window, false) + 1e-6 // [n, 1, h, w]
}
