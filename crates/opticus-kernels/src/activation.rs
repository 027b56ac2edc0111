//! Functions of one value that a kernel applies while its result is still in registers.

use crate::Function;
use crate::simd::Simd;

/// What is applied to each value of a result.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Activation {
    /// The value itself.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `slope * x`.
    LeakyRelu(f32),
    /// `clamp(x, 0, 6)`.
    Relu6,
    /// `x * clamp(x + 3, 0, 6) / 6` (Howard et al. 2019, "Searching for MobileNetV3", section 5.2).
    HardSwish,
    /// `clamp(x + 3, 0, 6) / 6`.
    HardSigmoid,
}

impl Activation {
    /// The activation that is this function, if there is one.
    pub(crate) fn of_function(function: Function) -> Option<Activation> {
        match function {
            Function::Relu => Some(Activation::Relu),
            Function::LeakyRelu(slope) => Some(Activation::LeakyRelu(slope)),
            Function::Relu6 => Some(Activation::Relu6),
            Function::HardSwish => Some(Activation::HardSwish),
            Function::HardSigmoid => Some(Activation::HardSigmoid),
            Function::Silu | Function::Gelu | Function::GeluTanh | Function::Tanh | Function::Sigmoid => None,
        }
    }

    /// The function of one value.
    pub fn of(self, x: f32) -> f32 {
        match self {
            Activation::None => x,
            Activation::Relu => x.max(0.0),
            Activation::LeakyRelu(slope) => {
                if x > 0.0 {
                    x
                } else {
                    slope * x
                }
            }
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        }
    }
}

/// The function of every vector of a register tile; the choice is made once.
#[inline(always)]
pub(crate) fn apply_all<S: Simd, const COLS: usize, const ROWS: usize>(
    s: S,
    activation: Activation,
    tile: &mut [[S::V; COLS]; ROWS],
) {
    macro_rules! each {
        ($activation:expr) => {
            for row in tile.iter_mut() {
                for v in row.iter_mut() {
                    *v = apply(s, $activation, *v);
                }
            }
        };
    }
    match activation {
        Activation::None => {}
        Activation::Relu => each!(Activation::Relu),
        Activation::LeakyRelu(slope) => each!(Activation::LeakyRelu(slope)),
        Activation::Relu6 => each!(Activation::Relu6),
        Activation::HardSwish => each!(Activation::HardSwish),
        Activation::HardSigmoid => each!(Activation::HardSigmoid),
    }
}

/// The function of a vector.
#[inline(always)]
pub(crate) fn apply<S: Simd>(s: S, activation: Activation, x: S::V) -> S::V {
    match activation {
        Activation::None => x,
        // The operand order keeps NaN: `max` gives its second where one is not a number.
        Activation::Relu => s.max(s.zero(), x),
        Activation::LeakyRelu(slope) => {
            // `max(x, 0) + slope * min(x, 0)`: right for any slope, also above one.
            s.fma(s.splat(slope), s.min(s.zero(), x), s.max(s.zero(), x))
        }
        Activation::Relu6 => s.min(s.splat(6.0), s.max(s.zero(), x)),
        Activation::HardSwish => s.mul(x, hard_sigmoid(s, x)),
        Activation::HardSigmoid => hard_sigmoid(s, x),
    }
}

#[inline(always)]
fn hard_sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let gate = s.min(s.splat(6.0), s.max(s.zero(), s.add(x, s.splat(3.0))));
    s.mul(gate, s.splat(1.0 / 6.0))
}
