//! Times every pass of the convolutions of well-known networks, and prints milliseconds and floating-point
//! operations a second (of the definition: a fast algorithm can exceed the machine's peak).
//!
//! ```text
//! RAYON_NUM_THREADS=2 cargo run --release -p opticus-kernels --example conv_bench -- [part of a name] [--csv | --list]
//! ```
//!
//! With `PROCESSOR_TIME=1` (and one thread) it prints the least time spent computing instead of the median
//! of the time that passed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use opticus_kernels::{
    Activation, Conv2d, ConvTranspose2d, conv_transpose2d, conv_transpose2d_backward_data,
    conv_transpose2d_backward_weight, conv2d, conv2d_backward_data, conv2d_backward_weight,
};

/// One layer: name, batch, input and output channels, side, kernel, stride, padding, groups, transposed.
struct Layer(&'static str, usize, usize, usize, usize, usize, usize, usize, usize, bool);

#[rustfmt::skip]
const LAYERS: &[Layer] = &[
    Layer("simple-cnn 3→32 @224",        32,   3,  32, 224, 3, 1, 0, 1, false),
    Layer("simple-cnn 32→64 @111",       32,  32,  64, 111, 3, 1, 0, 1, false),
    Layer("simple-cnn 64→128 @54",       32,  64, 128,  54, 3, 1, 0, 1, false),
    Layer("resnet18-32 3→64 @32",        64,   3,  64,  32, 3, 1, 1, 1, false),
    Layer("resnet18-32 64→64 @32",       64,  64,  64,  32, 3, 1, 1, 1, false),
    Layer("resnet18-32 64→128 s2 @32",   64,  64, 128,  32, 3, 2, 1, 1, false),
    Layer("resnet18-32 64→128 1×1 s2",   64,  64, 128,  32, 1, 2, 0, 1, false),
    Layer("resnet18-32 128→128 @16",     64, 128, 128,  16, 3, 1, 1, 1, false),
    Layer("resnet18-32 128→256 s2 @16",  64, 128, 256,  16, 3, 2, 1, 1, false),
    Layer("resnet18-32 256→256 @8",      64, 256, 256,   8, 3, 1, 1, 1, false),
    Layer("resnet18-32 256→512 s2 @8",   64, 256, 512,   8, 3, 2, 1, 1, false),
    Layer("resnet18-32 512→512 @4",      64, 512, 512,   4, 3, 1, 1, 1, false),
    Layer("dcgan 3→64 @64",              32,   3,  64,  64, 4, 2, 1, 1, false),
    Layer("dcgan 64→128 @32",            32,  64, 128,  32, 4, 2, 1, 1, false),
    Layer("dcgan 128→256 @16",           32, 128, 256,  16, 4, 2, 1, 1, false),
    Layer("dcgan 256→512 @8",            32, 256, 512,   8, 4, 2, 1, 1, false),
    Layer("dcgan T 100→512 @1",          32, 100, 512,   1, 4, 1, 0, 1, true),
    Layer("dcgan T 512→256 @4",          32, 512, 256,   4, 4, 2, 1, 1, true),
    Layer("dcgan T 256→128 @8",          32, 256, 128,   8, 4, 2, 1, 1, true),
    Layer("dcgan T 128→64 @16",          32, 128,  64,  16, 4, 2, 1, 1, true),
    Layer("dcgan T 64→3 @32",            32,  64,   3,  32, 4, 2, 1, 1, true),
    Layer("resnet18-224×1 3→64 7×7 s2",   1,   3,  64, 224, 7, 2, 3, 1, false),
    Layer("resnet18-224×1 64→64 @56",     1,  64,  64,  56, 3, 1, 1, 1, false),
    Layer("resnet18-224×1 128→128 @28",   1, 128, 128,  28, 3, 1, 1, 1, false),
    Layer("resnet18-224×1 256→256 @14",   1, 256, 256,  14, 3, 1, 1, 1, false),
    Layer("resnet18-224×1 512→512 @7",    1, 512, 512,   7, 3, 1, 1, 1, false),
    Layer("resnet18-224×16 3→64 7×7 s2", 16,   3,  64, 224, 7, 2, 3, 1, false),
    Layer("resnet18-224×16 64→64 @56",   16,  64,  64,  56, 3, 1, 1, 1, false),
    Layer("resnet18-224×16 128→128 @28", 16, 128, 128,  28, 3, 1, 1, 1, false),
    Layer("resnet18-224×16 256→256 @14", 16, 256, 256,  14, 3, 1, 1, 1, false),
    Layer("resnet18-224×16 512→512 @7",  16, 512, 512,   7, 3, 1, 1, 1, false),
    Layer("mobilenet dw 64 @56 s2",      16,  64,  64, 112, 3, 2, 1, 64, false),
    Layer("mobilenet dw 120 5×5 @28",    16, 120, 120,  28, 5, 1, 2, 120, false),
    Layer("mobilenet dw 672 @14",        16, 672, 672,  14, 3, 1, 1, 672, false),
    Layer("mobilenet dw 960 5×5 @7",     16, 960, 960,   7, 5, 1, 2, 960, false),
    Layer("mobilenet pw 16→64 @112",     16,  16,  64, 112, 1, 1, 0, 1, false),
    Layer("mobilenet pw 40→120 @28",     16,  40, 120,  28, 1, 1, 0, 1, false),
    Layer("mobilenet pw 112→672 @14",    16, 112, 672,  14, 1, 1, 0, 1, false),
    Layer("mobilenet pw 960→160 @7",     16, 960, 160,   7, 1, 1, 0, 1, false),
];

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

/// Time spent computing by all threads of this process, in milliseconds: steady on a busy machine. Linux only.
fn processor_time() -> Option<f64> {
    let mut sum = 0.0;
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        sum += text.split_whitespace().next()?.parse::<f64>().ok()? * 1e-6;
    }
    Some(sum)
}

