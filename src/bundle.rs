//! The model file: one safetensors file of tensors plus one JSON [`Card`] in its header.
//!
//! Enough to predict with nothing else, and nothing that can be executed. The bytes depend on the contents only:
//! no time, host or path is written.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

use opticus_pixels::preprocess::Preprocessing;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::tensors::{HostTensor, TensorMap};

/// The version of the card that this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The key of the card in the safetensors metadata.
const KEY: &str = "opticus";
/// Largest model file read, in bytes.
const MAX_BYTES: u64 = 16 << 30;
/// Largest header read, in bytes: names, shapes and the card.
const MAX_HEADER: u64 = 64 << 20;

/// What a model file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Card {
    /// Version of this document, [`FORMAT_VERSION`] or older.
    pub format_version: u32,
    /// The job that the model does: `classify`.
    pub job: String,
    /// The network's configuration, as the job's network reads it.
    pub net: serde_json::Value,
    /// Class names, by output index.
    pub classes: Vec<String>,
    /// How pictures are prepared for the network.
    #[schemars(with = "serde_json::Value")]
    pub preprocessing: Preprocessing,
    /// Measured figures.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// Where the model came from.
    #[serde(default)]
    pub provenance: Provenance,
    /// Licence of the weights.
    #[serde(default)]
    pub licence: String,
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// What was measured: `top1`, `loss`.
    pub name: String,
    /// The figure; fractions, not per cent.
    pub value: f64,
    /// On which pictures.
    pub data: String,
    /// On how many.
    pub count: usize,
}

/// Where a model came from; never when, nor on which machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Provenance {
    /// What made it: the verb and its settings, or the imported file's name.
    #[serde(default)]
    pub command: String,
    /// Seed of everything random, for a trained model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// SHA-256 of the training data's names, sizes and labels, or of the imported file.
    #[serde(default)]
    pub data_fingerprint: String,
    /// Version of Opticus that wrote it.
    #[serde(default)]
    pub product_version: String,
}

/// A model file's contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// What it says of itself.
    pub card: Card,
    /// Weights and running statistics, by the network's names.
    pub tensors: TensorMap,
}

/// Reads and checks a model file.
///
/// # Errors
/// [`Error::ModelFile`] naming file, place and remedy if it is damaged, hostile or has no card; weights that are
/// not numbers are refused.
pub fn load(path: &Path) -> Result<Bundle> {
    let bytes = files::read_limited(path, MAX_BYTES)?;
    parse(&bytes).map_err(|fault| at(path, &fault))
}

/// Reads the card alone, without the tensors' values: fast whatever the model's size.
///
/// # Errors
/// As [`load`], but for the tensors' values.
pub fn load_card(path: &Path) -> Result<(Card, Metadata)> {
    let mut file = std::fs::File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut length = [0u8; 8];
    file.read_exact(&mut length).map_err(|_| at(path, "it is cut short, before the header's length"))?;
    let header = u64::from_le_bytes(length);
    if header > MAX_HEADER {
        return Err(at(path, &format!("its header claims {header} bytes; that is no model file")));
    }
    let mut bytes = length.to_vec();
    file.take(header).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, e))?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| at(path, &e.to_string()))?;
    let card = card(&metadata).map_err(|fault| at(path, &fault))?;
    Ok((card, metadata))
}

/// Writes a model file: whole or not at all.
///
/// # Errors
/// [`Error::ModelFile`] for tensors whose shape and length disagree; [`Error::Io`] from the disk.
pub fn save(path: &Path, bundle: &Bundle) -> Result<()> {
    let card = serde_json::to_string(&bundle.card)
        .map_err(|e| Error::ModelFile(format!("cannot write the card: {e}")))?;
    write_tensors(path, &bundle.tensors, HashMap::from([(KEY.to_string(), card)]))
}

/// Writes tensors alone, as other programs read them.
///
/// # Errors
/// As [`save`].
pub fn save_plain(path: &Path, tensors: &TensorMap) -> Result<()> {
    write_tensors(path, tensors, HashMap::from([("format".to_string(), "pt".to_string())]))
}

fn write_tensors(path: &Path, tensors: &TensorMap, metadata: HashMap<String, String>) -> Result<()> {
    let refuse =
        |e: safetensors::SafeTensorError| Error::ModelFile(format!("cannot write {}: {e}", path.display()));
    let bytes: BTreeMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, tensor)| (name, tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let mut views = BTreeMap::new();
    for (name, HostTensor { shape, .. }) in tensors {
        let data = bytes.get(name).map(Vec::as_slice).unwrap_or_default();
        views.insert(name, TensorView::new(Dtype::F32, shape.clone(), data).map_err(refuse)?);
    }
    let file = safetensors::serialize(views, Some(metadata)).map_err(refuse)?;
    files::write_atomically(path, |out| out.write_all(&file))
}

/// Reads a model file's bytes. The fault does not name the file.
pub fn parse(bytes: &[u8]) -> Result<Bundle, String> {
    if bytes.len() >= 8 {
        let header = bytes.iter().take(8).rev().fold(0u64, |n, b| (n << 8) | u64::from(*b));
        if header > MAX_HEADER.min(bytes.len() as u64) {
            return Err(format!(
                "its header claims {header} bytes of a file of {}; it is damaged or no model",
                bytes.len()
            ));
        }
    }
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| format!("{e}. The file is damaged or cut short; copy it again from its source"))?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let card = card(&metadata)?;
    let mut tensors = TensorMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("tensor `{name}` has type {:?}; a model file holds f32 only", view.dtype()));
        }
        let data: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        // The sum over all absolute values is finite only if each is; the loop has no branch and vectorises.
        if !data.iter().map(|v| v.abs() * 0.0).sum::<f32>().is_finite() {
            return Err(format!(
                "tensor `{name}` has weights that are not numbers; the model was damaged or diverged"
            ));
        }
        tensors.insert(name.to_string(), HostTensor { shape: view.shape().to_vec(), data });
    }
    Ok(Bundle { card, tensors })
}

fn card(metadata: &Metadata) -> Result<Card, String> {
    let text = metadata.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or(
        "it holds tensors but no Opticus card. Bring foreign weights in with `opticus model import --net NAME`",
    )?;
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| format!("its card is damaged: {e}"))?;
    match value.get("format_version").and_then(serde_json::Value::as_u64) {
        Some(version) if version <= u64::from(FORMAT_VERSION) => {}
        Some(version) => {
            return Err(format!(
                "its format is version {version}; this program reads up to {FORMAT_VERSION}. Update Opticus"
            ));
        }
        None => return Err("its card has no `format_version`; it is damaged".into()),
    }
    serde_json::from_value(value).map_err(|e| format!("its card cannot be read: {e}"))
}

fn at(path: &Path, fault: &str) -> Error {
    Error::ModelFile(format!("{} cannot be used as a model: {fault}", path.display()))
}
