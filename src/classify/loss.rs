//! Cross-entropy over hard or mixed labels, with label smoothing.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

use crate::data::augment::MixPlan;

/// What each picture of a batch should be called: a distribution over the classes, `[n, classes]` row by row.
///
/// Hard labels, label smoothing (Szegedy et al. 2016, section 7), mixup (Zhang et al. 2018) and cutmix (Yun et
/// al. 2019) are all distributions, so that the loss is one line.
pub fn targets(labels: &[usize], mix: Option<&MixPlan>, classes: usize, smoothing: f32) -> Vec<f32> {
    /// A picture that is all its own.
    const UNMIXED: MixPlan = MixPlan { lambda: 1.0, region: None };
    mix.unwrap_or(&UNMIXED).soft_targets(labels, classes, f64::from(smoothing))
}

/// Mean over the batch of `-Σ target · log softmax(logits)`; logits and targets are `[n, classes]`.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [n, _classes] = logits.dims();
    (log_softmax(logits, 1) * targets).sum().neg() / n as f32 // [1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// Against the definition in f64: `-Σ t · (z − log Σ exp z)`.
    #[test]
    fn equals_the_definition() {
        let (z, classes) = ([[2.0f64, -1.0, 0.5], [100.0, 0.0, -100.0]], 3);
        let t = targets(&[0, 2], Some(&MixPlan { lambda: 0.3, region: None }), classes, 0.1);
        let mut expected = 0.0;
        for (row, t) in z.iter().zip(t.chunks_exact(classes)) {
            let top = row.iter().copied().fold(f64::MIN, f64::max);
            let log_sum = top + row.iter().map(|v| (v - top).exp()).sum::<f64>().ln();
            expected -= row.iter().zip(t).map(|(v, t)| f64::from(*t) * (v - log_sum)).sum::<f64>();
        }
        let device = Device::flex();
        let logits = Tensor::<2>::from_data(TensorData::from(z.map(|r| r.map(|v| v as f32))), &device);
        let soft = Tensor::<2>::from_data(TensorData::new(t, [2, classes]), &device);
        let loss = cross_entropy(logits, soft).into_scalar::<f32>();
        assert!((f64::from(loss) - expected / 2.0).abs() < 1e-4, "{loss} {}", expected / 2.0);
    }

    #[test]
    fn targets_are_distributions() {
        let t = targets(&[1, 0], Some(&MixPlan { lambda: 0.25, region: None }), 4, 0.2);
        for row in t.chunks_exact(4) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert_eq!(targets(&[1], None, 2, 0.0), vec![0.0, 1.0]);
    }
}
