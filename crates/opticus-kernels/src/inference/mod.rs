//! Whole networks at inference, faster than operation by operation.
//!
//! A network is written down with a [`Builder`] as plain operations. [`Builder::finish`] folds per-channel scales
//! into the convolutions before them, hands activations and residual sums to the convolution that they follow, and
//! gives a [`Program`]. The first run for a shape chooses an algorithm for each convolution, packs its weights for it
//! once, and lays all activations out in one reused arena.
//!
//! ```
//! use opticus_kernels::inference::Builder;
//! use opticus_kernels::{Conv2d, Function};
//!
//! let (mut net, x) = Builder::new(3);
//! let y = net.conv(x, Conv2d { padding: [1, 1], ..Conv2d::new(3, 8, [3, 3]) }, &[0.1; 8 * 3 * 9], None);
//! let y = net.affine(y, &[2.0; 8], &[1.0; 8]);
//! let y = net.apply(y, Function::Relu);
//! let program = net.finish(&[y])?;
//! let outputs = program.run(&[1.0; 3 * 32 * 32], [1, 3, 32, 32])?;
//! assert_eq!(outputs[0].shape, [1, 8, 32, 32]);
//! # Ok::<(), opticus_kernels::inference::ProgramError>(())
//! ```

mod builder;
mod plain;
mod shapes;

pub use builder::{Builder, Value};
pub use shapes::ProgramError;

use builder::Node;

/// A network that can be run.
#[derive(Debug)]
pub struct Program {
    nodes: Vec<Node>,
    outputs: Vec<Value>,
}

/// One output of a [`Program`].
#[derive(Clone, PartialEq, Debug)]
pub struct Output {
    /// `[batch, channels, height, width]`; vectors have a height and width of 1.
    pub shape: [usize; 4],
    /// The values in that order.
    pub values: Vec<f32>,
}

impl Program {
    /// The outputs for the batch `x` of this `shape` (`[batch, channels, height, width]`), in the order they were
    /// asked for. The result of a picture does not depend on the company in its batch, nor on the threads.
    ///
    /// # Errors
    /// Shapes that an operation of the network cannot work on, and a length of `x` that is not the shape's.
    pub fn run(&self, x: &[f32], shape: [usize; 4]) -> Result<Vec<Output>, ProgramError> {
        let shapes = shapes::of(&self.nodes, shape)?;
        if x.len() != shape.iter().product::<usize>() {
            return Err(ProgramError::input_length(x.len(), shape));
        }
        let mut values = plain::run(&self.nodes, &shapes, x);
        Ok(self
            .outputs
            .iter()
            .map(|&Value(i)| Output { shape: shapes[i], values: std::mem::take(&mut values[i]) })
            .collect())
    }
}
