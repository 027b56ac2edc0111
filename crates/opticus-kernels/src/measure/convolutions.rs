//! Convolutions, transposed ones among them.

use super::{Make, Ready, Work, values};
use crate::{
    Activation, Conv2d, ConvTranspose2d, Pass, conv_transpose2d, conv_transpose2d_backward_data,
    conv_transpose2d_backward_weight, conv2d, conv2d_backward_data, conv2d_backward_weight,
};

/// One layer: name, batch, input and output channels, side, kernel, stride, padding, groups, transposed.
#[derive(Debug)]
pub(super) struct Layer(&'static str, usize, usize, usize, usize, usize, usize, usize, usize, bool);

#[rustfmt::skip]
static LAYERS: &[Layer] = &[
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
    Layer("resnet50-224×1 64→256 1×1 @56",  1,  64, 256,  56, 1, 1, 0, 1, false),
    Layer("resnet50-224×1 1024→256 1×1 @14", 1, 1024, 256, 14, 1, 1, 0, 1, false),
    Layer("resnet50-224×1 512→2048 1×1 @7", 1, 512, 2048,  7, 1, 1, 0, 1, false),
    Layer("mobilenet dw 64 @56 s2",      16,  64,  64, 112, 3, 2, 1, 64, false),
    Layer("mobilenet dw 120 5×5 @28",    16, 120, 120,  28, 5, 1, 2, 120, false),
    Layer("mobilenet dw 672 @14",        16, 672, 672,  14, 3, 1, 1, 672, false),
    Layer("mobilenet dw 960 5×5 @7",     16, 960, 960,   7, 5, 1, 2, 960, false),
    Layer("mobilenet pw 16→64 @112",     16,  16,  64, 112, 1, 1, 0, 1, false),
    Layer("mobilenet pw 40→120 @28",     16,  40, 120,  28, 1, 1, 0, 1, false),
    Layer("mobilenet pw 112→672 @14",    16, 112, 672,  14, 1, 1, 0, 1, false),
    Layer("mobilenet pw 960→160 @7",     16, 960, 160,   7, 1, 1, 0, 1, false),
];

/// One pass over input, weights and output, of which it writes one.
type Run = dyn FnMut(&mut [Vec<f32>; 3]) + Send;

pub(super) fn all() -> Vec<Work> {
    let passes = [
        (Pass::Forward, "forward"),
        (Pass::BackwardData, "backward data"),
        (Pass::BackwardWeight, "backward weight"),
    ];
    LAYERS
        .iter()
        .flat_map(|layer| {
            passes.map(|(pass, name)| Work {
                layer: layer.0,
                pass: name,
                make: Make::Convolution(layer, pass),
            })
        })
        .collect()
}

pub(super) fn ready(layer: &Layer, pass: Pass) -> Ready {
    let &Layer(_, batch, inputs, outputs, side, kernel, stride, padding, groups, transposed) = layer;
    let (kernel, stride, padding) = ([kernel; 2], [stride; 2], [padding; 2]);
    let input = [batch, inputs, side, side];
    let (shapes, multiplications, mut run): (_, _, Box<Run>) = if transposed {
        let conv = ConvTranspose2d {
            in_channels: inputs,
            out_channels: outputs,
            kernel,
            stride,
            padding,
            output_padding: [0; 2],
            dilation: [1; 2],
            groups,
        };
        let shape = conv.check(input).unwrap_or_else(|error| panic!("{error}"));
        let run = move |[x, w, y]: &mut [Vec<f32>; 3]| match pass {
            Pass::Forward => conv_transpose2d(&shape, x, w, None, Activation::None, y),
            Pass::BackwardData => conv_transpose2d_backward_data(&shape, w, y, x),
            Pass::BackwardWeight => conv_transpose2d_backward_weight(&shape, x, y, w),
        };
        let shapes = [shape.input_shape(), shape.weight_shape(), shape.output_shape()];
        (shapes, shape.multiplications(), Box::new(run))
    } else {
        let conv = Conv2d { stride, padding, groups, ..Conv2d::new(inputs, outputs, kernel) };
        let shape = conv.check(input).unwrap_or_else(|error| panic!("{error}"));
        let run = move |[x, w, y]: &mut [Vec<f32>; 3]| match pass {
            Pass::Forward => conv2d(&shape, x, w, None, Activation::None, y),
            Pass::BackwardData => conv2d_backward_data(&shape, w, y, x),
            Pass::BackwardWeight => conv2d_backward_weight(&shape, x, y, w),
        };
        let shapes = [shape.input_shape(), shape.weight_shape(), shape.output_shape()];
        (shapes, shape.multiplications(), Box::new(run))
    };
    let mut tensors = shapes.map(|shape| values(shape.iter().product()));
    let bytes = 4 * tensors.iter().map(Vec::len).sum::<usize>();
    Ready {
        operations: 2.0 * multiplications as f64,
        bytes: bytes as f64,
        run: Box::new(move || run(&mut tensors)),
    }
}
