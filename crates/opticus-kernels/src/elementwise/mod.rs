//! Functions of each value by itself, and their gradients: one pass over memory, on all threads.

pub(crate) mod functions;

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::partition::{CHUNK, check_len};
use crate::simd::{Kernel, Level, Simd};
use functions::Differentiable;

/// A function of one value. NaN stays NaN.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Function {
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `slope · x`.
    LeakyRelu(f32),
    /// `clamp(x, 0, 6)`.
    Relu6,
    /// `x · sigmoid(x)` (Elfwing, Uchibe and Doya 2018), error below 3e-7 of `|x|`.
    Silu,
    /// `x · clamp(x + 3, 0, 6) / 6` (Howard et al. 2019, "Searching for MobileNetV3", section 5.2).
    HardSwish,
    /// `clamp(x + 3, 0, 6) / 6`.
    HardSigmoid,
    /// `x · Φ(x)` with the normal distribution function (Hendrycks and Gimpel 2016), error below 3e-7 of `|x|`.
    Gelu,
    /// The approximation of [`Function::Gelu`] by the hyperbolic tangent of the same paper, error below 4e-7 of
    /// `|x|` to its own formula.
    GeluTanh,
    /// Hyperbolic tangent, relative error below 3e-7.
    Tanh,
    /// `1 / (1 + e^-x)`, relative error below 3e-7.
    Sigmoid,
}

/// What of the forward pass the gradient is computed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// The input.
    Input,
    /// The output: the function may run in place.
    Output,
}

impl Function {
    /// What [`differentiate`] needs of the forward pass.
    pub fn keeps(self) -> Kept {
        match self {
            // The sign of the output is that of the input only if the slope is no less than zero.
            Function::LeakyRelu(slope) if slope < 0.0 => Kept::Input,
            Function::Relu
            | Function::LeakyRelu(_)
            | Function::Relu6
            | Function::HardSigmoid
            | Function::Tanh
            | Function::Sigmoid => Kept::Output,
            Function::Silu | Function::HardSwish | Function::Gelu | Function::GeluTanh => Kept::Input,
        }
    }
}

/// `out = function(x)`.
///
/// # Panics
/// If the lengths differ.
pub fn apply(function: Function, x: &[f32], out: &mut [f32]) {
    apply_at(Level::best(), function, x, out);
}

/// `x ← function(x)`.
pub fn apply_in_place(function: Function, x: &mut [f32]) {
    apply_in_place_at(Level::best(), function, x);
}

/// Gradient of the input: `dx` from the input or output of the forward pass (see [`Function::keeps`]) and the
/// gradient of the output.
///
/// # Panics
/// If the lengths differ.
pub fn differentiate(function: Function, kept: &[f32], dy: &[f32], dx: &mut [f32]) {
    differentiate_at(Level::best(), function, kept, dy, dx);
}

/// As [`differentiate`], with the gradient of the input in the place of that of the output.
///
/// # Panics
/// If the lengths differ.
pub fn differentiate_in_place(function: Function, kept: &[f32], gradient: &mut [f32]) {
    differentiate_in_place_at(Level::best(), function, kept, gradient);
}

/// `out = max(a + b, 0)`. The gradient of both is [`differentiate`] of [`Function::Relu`] with the output.
///
/// # Panics
/// If the lengths differ.
pub fn add_relu(a: &[f32], b: &[f32], out: &mut [f32]) {
    check_len("second summand", b.len(), a.len());
    check_len("output", out.len(), a.len());
    let level = Level::best();
    if a.len() <= CHUNK {
        return level.run(AddRelu { a, b, out });
    }
    out.par_chunks_mut(CHUNK)
        .zip(a.par_chunks(CHUNK))
        .zip(b.par_chunks(CHUNK))
        .for_each(|((out, a), b)| level.run(AddRelu { a, b, out }));
}

/// `a ← max(a + b, 0)`.
///
/// # Panics
/// If the lengths differ.
pub fn add_relu_in_place(a: &mut [f32], b: &[f32]) {
    check_len("second summand", b.len(), a.len());
    let level = Level::best();
    if a.len() <= CHUNK {
        return level.run(AddReluInPlace { a, b });
    }
    a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(|(a, b)| level.run(AddReluInPlace { a, b }));
}

