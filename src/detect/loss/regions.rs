//! Losses of the R-CNN family (Girshick 2015, section 2.3; Ren et al. 2015, section 3.1.2), as torchvision's
//! `RegionProposalNetwork.compute_loss` and `fastrcnn_loss` define them.

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Where the smooth L1 loss turns from a parabola into a line.
const BETA: f32 = 1.0 / 9.0;

/// Sum of the smooth L1 loss (Girshick 2015, equation 3, with the bend at `beta`) of each value.
pub fn smooth_l1<const D: usize>(said: Tensor<D>, wanted: Tensor<D>, beta: f32) -> Tensor<1> {
    let distance = (said - wanted).abs();
    // min(d, β)² / 2β + max(d − β, 0): the same two branches without a choice.
    let near = distance.clone().clamp_max(beta);
    let far = (distance - beta).clamp_min(0.0);
    (near.powi_scalar(2) / (2.0 * beta) + far).sum()
}

/// Anchors that a region proposal network learns from, over all pictures of a batch; the numbers count pictures first,
/// then anchors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnchorSample {
    /// Anchors that stand for an object.
    pub objects: Vec<usize>,
    /// Anchors that stand for background.
    pub background: Vec<usize>,
    /// The code of each object's box relative to its anchor.
    pub codes: Vec<[f32; 4]>,
}

/// Losses of the region proposal network: whether there is an object, and where exactly. `logits` are
/// `[pictures · anchors]`, `corrections` `[pictures · anchors, 4]`; both are divided by the number of anchors sampled.
pub fn proposals(logits: Tensor<1>, corrections: Tensor<2>, sample: &AnchorSample) -> (Tensor<1>, Tensor<1>) {
    let device = logits.device();
    let count = (sample.objects.len() + sample.background.len()).max(1) as f32;
    let objects = logits.clone().select(0, numbers(&sample.objects, &device));
    let background = logits.select(0, numbers(&sample.background, &device));
    // −log σ(z) for objects, −log(1 − σ(z)) = −log σ(−z) for background.
    let objectness = (log_sigmoid(objects).sum() + log_sigmoid(background.neg()).sum()).neg() / count;
    let said = corrections.select(0, numbers(&sample.objects, &device));
    let wanted = codes(&sample.codes, &device);
    (objectness, smooth_l1(said, wanted, BETA) / count)
}

/// Regions that the heads learn from, over all pictures of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionSample {
    /// What each region stands for: 0 is background, then the classes.
    pub labels: Vec<usize>,
    /// The code of its object's box relative to the region, for regions that stand for an object.
    pub codes: Vec<Option<[f32; 4]>>,
}

/// Losses of the heads: what a region is, and where exactly. `logits` are `[regions, 1 + classes]`, `corrections`
/// `[regions, 4 · (1 + classes)]`, of which only those of the true class count; both are divided by the number of
/// regions.
pub fn heads(logits: Tensor<2>, corrections: Tensor<2>, sample: &RegionSample) -> (Tensor<1>, Tensor<1>) {
    let device = logits.device();
    let [count, outputs] = logits.dims();
    let mut wanted = vec![0.0f32; count * outputs];
    for (row, &label) in wanted.chunks_exact_mut(outputs.max(1)).zip(&sample.labels) {
        row[label] = 1.0;
    }
    let wanted = Tensor::<2>::from_data(TensorData::new(wanted, [count, outputs]), &device);
    let regions = count.max(1) as f32;
    let class = (log_softmax(logits, 1) * wanted).sum().neg() / regions;
    let objects = sample.labels.iter().zip(&sample.codes).enumerate();
    let (rows, of_objects): (Vec<usize>, Vec<[f32; 4]>) =
        objects.filter_map(|(i, (label, code))| code.map(|code| (i * outputs + label, code))).unzip();
    // One row a region and class.
    let said = corrections.reshape([count * outputs, 4]).select(0, numbers(&rows, &device));
    (class, smooth_l1(said, codes(&of_objects, &device), BETA) / regions)
}

pub(super) fn numbers(numbers: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = numbers.iter().map(|&n| n as i32).collect();
    Tensor::from_data(TensorData::new(values, [numbers.len()]), device)
}

pub(super) fn codes(codes: &[[f32; 4]], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(codes.concat(), [codes.len(), 4]), device)
}
