//! ONNX export: a network as a file that other runtimes read.
//!
//! Self-made on purpose: a fixed set of operations, 32-bit floats, opset 17, IR version 8. It is made from a network's
//! [description](super::graph).
//!
//! The file has one input, `input` `[batch, channels, height, width]` of preprocessed pictures, and two outputs,
//! `logits` and `probabilities`, both `[batch, classes]`. The batch may have any length. Parameters keep their
//! state-dict names.

mod proto;
mod writer;

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

use super::graph::{Graph, Operation, Value};
use super::layers::ActivationKind;
use super::{Backbone, Net, NetConfig};
use writer::{Named, Writer};

/// The bytes of an ONNX file that computes what `net` does at inference. `metadata` are words for whoever reads the
/// file (classes, preprocessing), kept as the model's `metadata_props`.
///
/// The height and width are those of `config.input`.
pub fn export(net: &Net, config: &NetConfig, metadata: &[(String, String)]) -> Vec<u8> {
    let [h, w] = [config.input.height, config.input.width].map(|side| side as usize);
    let mut names = Names::default();
    net.visit(&mut names);
    let mut graph = Graph::new([config.in_channels, h, w]);
    let input = graph.input();
    let logits = net.describe(&mut graph, &input);
    let probabilities = graph.softmax(&logits);
    let mut writer = Writer::new([config.in_channels, h, w], names.found);
    let values = write(&graph, &mut writer);
    let named = |value: &Value| values[value.index].clone();
    let name = config.name.name();
    let description = format!("{name} for {} classes, exported by opticus", config.classes);
    let header = proto::Header { graph_name: name, description: &description, metadata };
    writer.finish(&[("logits", named(&logits)), ("probabilities", named(&probabilities))], &header)
}

/// Writes all operations, and gives the name of each one's value.
fn write(graph: &Graph, writer: &mut Writer) -> Vec<Named> {
    let mut values: Vec<Named> = Vec::new();
    for operation in graph.operations() {
        let at = |value: &Value| &values[value.index];
        let value = match operation {
            Operation::Input => writer.input(),
            Operation::Conv { x, weight, bias, window, groups } => {
                writer.conv(at(x), weight, bias.as_ref(), *window, *groups)
            }
            Operation::Linear { x, weight, bias } => writer.linear(at(x), weight, bias.as_ref()),
            Operation::BatchNorm { x, norm } => writer.batch_norm(at(x), norm),
            Operation::Activation { x, kind } => match kind {
                ActivationKind::Relu => writer.relu(at(x)),
                ActivationKind::Relu6 => writer.relu6(at(x)),
                ActivationKind::HardSwish => writer.hard_swish(at(x)),
                ActivationKind::HardSigmoid => writer.hard_sigmoid(at(x)),
            },
            Operation::Softmax { x } => writer.softmax(at(x)),
            Operation::MaxPool { x, window } => writer.max_pool(at(x), *window),
            Operation::AveragePool { x, window, count_padding } => {
                writer.average_pool(at(x), *window, *count_padding)
            }
            Operation::AdaptiveAveragePool { x, size } => writer.adaptive_average_pool(at(x), *size),
            Operation::Flatten { x } => writer.flatten(at(x)),
            Operation::Add { a, b } => writer.add(at(a), at(b)),
            Operation::Mul { a, b } => writer.mul(at(a), at(b)),
            Operation::Concat { values: parts } => {
                let parts: Vec<&Named> = parts.iter().map(at).collect();
                writer.concat(&parts)
            }
            Operation::Every { x, step } => writer.every(at(x), *step),
            Operation::Nearest { x, like } => writer.nearest(at(x), at(like)),
            Operation::Normalize { x, scale } => writer.normalize(at(x), scale),
            Operation::PadChannels { x, before, after } => writer.pad_channels(at(x), *before, *after),
        };
        values.push(value);
    }
    values
}

/// Collects the state-dict name of every parameter.
#[derive(Default)]
struct Names {
    path: Vec<String>,
    found: HashMap<ParamId, String>,
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.insert(param.id, self.path.join("."));
    }
}
