//! `cargo +nightly fuzz run bundle`: model files. What is accepted is sound and survives being written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus::bundle;
use opticus::tensors::file;

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = bundle::read(&mut &*bytes, bytes.len() as u64) else { return };
    for tensor in model.tensors.values() {
        assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len());
        assert!(file::all_finite(&tensor.data));
    }
    let mut again = Vec::new();
    file::write(&mut again, &Default::default(), &model.tensors).unwrap();
    let mut reader = again.as_slice();
    let header = file::read_header(&mut reader, again.len() as u64).unwrap();
    assert_eq!(file::read_tensors(&mut reader, &header).unwrap(), model.tensors);
});
