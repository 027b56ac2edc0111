//! `cargo +nightly fuzz run pickle`: weight files as they come, and as the state of a legacy PyTorch file, so that
//! the pickle reader is met without guessing magic numbers first. `tests/golden/weights` makes a good corpus.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus::nets::NetKind;
use opticus::nets::import::{adapt, read_weights};
use opticus_pixels::geometry::Size;

/// A legacy file's first three pickles: magic number, protocol 1001, and an empty dictionary about the machine.
const PREAMBLE: &[u8] =
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";

fuzz_target!(|bytes: &[u8]| {
    let legacy = [PREAMBLE, bytes].concat();
    for file in [bytes, &legacy[..]] {
        let Ok(map) = read_weights(file) else { continue };
        let numbers: usize = map.values().map(|tensor| tensor.data.len()).sum();
        assert!(numbers <= 2 * file.len() + (1 << 16), "{numbers} numbers from {} bytes", file.len());
        for tensor in map.values() {
            assert_eq!(tensor.data.len(), tensor.shape.iter().product::<usize>());
        }
        for kind in NetKind::ALL {
            let _ = adapt(map.clone(), *kind, Size::new(64, 64));
        }
    }
});
