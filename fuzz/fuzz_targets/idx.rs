//! `cargo +nightly fuzz run idx`: IDX files, plain and unpacked from gzip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus::data::idx;

/// What any input may make the parser hold.
const LIMIT: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    for result in [idx::parse(bytes, LIMIT), idx::parse(flate2::read::MultiGzDecoder::new(bytes), LIMIT)] {
        if let Ok(array) = result {
            assert_eq!(array.data.len(), array.dimensions.iter().product::<usize>());
        }
    }
});
