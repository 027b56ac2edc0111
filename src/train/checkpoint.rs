//! Checkpoints: everything a run needs to go on as if it had never stopped.
//!
//! One safetensors file: the learner's tensors, and one JSON document in the header with the position of the
//! run. Floating-point numbers are stored by their bits, so that nothing is rounded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::learner::LearnerState;
use crate::error::{Error, Result};
use crate::files;
use crate::tensors::HostTensor;

/// Largest checkpoint read, in bytes.
const MAX_BYTES: u64 = 64 << 30;
/// How many checkpoints are kept: the newest, and one more in case it is damaged.
const KEPT: usize = 2;
const FORMAT: u32 = 1;
const HEADER: &str = "opticus_checkpoint";

/// Where a run stands. Sums are `f64` bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Identity of the run: configuration and data. A checkpoint of another run is refused.
    pub run: String,
    /// Epoch in progress, from 0.
    pub epoch: u64,
    /// Batches done of it.
    pub batch: u64,
    /// Steps over all epochs.
    pub step: u64,
    /// Sum of loss × examples of this epoch, bits.
    pub loss_sum: u64,
    /// Sum of figure × examples of this epoch, bits.
    pub figure_sum: u64,
    /// Examples of this epoch.
    pub examples: u64,
    /// Best score so far, bits; `None` before the first evaluation.
    pub best: Option<u64>,
    /// Epochs since the best score.
    pub stale: u64,
    /// Finished rows of the log.
    pub log_rows: u64,
    /// Milliseconds of training so far, for `--minutes`.
    pub elapsed_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    position: Position,
    numbers: std::collections::BTreeMap<String, u64>,
}

/// Writes the checkpoint of a position into `folder` and removes those before the last [`KEPT`].
pub fn save(folder: &Path, position: &Position, state: &LearnerState) -> Result<PathBuf> {
    let header = Header { format: FORMAT, position: position.clone(), numbers: state.numbers.clone() };
    let header = serde_json::to_string(&header)
        .map_err(|e| Error::ModelFile(format!("cannot write the checkpoint's header: {e}")))?;
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = state
        .tensors
        .iter()
        .map(|(name, HostTensor { shape, data })| {
            (name, shape, data.iter().flat_map(|v| v.to_le_bytes()).collect())
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, data)| Ok((*name, TensorView::new(Dtype::F32, (*shape).clone(), data)?)))
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|e| Error::ModelFile(format!("cannot write the checkpoint: {e}")))?;
    let file = safetensors::serialize(views, Some(HashMap::from([(HEADER.to_string(), header)])))
        .map_err(|e| Error::ModelFile(format!("cannot write the checkpoint: {e}")))?;
    let path = folder.join(format!("step-{:010}.safetensors", position.step));
    files::write_atomically(&path, |out| out.write_all(&file))?;
    let all = list(folder)?;
    for old in all.iter().rev().skip(KEPT) {
        std::fs::remove_file(old).map_err(|e| Error::io("remove", old, e))?;
    }
    Ok(path)
}

/// The checkpoints of a folder, oldest first.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| Error::io("list", folder, e))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io("list", folder, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("step-") && name.ends_with(".safetensors") {
            found.push(path);
        }
    }
    // Step numbers are padded, so that names sort as numbers do.
    found.sort();
    Ok(found)
}

/// The newest readable checkpoint of the run, and a word on each newer one that is damaged.
///
/// # Errors
/// [`Error::ModelFile`] if the newest readable one is of another run, or all are damaged.
pub fn load_newest(folder: &Path, run: &str) -> Result<Option<(Position, LearnerState, Vec<String>)>> {
    let (mut damaged, all) = (Vec::new(), list(folder)?);
    for path in all.iter().rev() {
        match load(path) {
            Ok((position, _)) if position.run != run => {
                return Err(Error::ModelFile(format!(
                    "{} belongs to another run: its configuration or data differ from those given now. Resume with \
                     the configuration in config.toml and the same data, or start anew with --overwrite",
                    path.display()
                )));
            }
            Ok((position, state)) => return Ok(Some((position, state, damaged))),
            Err(e) => damaged.push(e.to_string()),
        }
    }
    match damaged.is_empty() {
        true => Ok(None),
        false => Err(Error::ModelFile(format!("no checkpoint can be read: {}", damaged.join("; ")))),
    }
}

/// Reads one checkpoint.
pub fn load(path: &Path) -> Result<(Position, LearnerState)> {
    let bytes = files::read_limited(path, MAX_BYTES)?;
    let damaged = |what: String| Error::ModelFile(format!("{} is damaged: {what}", path.display()));
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
    let header = metadata.metadata().as_ref().and_then(|m| m.get(HEADER));
    let header = header.ok_or_else(|| damaged("it is no checkpoint of Opticus".into()))?;
    let header: Header = serde_json::from_str(header).map_err(|e| damaged(format!("its header: {e}")))?;
    if header.format != FORMAT {
        return Err(damaged(format!("format {} is not {FORMAT}, the one this version reads", header.format)));
    }
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let mut tensors = crate::tensors::TensorMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(damaged(format!("tensor {name} is not f32")));
        }
        let data =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        tensors.insert(name.to_string(), HostTensor { shape: view.shape().to_vec(), data });
    }
    Ok((header.position, LearnerState { tensors, numbers: header.numbers }))
}
