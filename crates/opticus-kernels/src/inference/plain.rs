//! Operation by operation on `[batch, channels, height, width]`, each by the kernel that training uses.

use super::builder::{Conv, Linear, Node};
use crate::{
    Activation, Matrix, adaptive_avg_pool2d, apply_in_place, avg_pool2d, conv2d, gemm, max_pool2d_infer,
};

fn then(activation: Activation, mut y: Vec<f32>) -> Vec<f32> {
    y.iter_mut().for_each(|y| *y = activation.of(*y));
    y
}

/// The values of all nodes; `shapes` are theirs.
pub(super) fn run(nodes: &[Node], shapes: &[[usize; 4]], x: &[f32]) -> Vec<Vec<f32>> {
    let mut values: Vec<Vec<f32>> = Vec::with_capacity(nodes.len());
    for (node, shape) in nodes.iter().zip(shapes) {
        let value = one(node, *shape, shapes, &values, x);
        values.push(value);
    }
    values
}

fn one(
    node: &Node,
    shape: [usize; 4],
    shapes: &[[usize; 4]],
    values: &[Vec<f32>],
    input: &[f32],
) -> Vec<f32> {
    let [_, _, height, width] = shape;
    let zeros = || vec![0.0f32; shape.iter().product()];
    let plane = height * width;
    match node {
        Node::Input(_) => input.to_vec(),
        Node::Conv(Conv { x, conv, weight, residual, activation }) => {
            let mut y = zeros();
            // Shapes were checked.
            if let Ok(checked) = conv.check(shapes[*x]) {
                let bias = Some(&weight.bias[..]);
                conv2d(&checked, &values[*x], &weight.values(), bias, Activation::None, &mut y);
            }
            if let Some(residual) = residual {
                y.iter_mut().zip(&values[*residual]).for_each(|(y, r)| *y += r);
            }
            then(*activation, y)
        }
        Node::Affine { x, scale, shift } => {
            let mut y = values[*x].clone();
            for (i, plane) in y.chunks_exact_mut(plane.max(1)).enumerate() {
                let channel = i % scale.len();
                plane.iter_mut().for_each(|y| *y = *y * scale[channel] + shift[channel]);
            }
            y
        }
        Node::Apply { x, function } => {
            let mut y = values[*x].clone();
            apply_in_place(*function, &mut y);
            y
        }
        Node::MaxPool { x, pool } => {
            let mut y = zeros();
            if let Ok(checked) = pool.check(shapes[*x]) {
                max_pool2d_infer(&checked, &values[*x], false, &mut y);
            }
            y
        }
        Node::AvgPool { x, pool, averaged } => {
            let mut y = zeros();
            if let Ok(checked) = pool.check(shapes[*x]) {
                avg_pool2d(&checked, *averaged, &values[*x], &mut y);
            }
            y
        }
        Node::AdaptiveAvgPool { x, size } => {
            let mut y = zeros();
            let [_, _, h, w] = shapes[*x];
            adaptive_avg_pool2d([h, w], *size, &values[*x], &mut y);
            y
        }
        Node::Linear(Linear { x, outputs, weight, activation }) => {
            let bias = &weight.bias;
            let weight = weight.values();
            let mut y = zeros();
            let inputs = weight.len() / (*outputs).max(1);
            let x = Matrix::new(&values[*x], shape[0], inputs);
            let w = Matrix::new(&weight, *outputs, inputs);
            gemm(x, w.transpose(), Some(bias), Activation::None, &mut y);
            then(*activation, y)
        }
        Node::Add { a, b } => values[*a].iter().zip(&values[*b]).map(|(a, b)| a + b).collect(),
        Node::Mul { a, b } => {
            let (a, b) = (&values[*a], &values[*b]);
            let spread = if a.len() == b.len() { 1 } else { plane };
            a.iter().enumerate().map(|(i, a)| a * b[i / spread]).collect()
        }
        Node::Concat(parts) => {
            let mut y = Vec::with_capacity(shape.iter().product());
            for image in 0..shape[0] {
                for &part in parts {
                    let len = shapes[part][1] * plane;
                    y.extend_from_slice(&values[part][image * len..][..len]);
                }
            }
            y
        }
        Node::Every { x, step } => {
            let [n, c, h, w] = shapes[*x];
            let mut y = Vec::with_capacity(shape.iter().product());
            for plane in 0..n * c {
                for row in (0..h).step_by(step[0]) {
                    let row = &values[*x][(plane * h + row) * w..][..w];
                    y.extend(row.iter().step_by(step[1]));
                }
            }
            y
        }
        Node::Nearest { x, .. } => {
            let [n, c, h, w] = shapes[*x];
            let mut y = Vec::with_capacity(shape.iter().product());
            for plane in 0..n * c {
                for row in 0..height {
                    let row = &values[*x][(plane * h + row * h / height) * w..][..w];
                    y.extend((0..width).map(|col| row[col * w / width]));
                }
            }
            y
        }
        Node::Normalize { x, scale } => {
            let mut y = values[*x].clone();
            for picture in y.chunks_exact_mut((scale.len() * plane).max(1)) {
                for at in 0..plane {
                    let squares = (0..scale.len()).map(|c| f64::from(picture[c * plane + at]).powi(2));
                    let norm = squares.sum::<f64>().sqrt().max(1e-12) as f32;
                    (0..scale.len()).for_each(|c| picture[c * plane + at] *= scale[c] / norm);
                }
            }
            y
        }
        Node::PadChannels { x, before, .. } => {
            let [_, c, _, _] = shapes[*x];
            let mut y = zeros();
            for image in 0..shape[0] {
                let from = &values[*x][image * c * plane..][..c * plane];
                y[(image * shape[1] + before) * plane..][..c * plane].copy_from_slice(from);
            }
            y
        }
    }
}
