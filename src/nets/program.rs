//! The program that predicts on a CPU: a network's [description](super::graph) handed to
//! [`opticus_kernels::inference`], which fuses, packs and runs it.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use opticus_kernels::inference::{Builder, Program, Source, Value as Placed};
use opticus_kernels::{Averaged, Conv2d, Function, Pool2d};

use super::graph::{Graph, Norm, Operation, Value, Window};
use super::layers::ActivationKind;
use super::{Backbone, Net};
use crate::error::{Error, Result};

/// A network ready to predict: a [`Program`] on the CPU, the engine's operations on any other device.
#[derive(Debug)]
pub struct Predictor(Way);

#[derive(Debug)]
enum Way {
    Program(Box<Program>),
    Engine(Box<Net>, Device),
}

impl Predictor {
    /// For a network with the weights that it has now, and pictures of `[channels, height, width]`. Weights are packed
    /// when the first pictures come.
    ///
    /// # Errors
    /// See [`compile`].
    pub fn new(net: &Net, picture: [usize; 3]) -> Result<Self> {
        let net = net.valid();
        let device = net.devices().into_iter().next().unwrap_or_else(Device::flex).without_autodiff();
        if device != Device::flex() {
            return Ok(Self(Way::Engine(Box::new(net), device)));
        }
        let mut graph = Graph::new(picture);
        let input = graph.input();
        let logits = net.describe(&mut graph, &input);
        Ok(Self(Way::Program(Box::new(compile(&graph, &[logits])?))))
    }

    /// Logits `[n, classes]`, row by row, of preprocessed pictures `[n, c, h, w]`. Those of a picture do not depend,
    /// to the bit, on the company in its batch nor on the number of threads.
    ///
    /// # Errors
    /// [`Error::Input`] for a shape that the network cannot take, or values that do not make it.
    pub fn logits(&self, pictures: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        match &self.0 {
            Way::Program(program) => {
                let mut outputs = program.run(pictures, shape).map_err(|e| Error::Input(e.to_string()))?;
                Ok(outputs.pop().map_or_else(Vec::new, |output| output.values))
            }
            Way::Engine(net, device) => {
                if pictures.len() != shape.iter().product::<usize>() {
                    let count = pictures.len();
                    return Err(Error::Input(format!(
                        "{count} values do not make a batch of shape {shape:?}"
                    )));
                }
                let pictures = TensorData::new(pictures.to_vec(), shape);
                values(net.forward(Tensor::<4>::from_data(pictures, device)))
            }
        }
    }
}

/// The program that computes these values of a network, in their order.
///
/// # Errors
/// [`Error::ModelFile`] if the operations do not fit each other, or one has no counterpart: softmax is the caller's.
pub fn compile(graph: &Graph, outputs: &[Value]) -> Result<Program> {
    let (mut builder, input) = Builder::new(graph.input().map()[0]);
    let mut values: Vec<Placed> = Vec::new();
    for operation in graph.operations() {
        let at = |value: &Value| values[value.index];
        let value = match operation {
            Operation::Input => input,
            Operation::Conv { x, weight, bias, window, groups } => {
                let [out_channels, group, ..] = weight.lazy_shape().dims::<4>();
                let Window { kernel, stride, padding, dilation, .. } = *window;
                let conv = Conv2d {
                    in_channels: group * groups,
                    out_channels,
                    kernel,
                    stride,
                    padding,
                    dilation,
                    groups: *groups,
                };
                let bias = bias.as_ref().map(host).transpose()?;
                builder.conv(at(x), conv, source(weight), bias.as_deref())
            }
            Operation::Linear { x, weight, bias } => {
                let [out, _] = weight.lazy_shape().dims();
                let bias = bias.as_ref().map(host).transpose()?;
                builder.linear(at(x), out, source(weight), bias.as_deref())
            }
            Operation::BatchNorm { x, norm } => {
                let (scale, shift) = fold(norm)?;
                builder.affine(at(x), &scale, &shift)
            }
            Operation::Activation { x, kind } => builder.apply(
                at(x),
                match kind {
                    ActivationKind::Relu => Function::Relu,
                    ActivationKind::Relu6 => Function::Relu6,
                    ActivationKind::HardSwish => Function::HardSwish,
                    ActivationKind::HardSigmoid => Function::HardSigmoid,
                },
            ),
            Operation::Softmax { .. } => {
                return Err(Error::ModelFile("softmax inside of a network cannot be run".to_owned()));
            }
            Operation::MaxPool { x, window } => builder.max_pool(at(x), pool(window)),
            Operation::AveragePool { x, window, count_padding } => {
                let averaged = if *count_padding { Averaged::WithPadding } else { Averaged::InputOnly };
                builder.avg_pool(at(x), pool(window), averaged)
            }
            Operation::AdaptiveAveragePool { x, size } => builder.adaptive_avg_pool(at(x), *size),
            // A dense layer reads a map in this very order.
            Operation::Flatten { x } => at(x),
            Operation::Add { a, b } => builder.add(at(a), at(b)),
            Operation::Mul { a, b } => builder.mul(at(a), at(b)),
            Operation::Concat { values: parts } => {
                let parts: Vec<Placed> = parts.iter().map(at).collect();
                builder.concat(&parts)
            }
            Operation::Every { x, step } => builder.every(at(x), *step),
            Operation::Nearest { x, like } => builder.nearest(at(x), at(like)),
            Operation::Normalize { x, scale } => builder.normalize(at(x), &host(scale)?),
            Operation::PadChannels { x, before, after } => builder.pad_channels(at(x), *before, *after),
        };
        values.push(value);
    }
    let outputs: Vec<Placed> = outputs.iter().map(|value| values[value.index]).collect();
    builder.finish(&outputs).map_err(|e| Error::ModelFile(format!("the network cannot be run: {e}")))
}

fn pool(window: &Window) -> Pool2d {
    let Window { kernel, stride, padding, dilation, ceil } = *window;
    Pool2d { kernel, stride, padding, dilation, ceil }
}

/// A parameter, shared with the network until it is packed.
fn source<const D: usize>(parameter: &Param<Tensor<D>>) -> Source {
    let value = parameter.val();
    let read = value.clone();
    // On the CPU in f32, as every network is, reading cannot fail.
    Source::new(value.dims().iter().product(), move || values(read.clone()).unwrap_or_default())
}

fn host<const D: usize>(parameter: &Param<Tensor<D>>) -> Result<Vec<f32>> {
    values(parameter.val())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor.into_data();
    data.try_to_vec().map_err(|e| Error::Device(format!("the network's values cannot be read: {e:?}")))
}

/// Scale and shift of a normalisation: `weight / √(variance + ε)`, and `bias − mean · scale`.
fn fold(norm: &Norm) -> Result<(Vec<f32>, Vec<f32>)> {
    let (mean, variance) = (values(norm.running_mean.clone())?, values(norm.running_var.clone())?);
    let scale: Vec<f64> = host(&norm.weight)?
        .iter()
        .zip(&variance)
        .map(|(weight, variance)| f64::from(*weight) / (f64::from(*variance) + norm.epsilon).sqrt())
        .collect();
    let shift = host(&norm.bias)?.into_iter().zip(&mean).zip(&scale);
    let shift =
        shift.map(|((bias, mean), scale)| (f64::from(bias) - f64::from(*mean) * scale) as f32).collect();
    Ok((scale.into_iter().map(|scale| scale as f32).collect(), shift))
}
