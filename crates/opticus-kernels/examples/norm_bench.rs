//! Times the kernels that are bound by memory at sizes of well-known networks, and prints milliseconds and the
//! bytes a second that they must move at least (each operand once).
//!
//! ```text
//! RAYON_NUM_THREADS=2 cargo run --release -p opticus-kernels --example norm_bench -- [part of a name] [--csv]
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use opticus_kernels::*;

fn values(len: usize) -> Vec<f32> {
    let mut state = 88_172_645_463_325_252u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// The median time of at least five runs and 0.3 seconds, in milliseconds.
fn time(mut f: impl FnMut()) -> f64 {
    f();
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 5 || begin.elapsed() < Duration::from_millis(300) {
        let start = Instant::now();
        f();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Which measurements are wanted, and how they are printed.
struct Table {
    part: String,
    csv: bool,
}

impl Table {
    /// Measures `f`, which moves so many values of four bytes.
    fn row(&self, name: &str, values: f64, f: impl FnMut()) {
        if !name.contains(&self.part) {
            return;
        }
        let time = time(f);
        if self.csv {
            println!("{name},{time:.4}");
        } else {
            println!("{name:<34} {time:9.3} ms {:7.1} GB/s", values * 4e-6 / time);
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.part.is_empty() || name.contains(&self.part) || self.part.contains(name)
    }
}

fn batch_norm(table: &Table, name: &str, sizes: [usize; 3]) {
    if !table.wants(name) {
        return;
    }
    let shape = NormShape::training(sizes).expect("a real layer");
    let [batch, channels, plane] = sizes;
    let len = batch * channels * plane;
    let (x, residual, dy) = (values(len), values(len), values(len));
    let (gamma, beta) = (values(channels), values(channels));
    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    let (mut out, mut dx, mut dresidual) = (x.clone(), x.clone(), x.clone());
    let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
    let (epsilon, n) = (1e-5, len as f64);
    let plain = BatchNorm { x: &x, gamma: &gamma, beta: &beta, epsilon, residual: None, relu: true };
    let summed = BatchNorm { residual: Some(&residual), ..plain };
    table.row(&format!("{name} add relu"), 3.0 * n, || {
        batch_norm_train(&shape, &summed, &mut out, &mut mean, &mut variance);
    });
    table.row(&format!("{name} relu"), 2.0 * n, || {
        batch_norm_train(&shape, &plain, &mut out, &mut mean, &mut variance);
    });
    table.row(&format!("{name} relu infer"), 2.0 * n, || {
        batch_norm_infer(&shape, &plain, &mean.clone(), &variance.clone(), &mut dx);
    });
    let from = BatchNormUpstream {
        x: &x,
        relu: Some(&out),
        dy: &dy,
        gamma: &gamma,
        mean: &mean,
        variance: &variance,
        epsilon,
        frozen: false,
    };
    table.row(&format!("{name} relu backward"), 4.0 * n, || {
        let (dgamma, dbeta) = (&mut dgamma[..], &mut dbeta[..]);
        batch_norm_backward(
            &shape,
            &from,
            BatchNormGradients { dx: &mut dx, dgamma, dbeta, dresidual: None },
        );
    });
    table.row(&format!("{name} add relu backward"), 5.0 * n, || {
        let dresidual = Some(&mut dresidual[..]);
        let (dgamma, dbeta) = (&mut dgamma[..], &mut dbeta[..]);
        batch_norm_backward(&shape, &from, BatchNormGradients { dx: &mut dx, dgamma, dbeta, dresidual });
    });
}

fn max_pool(table: &Table, name: &str, pool: Pool2d, input: [usize; 4]) {
    if !table.wants(name) {
        return;
    }
    let shape = pool.check(input).expect("a real layer");
    let (len, out_len) = (input.iter().product(), shape.output_shape().iter().product());
    let (x, dy) = (values(len), values(out_len));
    let (mut out, mut dx, mut winners) = (dy.clone(), x.clone(), vec![0u8; out_len]);
    let bytes = len as f64 + 1.25 * out_len as f64;
    table.row(&format!("{name} relu"), bytes, || max_pool2d(&shape, &x, true, &mut out, &mut winners));
    table.row(name, bytes, || max_pool2d(&shape, &x, false, &mut out, &mut winners));
    table.row(&format!("{name} infer"), len as f64 + out_len as f64, || {
        max_pool2d_infer(&shape, &x, false, &mut out);
    });
    table.row(&format!("{name} backward"), bytes, || max_pool2d_backward(&shape, &dy, &winners, &mut dx));
}

fn functions(table: &Table, name: &str, len: usize, all: &[Function]) {
    if !table.wants(name) {
        return;
    }
    let (x, dy) = (values(len), values(len));
    let mut out = x.clone();
    for &function in all {
        let label = format!("{function:?} {name}").to_lowercase();
        table.row(&label, 2.0 * len as f64, || apply(function, &x, &mut out));
        table.row(&format!("{label} in place"), 2.0 * len as f64, || apply_in_place(function, &mut out));
        table.row(&format!("{label} backward"), 3.0 * len as f64, || {
            differentiate(function, &x, &dy, &mut out);
        });
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let table = Table {
        csv: arguments.iter().any(|a| a == "--csv"),
        part: arguments.iter().find(|a| !a.starts_with("--")).cloned().unwrap_or_default(),
    };
    if !table.csv {
        println!("{} threads", rayon::current_num_threads());
    }
    batch_norm(&table, "bn 64x64x32x32", [64, 64, 32 * 32]);
    batch_norm(&table, "bn 64x512x4x4", [64, 512, 4 * 4]);
    batch_norm(&table, "bn 16x64x56x56", [16, 64, 56 * 56]);
    batch_norm(&table, "bn 32x32x222x222", [32, 32, 222 * 222]);
    functions(&table, "32x32x222x222", 32 * 32 * 222 * 222, &[Function::Relu]);
    let all = [
        Function::Relu,
        Function::LeakyRelu(0.2),
        Function::Silu,
        Function::HardSwish,
        Function::Gelu,
        Function::GeluTanh,
        Function::Tanh,
        Function::Sigmoid,
    ];
    functions(&table, "16x64x56x56", 16 * 64 * 56 * 56, &all);
    max_pool(&table, "pool 2x2 s2 32x32x222x222", Pool2d::new([2, 2]), [32, 32, 222, 222]);
    let stem = Pool2d { stride: [2, 2], padding: [1, 1], ..Pool2d::new([3, 3]) };
    max_pool(&table, "pool 3x3 s2 16x64x112x112", stem, [16, 64, 112, 112]);
    let spatial = Pool2d { stride: [1, 1], padding: [2, 2], ..Pool2d::new([5, 5]) };
    max_pool(&table, "pool 5x5 s1 16x64x28x28", spatial, [16, 64, 28, 28]);

    let (planes, plane) = (16 * 512, 7 * 7);
    let (x, mut out) = (values(planes * plane), vec![0.0; planes]);
    table.row("global mean 16x512x7x7", x.len() as f64, || adaptive_avg_pool2d([7, 7], [1, 1], &x, &mut out));

    let (logits, labels) = (values(64 * 1000), vec![3u32; 64]);
    let mut gradient = logits.clone();
    table.row("cross-entropy 64x1000", 2.0 * logits.len() as f64, || {
        let targets = Targets::Classes { classes: &labels, smoothing: 0.1 };
        softmax_cross_entropy(1000, &logits, targets, &mut gradient).expect("classes that are there");
    });

    // ResNet-18's parameters as one tensor, and as many.
    let n = 11_000_000;
    if table.wants("adam 11M") || table.wants("sgd 11M") {
        let (gradient, mut weights, mut first, mut second) =
            (values(n), values(n), vec![0.0; n], vec![0.0; n]);
        let adam = Update::Adam(Adam {
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
        table.row("adam 11M", 7.0 * n as f64, || {
            let (weights, first, second) = (&mut weights[..], &mut first[..], &mut second[..]);
            update(adam, Parameter { weights, gradient: &gradient, first, second });
        });
        let sgd = Update::Sgd(Sgd { lr: 1e-3, decay: 1e-4, momentum: Some(0.9), nesterov: true, scale: 1.0 });
        table.row("sgd 11M", 5.0 * n as f64, || {
            let (weights, first) = (&mut weights[..], &mut first[..]);
            update(sgd, Parameter { weights, gradient: &gradient, first, second: &mut [] });
        });
    }
}
