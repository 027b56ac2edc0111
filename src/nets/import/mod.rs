//! Weights made elsewhere: safetensors, and PyTorch's zip and legacy pickle files, read without running anything.
//!
//! Bytes in, tensors by name out; then the names of other projects become ours. A file can only fail with a
//! message: reading never panics, and allocates no more than a constant times the file's size.
//!
//! ```text
//! bytes ── read_weights ──▶ TensorMap (their names) ── adapt ──▶ Imported (our names, inferred NetConfig)
//! ```

mod legacy;
mod names;
mod pickle;
mod storage;
mod zip;

pub use names::{Imported, Origin, adapt, infer_classes};

use safetensors::{Dtype, SafeTensors};

use crate::tensors::{HostTensor, TensorMap};
use crate::{Error, Result};
use storage::{Budget, ElementKind};

/// All tensors of a weight file as `f32`, under the names it gives them.
///
/// Recognises safetensors, PyTorch's zip format and its legacy format (before version 1.6) by their first bytes.
/// In PyTorch's, the state dictionary may lie under `state_dict`, `model` or another usual key.
///
/// # Errors
/// [`Error::ModelFile`] for what is damaged, of another kind, holds anything but tensors in plain containers, or
/// holds values that are not finite. The message does not name the file; the caller knows it.
pub fn read_weights(bytes: &[u8]) -> Result<TensorMap> {
    let map = if bytes.starts_with(b"PK") {
        zip::read(bytes)
    } else if bytes.starts_with(b"\x80") && !is_safetensors(bytes) {
        legacy::read(bytes)
    } else if is_safetensors(bytes) {
        read_safetensors(bytes)
    } else {
        Err("this is neither a safetensors nor a PyTorch weight file".into())
    };
    let map = map.map_err(Error::ModelFile)?;
    if map.is_empty() {
        return Err(Error::ModelFile("the file holds no tensors".into()));
    }
    match map.iter().find(|(_, tensor)| tensor.data.iter().any(|value| !value.is_finite())) {
        Some((name, _)) => Err(Error::ModelFile(format!(
            "`{name}` holds values that are not finite; the training that made the file diverged, or it is damaged"
        ))),
        None => Ok(map),
    }
}

/// A header length that fits, followed by a JSON object.
fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return false };
    u64::from_le_bytes(*length) <= rest.len() as u64 && rest.first() == Some(&b'{')
}

fn read_safetensors(bytes: &[u8]) -> Result<TensorMap, String> {
    let file =
        SafeTensors::deserialize(bytes).map_err(|fault| format!("not a valid safetensors file: {fault}"))?;
    let mut budget = Budget::for_file(bytes.len());
    file.iter()
        .map(|(name, view)| {
            let kind = element_kind(view.dtype()).ok_or_else(|| {
                format!("`{name}` has elements of type {:?}, which are not supported", view.dtype())
            })?;
            let shape = view.shape().to_vec();
            budget.spend(name, view.data().len() / kind.bytes())?;
            Ok((name.to_string(), HostTensor { data: kind.decode(view.data()), shape }))
        })
        .collect()
}

const fn element_kind(dtype: Dtype) -> Option<ElementKind> {
    Some(match dtype {
        Dtype::F32 => ElementKind::Float,
        Dtype::F16 => ElementKind::Half,
        Dtype::BF16 => ElementKind::BFloat16,
        Dtype::F64 => ElementKind::Double,
        Dtype::I64 => ElementKind::Long,
        Dtype::I32 => ElementKind::Int,
        Dtype::I16 => ElementKind::Short,
        Dtype::I8 => ElementKind::Char,
        Dtype::U8 => ElementKind::Byte,
        Dtype::BOOL => ElementKind::Bool,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
