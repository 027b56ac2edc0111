//! `cargo +nightly fuzz run csv`: tables of pictures and labels.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus::data::csv;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(rows) = csv::parse(bytes) {
        assert!(rows.iter().all(|row| row.line > 0 && !row.path.is_empty() && !row.label.is_empty()));
    }
});
