//! `cargo +nightly fuzz run coco`: files of instances and of results.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus::data::detection::coco::{Keep, parse_instances, parse_results};

fuzz_target!(|bytes: &[u8]| {
    let kept = parse_instances(bytes, Keep::Everything);
    let passed = parse_instances(bytes, Keep::Nothing);
    assert_eq!(kept.is_ok(), passed.is_ok());
    let _ = parse_results(bytes, |d| {
        assert!(!d.score.is_nan() && d.bbox.iter().all(|v| v.is_finite()));
        Ok(())
    });
});
