//! ONNX export: a network as a file that other runtimes read.
//!
//! Self-made on purpose: a fixed set of operations, 32-bit floats, opset 17, IR version 8. [`graph`](Graph) has one
//! method an operation, and each layer and backbone an `export` beside its `forward`.
//!
//! The file has one input, `input` `[batch, channels, height, width]` of preprocessed pictures, and two outputs,
//! `logits` and `probabilities`, both `[batch, classes]`. The batch may have any length. Parameters keep their
//! state-dict names.

mod graph;
mod proto;

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

pub use graph::{Graph, Norm, Value, Window};

use super::{Backbone, Net, NetConfig};

/// The bytes of an ONNX file that computes what `net` does at inference. `metadata` are words for whoever reads the
/// file (classes, preprocessing), kept as the model's `metadata_props`.
///
/// The height and width are those of `config.input`.
pub fn export(net: &Net, config: &NetConfig, metadata: &[(String, String)]) -> Vec<u8> {
    let [h, w] = [config.input.height, config.input.width].map(|side| side as usize);
    let mut names = Names::default();
    net.visit(&mut names);
    let mut graph = Graph::new([config.in_channels, h, w], names.found);
    let input = graph.input();
    let logits = net.export(&mut graph, &input);
    let probabilities = graph.softmax(&logits);
    let name = config.name.name();
    let description = format!("{name} for {} classes, exported by opticus", config.classes);
    let header = proto::Header { graph_name: name, description: &description, metadata };
    graph.finish(&[("logits", logits), ("probabilities", probabilities)], &header)
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
