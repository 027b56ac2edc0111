//! `cargo +nightly fuzz run checkpoint`: checkpoints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus::train::checkpoint;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(checkpoint) = checkpoint::read(&mut &*bytes, bytes.len() as u64) {
        assert_eq!(checkpoint.state.first_not_finite(), None);
    }
});
