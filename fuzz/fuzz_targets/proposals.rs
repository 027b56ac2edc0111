//! `cargo +nightly fuzz run proposals`: files of regions. What is accepted gives valid boxes within every picture.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus::detect::proposal_file::Proposals;
use opticus_pixels::geometry::Size;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Proposals::parse(bytes, "fuzz".into()) else { return };
    if let Ok(boxes) = file.of("a.png", Size::new(64, 48)) {
        assert!(boxes.iter().all(|b| b.valid() && b.x1 >= 0.0 && b.x2 <= 64.0 && b.y1 >= 0.0 && b.y2 <= 48.0));
    }
});
