//! Pooling and its gradients.

mod average;
mod max;
mod shape;

#[cfg(test)]
mod tests;

pub(crate) use average::Averages;
pub use average::{
    Averaged, adaptive_avg_pool2d, adaptive_avg_pool2d_backward, avg_pool2d, avg_pool2d_backward,
};
pub use max::{Winner, max_pool2d, max_pool2d_backward, max_pool2d_infer};
pub use shape::{Pool2d, PoolFault, PoolShape, PoolShapeError};
