//! `cargo +nightly fuzz run voc`: annotation files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus::data::detection::voc;

fuzz_target!(|bytes: &[u8]| {
    if let Err(why) = voc::parse(bytes) {
        assert!(why.starts_with("line ") || why.starts_with("the file ends"));
    }
});
