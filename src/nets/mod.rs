//! Networks: layers, initial weights, backbones, and reading weights made elsewhere.
//!
//! A backbone is one file under [`backbone`], one variant of [`Net`] and one row of [`NetKind`]; the conformance
//! tests then run for it by themselves. Knows no files, class names or losses.

pub mod backbone;
pub mod config;
#[cfg(test)]
mod conformance;
pub mod detector;
pub mod fusion;
pub mod gan;
pub mod graph;
pub mod import;
pub mod init;
pub mod layers;
mod net;
pub mod onnx;
pub mod program;
pub mod state;

pub use config::{NetConfig, NetKind, Stem};
pub use net::{Backbone, FeatureMap, Net};
pub use program::Predictor;
