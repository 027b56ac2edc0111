//! `cargo +nightly fuzz run yolo`: label lines and `data.yaml`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus::data::detection::yolo;

fuzz_target!(|text: &str| {
    let _ = yolo::parse_yaml(text);
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let _ = yolo::parse_line(line);
    }
});
