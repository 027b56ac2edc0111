//! Where a report's material comes from: the run's log, the network's answers, the pictures themselves.

use opticus_pixels::Image8;
use opticus_pixels::preprocess::Preprocessing;

use super::{Answer, LogRow, Sight};
use crate::classify::explain::{Explainer, Method};
use crate::classify::metrics::softmax;
use crate::data::Dataset;
use crate::error::{Error, Result};

/// Longer side of an overlay, at least, in pixels.
const OVERLAY: u32 = 96;

/// Reads `log.csv` of a run folder.
///
/// # Errors
/// [`Error::Input`] naming the line, if it is no such log.
pub fn read_log(text: &str) -> Result<Vec<LogRow>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows = reader.deserialize().collect::<Result<Vec<LogRow>, _>>();
    rows.map_err(|e| Error::Input(format!("log.csv is not the log of a classifier's training: {e}")))
}

/// A network's answers to some pictures of a data set, from the logits of a batch.
pub fn answers(pictures: &dyn Dataset<Target = usize>, indices: &[usize], logits: &[f32]) -> Vec<Answer> {
    let classes = logits.len().checked_div(indices.len()).unwrap_or(0);
    let rows = logits.chunks_exact(classes.max(1));
    let answer = |(&index, row): (&usize, &[f32])| Answer {
        index,
        name: pictures.name(index),
        truth: pictures.target(index),
        probabilities: softmax(row).into_iter().map(|p| p as f32).collect(),
    };
    indices.iter().zip(rows).map(answer).collect()
}

/// The pictures of a data set, as the network saw them, explained by Grad-CAM.
pub struct ExplainedPictures<'a> {
    /// The pictures, already brought to the network's size.
    pub pictures: &'a dyn Dataset<Target = usize>,
    /// Who explains them.
    pub explainer: &'a Explainer,
    /// How their samples become the network's numbers.
    pub preprocessing: &'a Preprocessing,
}

impl Sight for ExplainedPictures<'_> {
    fn picture(&self, index: usize) -> Result<Image8> {
        self.pictures.load(index)
    }

    fn heat(&self, index: usize, class: usize) -> Result<Option<Image8>> {
        let seen = self.pictures.load(index)?;
        let explanation =
            self.explainer.explain_seen(self.preprocessing, seen, Some(class), Method::GradCam)?;
        Ok(Some(explanation.overlay(OVERLAY)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_log_that_training_writes_is_read() {
        let log = "epoch,step,lr,train_loss,train_top1,val_loss,val_top1,val_top5,val_ece,seconds\n\
                   1,10,1e-3,2.100000,0.250000,1.900000,0.300000,0.800000,0.020000,4.1\n\
                   2,20,5e-4,1.100000,0.650000,,,,,8.3\n";
        let rows = read_log(log).unwrap();
        let first = LogRow {
            epoch: 1.0,
            train_loss: Some(2.1),
            train_top1: Some(0.25),
            val_loss: Some(1.9),
            val_top1: Some(0.3),
            lr: Some(0.001),
            seconds: Some(4.1),
        };
        assert_eq!(rows[0], first);
        assert_eq!((rows[1].val_loss, rows[1].seconds), (None, Some(8.3)));
        assert!(read_log("").unwrap().is_empty());
        assert!(matches!(read_log("epoch,lr\n1,fast\n"), Err(Error::Input(_))));
    }

    struct Two;

    impl Dataset for Two {
        type Target = usize;

        fn len(&self) -> usize {
            2
        }

        fn load(&self, _index: usize) -> Result<Image8> {
            Err(Error::Input("not asked for".to_owned()))
        }

        fn target(&self, index: usize) -> usize {
            1 - index
        }

        fn name(&self, index: usize) -> String {
            format!("{index}.png")
        }
    }

    #[test]
    fn answers_carry_what_the_data_set_knows() {
        let answers = answers(&Two, &[1, 0], &[0.0, 0.0, 3_f32.ln(), 0.0]);
        assert_eq!((answers[0].name.as_str(), answers[0].truth), ("1.png", 0));
        assert_eq!(answers[0].probabilities, [0.5, 0.5]);
        assert_eq!((answers[1].index, answers[1].truth), (0, 1));
        assert!((answers[1].probabilities[0] - 0.75).abs() < 1e-6);
        assert!(super::answers(&Two, &[], &[]).is_empty());
    }
}