/// Calls `$run` with `$f` set to the type of the function.
macro_rules! with_function {
    ($function:expr, |$f:ident| $run:expr) => {
        match $function {
            Function::Relu => {
                let $f = functions::Relu;
                $run
            }
            Function::LeakyRelu(slope) => {
                let $f = functions::LeakyRelu(slope);
                $run
            }
            Function::Relu6 => {
                let $f = functions::Relu6;
                $run
            }
            Function::Silu => {
                let $f = functions::Silu;
                $run
            }
            Function::HardSwish => {
                let $f = functions::HardSwish;
                $run
            }
            Function::HardSigmoid => {
                let $f = functions::HardSigmoid;
                $run
            }
            Function::Gelu => {
                let $f = functions::Gelu;
                $run
            }
            Function::GeluTanh => {
                let $f = functions::GeluTanh;
                $run
            }
            Function::Tanh => {
                let $f = functions::Tanh;
                $run
            }
            Function::Sigmoid => {
                let $f = functions::Sigmoid;
                $run
            }
        }
    };
}

pub(crate) fn apply_at(level: Level, function: Function, x: &[f32], out: &mut [f32]) {
    check_len("output", out.len(), x.len());
    with_function!(function, |f| {
        if x.len() <= CHUNK {
            return level.run(Apply { f, x, out });
        }
        out.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .for_each(|(out, x)| level.run(Apply { f, x, out }));
    });
}

fn apply_in_place_at(level: Level, function: Function, x: &mut [f32]) {
    with_function!(function, |f| {
        if x.len() <= CHUNK {
            return level.run(ApplyInPlace { f, x });
        }
        x.par_chunks_mut(CHUNK).for_each(|x| level.run(ApplyInPlace { f, x }));
    });
}

fn differentiate_at(level: Level, function: Function, kept: &[f32], dy: &[f32], dx: &mut [f32]) {
    check_len("output gradient", dy.len(), kept.len());
    check_len("input gradient", dx.len(), kept.len());
    with_function!(function, |f| {
        if kept.len() <= CHUNK {
            return level.run(Differentiate { f, kept, dy, dx });
        }
        dx.par_chunks_mut(CHUNK)
            .zip(kept.par_chunks(CHUNK))
            .zip(dy.par_chunks(CHUNK))
            .for_each(|((dx, kept), dy)| level.run(Differentiate { f, kept, dy, dx }));
    });
}

fn differentiate_in_place_at(level: Level, function: Function, kept: &[f32], gradient: &mut [f32]) {
    check_len("gradient", gradient.len(), kept.len());
    with_function!(function, |f| {
        if kept.len() <= CHUNK {
            return level.run(DifferentiateInPlace { f, kept, gradient });
        }
        gradient
            .par_chunks_mut(CHUNK)
            .zip(kept.par_chunks(CHUNK))
            .for_each(|(gradient, kept)| level.run(DifferentiateInPlace { f, kept, gradient }));
    });
}

struct Apply<'a, F> {
    f: F,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl<F: Differentiable> Kernel for Apply<'_, F> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (out, &x) in self.out.iter_mut().zip(self.x) {
            *out = self.f.value(x);
        }
    }
}

struct ApplyInPlace<'a, F> {
    f: F,
    x: &'a mut [f32],
}

impl<F: Differentiable> Kernel for ApplyInPlace<'_, F> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for x in self.x {
            *x = self.f.value(*x);
        }
    }
}

struct Differentiate<'a, F> {
    f: F,
    kept: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl<F: Differentiable> Kernel for Differentiate<'_, F> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for ((dx, &kept), &dy) in self.dx.iter_mut().zip(self.kept).zip(self.dy) {
            *dx = self.f.gradient(kept, dy);
        }
    }
}

struct DifferentiateInPlace<'a, F> {
    f: F,
    kept: &'a [f32],
    gradient: &'a mut [f32],
}

impl<F: Differentiable> Kernel for DifferentiateInPlace<'_, F> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (gradient, &kept) in self.gradient.iter_mut().zip(self.kept) {
            *gradient = self.f.gradient(kept, *gradient);
        }
    }
}

struct AddRelu<'a> {
    a: &'a [f32],
    b: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for AddRelu<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for ((out, &a), &b) in self.out.iter_mut().zip(self.a).zip(self.b) {
            *out = functions::Relu.value(a + b);
        }
    }
}

struct AddReluInPlace<'a> {
    a: &'a mut [f32],
    b: &'a [f32],
}

impl Kernel for AddReluInPlace<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (a, &b) in self.a.iter_mut().zip(self.b) {
            *a = functions::Relu.value(*a + b);
        }
    }
}
