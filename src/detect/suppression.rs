//! How of many boxes for one object one is made.

use std::fmt;
use std::str::FromStr;

use opticus_pixels::suppress::{
    Candidate, Decay, Fusion, SoftNms, Source, fuse_weighted, nms_per_class, soft_nms,
};
use serde::{Deserialize, Serialize};

/// The ways that [`opticus_pixels::suppress`] knows, class by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suppression {
    /// Boxes that overlap a better one go.
    #[default]
    Nms,
    /// Their scores fall with the overlap, linearly (Bodla et al. 2017).
    SoftNms,
    /// They are averaged with it (Solovyev et al. 2021).
    Fusion,
}

impl fmt::Display for Suppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nms => "nms",
            Self::SoftNms => "soft-nms",
            Self::Fusion => "fusion",
        })
    }
}

impl FromStr for Suppression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Nms, Self::SoftNms, Self::Fusion]
            .into_iter()
            .find(|way| way.to_string() == text)
            .ok_or_else(|| "it is one of nms, soft-nms, fusion".into())
    }
}

impl Suppression {
    /// What is left of the candidates, best first; `iou` is the overlap from which on two boxes count as one object's,
    /// and `score` what a candidate must have at least.
    pub fn run(self, candidates: &[Candidate], iou: f64, score: f64) -> Vec<Candidate> {
        match self {
            Self::Nms => nms_per_class(candidates, iou).into_iter().map(|i| candidates[i]).collect(),
            Self::SoftNms => {
                soft_nms(candidates, &SoftNms { decay: Decay::Linear { iou }, min_score: score })
            }
            Self::Fusion => {
                let source = Source { candidates, weight: 1.0 };
                fuse_weighted(&[source], &Fusion { iou, min_score: score })
            }
        }
    }
}