/// The median time of at least three runs and 0.15 seconds, in milliseconds.
fn time(mut f: impl FnMut()) -> f64 {
    f();
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 3 || begin.elapsed() < Duration::from_millis(150) {
        let (start, computing) = (Instant::now(), processor_time());
        f();
        let elapsed = start.elapsed().as_secs_f64() * 1e3;
        times.push(match (std::env::var_os("PROCESSOR_TIME"), computing.zip(processor_time())) {
            (Some(_), Some((before, after))) => after - before,
            _ => elapsed,
        });
    }
    times.sort_by(f64::total_cmp);
    if std::env::var_os("PROCESSOR_TIME").is_some() { times[0] } else { times[times.len() / 2] }
}

fn passes(layer: &Layer) -> ([f64; 3], f64) {
    let &Layer(_, batch, channels, rows, side, kernel, stride, padding, groups, transposed) = layer;
    let input = [batch, channels, side, side];
    let len = |shape: [usize; 4]| shape.iter().product::<usize>();
    let conv = Conv2d {
        stride: [stride; 2],
        padding: [padding; 2],
        groups,
        ..Conv2d::new(channels, rows, [kernel; 2])
    };
    if transposed {
        let conv = ConvTranspose2d {
            in_channels: channels,
            out_channels: rows,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            output_padding: [0; 2],
            dilation: [1; 2],
            groups,
        };
        let shape = conv.check(input).expect("a real layer");
        let (x, w, dy) =
            (values(len(input)), values(len(shape.weight_shape())), values(len(shape.output_shape())));
        let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
        let times = [
            time(|| conv_transpose2d(&shape, &x, &w, None, Activation::None, &mut y)),
            time(|| conv_transpose2d_backward_data(&shape, &w, &dy, &mut dx)),
            time(|| conv_transpose2d_backward_weight(&shape, &x, &dy, &mut dw)),
        ];
        return (times, 2e-6 * shape.multiplications() as f64);
    }
    let shape = conv.check(input).expect("a real layer");
    let (x, w, dy) =
        (values(len(input)), values(len(shape.weight_shape())), values(len(shape.output_shape())));
    let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
    let times = [
        time(|| conv2d(&shape, &x, &w, None, Activation::None, &mut y)),
        time(|| conv2d_backward_data(&shape, &w, &dy, &mut dx)),
        time(|| conv2d_backward_weight(&shape, &x, &dy, &mut dw)),
    ];
    (times, 2e-6 * shape.multiplications() as f64)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let csv = arguments.iter().any(|a| a == "--csv");
    let part = arguments.iter().find(|a| !a.starts_with("--")).map_or("", String::as_str);
    let exact = arguments.iter().any(|a| a == "--exact");
    let list = arguments.iter().any(|a| a == "--list");
    let threads = rayon::current_num_threads();
    if !csv && !list {
        println!("{threads} threads; ms and GFLOP/s of forward, input gradient, weight gradient");
    }
    for layer in LAYERS.iter().filter(|l| if exact { l.0 == part } else { l.0.contains(part) }) {
        let &Layer(name, n, c, k, side, r, s, p, g, t) = layer;
        let parameters = format!("{name},{n},{c},{k},{side},{r},{s},{p},{g},{}", u8::from(t));
        if list {
            println!("{parameters}");
            continue;
        }
        let (times, work) = passes(layer);
        if csv {
            println!("{parameters},{:.4},{:.4},{:.4}", times[0], times[1], times[2]);
        } else {
            print!("{name:<30}");
            for time in times {
                print!("  {time:8.2} ms {:6.0}", work / time);
            }
            println!();
        }
    }
}
