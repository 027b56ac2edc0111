//! One file per family of architectures.

pub mod cifar_resnet;
pub mod inception_v3;
pub mod mobilenet_v3;
pub mod resnet;
pub mod simple_cnn;
pub mod small_cnn;
pub mod squeezenet;
pub mod vgg;
