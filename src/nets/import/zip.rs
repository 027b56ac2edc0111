//! PyTorch's format since version 1.6: a zip archive of one pickle and one file a storage.
//!
//! The reader follows the central directory only, supports stored and deflated entries, and checks every
//! length and checksum. Archives of 4 GiB and more (zip64) are refused.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::pickle::Reader;
use super::storage::Budget;
use crate::tensors::TensorMap;

/// The tensors of a zip file.
pub fn read(bytes: &[u8]) -> Result<TensorMap, String> {
    let archive = Archive::open(bytes)?;
    let (folder, pickle) = archive.pickle()?;
    let code = format!("{folder}code/");
    if archive.entries.keys().any(|name| name.starts_with(&code)) {
        return Err(
            "this is a TorchScript program, not weights. Save torch.jit.load(file).state_dict() instead"
                .into(),
        );
    }
    if let Some(order) = archive.entries.get(format!("{folder}byteorder").as_str())
        && archive.contents(order, 16)?.as_ref() != b"little"
    {
        return Err("the file was written on a big-endian machine; save it again on another".into());
    }
    let limit = bytes.len().saturating_mul(INFLATION);
    let pickle = archive.contents(pickle, limit)?;
    let state = Reader::new(&pickle).pickle()?;
    let tensors = state.tensors()?;
    let mut budget = Budget::for_file(bytes.len());
    let mut inflated = limit;
    let mut storages = BTreeMap::new();
    for (name, tensor) in &tensors {
        let key = tensor.storage.key;
        if storages.contains_key(key) {
            continue;
        }
        let entry = archive.entries.get(format!("{folder}data/{key}").as_str());
        let storage = archive.contents(entry.ok_or_else(|| format!("`{name}` has no numbers"))?, inflated)?;
        if matches!(storage, Cow::Owned(_)) {
            inflated -= storage.len();
        }
        storages.insert(key, storage);
    }
    tensors
        .into_iter()
        .map(|(name, tensor)| Ok((name.to_string(), tensor.read(name, &storages, &mut budget)?)))
        .collect()
}

/// Weights hardly shrink; what unfolds to more than this many times the file is a trap.
const INFLATION: usize = 16;

struct Archive<'a> {
    bytes: &'a [u8],
    entries: BTreeMap<&'a str, Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    deflated: bool,
    checksum: u32,
    packed: usize,
    size: usize,
    header: usize,
}

const DAMAGED: &str = "the zip archive is damaged or cut short; download it again";
const END_LENGTH: usize = 22;
const MAX_COMMENT: usize = 65_535;

/// Little-endian number of `N` bytes at a place.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<usize, String> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).ok_or(DAMAGED)?;
    Ok(found.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte)))
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let earliest = bytes.len().saturating_sub(END_LENGTH + MAX_COMMENT);
        let latest = bytes.len().checked_sub(END_LENGTH).ok_or(DAMAGED)?;
        let end =
            (earliest..=latest).rev().find(|&at| bytes[at..].starts_with(b"PK\x05\x06")).ok_or(DAMAGED)?;
        let count = number::<2>(bytes, end + 10)?;
        let mut at = number::<4>(bytes, end + 16)?;
        if count == 0xFFFF || at == 0xFFFF_FFFF {
            return Err(
                "zip archives of 4 GiB or more are not supported; save the weights as safetensors".into()
            );
        }
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let (name, entry, next) = Self::entry(bytes, at)?;
            if entries.insert(name, entry).is_some() {
                return Err(format!("the zip archive holds `{}` twice", name.escape_debug()));
            }
            at = next;
        }
        Ok(Self { bytes, entries })
    }

    /// One record of the central directory, and where the next begins.
    fn entry(bytes: &'a [u8], at: usize) -> Result<(&'a str, Entry, usize), String> {
        if !bytes.get(at..).is_some_and(|rest| rest.starts_with(b"PK\x01\x02")) {
            return Err(DAMAGED.into());
        }
        let (flags, method) = (number::<2>(bytes, at + 8)?, number::<2>(bytes, at + 10)?);
        if flags & 1 != 0 || !matches!(method, 0 | 8) {
            return Err("the zip archive is encrypted or compressed in an unknown way".into());
        }
        let [name, extra, comment] = [28, 30, 32].map(|offset| number::<2>(bytes, at + offset));
        let name_end = at + 46 + name?;
        let name =
            bytes.get(at + 46..name_end).and_then(|name| std::str::from_utf8(name).ok()).ok_or(DAMAGED)?;
        let entry = Entry {
            deflated: method == 8,
            checksum: number::<4>(bytes, at + 16)? as u32,
            packed: number::<4>(bytes, at + 20)?,
            size: number::<4>(bytes, at + 24)?,
            header: number::<4>(bytes, at + 42)?,
        };
        Ok((name, entry, name_end + extra? + comment?))
    }

    /// The folder of the pickle, with its slash, and the pickle.
    fn pickle(&self) -> Result<(&'a str, &Entry), String> {
        let found = self.entries.iter().find_map(|(name, entry)| {
            let folder = name.strip_suffix("data.pkl")?;
            (folder.is_empty() || folder.ends_with('/')).then_some((folder, entry))
        });
        found.ok_or_else(|| "the zip archive holds no PyTorch weights (no data.pkl)".into())
    }

    fn contents(&self, entry: &Entry, limit: usize) -> Result<Cow<'a, [u8]>, String> {
        let (bytes, at) = (self.bytes, entry.header);
        if !bytes.get(at..).is_some_and(|rest| rest.starts_with(b"PK\x03\x04")) {
            return Err(DAMAGED.into());
        }
        let start = at + 30 + number::<2>(bytes, at + 26)? + number::<2>(bytes, at + 28)?;
        let packed = bytes.get(start..start + entry.packed).ok_or(DAMAGED)?;
        let contents = if entry.deflated {
            if entry.size > limit {
                return Err("the zip archive unfolds to more than weights can".into());
            }
            let mut contents = Vec::new();
            let read = DeflateDecoder::new(packed).take(entry.size as u64).read_to_end(&mut contents);
            read.map_err(|_| DAMAGED)?;
            Cow::Owned(contents)
        } else {
            Cow::Borrowed(packed)
        };
        let mut crc = Crc::new();
        crc.update(&contents);
        if contents.len() != entry.size || crc.sum() != entry.checksum {
            return Err(format!("a checksum is wrong: {DAMAGED}"));
        }
        Ok(contents)
    }
}
