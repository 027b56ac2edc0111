//! What memory is the limit of: norms, pooling, functions of each value, losses, the optimiser.

use super::{Make, Ready, Work, values};
use crate::{
    Adam, BatchNorm, BatchNormGradients, BatchNormUpstream, Function, NormShape, Parameter, Pool2d, Sgd,
    Targets, Update, adaptive_avg_pool2d, apply, batch_norm_backward, batch_norm_infer, batch_norm_train,
    differentiate, max_pool2d, max_pool2d_backward, max_pool2d_infer, softmax_cross_entropy, update,
};

/// What to run on which sizes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Batch, channels, plane; with a residual or without.
    Norm([usize; 3], NormPass, bool),
    /// Input, kernel, stride, padding.
    Pool([usize; 4], usize, usize, usize, PoolPass),
    /// The mean of each plane: planes, side.
    Mean(usize, usize),
    /// Values; with the gradient's pass or the forward one.
    Each(Function, usize, bool),
    /// Rows, classes.
    CrossEntropy(usize, usize),
    /// Parameters.
    Adam(usize),
    Sgd(usize),
}

#[derive(Clone, Copy, Debug)]
enum NormPass {
    Train,
    Infer,
    Backward,
}

#[derive(Clone, Copy, Debug)]
enum PoolPass {
    Train,
    Infer,
    Backward,
}

use Kind::{Adam as ByAdam, CrossEntropy, Each, Mean, Norm, Pool, Sgd as BySgd};

const MAPS: usize = 16 * 64 * 56 * 56;
/// ResNet-18's parameters.
const PARAMETERS: usize = 11_000_000;

#[rustfmt::skip]
const ROWS: &[(&str, &str, Kind)] = &[
    ("norm relu 64×64×32×32",     "forward",   Norm([64, 64, 1024], NormPass::Train, false)),
    ("norm relu 64×64×32×32",     "inference", Norm([64, 64, 1024], NormPass::Infer, false)),
    ("norm relu 64×64×32×32",     "backward",  Norm([64, 64, 1024], NormPass::Backward, false)),
    ("norm add relu 64×64×32×32", "forward",   Norm([64, 64, 1024], NormPass::Train, true)),
    ("norm add relu 64×64×32×32", "backward",  Norm([64, 64, 1024], NormPass::Backward, true)),
    ("norm relu 64×512×4×4",      "forward",   Norm([64, 512, 16], NormPass::Train, false)),
    ("norm relu 64×512×4×4",      "backward",  Norm([64, 512, 16], NormPass::Backward, false)),
    ("norm relu 16×64×56×56",     "forward",   Norm([16, 64, 3136], NormPass::Train, false)),
    ("norm relu 16×64×56×56",     "backward",  Norm([16, 64, 3136], NormPass::Backward, false)),
    ("max-pool 2×2 s2 32×32×222×222", "forward",   Pool([32, 32, 222, 222], 2, 2, 0, PoolPass::Train)),
    ("max-pool 2×2 s2 32×32×222×222", "inference", Pool([32, 32, 222, 222], 2, 2, 0, PoolPass::Infer)),
    ("max-pool 2×2 s2 32×32×222×222", "backward",  Pool([32, 32, 222, 222], 2, 2, 0, PoolPass::Backward)),
    ("max-pool 3×3 s2 16×64×112×112", "forward",   Pool([16, 64, 112, 112], 3, 2, 1, PoolPass::Train)),
    ("max-pool 3×3 s2 16×64×112×112", "inference", Pool([16, 64, 112, 112], 3, 2, 1, PoolPass::Infer)),
    ("max-pool 3×3 s2 16×64×112×112", "backward",  Pool([16, 64, 112, 112], 3, 2, 1, PoolPass::Backward)),
    ("global mean 16×512×7×7",    "forward",   Mean(16 * 512, 7)),
    ("relu 16×64×56×56",          "forward",   Each(Function::Relu, MAPS, false)),
    ("relu 16×64×56×56",          "backward",  Each(Function::Relu, MAPS, true)),
    ("leaky relu 16×64×56×56",    "forward",   Each(Function::LeakyRelu(0.2), MAPS, false)),
    ("leaky relu 16×64×56×56",    "backward",  Each(Function::LeakyRelu(0.2), MAPS, true)),
    ("hard-swish 16×64×56×56",    "forward",   Each(Function::HardSwish, MAPS, false)),
    ("hard-swish 16×64×56×56",    "backward",  Each(Function::HardSwish, MAPS, true)),
    ("silu 16×64×56×56",          "forward",   Each(Function::Silu, MAPS, false)),
    ("silu 16×64×56×56",          "backward",  Each(Function::Silu, MAPS, true)),
    ("gelu 16×64×56×56",          "forward",   Each(Function::Gelu, MAPS, false)),
    ("gelu 16×64×56×56",          "backward",  Each(Function::Gelu, MAPS, true)),
    ("tanh 16×64×56×56",          "forward",   Each(Function::Tanh, MAPS, false)),
    ("tanh 16×64×56×56",          "backward",  Each(Function::Tanh, MAPS, true)),
    ("cross-entropy 64×1000",     "both",      CrossEntropy(64, 1000)),
    ("adam 11M",                  "update",    ByAdam(PARAMETERS)),
    ("sgd 11M",                   "update",    BySgd(PARAMETERS)),
];

pub(super) fn all() -> Vec<Work> {
    (0..ROWS.len())
        .map(|index| Work { layer: ROWS[index].0, pass: ROWS[index].1, make: Make::Memory(index) })
        .collect()
}

