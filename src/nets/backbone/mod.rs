//! One file per family of architectures.

pub mod resnet;
pub mod simple_cnn;
