//! Disk formats, order, augmentation, prefetch. Knows pixels; knows no tensor, model or loss.
//!
//! The way of a picture: [`open`] recognises the kind of data set and gives [`Splits`] of [`Labelled`]; a
//! [`Loader`] visits one in [`sampler::epoch_order`], decodes ([`Dataset::load`], behind a [`Cached`] if there
//! is room), passes each picture through the job's function ([`augment`] and preprocessing), and gives
//! [`Batch`]es in exact order, some batches ahead of the trainer.

pub mod augment;
mod cache;
pub mod cifar;
pub mod convert;
pub mod csv;
mod dataset;
pub mod described;
pub mod detection;
pub mod folder;
pub mod idx;
pub mod inspect;
pub mod json;
mod loader;
mod open;
mod pictures;
mod prefetch;
pub mod sampler;
pub mod synth;

pub use cache::Cached;
pub use dataset::{Dataset, Item, Labelled, Records, Skipped, Source};
pub use loader::{Batch, Loader, LoaderOptions, SampleFn, Sizes};
pub use open::{Format, OnBad, OpenOptions, Split, Splits, open};
pub use pictures::{UNLABELLED, open_pictures};
pub use prefetch::{Prefetch, prefetch};

#[cfg(test)]
mod tests {
    //! On the public data beside the project, where it is there.
    #![allow(clippy::unwrap_used)]
    use super::*;
    use opticus_pixels::Size;
    use std::path::PathBuf;

    /// A folder of the shared data; `None`, with a word, where it is absent.
    pub(super) fn shared(within: &str) -> Option<PathBuf> {
        let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
        let root = std::env::var_os("OPTICUS_SHARED_DATA").map_or(beside, PathBuf::from);
        let path = root.join(within);
        if !path.exists() {
            eprintln!("skipped: {} is not there", path.display());
            return None;
        }
        Some(path)
    }

    #[test]
    fn mnist_opens_whole() {
        let Some(path) = shared("classify/mnist_idx") else { return };
        let splits = open(&path, Format::Auto, &OpenOptions::default()).unwrap();
        let test = splits.test.as_ref().unwrap();
        assert_eq!((splits.format, splits.train.len(), test.len()), (Format::Idx, 60_000, 10_000));
        // Published: the class counts, and the mean brightness 0.1307.
        let counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
        assert_eq!(splits.train.class_counts(), counts);
        assert_eq!((splits.train.target(0), test.target(0)), (5, 7));
        let picture = splits.train.load(0).unwrap();
        assert_eq!((picture.size, picture.channels), (Size::new(28, 28), 1));
        let brightness = |i| splits.train.load(i).unwrap().data.iter().map(|v| u64::from(*v)).sum::<u64>();
        let sum: u64 = (0..6000).map(brightness).sum();
        assert!((sum as f64 / (6000.0 * 784.0 * 255.0) - 0.1307).abs() < 0.002);
    }

    #[test]
    fn sign_digits_open_and_split() {
        let Some(path) = shared("classify/sign_digits") else { return };
        let splits = open(&path, Format::Auto, &OpenOptions::default()).unwrap();
        let splits = splits.with_validation(0.2, 0).unwrap();
        assert_eq!(splits.classes(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        assert_eq!(splits.train.class_counts(), [80; 10]);
        assert_eq!(splits.val.as_ref().unwrap().class_counts(), [20; 10]);
        assert_eq!(splits.train.load(0).unwrap().channels, 3);
        splits.train.check_trainable().unwrap();
    }

    #[test]
    fn fashion_pictures_are_grey() {
        let Some(path) = shared("classify/fashion_mnist_900") else { return };
        let splits = open(&path, Format::Auto, &OpenOptions::default()).unwrap();
        assert_eq!((splits.train.len(), splits.train.load(0).unwrap().channels), (600, 1));
        assert_eq!(splits.classes()[9], "9_Ankle_boot");
    }

    /// Files that break decoders: findings, never a panic.
    #[test]
    fn all_that_breaks_decoders_is_inspected() {
        let Some(path) = shared("robust") else { return };
        let found = inspect::inspect(&path, Format::Auto, &Default::default()).unwrap();
        assert!(found.pictures > 300 && found.readable > 200 && found.unreadable.count > 20, "{found}");
        assert_eq!(found.pictures, found.readable + found.unreadable.count);
    }
}