pub(super) fn ready(index: usize) -> Ready {
    match ROWS[index].2 {
        Norm(sizes, pass, residual) => norm(sizes, pass, residual),
        Pool(input, kernel, stride, padding, pass) => {
            let pool = Pool2d { stride: [stride; 2], padding: [padding; 2], ..Pool2d::new([kernel; 2]) };
            max_pool(pool, input, pass)
        }
        Mean(planes, side) => {
            let (x, mut out) = (values(planes * side * side), vec![0.0; planes]);
            of_memory(x.len() + planes, move || adaptive_avg_pool2d([side; 2], [1, 1], &x, &mut out))
        }
        Each(function, len, false) => {
            let (x, mut out) = (values(len), vec![0.0; len]);
            of_memory(2 * len, move || apply(function, &x, &mut out))
        }
        Each(function, len, true) => {
            let (kept, dy, mut dx) = (values(len), values(len), vec![0.0; len]);
            of_memory(3 * len, move || differentiate(function, &kept, &dy, &mut dx))
        }
        CrossEntropy(rows, classes) => {
            let (logits, labels) = (values(rows * classes), vec![3u32; rows]);
            let mut gradient = logits.clone();
            of_memory(2 * logits.len(), move || {
                let targets = Targets::Classes { classes: &labels, smoothing: 0.1 };
                let loss = softmax_cross_entropy(classes, &logits, targets, &mut gradient);
                assert!(loss.is_ok(), "the labels are classes");
            })
        }
        ByAdam(len) => {
            let rule = Update::Adam(Adam {
                step_size: 1e-3,
                decay: 0.0,
                shrink: 0.999,
                beta1: 0.9,
                beta2: 0.999,
                rest1: 0.1,
                rest2: 0.001,
                root_correction: 0.5,
                epsilon: 1e-8,
                scale: 1.0,
            });
            optimizer(rule, len, len)
        }
        BySgd(len) => {
            let rule = Sgd { lr: 1e-3, decay: 1e-4, momentum: Some(0.9), nesterov: true, scale: 1.0 };
            optimizer(Update::Sgd(rule), len, 0)
        }
    }
}

fn of_memory(values: usize, run: impl FnMut() + Send + 'static) -> Ready {
    Ready { operations: 0.0, bytes: 4.0 * values as f64, run: Box::new(run) }
}

fn norm(sizes: [usize; 3], pass: NormPass, residual: bool) -> Ready {
    let shape = NormShape::training(sizes).unwrap_or_else(|error| panic!("{error}"));
    let (len, channels) = (sizes.iter().product(), sizes[1]);
    let (x, dy) = (values(len), values(len));
    let (gamma, beta) = (values(channels), values(channels));
    let (mut mean, mut variance) = (vec![0.0; channels], vec![1.0; channels]);
    let (mut out, mut dx, mut dresidual) = (values(len), vec![0.0; len], vec![0.0; len]);
    let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
    let tensors = match pass {
        NormPass::Train | NormPass::Infer => 2,
        NormPass::Backward => 4,
    };
    of_memory((tensors + usize::from(residual)) * len, move || {
        let job = BatchNorm {
            x: &x,
            gamma: &gamma,
            beta: &beta,
            epsilon: 1e-5,
            residual: residual.then_some(&dy[..]),
            relu: true,
        };
        match pass {
            NormPass::Train => batch_norm_train(&shape, &job, &mut out, &mut mean, &mut variance),
            NormPass::Infer => batch_norm_infer(&shape, &job, &mean, &variance, &mut out),
            NormPass::Backward => {
                let from = BatchNormUpstream {
                    x: &x,
                    relu: Some(&out),
                    dy: &dy,
                    gamma: &gamma,
                    mean: &mean,
                    variance: &variance,
                    epsilon: 1e-5,
                    frozen: false,
                };
                let to = BatchNormGradients {
                    dx: &mut dx,
                    dgamma: &mut dgamma,
                    dbeta: &mut dbeta,
                    dresidual: residual.then_some(&mut dresidual[..]),
                };
                batch_norm_backward(&shape, &from, to);
            }
        }
    })
}

fn max_pool(pool: Pool2d, input: [usize; 4], pass: PoolPass) -> Ready {
    let shape = pool.check(input).unwrap_or_else(|error| panic!("{error}"));
    let (len, out_len) = (input.iter().product::<usize>(), shape.output_shape().iter().product());
    let (mut x, mut out, mut winners) = (values(len), values(out_len), vec![0u8; out_len]);
    max_pool2d(&shape, &x, false, &mut out, &mut winners);
    of_memory(len + out_len, move || match pass {
        PoolPass::Train => max_pool2d(&shape, &x, false, &mut out, &mut winners),
        PoolPass::Infer => max_pool2d_infer(&shape, &x, false, &mut out),
        PoolPass::Backward => max_pool2d_backward(&shape, &out, &winners, &mut x),
    })
}

fn optimizer(rule: Update, len: usize, second: usize) -> Ready {
    let (gradient, mut weights) = (values(len), values(len));
    let (mut first, mut second) = (vec![0.0; len], vec![0.0; second]);
    of_memory(5 * len + 2 * second.len(), move || {
        let (weights, first, second) = (&mut weights[..], &mut first[..], &mut second[..]);
        update(rule, Parameter { weights, gradient: &gradient, first, second });
    })
}
