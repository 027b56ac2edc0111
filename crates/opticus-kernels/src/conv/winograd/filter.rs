//! The transform of the filters.

use super::patch::LANES;
use super::transform::{self, POINTS, TAPS};
use crate::simd::{Block, Kernel, SharedMut, Simd};

/// Taps of a window.
const WINDOW: usize = TAPS * TAPS;

/// Filters in their tensor: tap `t` of filter `row`, channel `c` is at `row * row + c * channel + t`, where `t`
/// counts backwards if the filter is turned.
#[derive(Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub values: &'a [f32],
    pub row: usize,
    pub channel: usize,
    pub turned: bool,
}

/// Transforms the filters of one panel of rows, for some channels, into `[product][panel][channel][row]`.
pub(super) struct TransformFilters<'a> {
    pub filter: Filter<'a>,
    /// Rows and channels of the whole tensor.
    pub rows: usize,
    pub channels: usize,
    pub panel: usize,
    pub part: std::ops::Range<usize>,
    pub out: SharedMut,
    /// Distance between the products of the result.
    pub product: usize,
}

impl Kernel for TransformFilters<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = 2 * S::LANES;
        let panel = self.out.get().wrapping_add(self.panel * self.channels * width);
        // SAFETY: this panel and these channels of the result belong to this task alone.
        unsafe { self.transform(s, panel) };
    }
}

impl TransformFilters<'_> {
    /// Transforms into the panel at `out`.
    ///
    /// # Safety
    /// The panel must be writable for every product.
    #[inline(always)]
    pub unsafe fn transform<S: Simd>(&self, s: S, out: *mut f32) {
        let width = 2 * S::LANES;
        let mut offsets = [0u32; 16];
        for (j, offset) in offsets.iter_mut().enumerate() {
            *offset = (j * S::LANES) as u32;
        }
        let mut turned = [0.0f32; 16 * LANES];
        for channel in self.part.clone() {
            for v in 0..2 {
                let row = self.panel * width + v * S::LANES;
                let rows = self.rows.saturating_sub(row).min(S::LANES);
                let at = out.wrapping_add(channel * width + v * S::LANES);
                let source = self.filter.values.as_ptr();
                let source = source.wrapping_add(row * self.filter.row + channel * self.filter.channel);
                // SAFETY: nine taps of `rows` filters of one channel, `LANES` columns at a time; the result is
                // writable by contract.
                unsafe {
                    let mut tap = 0;
                    while tap < WINDOW {
                        let cols = S::LANES.min(WINDOW - tap);
                        let block =
                            Block { src: source.wrapping_add(tap), stride: self.filter.row, rows, cols };
                        let dst = turned.as_mut_ptr().add(tap * S::LANES);
                        s.columns_to_vectors(block, dst, offsets.as_ptr());
                        tap += cols;
                    }
                    let mut half = [[s.zero(); TAPS]; POINTS];
                    for j in 0..TAPS {
                        let mut g = [s.zero(); TAPS];
                        for (i, g) in g.iter_mut().enumerate() {
                            let tap = i * TAPS + j;
                            let tap = if self.filter.turned { WINDOW - 1 - tap } else { tap };
                            *g = s.load(turned.as_ptr().add(tap * S::LANES));
                        }
                        for (i, v) in transform::filter(s, g).into_iter().enumerate() {
                            half[i][j] = v;
                        }
                    }
                    for (i, row) in half.into_iter().enumerate() {
                        for (j, v) in transform::filter(s, row).into_iter().enumerate() {
                            s.store(at.add((i * POINTS + j) * self.product), v);
                        }
                    }
                }
            }
        }
    }
}
