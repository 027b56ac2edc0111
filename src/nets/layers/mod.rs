//! Layers whose parameters carry the names and shapes of PyTorch's, so that a state dictionary needs no table.
//!
//! | layer | state |
//! |---|---|
//! | [`Conv2d`] | `weight` `[out, in / groups, kh, kw]`, `bias` `[out]` |
//! | [`ConvTranspose2d`] | `weight` `[in, out / groups, kh, kw]`, `bias` `[out]` |
//! | [`Linear`] | `weight` `[out, in]`, `bias` `[out]` |
//! | [`BatchNorm2d`] | `weight`, `bias`, `running_mean`, `running_var` `[channels]` |
//!
//! Whether a layer trains is told by two things together: its input lives on an autodiff device, and the layer
//! has not been frozen (`Module::freeze`) or put into validation (`Module::valid`).

mod activation;
mod conv;
mod dropout;
mod linear;
mod norm;
mod pool;
mod sequence;
mod transparent;
mod transpose;

pub use activation::{Activation, ActivationKind};
pub use conv::{Conv2d, Conv2dConfig};
pub use dropout::Dropout;
pub use linear::Linear;
pub use norm::{BatchNorm2d, RunningStat, freeze_norms};
pub use pool::{AdaptiveAvgPool2d, MaxPool2d, SmoothPool2d, global_avg_pool};
pub use sequence::{DenseLayer, Layer, describe, describe_dense, run, run_dense};
pub(crate) use transparent::transparent_module;
pub use transpose::{ConvTranspose2d, ConvTranspose2dConfig};
