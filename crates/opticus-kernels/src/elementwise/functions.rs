//! The functions themselves, one value at a time, in a form that the compiler turns into vector instructions:
//! no calls, no tables, no branches.
//!
//! They use multiplications and additions only (no fused ones), so that every instruction set gives the same bits.

/// A function with its gradient.
pub(super) trait Differentiable: Copy + Send + Sync {
    /// The function.
    fn value(self, x: f32) -> f32;
    /// The gradient of the input, from what [`super::Function::keeps`] says and the gradient of the output.
    fn gradient(self, kept: f32, dy: f32) -> f32;
}

/// `e^x`, relative error below 1.5e-7 (above the smallest normal result); 0 and infinity past the ends.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Past these the result is 0 or infinite. Written as comparisons so that NaN stays.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    // x = n·ln 2 + r, |r| ≤ ln 2 / 2. Adding 1.5·2²³ rounds to an integer, and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts: products of the first with n are exact.
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    // (e^r - 1 - r) / r², minimax of degree 5: error 5e-11.
    let p = 1.979_034_6e-4;
    let p = p * r + 1.394_466_1e-3;
    let p = p * r + 8.333_497e-3;
    let p = p * r + 4.166_629_7e-2;
    let p = p * r + 0.166_666_66;
    let p = p * r + 0.5;
    let e = p * (r * r) + r + 1.0;
    // 2^n as two factors: n reaches from -150 to 128, past the exponents of one.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    e * power(half) * power(n.wrapping_sub(half))
}

/// `1 / (1 + e^-x)`, relative error below 3e-7 where the result is a normal number.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Hyperbolic tangent, relative error below 3e-7.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let a = x.abs();
    // Far from zero by the exponential, near it by a minimax polynomial of (tanh x / x - 1) / x².
    let far = 1.0 - 2.0 / (exp(2.0 * a) + 1.0);
    let s = x * x;
    let p = 2.147_537e-3;
    let p = p * s - 8.182_674e-3;
    let p = p * s + 2.170_296_8e-2;
    let p = p * s - 5.394_720_3e-2;
    let p = p * s + 0.133_332_1;
    let p = p * s - 0.333_333_3;
    let near = p * s * x + x;
    (if a < 0.625 { near } else { far }).copysign(x)
}

/// Error function, relative error below 3e-7.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let a = x.abs();
    // Near zero a minimax polynomial of erf x / x - 1 in x², far from it erf x = 1 - e^(-x·q(x)).
    let s = x * x;
    let p = 7.853_858e-5;
    let p = p * s - 8.010_193e-4;
    let p = p * s + 5.188_327_7e-3;
    let p = p * s - 2.685_381_1e-2;
    let p = p * s + 0.112_835_854;
    let p = p * s - 0.376_126_26;
    let p = p * s + 0.128_379_17;
    let near = p * x + x;
    // From 4 on the result rounds to one.
    let t = if a > 4.0 { 4.0 } else { a };
    let q = -2.106_435e-4;
    let q = q * t + 3.186_948_8e-3;
    let q = q * t - 2.279_847e-2;
    let q = q * t + 0.105_116_15;
    let q = q * t + 0.635_831_5;
    let q = q * t + 1.128_480_1;
    let far = 1.0 - exp(-(t * q));
    (if a < 1.0 { near } else { far }).copysign(x)
}

#[derive(Clone, Copy)]
pub(super) struct Relu;
#[derive(Clone, Copy)]
pub(super) struct LeakyRelu(pub f32);
#[derive(Clone, Copy)]
pub(super) struct Relu6;
#[derive(Clone, Copy)]
pub(super) struct Silu;
#[derive(Clone, Copy)]
pub(super) struct HardSwish;
#[derive(Clone, Copy)]
pub(super) struct HardSigmoid;
#[derive(Clone, Copy)]
pub(super) struct Gelu;
#[derive(Clone, Copy)]
pub(super) struct GeluTanh;
#[derive(Clone, Copy)]
pub(super) struct Tanh;
#[derive(Clone, Copy)]
pub(super) struct Sigmoid;

impl Differentiable for Relu {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        if 0.0 > x { 0.0 } else { x }
    }
    #[inline(always)]
    fn gradient(self, y: f32, dy: f32) -> f32 {
        if y <= 0.0 { 0.0 } else { dy }
    }
}

impl Differentiable for LeakyRelu {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        if x > 0.0 { x } else { self.0 * x }
    }
    #[inline(always)]
    fn gradient(self, kept: f32, dy: f32) -> f32 {
        if kept > 0.0 { dy } else { self.0 * dy }
    }
}

/// `clamp(x, 0, 6)`; NaN stays.
#[inline(always)]
fn clamp6(x: f32) -> f32 {
    let x = if 0.0 > x { 0.0 } else { x };
    if 6.0 < x { 6.0 } else { x }
}

impl Differentiable for Relu6 {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        clamp6(x)
    }
    #[inline(always)]
    fn gradient(self, y: f32, dy: f32) -> f32 {
        if (y <= 0.0) | (y >= 6.0) { 0.0 } else { dy }
    }
}

impl Differentiable for HardSigmoid {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        clamp6(x + 3.0) / 6.0
    }
    #[inline(always)]
    fn gradient(self, y: f32, dy: f32) -> f32 {
        if (y <= 0.0) | (y >= 1.0) { 0.0 } else { dy / 6.0 }
    }
}

impl Differentiable for HardSwish {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        x * clamp6(x + 3.0) / 6.0
    }
    #[inline(always)]
    fn gradient(self, x: f32, dy: f32) -> f32 {
        let inside = dy * (x / 3.0 + 0.5);
        let above = if x >= 3.0 { dy } else { inside };
        if x <= -3.0 { 0.0 } else { above }
    }
}

impl Differentiable for Silu {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        x * sigmoid(x)
    }
    #[inline(always)]
    fn gradient(self, x: f32, dy: f32) -> f32 {
        let s = sigmoid(x);
        dy * (s * (1.0 + x * (1.0 - s)))
    }
}

impl Differentiable for Gelu {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
    }
    #[inline(always)]
    fn gradient(self, x: f32, dy: f32) -> f32 {
        /// 1 / √(2π)
        const DENSITY: f32 = 0.398_942_3;
        let below = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
        dy * (below + x * (DENSITY * exp(-0.5 * x * x)))
    }
}

/// √(2/π) and the cubic factor of the tanh form (Hendrycks and Gimpel 2016, "Gaussian Error Linear Units").
const ROOT: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

impl Differentiable for GeluTanh {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        0.5 * x * (1.0 + tanh(ROOT * (x + CUBIC * x * x * x)))
    }
    #[inline(always)]
    fn gradient(self, x: f32, dy: f32) -> f32 {
        let t = tanh(ROOT * (x + CUBIC * x * x * x));
        let inner = ROOT * (1.0 + 3.0 * CUBIC * x * x);
        dy * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner)
    }
}

impl Differentiable for Tanh {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        tanh(x)
    }
    #[inline(always)]
    fn gradient(self, y: f32, dy: f32) -> f32 {
        dy * (1.0 - y * y)
    }
}

impl Differentiable for Sigmoid {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        sigmoid(x)
    }
    #[inline(always)]
    fn gradient(self, y: f32, dy: f32) -> f32 {
        dy * (1.0 - y) * y
    }
}
