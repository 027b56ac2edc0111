//! SSD's loss (Liu et al. 2016, section 2.2, equation 1), as torchvision's `SSD.compute_loss` defines it.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use opticus_pixels::geometry::Box2d;
use rayon::prelude::*;

use super::regions::{codes, numbers, smooth_l1};
use crate::detect::coder::BoxCoder;
use crate::detect::matcher::{Match, Matcher};
use crate::nets::state;

/// Boxes of background for each box of an object: those that the network finds hardest.
const NEGATIVES: usize = 3;
/// Where the smooth L1 loss turns from a parabola into a line.
const BETA: f32 = 1.0;

/// Losses of what is said of boxes: what is in them, and where exactly. `logits` are `[n, boxes, 1 + classes]`,
/// `corrections` `[n, boxes, 4]`, `truth` the class and box of the objects of each picture. Both losses are sums over the
/// boxes that stand for objects, the first also over the hardest of background, divided by the number of the former.
pub fn multibox(
    logits: Tensor<3>,
    corrections: Tensor<3>,
    boxes: &[Box2d],
    truth: &[Vec<(usize, Box2d)>],
) -> (Tensor<1>, Tensor<1>) {
    let [n, count, outputs] = logits.dims();
    let device = logits.device();
    let logits = log_softmax(logits.reshape([n * count, outputs]), 1);
    // How hard the network finds it to see that there is nothing.
    let hardness: Vec<f32> = state::host(logits.clone().detach().narrow(1, 0, 1));
    let chosen: Vec<Chosen> = truth
        .par_iter()
        .enumerate()
        .map(|(image, truth)| choose(truth, boxes, &hardness[image * count..][..count]))
        .collect();
    let (mut rows, mut labels, mut objects, mut wanted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (image, chosen) in chosen.into_iter().enumerate() {
        for (number, label, code) in chosen.objects {
            rows.push(image * count + number);
            labels.push(label);
            objects.push(image * count + number);
            wanted.push(code);
        }
        rows.extend(chosen.background.iter().map(|number| image * count + number));
        labels.resize(rows.len(), 0);
    }
    let mut targets = vec![0.0f32; rows.len() * outputs];
    for (row, label) in targets.chunks_exact_mut(outputs.max(1)).zip(&labels) {
        row[*label] = 1.0;
    }
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [rows.len(), outputs]), &device);
    let matched = objects.len().max(1) as f32;
    let class = (logits.select(0, numbers(&rows, &device)) * targets).sum().neg() / matched;
    let said = corrections.reshape([n * count, 4]).select(0, numbers(&objects, &device));
    (class, smooth_l1(said, codes(&wanted, &device), BETA) / matched)
}

/// What of one picture is learnt from.
struct Chosen {
    /// Box, label (from 1) and code.
    objects: Vec<(usize, usize, [f32; 4])>,
    background: Vec<usize>,
}

fn choose(truth: &[(usize, Box2d)], boxes: &[Box2d], certainty: &[f32]) -> Chosen {
    let bounds: Vec<Box2d> = truth.iter().map(|(_, bounds)| *bounds).collect();
    let matches = Matcher::SSD.run(&bounds, boxes);
    let (mut objects, mut background) = (Vec::new(), Vec::new());
    for (number, matched) in matches.iter().enumerate() {
        match matched {
            Match::Object(i) => {
                let code = BoxCoder::HEAD.encode(bounds[*i], boxes[number]);
                objects.push((number, truth[*i].0 + 1, code));
            }
            Match::Background | Match::Neither => background.push(number),
        }
    }
    // The least logarithm of the probability of background is the greatest loss.
    background.sort_by(|a, b| certainty[*a].total_cmp(&certainty[*b]));
    background.truncate(NEGATIVES * objects.len());
    Chosen { objects, background }
}
