//! Named tensors on the host: what networks give, and what model files and checkpoints store.

use std::collections::BTreeMap;

pub mod file;

/// A dense row-major `f32` tensor in main memory.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// `shape.iter().product()` values.
    pub data: Vec<f32>,
}

/// Tensors by name, in a stable (sorted) order so that equal maps write equal bytes.
pub type TensorMap = BTreeMap<String, HostTensor>;
