//! Weights in the order in which the algorithms read them: made once, when a network first runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::map::BLOCK;
use crate::conv::winograd::transform::{self, POINTS, PRODUCTS, TAPS};
use crate::scratch::Scratch;
use crate::simd::{Level, SharedMut};

/// A form of the weights of a node. It depends on how the input lies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Form {
    Windows { lanes: usize },
    Picture { size: [usize; 2] },
    Depthwise,
    Winograd,
}

/// The weights of all nodes in the forms that were needed so far.
#[derive(Debug, Default)]
pub(super) struct Weights(Mutex<HashMap<(usize, Form), Arc<Packed>>>);

impl Weights {
    /// The weights of a node in this form, made now if they were not.
    pub fn get(&self, node: usize, form: Form, make: impl FnOnce() -> Packed) -> Arc<Packed> {
        if let Some(packed) = self.lock().get(&(node, form)) {
            return packed.clone();
        }
        // Not under the lock: packing is parallel, and a thread that waits for others may run other work meanwhile,
        // which may come here.
        let packed = Arc::new(make());
        self.lock().entry((node, form)).or_insert(packed).clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(usize, Form), Arc<Packed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Packed weights, and the bias in whole blocks.
pub(super) struct Packed {
    pub weights: Scratch,
    pub bias: Scratch,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({} weights)", self.weights.len())
    }
}

impl Packed {
    fn new(weights: Scratch, bias: &[f32]) -> Packed {
        let mut padded = Scratch::zeroed(bias.len().next_multiple_of(BLOCK));
        padded[..bias.len()].copy_from_slice(bias);
        Packed { weights, bias: padded }
    }

    /// `[panel][window values][channels of the panel]`, from weights `[channels][values of a window]`: `order` says
    /// where in such a row the values are, in the order in which a tile reads them; `None` is a zero.
    pub fn windows(level: Level, weights: &[f32], bias: &[f32], order: &[Option<usize>]) -> Packed {
        use rayon::prelude::*;
        let (channels, width) = (bias.len(), level.panel());
        let row = weights.len() / channels.max(1);
        let padded = channels.next_multiple_of(BLOCK);
        let mut packed = Scratch::zeroed(padded * order.len());
        packed.par_chunks_mut((width * order.len()).max(1)).enumerate().for_each(|(panel, packed)| {
            let first = panel * width;
            let here = width.min(padded - first);
            for (values, &from) in packed.chunks_exact_mut(here).zip(order) {
                let Some(from) = from else { continue };
                for (value, channel) in values.iter_mut().zip(first..channels) {
                    *value = weights[channel * row + from];
                }
            }
        });
        Packed::new(packed, bias)
    }

    /// `[block][tap][channel of the block]`, from weights `[channels][taps]`.
    pub fn depthwise(weights: &[f32], bias: &[f32]) -> Packed {
        let taps = weights.len() / bias.len().max(1);
        let mut packed = Scratch::zeroed(bias.len().next_multiple_of(BLOCK) * taps);
        for (channel, filter) in weights.chunks_exact(taps.max(1)).enumerate() {
            for (tap, &weight) in filter.iter().enumerate() {
                packed[(channel / BLOCK * taps + tap) * BLOCK + channel % BLOCK] = weight;
            }
        }
        Packed::new(packed, bias)
    }

    /// Transformed filters `[panel][product][channel][rows of the panel]`, from weights `[rows][channels][3][3]`.
    pub fn winograd(level: Level, weights: &[f32], bias: &[f32]) -> Packed {
        use rayon::prelude::*;
        let rows = bias.len();
        let padded = rows.next_multiple_of(BLOCK);
        let channels = weights.len() / (rows * TAPS * TAPS).max(1);
        let width = level.panel();
        let mut packed = Scratch::zeroed(PRODUCTS * padded * channels);
        let out = SharedMut(packed.as_mut_ptr());
        (0..rows.div_ceil(width)).into_par_iter().for_each(|panel| {
            let first = panel * width;
            let here = width.min(padded - first);
            for channel in 0..channels {
                for row in first..(first + here).min(rows) {
                    let taps = &weights[(row * channels + channel) * TAPS * TAPS..][..TAPS * TAPS];
                    let at = first * PRODUCTS * channels + channel * here + row - first;
                    for (product, value) in filter(taps).into_iter().enumerate() {
                        // SAFETY: one value of this panel, which is this task's alone.
                        unsafe { *out.get().add(product * here * channels + at) = value };
                    }
                }
            }
        });
        Packed::new(packed, bias)
    }
}

/// `G g Gᵀ`, in double precision: it is done once.
fn filter(taps: &[f32]) -> [f32; PRODUCTS] {
    let mut half = [[0.0f64; TAPS]; POINTS];
    for j in 0..TAPS {
        let column = transform::filter_exact([0, 1, 2].map(|i| f64::from(taps[i * TAPS + j])));
        for (row, value) in half.iter_mut().zip(column) {
            row[j] = value;
        }
    }
    let mut products = [0.0; PRODUCTS];
    for (i, row) in half.into_iter().enumerate() {
        for (j, value) in transform::filter_exact(row).into_iter().enumerate() {
            products[i * POINTS + j] = value as f32;
        }
    }
    products
}
