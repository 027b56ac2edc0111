//! Checkpoints: everything a run needs to go on as if it had never stopped.
//!
//! One safetensors file: the learner's tensors, and one JSON document in the header with the run's place and the
//! learner's counters. Floating-point numbers are stored by their bits, so that nothing is rounded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::learner::LearnerState;
use crate::error::{Error, Result};
use crate::files;
use crate::tensors::file::{self, Dtype, Fault};

/// How many checkpoints are kept: the newest, and one more in case it is damaged.
const KEPT: usize = 2;
/// The version of [`Document`] that is written, and the only one that is read.
const FORMAT: u32 = 1;
/// The document's key in the container's metadata.
const KEY: &str = "opticus_checkpoint";

/// Where a run stands. Sums, scores and the like are `f64` bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Epoch in progress, from 0.
    pub epoch: u64,
    /// Batches done of it.
    pub batch: u64,
    /// Steps over all epochs.
    pub step: u64,
    /// Examples of this epoch.
    pub examples: u64,
    /// Sum of loss × examples of this epoch, bits.
    pub loss_sum: u64,
    /// The same of every figure by name, in the learner's order.
    pub figure_sums: Vec<(String, u64)>,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// Evaluations since the best.
    pub stale: u64,
    /// Finished rows of the log.
    pub log_rows: u64,
    /// Milliseconds of training so far, for `--minutes`.
    pub elapsed_ms: u64,
    /// Steps that the time allowed was last found to be enough for, if fewer than the epochs have.
    pub planned_steps: Option<u64>,
}

/// The best evaluation of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Its score, bits.
    pub score: u64,
    /// Epochs finished then.
    pub epoch: u64,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    /// What makes the run this run.
    run: String,
    place: Place,
    numbers: BTreeMap<String, u64>,
}

/// A checkpoint that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Identity of its run.
    pub run: String,
    /// Where the run stood.
    pub place: Place,
    /// The learner's state then.
    pub state: LearnerState,
}

/// The newest checkpoint that can be read.
#[derive(Clone, Debug)]
pub struct Newest {
    /// Its file.
    pub path: PathBuf,
    /// Its contents.
    pub checkpoint: Checkpoint,
    /// What is wrong with each newer one.
    pub damaged: Vec<String>,
}

/// Writes a checkpoint into `folder`, whole or not at all, and removes those before the last two.
///
/// # Errors
/// [`Error::Io`] from the disk; the checkpoints already there stay.
pub fn save(folder: &Path, checkpoint: &Checkpoint) -> Result<PathBuf> {
    let Checkpoint { run, place, state } = checkpoint;
    let document =
        Document { format: FORMAT, run: run.clone(), place: place.clone(), numbers: state.numbers.clone() };
    let document = serde_json::to_string(&document)
        .map_err(|e| Error::ModelFile(format!("the checkpoint's header cannot be written: {e}")))?;
    let metadata = BTreeMap::from([(KEY.to_string(), document)]);
    let path = folder.join(format!("step-{:010}.safetensors", place.step));
    files::write_atomically(&path, |out| file::write(out, &metadata, &state.tensors))?;
    let all = list(folder)?;
    for old in all.iter().rev().skip(KEPT) {
        std::fs::remove_file(old).map_err(|e| Error::io("remove", old, e))?;
    }
    Ok(path)
}

