//! Randomness and order as pure functions: nothing to save, nothing to restore.
//!
//! Every random draw of a run is addressed by (seed, purpose, epoch, index), so that a run resumed in the
//! middle of an epoch, or run with another number of threads, draws exactly the same numbers.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The generator behind every random draw over data: portable and equal on every machine.
pub type DataRng = ChaCha8Rng;

/// What a stream of random numbers is for; two purposes never share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// The order of an epoch.
    Order = 1,
    /// Splitting a data set.
    Split = 2,
    /// Augmenting one picture.
    Augment = 3,
    /// Mixing a batch (mixup, cutmix).
    Mix = 4,
    /// Rendering one synthetic picture.
    Synth = 5,
    /// Choosing examples to show.
    Show = 6,
    /// Latent numbers of a generator.
    Latent = 7,
    /// Choosing what a figure is measured on.
    Measure = 8,
}

/// The random stream of (seed, purpose, epoch, index). The four numbers are the 256-bit key of a ChaCha8
/// generator, so different numbers give independent streams and no two collide.
pub fn rng_for(seed: u64, purpose: Purpose, epoch: u64, index: u64) -> DataRng {
    let mut key = [0u8; 32];
    let words = [seed, purpose as u64, epoch, index];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// The order in which epoch `epoch` visits `len` items: a permutation of `0..len`.
pub fn epoch_order(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    shuffle(&mut order, &mut rng_for(seed, Purpose::Order, epoch, 0));
    order
}

/// Fisher–Yates. Draws are 64-bit whatever the machine's word, so that the order is the same on all.
pub fn shuffle<T>(items: &mut [T], rng: &mut DataRng) {
    for i in (1..items.len()).rev() {
        let j = rng.random_range(0..=i as u64) as usize;
        items.swap(i, j);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_epoch_visits_every_item_once(len in 0usize..500, seed: u64, epoch in 0u64..1000) {
            let mut order = epoch_order(len, seed, epoch);
            order.sort_unstable();
            prop_assert_eq!(order, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn epochs_and_seeds_differ_and_repeat() {
        assert_eq!(epoch_order(100, 7, 3), epoch_order(100, 7, 3));
        assert_ne!(epoch_order(100, 7, 3), epoch_order(100, 7, 4));
        assert_ne!(epoch_order(100, 7, 3), epoch_order(100, 8, 3));
    }

    #[test]
    fn the_order_is_the_same_in_every_release() {
        // Pinned: a change here silently breaks the resuming of every unfinished run.
        assert_eq!(epoch_order(8, 0, 0), [4, 5, 0, 7, 3, 6, 2, 1]);
    }

    #[test]
    fn positions_are_uniform() {
        let mut counts = [[0u32; 5]; 5];
        for epoch in 0..5000 {
            for (position, item) in epoch_order(5, 1, epoch).into_iter().enumerate() {
                counts[position][item] += 1;
            }
        }
        // Each cell expects 1000 with standard deviation 28.3; five of them bound a fair shuffle.
        assert!(counts.iter().flatten().all(|&c| (860..=1140).contains(&c)), "{counts:?}");
    }

    #[test]
    fn purposes_do_not_share_a_stream() {
        let draw = |p, e, i| rng_for(1, p, e, i).random::<u64>();
        let all = [
            draw(Purpose::Order, 0, 0),
            draw(Purpose::Augment, 0, 0),
            draw(Purpose::Augment, 1, 0),
            draw(Purpose::Augment, 0, 1),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }
}
