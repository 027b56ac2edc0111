//! Any bytes as a picture file: an error or a picture, never a panic, never more memory than allowed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus_pixels::codec::{Limits, decode, probe};

fuzz_target!(|data: &[u8]| {
    let limits = Limits { max_pixels: 1 << 22, max_bytes: 1 << 26, max_file_bytes: 1 << 26 };
    let _ = probe(data, &limits);
    let _ = decode(data, &limits);
});
