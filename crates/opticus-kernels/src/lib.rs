//! Fast fp32 kernels of vision networks on the CPU, with their gradients.
//!
//! Tensors are plain contiguous slices in the order `[batch, channels, height, width]`. Shapes are checked first
//! ([`Conv2d::check`]), then computed on without failure. The instruction set is chosen at run time. Results are
//! the same, bit for bit, for any number of threads: work is cut by shape alone, and sums are added in a fixed
//! order.
//!
//! ```
//! use opticus_kernels::{Activation, Conv2d, conv2d};
//!
//! let conv = Conv2d { padding: [1, 1], ..Conv2d::new(3, 8, [3, 3]) };
//! let shape = conv.check([1, 3, 32, 32])?;
//! let (x, w) = (vec![1.0; 3 * 32 * 32], vec![0.1; 8 * 3 * 9]);
//! let mut y = vec![0.0; shape.output_shape().iter().product()];
//! conv2d(&shape, &x, &w, None, Activation::Relu, &mut y);
//! # Ok::<(), opticus_kernels::ShapeError>(())
//! ```

mod activation;
mod conv;
mod elementwise;
#[cfg(feature = "engine")]
pub mod engine;
mod gemm;
pub mod inference;
pub mod measure;
mod norm;
mod optimizer;
mod partition;
mod pool;
mod roi;
mod scratch;
mod shape;
mod simd;
mod softmax;
mod transpose;

pub use activation::Activation;
pub use conv::algorithm::{Algorithm, Pass};
pub use conv::{Method, conv2d, conv2d_backward_bias, conv2d_backward_data, conv2d_backward_weight};
pub use elementwise::{
    Function, Kept, add_relu, add_relu_in_place, apply, apply_in_place, differentiate, differentiate_in_place,
};
pub use gemm::{Matrix, dots, gemm};
pub use norm::{
    BatchNorm, BatchNormGradients, BatchNormUpstream, Modulation, ModulationGradients, ModulationUpstream,
    NormFault, NormShape, NormShapeError, batch_norm_backward, batch_norm_infer, batch_norm_train, modulate,
    modulate_backward,
};
pub use optimizer::{Adam, Parameter, Sgd, Update, sum_of_squares, update, update_all, update_average};
pub use pool::{
    Averaged, Pool2d, PoolFault, PoolShape, PoolShapeError, Winner, adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward, avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward,
    max_pool2d_infer,
};
pub use roi::{Roi, RoiAlign, RoiPool, roi_align, roi_align_backward, roi_pool, roi_pool_backward};
pub use shape::{Conv2d, ConvShape, Fault, ShapeError};
pub use simd::Level;
pub use softmax::{ClassError, Targets, softmax_cross_entropy};
pub use transpose::{
    ConvTranspose2d, ConvTransposeShape, conv_transpose2d, conv_transpose2d_backward_data,
    conv_transpose2d_backward_weight,
};
