//! PyTorch's format before version 1.6: five pickles, then the storages one after another.

use std::collections::{BTreeMap, HashMap};

use super::pickle::Reader;
use super::storage::{Budget, ElementKind};
use crate::tensors::TensorMap;

/// 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// The tensors of a legacy file.
pub fn read(bytes: &[u8]) -> Result<TensorMap, String> {
    let mut reader = Reader::new(bytes);
    if !reader.pickle()?.is_long(&MAGIC) {
        return Err("this is a pickle, but not one that PyTorch wrote".into());
    }
    if reader.pickle()?.int() != Some(PROTOCOL) {
        return Err("the file is of an unknown version of PyTorch's legacy format".into());
    }
    if reader.pickle()?.flag("little_endian") == Some(false) {
        return Err("the file was written on a big-endian machine; save it again on another".into());
    }
    let state = reader.pickle()?;
    let tensors = state.tensors()?;
    let keys = reader.pickle()?;
    let keys = keys.texts().ok_or("the list of storages is damaged")?;

    // In the order of the list; also those of tensors that are not part of the state, such as an optimiser's.
    let kinds: HashMap<&str, ElementKind> =
        state.storages().map(|storage| (storage.key, storage.kind)).collect();
    let mut storages = BTreeMap::new();
    for key in keys {
        let kind = kinds.get(key).ok_or("the file holds numbers of an unknown type")?;
        storages.insert(key, take(&mut reader, *kind)?);
    }
    let mut budget = Budget::for_file(bytes.len());
    tensors
        .into_iter()
        .map(|(name, tensor)| Ok((name.to_string(), tensor.read(name, &storages, &mut budget)?)))
        .collect()
}

fn take<'a>(reader: &mut Reader<'a>, kind: ElementKind) -> Result<&'a [u8], String> {
    let count = i64::from_le_bytes(reader.array()?);
    let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(kind.bytes()));
    reader.take(bytes.ok_or("a storage has an impossible size")?)
}
