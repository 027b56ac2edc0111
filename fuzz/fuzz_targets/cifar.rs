//! `cargo +nightly fuzz run cifar`: CIFAR's binary files, of both variants.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus::data::cifar::{self, Variant};

fuzz_target!(|bytes: &[u8]| {
    for (variant, classes) in [(Variant::Ten, 10), (Variant::Hundred, 100)] {
        if let Ok((samples, labels)) = cifar::parse(bytes, variant) {
            assert_eq!(samples.len(), labels.len() * 3072);
            assert!(labels.iter().all(|label| *label < classes));
        }
    }
});
