//! Tensors in a file: the safetensors container, read as hostile and written as a stream.
//!
//! Layout (<https://huggingface.co/docs/safetensors>): the header's length as a little-endian `u64`; the header,
//! one JSON object from tensor names to `{"dtype", "shape", "data_offsets"}` and from `__metadata__` to strings;
//! then the tensors' bytes, row-major and little-endian, without gaps.
//!
//! Everything is checked before memory is taken for it: lengths against the file's, every name once, shapes
//! without overflow, data without gap, overlap or rest. Values that are not numbers are refused by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read, Write};

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{HostTensor, TensorMap};

/// Longest header read, in bytes.
const MAX_HEADER: u64 = 64 << 20;
/// Most dimensions of a tensor.
const MAX_RANK: usize = 16;
/// The header's key that is no tensor.
const METADATA: &str = "__metadata__";
/// Values checked at once while they are still in the cache.
const BLOCK: usize = 1 << 14;

/// Why a container cannot be read. The caller adds the file's name.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The contents are damaged, hostile or of an unknown kind.
    #[error("{0}")]
    Damaged(String),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn damaged<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Damaged(what.into()))
}

/// How a tensor's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Dtype {
    /// 64-bit floating point.
    F64,
    /// 32-bit floating point.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a 32-bit floating-point number.
    Bf16,
    /// Any other type: known to be there, not read.
    #[serde(other)]
    Other,
}

impl Dtype {
    /// Bytes a value.
    fn bytes(self) -> Option<u64> {
        match self {
            Self::F64 => Some(8),
            Self::F32 => Some(4),
            Self::F16 | Self::Bf16 => Some(2),
            Self::Other => None,
        }
    }
}

/// What the header says of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// How its values are stored.
    pub dtype: Dtype,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Number of values.
    pub values: usize,
}

/// A checked header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Free text by key.
    pub metadata: BTreeMap<String, String>,
    /// The tensors in the order of their data.
    pub tensors: Vec<Entry>,
}

/// Reads and checks the header of a container of `total` bytes. Afterwards the reader stands at the data.
///
/// # Errors
/// [`Fault::Damaged`] naming what is wrong.
pub fn read_header(reader: &mut dyn Read, total: u64) -> Result<Header, Fault> {
    let mut length = [0u8; 8];
    if total < length.len() as u64 {
        return damaged(format!("it has {total} bytes, too few for a header"));
    }
    reader.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let rest = total - 8;
    if length > rest.min(MAX_HEADER) {
        return damaged(format!(
            "its header claims {length} bytes of a file of {total}; the file is cut short, damaged or no safetensors"
        ));
    }
    let mut text = vec![0u8; length as usize];
    reader.read_exact(&mut text)?;
    let raw: RawHeader = match serde_json::from_slice(&text) {
        Ok(raw) => raw,
        Err(error) => return damaged(format!("its header cannot be read: {error}")),
    };
    check(raw, rest - length)
}

/// Reads the data of every tensor in the header as `f32`; half and double precision are converted.
///
/// # Errors
/// [`Fault::Damaged`] for a type that is not floating point, and for values that are not numbers.
pub fn read_tensors(reader: &mut dyn Read, header: &Header) -> Result<TensorMap, Fault> {
    if let Some(entry) = header.tensors.iter().find(|entry| entry.dtype == Dtype::Other) {
        return damaged(format!("tensor `{}` is not of a floating-point type", entry.name));
    }
    let mut map = TensorMap::new();
    let mut staging = Vec::new();
    for Entry { name, dtype, shape, values } in &header.tensors {
        let mut data = vec![0f32; *values];
        let mut finite = true;
        for block in data.chunks_mut(BLOCK) {
            read_block(reader, *dtype, block, &mut staging)?;
            finite &= all_finite(block);
        }
        if !finite {
            return damaged(format!("tensor `{name}` holds values that are not numbers (NaN or infinite)"));
        }
        map.insert(name.clone(), HostTensor { shape: shape.clone(), data });
    }
    Ok(map)
}

/// Writes a container. Equal contents give equal bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for a tensor whose shape and number of values disagree; else the writer's own.
pub fn write(
    out: &mut dyn Write,
    metadata: &BTreeMap<String, String>,
    tensors: &TensorMap,
) -> io::Result<()> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    let mut header = serde_json::Map::new();
    header.insert(METADATA.into(), serde_json::to_value(metadata).map_err(|e| invalid(e.to_string()))?);
    let mut end = 0u64;
    for (name, HostTensor { shape, data }) in tensors {
        if name == METADATA || shape.iter().product::<usize>() != data.len() {
            return Err(invalid(format!("tensor `{name}` of shape {shape:?} has {} values", data.len())));
        }
        let begin = end;
        end += 4 * data.len() as u64;
        let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, end] });
        header.insert(name.clone(), entry);
    }
    let mut header = serde_json::to_vec(&header).map_err(|e| invalid(e.to_string()))?;
    // Readers that map the file want the data aligned; the format pads with spaces.
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    tensors.values().try_for_each(|tensor| write_values(out, &tensor.data))
}

