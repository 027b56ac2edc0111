//! How far a picture is from keeping the best of two: what `fuse train` makes smaller, without labels.

use burn::tensor::Tensor;
use opticus_kernels::engine;

use super::config::LossSection;

/// Side of the windows that structure is compared in.
const WINDOW: usize = 7;
/// Constant of SSIM for values of 0 to 1, (0.03)².
const C2: f32 = 9e-4;
/// Below this variance a window has no structure of its own: half a level of noise.
const FLAT: f32 = 4e-6;

/// The parts of the loss, each `[1]`.
pub struct Losses {
    /// One less the mean of MEF-SSIM (Ma, Zeng and Wang, 2015, eq. 10 to 14, without the term of brightness).
    pub structure: Tensor<1>,
    /// Mean absolute difference from the gradient of the source with the stronger one around each pixel.
    pub gradient: Tensor<1>,
}

impl Losses {
    /// All together, by their weights.
    pub fn total(&self, weights: &LossSection) -> Tensor<1> {
        self.structure.clone() + self.gradient.clone() * weights.gradient
    }
}

/// The losses of a fused picture against its two sources, all [n, 1, h, w] with values around 0 to 1.
pub fn losses(a: &Tensor<4>, b: &Tensor<4>, fused: &Tensor<4>) -> Losses {
    Losses { structure: structure(a, b, fused), gradient: gradient(a, b, fused) }
}

/// One less MEF-SSIM. Each window's desired structure is `x̂ = Σ wₖ sₖ` of unit length times the highest contrast; as
/// it is a sum of the sources, its variance and its covariance with the result follow from theirs.
fn structure(a: &Tensor<4>, b: &Tensor<4>, y: &Tensor<4>) -> Tensor<1> {
    let moment = |p: &Tensor<4>, q: &Tensor<4>, mp: &Tensor<4>, mq: &Tensor<4>| {
        mean(p.clone() * q.clone(), WINDOW) - mp.clone() * mq.clone()
    };
    let [ma, mb, my] = [a, b, y].map(|p| mean(p.clone(), WINDOW));
    let va = moment(a, a, &ma, &ma).clamp_min(FLAT);
    let vb = moment(b, b, &mb, &mb).clamp_min(FLAT);
    let vy = moment(y, y, &my, &my).clamp_min(0.0);
    let ab = moment(a, b, &ma, &mb);
    let (ay, by) = (moment(a, y, &ma, &my), moment(b, y, &mb, &my));
    // The stronger structure counts more: the fourth power of contrast, as in the measure.
    let (pa, pb) = (va.clone().square(), vb.clone().square());
    let sum = pa.clone() + pb.clone();
    let wa = pa / sum.clone() / va.clone().sqrt();
    let wb = pb / sum / vb.clone().sqrt();
    let squared = |wa: &Tensor<4>, wb: &Tensor<4>| {
        wa.clone().square() * va.clone()
            + wb.clone().square() * vb.clone()
            + wa.clone() * wb.clone() * ab.clone() * 2.0
    };
    let contrast = va.clone().max_pair(vb.clone()).sqrt();
    let scale = contrast / squared(&wa, &wb).clamp_min(1e-4).sqrt();
    let (wa, wb) = (wa * scale.clone(), wb * scale);
    let wanted = squared(&wa, &wb);
    let shared = wa * ay + wb * by;
    let ssim = (shared * 2.0 + C2) / (wanted + vy + C2);
    ssim.mean() * -1.0 + 1.0
}

/// Mean absolute difference from the stronger gradient, over both directions.
fn gradient(a: &Tensor<4>, b: &Tensor<4>, y: &Tensor<4>) -> Tensor<1> {
    let [ga, gb, gy] = [a, b, y].map(differences);
    let strength = |g: &[Tensor<4>; 2]| around(g[0].clone().square() + g[1].clone().square());
    let first = strength(&ga).greater_equal(strength(&gb)).float(); // 1 where a's is the stronger
    let off = |i: usize| {
        let wanted = ga[i].clone() * first.clone() + gb[i].clone() * (first.clone() * -1.0 + 1.0);
        (gy[i].clone() - wanted).abs().mean()
    };
    off(0) + off(1)
}

/// Differences to the pixel below and to the right, [n, 1, h − 1, w − 1].
fn differences(x: &Tensor<4>) -> [Tensor<4>; 2] {
    let [n, c, h, w] = x.dims();
    let part = |y: usize, l: usize| x.clone().slice([0..n, 0..c, y..y + h - 1, l..l + w - 1]);
    [part(1, 0) - part(0, 0), part(0, 1) - part(0, 0)]
}

/// The mean over `side`×`side` windows that lie within: [n, 1, h, w] to [n, 1, h − side + 1, w − side + 1].
fn mean(x: Tensor<4>, side: usize) -> Tensor<4> {
    let device = x.device();
    let window = |shape: [usize; 4]| Tensor::<4>::full(shape, 1.0 / side as f32, &device);
    let across = window([1, 1, 1, side]);
    let down = window([1, 1, side, 1]);
    engine::conv2d(engine::conv2d(x, across, None, NARROW, false), down, None, NARROW, false)
}

/// The sum over 3×3 pixels, zeros around.
fn around(x: Tensor<4>) -> Tensor<4> {
    let ones = Tensor::<4>::ones([1, 1, 3, 3], &x.device());
    engine::conv2d(x, ones, None, engine::Window { padding: [1; 2], ..NARROW }, false)
}

const NARROW: engine::Window =
    engine::Window { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 };
