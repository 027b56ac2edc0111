//! ONNX export: a network as a file that other runtimes read.
//!
//! Self-made on purpose: a fixed set of operations, 32-bit floats, opset 17. `graph` has one method an operation,
//! `proto` the bytes.

mod graph;
mod proto;

pub use graph::{Graph, Norm, Value, Window};
