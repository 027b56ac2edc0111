//! Matrix products: dense layers and their gradients.

mod double;
pub(crate) mod micro;

pub use double::dots;
use rayon::prelude::*;

use crate::Activation;
use crate::scratch::Scratch;
use crate::simd::{Block, Kernel, Level, SharedMut, Simd};
use micro::{BLOCK, Left, Product, Start};

/// Inner steps of one pass over the result: a panel of this height fits the first cache.
const INNER: usize = 256;
/// Rows of one task: with [`INNER`], what the second cache holds beside a panel.
const ROWS: usize = 512;

/// A matrix of `rows` by `cols`: contiguous by rows, or, if `transposed`, by columns.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// The values.
    pub values: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Whether columns, not rows, are contiguous.
    pub transposed: bool,
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows are contiguous.
    ///
    /// # Panics
    /// If there are not `rows * cols` values.
    pub fn new(values: &'a [f32], rows: usize, cols: usize) -> Matrix<'a> {
        assert!(
            rows.checked_mul(cols) == Some(values.len()),
            "a matrix of {rows}×{cols} has {} values",
            values.len()
        );
        Matrix { values, rows, cols, transposed: false }
    }

    /// The transpose, of the same values.
    pub fn transpose(self) -> Matrix<'a> {
        Matrix { rows: self.cols, cols: self.rows, transposed: !self.transposed, ..self }
    }
}

/// `out = activation(a · b + bias)`, where `bias` has one value a column; `out` is contiguous by rows.
///
/// A dense layer with inputs `x` (`[batch, in]`) and weights `w` (`[out, in]`) is `x · wᵀ + bias`; the gradient of its
/// input is `dy · w`, that of its weights `dyᵀ · x`.
///
/// # Panics
/// If the sizes do not fit each other.
pub fn gemm(a: Matrix, b: Matrix, bias: Option<&[f32]>, activation: Activation, out: &mut [f32]) {
    gemm_at(Level::best(), a, b, bias, activation, out);
}

/// [`gemm`] with a chosen instruction set.
pub(crate) fn gemm_at(
    level: Level,
    a: Matrix,
    b: Matrix,
    bias: Option<&[f32]>,
    activation: Activation,
    out: &mut [f32],
) {
    assert!(a.cols == b.rows, "a {}×{} matrix times a {}×{} one", a.rows, a.cols, b.rows, b.cols);
    assert!(out.len() == a.rows * b.cols, "{} values for a result of {}×{}", out.len(), a.rows, b.cols);
    assert!(
        bias.is_none_or(|bias| bias.len() == b.cols),
        "the bias has another length than {} columns",
        b.cols
    );
    let packed = if a.transposed { Scratch::new(0) } else { pack_left(a) };
    let width = level.panel();
    let panels = b.cols.div_ceil(width);
    let row_blocks = a.rows.div_ceil(ROWS);
    let out = SharedMut(out.as_mut_ptr());
    (0..panels * row_blocks).into_par_iter().for_each(|i| {
        let (panel, block) = (i / row_blocks, i % row_blocks);
        let rows = block * a.rows / row_blocks..(block + 1) * a.rows / row_blocks;
        level.run(Task { a, packed: &packed, b, bias, activation, rows, col: panel * width, out });
    });
}

/// The left matrix as `[inner / 16][row][16]`.
fn pack_left(a: Matrix) -> Scratch {
    let mut packed = Scratch::new(a.cols.next_multiple_of(BLOCK) * a.rows);
    packed.par_chunks_mut((BLOCK * a.rows).max(1)).enumerate().for_each(|(block, packed)| {
        let inner = block * BLOCK..((block + 1) * BLOCK).min(a.cols);
        for (row, packed) in packed.chunks_exact_mut(BLOCK).enumerate() {
            let source = &a.values[row * a.cols..][inner.clone()];
            packed[..source.len()].copy_from_slice(source);
            packed[source.len()..].fill(0.0);
        }
    });
    packed
}

/// Some rows of one panel of the result.
struct Task<'a> {
    a: Matrix<'a>,
    packed: &'a [f32],
    b: Matrix<'a>,
    bias: Option<&'a [f32]>,
    activation: Activation,
    rows: std::ops::Range<usize>,
    col: usize,
    out: SharedMut,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Task { a, b, .. } = self;
        let width = 2 * S::LANES;
        let cols = width.min(b.cols - self.col);
        let passes = a.cols.div_ceil(INNER).max(1);
        // Whole rows of a few rows of the left matrix are cheaper to multiply in place than to copy.
        let in_place = !b.transposed && cols == width && self.rows.len() <= S::MAX_ROWS;
        let mut panel = Scratch::new(if in_place { 0 } else { INNER * width });
        for pass in 0..passes {
            let first = pass * INNER;
            let inner = INNER.min(a.cols - first);
            let (right, b_stride) = if in_place {
                (b.values.as_ptr().wrapping_add(first * b.cols + self.col), b.cols)
            } else {
                self.pack_right(s, first, inner, cols, &mut panel);
                (panel.as_ptr(), width)
            };
            let (left, start_of_a) = if a.transposed {
                (Left::Stepped(a.rows), a.values.as_ptr().wrapping_add(first * a.rows + self.rows.start))
            } else {
                let at = first * a.rows + self.rows.start * BLOCK;
                (Left::Blocked(a.rows * BLOCK), self.packed.as_ptr().wrapping_add(at))
            };
            let start = match (pass, self.bias) {
                (0, Some(bias)) => Start::ColBias(bias[self.col..].as_ptr()),
                (0, None) => Start::Zero,
                _ => Start::Sum,
            };
            // SAFETY: the left matrix holds these rows for `inner` steps, the right one two vectors for each; the
            // rows and columns of the result are this task's alone.
            unsafe {
                s.multiply(&Product {
                    left,
                    a: start_of_a,
                    b: right,
                    b_stride,
                    c: self.out.get().wrapping_add(self.rows.start * b.cols + self.col),
                    row_stride: b.cols,
                    vec_stride: S::LANES,
                    rows: self.rows.len(),
                    cols,
                    inner,
                    start,
                    activation: if pass + 1 == passes { self.activation } else { Activation::None },
                    next: std::ptr::null(),
                });
            }
        }
    }
}

impl Task<'_> {
    /// Lays `inner` rows of the panel of the right matrix side by side.
    #[inline(always)]
    fn pack_right<S: Simd>(&self, s: S, first: usize, inner: usize, cols: usize, panel: &mut [f32]) {
        let width = 2 * S::LANES;
        let b = self.b;
        if !b.transposed {
            for (i, row) in panel.chunks_exact_mut(width).enumerate().take(inner) {
                row[..cols].copy_from_slice(&b.values[(first + i) * b.cols + self.col..][..cols]);
            }
            return;
        }
        let mut offsets = [0u32; 16];
        for (i, offset) in offsets.iter_mut().enumerate() {
            *offset = (i * width) as u32;
        }
        for col in (0..cols).step_by(S::LANES) {
            for i in (0..inner).step_by(S::LANES) {
                let block = Block {
                    src: b.values[(self.col + col) * b.rows + first + i..].as_ptr(),
                    stride: b.rows,
                    rows: S::LANES.min(cols - col),
                    cols: S::LANES.min(inner - i),
                };
                // SAFETY: the block lies in the matrix, and its vectors in the panel.
                unsafe {
                    s.columns_to_vectors(block, panel[i * width + col..].as_mut_ptr(), offsets.as_ptr())
                };
            }
        }
    }
}
