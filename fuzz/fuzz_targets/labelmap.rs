//! `cargo +nightly fuzz run labelmap`: label maps of all kinds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus::data::detection::labelmap;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(map) = labelmap::parse(bytes) {
        assert!(!map.names.is_empty());
    }
});