/// Whether every value is a number: neither NaN nor infinite.
pub fn all_finite(values: &[f32]) -> bool {
    // Without a branch, so that it is compiled to vector instructions.
    const EXPONENT: u32 = 0x7f80_0000;
    !values.iter().fold(false, |bad, value| bad | (value.to_bits() & EXPONENT == EXPONENT))
}

#[cfg(target_endian = "little")]
fn write_values(out: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    out.write_all(bytemuck::cast_slice(values))
}

#[cfg(target_endian = "big")]
fn write_values(out: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
}

/// Fills `block` from the reader; `staging` is memory to work in.
fn read_block(
    reader: &mut dyn Read,
    dtype: Dtype,
    block: &mut [f32],
    staging: &mut Vec<u8>,
) -> io::Result<()> {
    if dtype == Dtype::F32 {
        reader.read_exact(bytemuck::cast_slice_mut(block))?;
        if cfg!(target_endian = "big") {
            block.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().swap_bytes()));
        }
        return Ok(());
    }
    let width = dtype.bytes().unwrap_or(0) as usize;
    staging.resize(width * block.len(), 0);
    reader.read_exact(staging)?;
    for (value, bytes) in block.iter_mut().zip(staging.chunks_exact(width)) {
        *value = match *bytes {
            [a, b] if dtype == Dtype::F16 => half(u16::from_le_bytes([a, b])),
            [a, b] => f32::from_bits(u32::from(u16::from_le_bytes([a, b])) << 16),
            [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
            _ => f32::NAN,
        };
    }
    Ok(())
}

/// The value of an IEEE 754 half-precision number.
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10 & 0x1f), u32::from(bits & 0x3ff));
    match exponent {
        // Zero and subnormal: fraction × 2⁻²⁴, exact in single precision.
        0 => f32::from_bits(sign | (fraction as f32 / 16_777_216.0).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// The header as written, with every name once.
struct RawHeader {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, RawEntry)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: Dtype,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = RawHeader;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object from names to tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut seen = BTreeSet::new();
                let mut header = RawHeader { metadata: BTreeMap::new(), tensors: Vec::new() };
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("`{name}` is listed twice")));
                    }
                    match name == METADATA {
                        true => header.metadata = map.next_value()?,
                        false => header.tensors.push((name, map.next_value()?)),
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Names)
    }
}

/// Checks what the header claims against the bytes that follow it.
fn check(raw: RawHeader, available: u64) -> Result<Header, Fault> {
    let RawHeader { metadata, tensors: mut raw } = raw;
    raw.sort_by(|(a_name, a), (b_name, b)| (a.data_offsets, a_name).cmp(&(b.data_offsets, b_name)));
    let mut tensors = Vec::with_capacity(raw.len());
    let mut end = 0u64;
    for (name, RawEntry { dtype, shape, data_offsets: [from, to] }) in raw {
        if shape.len() > MAX_RANK {
            return damaged(format!("tensor `{name}` has {} dimensions", shape.len()));
        }
        if from != end || to < from {
            return damaged(format!(
                "tensor `{name}` lies at {from}..{to}, but the one before it ends at {end}: they overlap or leave a gap"
            ));
        }
        let values = shape.iter().try_fold(1u64, |product, extent| product.checked_mul(*extent));
        let bytes = match (values, dtype.bytes()) {
            (Some(values), Some(width)) => values.checked_mul(width),
            (Some(_), None) => Some(to - from),
            (None, _) => None,
        };
        if bytes != Some(to - from) {
            return damaged(format!(
                "tensor `{name}` of shape {shape:?} and type {dtype:?} does not fill {from}..{to}"
            ));
        }
        if to > available {
            return damaged(format!(
                "tensor `{name}` ends at byte {to} of the data, but only {available} are there: the file is cut short"
            ));
        }
        end = to;
        // Each extent divides a number of values that fits the file, or the tensor is empty.
        let shape: Vec<usize> = match shape.into_iter().map(usize::try_from).collect() {
            Ok(shape) => shape,
            Err(_) => return damaged(format!("tensor `{name}` is too large for this machine")),
        };
        tensors.push(Entry { name, dtype, shape, values: values.unwrap_or(0) as usize });
    }
    if end != available {
        return damaged(format!("{} bytes after the last tensor belong to none", available - end));
    }
    Ok(Header { metadata, tensors })
}