/// The checkpoints of a folder, oldest first.
///
/// # Errors
/// [`Error::Io`] if the folder is there but cannot be read.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| Error::io("list", folder, e))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io("list", folder, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let step = name.strip_prefix("step-").and_then(|rest| rest.strip_suffix(".safetensors"));
        if let Some(step) = step.and_then(|digits| digits.parse::<u64>().ok()) {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The newest checkpoint of the run that can be read; `None` if the folder holds none at all.
///
/// # Errors
/// [`Error::ModelFile`] if it is of another run, or if every one is damaged.
pub fn load_newest(folder: &Path, run: &str) -> Result<Option<Newest>> {
    let mut damaged = Vec::new();
    for path in list(folder)?.into_iter().rev() {
        match load(&path) {
            Ok(checkpoint) if checkpoint.run != run => {
                return Err(Error::ModelFile(format!(
                    "{} belongs to another run: its configuration or data differ from those given now. Resume with \
                     the configuration in config.toml and the same data, or start anew with --overwrite",
                    path.display()
                )));
            }
            Ok(checkpoint) => return Ok(Some(Newest { path, checkpoint, damaged })),
            Err(Error::ModelFile(fault)) => damaged.push(fault),
            Err(other) => return Err(other),
        }
    }
    match damaged.is_empty() {
        true => Ok(None),
        false => Err(Error::ModelFile(format!(
            "no checkpoint can be read: {}. Start anew with --overwrite",
            damaged.join("; ")
        ))),
    }
}

/// Reads one checkpoint.
///
/// # Errors
/// [`Error::ModelFile`] if it is damaged, [`Error::Io`] if the system refuses.
pub fn load(path: &Path) -> Result<Checkpoint> {
    let io = |e| Error::io("read", path, e);
    let opened = File::open(path).map_err(io)?;
    let total = opened.metadata().map_err(io)?.len();
    read(&mut BufReader::new(opened), total).map_err(|fault| match fault {
        Fault::Damaged(what) => {
            Error::ModelFile(format!("the checkpoint {} is damaged: {what}", path.display()))
        }
        Fault::Io(e) => io(e),
    })
}

/// Reads a checkpoint of `total` bytes. The fault does not name the file.
///
/// # Errors
/// [`Fault::Damaged`] saying what is wrong.
pub fn read(reader: &mut dyn Read, total: u64) -> Result<Checkpoint, Fault> {
    let damaged = |what: &dyn std::fmt::Display| Fault::Damaged(format!("its document: {what}"));
    let header = file::read_header(reader, total)?;
    let text = header.metadata.get(KEY).ok_or_else(|| damaged(&"there is none of Opticus"))?;
    // The version first: a newer document may not have this one's fields.
    let document: serde_json::Value = serde_json::from_str(text).map_err(|e| damaged(&e))?;
    let format = document.get("format").and_then(serde_json::Value::as_u64);
    if format != Some(u64::from(FORMAT)) {
        let format = format.map_or_else(|| "unknown".to_string(), |format| format.to_string());
        return Err(damaged(&format!("its format is {format}; this version of Opticus reads {FORMAT}")));
    }
    let Document { run, place, numbers, .. } = serde_json::from_value(document).map_err(|e| damaged(&e))?;
    if let Some(entry) = header.tensors.iter().find(|entry| entry.dtype != Dtype::F32) {
        return Err(Fault::Damaged(format!("tensor `{}` is not of type F32", entry.name)));
    }
    let tensors = file::read_tensors(reader, &header)?;
    Ok(Checkpoint { run, place, state: LearnerState { tensors, numbers } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::tensors::{HostTensor, TensorMap};

    fn checkpoint(step: u64) -> Checkpoint {
        let tensor = HostTensor { shape: vec![2, 1], data: vec![0.1, -1e-42] };
        let mut state = LearnerState::from(TensorMap::from([("net/w".to_string(), tensor)]));
        state.numbers.insert("steps".into(), u64::MAX);
        let best = Some(Best { score: (0.1f64 + 0.2).to_bits(), epoch: 1 });
        let sums = [f64::NAN, 5e-324].map(|sum| ("x".to_string(), sum.to_bits())).to_vec();
        Checkpoint {
            run: "a".into(),
            place: Place { step, best, figure_sums: sums, ..Place::default() },
            state,
        }
    }

    #[test]
    fn what_goes_in_comes_out_bit_for_bit_and_two_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for step in [9, 10, 11, 100] {
            let path = save(folder.path(), &checkpoint(step)).unwrap();
            assert_eq!(load(&path).unwrap(), checkpoint(step));
        }
        let names: Vec<_> = list(folder.path()).unwrap();
        assert_eq!(names.len(), KEPT);
        let newest = load_newest(folder.path(), "a").unwrap().unwrap();
        assert_eq!((newest.checkpoint, newest.damaged.len()), (checkpoint(100), 0));
        assert!(load_newest(&folder.path().join("absent"), "a").unwrap().is_none());
    }

    #[test]
    fn a_checkpoint_cut_anywhere_gives_way_to_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &checkpoint(1)).unwrap();
        let path = save(folder.path(), &checkpoint(2)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let newest = load_newest(folder.path(), "a").unwrap().unwrap();
            assert_eq!(newest.checkpoint.place.step, 1, "cut at {length}");
            assert!(newest.damaged[0].contains("step-0000000002"), "{:?}", newest.damaged);
        }
        std::fs::remove_file(list(folder.path()).unwrap().first().unwrap()).unwrap();
        let message = load_newest(folder.path(), "a").unwrap_err().to_string();
        assert!(message.contains("--overwrite"), "{message}");
    }

    #[test]
    fn a_checkpoint_of_another_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &checkpoint(1)).unwrap();
        let error = load_newest(folder.path(), "b").unwrap_err();
        assert!(matches!(error, Error::ModelFile(_)) && error.to_string().contains("another run"), "{error}");
    }

    #[test]
    fn a_model_or_a_newer_format_is_no_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step-0000000001.safetensors");
        for (key, text, expected) in [
            ("opticus", "{}", "none of Opticus"),
            (KEY, "{", "document"),
            (KEY, r#"{"format":2}"#, "format is 2"),
            (KEY, r#"{"format":1}"#, "missing field"),
        ] {
            let metadata = BTreeMap::from([(key.to_string(), text.to_string())]);
            files::write_atomically(&path, |out| file::write(out, &metadata, &TensorMap::new())).unwrap();
            let message = load(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
