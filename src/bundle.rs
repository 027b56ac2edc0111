//! The model file: one safetensors file of tensors plus one JSON [`Card`] in its header.
//!
//! Enough to predict with nothing else, and nothing that can be executed. The bytes depend on the contents only:
//! no time, host or path is written.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::tensors::TensorMap;
use crate::tensors::file::{self, Entry, Fault, Header};

/// The version of the card that this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The key of the card in the container's metadata.
const KEY: &str = "opticus";
/// Largest model file read, in bytes: a thousand million weights.
const MAX_BYTES: u64 = 4 << 30;

/// What a model file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Card {
    /// Version of this document, [`FORMAT_VERSION`] or older.
    pub format_version: u32,
    /// The job that the model does: `classify`, `detect`.
    pub job: String,
    /// The network's configuration, as the job's network reads it.
    pub net: serde_json::Value,
    /// Class names, by output index.
    pub classes: Vec<String>,
    /// How pictures are prepared for the network, as the job reads it.
    pub preprocessing: serde_json::Value,
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
    /// The figure; fractions, not per cent. What could not be measured is not a number, and `null` in JSON.
    #[serde(deserialize_with = "number_or_null")]
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

impl Card {
    /// # Errors
    /// [`Error::ModelFile`] if the model is for another job; the message names the command that takes it.
    pub fn expect_job(&self, job: &str) -> Result<()> {
        if self.job == job {
            return Ok(());
        }
        Err(Error::ModelFile(format!(
            "this model is for the job `{of}`, not `{job}`; use `opticus {of}`",
            of = self.job
        )))
    }
}

/// What is wrong with a part of a card whose values cannot be.
pub fn senseless<E: fmt::Display>(part: &str) -> impl Fn(E) -> Error {
    move |e| Error::ModelFile(format!("the card's `{part}` makes no sense: {e}"))
}

impl Provenance {
    /// Of a model that this version of Opticus trains.
    pub fn of_training(command: String, seed: u64, data_fingerprint: &str) -> Self {
        Self {
            command,
            seed: Some(seed),
            data_fingerprint: data_fingerprint.into(),
            product_version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// As (what, value), for a page.
    pub fn facts(&self) -> Vec<(String, String)> {
        let seed = self.seed.map(|seed| ("Seed".to_owned(), seed.to_string()));
        [
            Some(("Command".to_owned(), format!("opticus {}", self.command))),
            seed,
            Some(("Data fingerprint".to_owned(), self.data_fingerprint.clone())),
            Some(("Version".to_owned(), self.product_version.clone())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A model file's contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// What it says of itself.
    pub card: Card,
    /// Weights and running statistics, by the network's names.
    pub tensors: TensorMap,
}

/// A part of a card that belongs to the job: `what` names it if it cannot be written.
///
/// # Errors
/// [`Error::ModelFile`] for what JSON cannot hold.
pub fn to_json(what: &str, value: &impl Serialize) -> Result<serde_json::Value> {
    // By way of text: the shortest form of each number, not its nearest double.
    serde_json::to_string(value)
        .and_then(|text| serde_json::from_str(&text))
        .map_err(|e| Error::ModelFile(format!("the card's `{what}` cannot be written: {e}")))
}

/// Reads a part of a card that belongs to the job.
///
/// # Errors
/// [`Error::ModelFile`] naming the part.
pub fn from_json<T: DeserializeOwned>(what: &str, value: serde_json::Value) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|e| Error::ModelFile(format!("the card's `{what}` cannot be read: {e}")))
}

/// Reads and checks a model file.
///
/// Half-precision and double-precision weights are converted to `f32`.
///
/// # Errors
/// [`Error::ModelFile`] naming file, place and remedy if it is damaged, hostile, newer than this program or has no
/// card, or if a weight is not a number; [`Error::Limit`] if it is larger than any model; [`Error::Io`] if the
/// system refuses.
pub fn load(path: &Path) -> Result<Bundle> {
    let (mut file, total) = open(path)?;
    read(&mut file, total).map_err(|fault| at(path, fault))
}

/// Reads the card and what the header says of each tensor, but no weights: fast whatever the model's size.
///
/// # Errors
/// As [`load`], but for the weights' values.
pub fn load_card(path: &Path) -> Result<(Card, Vec<Entry>)> {
    let (mut file, total) = open(path)?;
    let (card, header) = read_card(&mut file, total).map_err(|fault| at(path, fault))?;
    Ok((card, header.tensors))
}

/// Reads a model file of `total` bytes. The fault does not name the file.
///
/// # Errors
/// [`Fault::Damaged`] saying what is wrong and what to do.
pub fn read(reader: &mut dyn Read, total: u64) -> Result<Bundle, Fault> {
    let (card, header) = read_card(reader, total)?;
    let tensors = file::read_tensors(reader, &header)?;
    Ok(Bundle { card, tensors })
}

/// Writes a model file: whole or not at all. Equal bundles give equal bytes.
///
/// # Errors
/// [`Error::Io`] from the disk, or for a tensor whose shape and number of values disagree.
pub fn save(path: &Path, bundle: &Bundle) -> Result<()> {
    let card = serde_json::to_string(&bundle.card)
        .map_err(|e| Error::ModelFile(format!("the card of {} cannot be written: {e}", path.display())))?;
    write(path, KEY, card, &bundle.tensors)
}

/// Writes tensors without a card, as other programs read them.
///
/// # Errors
/// As [`save`].
pub fn save_plain(path: &Path, tensors: &TensorMap) -> Result<()> {
    // What the `transformers` and `timm` loaders look for.
    write(path, "format", "pt".into(), tensors)
}

fn write(path: &Path, key: &str, text: String, tensors: &TensorMap) -> Result<()> {
    let metadata = BTreeMap::from([(key.to_string(), text)]);
    files::write_atomically(path, |out| file::write(out, &metadata, tensors))
}

fn open(path: &Path) -> Result<(File, u64)> {
    let io = |e| Error::io("read", path, e);
    let file = File::open(path).map_err(io)?;
    let about = file.metadata().map_err(io)?;
    if !about.is_file() {
        return Err(Error::ModelFile(format!("{} is no file; give a model file", path.display())));
    }
    if about.len() > MAX_BYTES {
        return Err(Error::Limit(format!(
            "{} has {} bytes; a model file has at most {MAX_BYTES}",
            path.display(),
            about.len()
        )));
    }
    Ok((file, about.len()))
}

fn read_card(reader: &mut dyn Read, total: u64) -> Result<(Card, Header), Fault> {
    let header = file::read_header(reader, total)?;
    let damaged = |what: String| Fault::Damaged(what);
    let text = header.metadata.get(KEY).ok_or_else(|| {
        damaged(
            "it holds tensors but no Opticus card. Bring foreign weights in with `opticus model import --net NAME`"
                .into(),
        )
    })?;
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| damaged(format!("its card is no JSON: {e}")))?;
    // The version first: a newer card may not have this one's fields.
    match value.get("format_version").and_then(serde_json::Value::as_u64) {
        Some(version) if version <= u64::from(FORMAT_VERSION) => {}
        Some(version) => {
            return Err(damaged(format!(
                "its format is version {version}, and this program reads up to {FORMAT_VERSION}. Update Opticus"
            )));
        }
        None => return Err(damaged("its card has no `format_version`".into())),
    }
    let card: Card = serde_json::from_value(value).map_err(|e| damaged(format!("its card: {e}")))?;
    Ok((card, header))
}

fn at(path: &Path, fault: Fault) -> Error {
    match fault {
        Fault::Damaged(what) => {
            Error::ModelFile(format!("{} cannot be used as a model: {what}", path.display()))
        }
        Fault::Io(e) => Error::io("read", path, e),
    }
}

fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::tensors::HostTensor;

    fn bundle() -> Bundle {
        let tensors =
            [("fc.bias", vec![2], vec![-0.0, f32::MIN_POSITIVE]), ("fc.weight", vec![2, 2], vec![1.5; 4])];
        Bundle {
            card: Card {
                format_version: FORMAT_VERSION,
                job: "classify".into(),
                net: serde_json::json!({ "name": "simple-cnn", "classes": 2, "a": [1, 2] }),
                classes: vec!["Käse".into(), "cat \"x\"".into()],
                preprocessing: serde_json::json!({ "size": [28, 28], "mean": [0.1307], "scale": 1.0 / 255.0 }),
                metrics: vec![Metric {
                    name: "top1".into(),
                    value: 0.1 + 0.2,
                    data: "mnist".into(),
                    count: 9,
                }],
                provenance: Provenance { seed: Some(u64::MAX), ..Provenance::default() },
                licence: "CC0-1.0".into(),
            },
            tensors: tensors
                .into_iter()
                .map(|(name, shape, data)| (name.to_string(), HostTensor { shape, data }))
                .collect(),
        }
    }

    fn bytes(bundle: &Bundle) -> Vec<u8> {
        let card = serde_json::to_string(&bundle.card).unwrap();
        let mut out = Vec::new();
        file::write(&mut out, &BTreeMap::from([(KEY.to_string(), card)]), &bundle.tensors).unwrap();
        out
    }

    fn parse(bytes: &[u8]) -> Result<Bundle, Fault> {
        read(&mut &*bytes, bytes.len() as u64)
    }

    /// A container of this header and this many zero bytes.
    fn container(header: &str, data: usize) -> Vec<u8> {
        let mut out = (header.len() as u64).to_le_bytes().to_vec();
        out.extend(header.as_bytes());
        out.resize(out.len() + data, 0);
        out
    }

    /// A container with a good card and these tensors.
    fn with_tensors(tensors: &str, data: usize) -> Vec<u8> {
        let card = serde_json::to_string(&serde_json::to_string(&bundle().card).unwrap()).unwrap();
        let comma = if tensors.is_empty() { "" } else { "," };
        container(&format!(r#"{{"__metadata__":{{"opticus":{card}}}{comma}{tensors}}}"#), data)
    }

    #[test]
    fn what_goes_in_comes_out_bit_for_bit_and_equal_bundles_give_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        save(&path, &bundle()).unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!(loaded, bundle());
        assert_eq!(loaded.tensors["fc.bias"].data[0].to_bits(), (-0.0f32).to_bits());
        assert_eq!(std::fs::read(&path).unwrap(), bytes(&loaded));
        let (card, entries) = load_card(&path).unwrap();
        assert_eq!(card, bundle().card);
        let shapes: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.shape.clone())).collect();
        assert_eq!(shapes, [("fc.bias", vec![2]), ("fc.weight", vec![2, 2])]);
    }

    #[test]
    fn other_readers_of_the_format_read_it() {
        let bytes = bytes(&bundle());
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let weight = file.tensor("fc.weight").unwrap();
        assert_eq!((weight.shape(), weight.dtype()), (&[2, 2][..], safetensors::Dtype::F32));
        assert_eq!(weight.data(), [1.5f32; 4].map(f32::to_le_bytes).concat());
    }

    #[test]
    fn a_figure_that_could_not_be_measured_does_not_make_the_model_unreadable() {
        let mut bundle = bundle();
        bundle.card.metrics[0].value = f64::NAN;
        assert!(parse(&bytes(&bundle)).unwrap().card.metrics[0].value.is_nan());
    }

    #[test]
    fn half_and_double_precision_become_single() {
        let tensors = r#""a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},
            "b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]},"c":{"dtype":"F64","shape":[1],"data_offsets":[10,18]}"#;
        let mut file = with_tensors(tensors, 0);
        // 1, the smallest subnormal, the largest number, -2; then bf16 -1.5; then 0.1.
        for half in [0x3c00u16, 0x0001, 0x7bff, 0xc000, 0xbfc0] {
            file.extend(half.to_le_bytes());
        }
        file.extend(0.1f64.to_le_bytes());
        let tensors = parse(&file).unwrap().tensors;
        assert_eq!(tensors["a"].data, [1.0, 2f32.powi(-24), 65504.0, -2.0]);
        assert_eq!(tensors["b"], HostTensor { shape: vec![], data: vec![-1.5] });
        assert_eq!(tensors["c"].data, [0.1]);
    }

    #[test]
    fn each_kind_of_bad_file_is_refused_by_what_is_wrong_with_it() {
        let good = bytes(&bundle());
        let entry = |name: &str, dtype: &str, shape: &str, at: &str| {
            format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{at}}}"#)
        };
        let mut huge = good.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        let mut longer = good.clone();
        longer.extend([0; 4]);
        let mut not_a_number = good.clone();
        let last = not_a_number.len();
        not_a_number[last - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        let twice = format!("{},{}", entry("a", "F32", "[1]", "[0,4]"), entry("a", "F32", "[1]", "[4,8]"));
        let overlap = format!("{},{}", entry("a", "F32", "[2]", "[0,8]"), entry("b", "F32", "[1]", "[4,8]"));
        let mut many = String::new();
        write!(many, "{}", vec!["1"; 40].join(",")).unwrap();
        let deep = format!(r#""a":{}{}"#, "[".repeat(100_000), "]".repeat(100_000));
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            ("empty", vec![], "too few for a header"),
            ("seven bytes", vec![0; 7], "too few for a header"),
            ("header of 2^64", huge, "claims 18446744073709551615 bytes"),
            ("cut in the header", good[..40].to_vec(), "cut short"),
            ("cut in the data", good[..good.len() - 1].to_vec(), "cut short"),
            ("bytes after the end", longer, "belong to none"),
            ("NaN", not_a_number, "`fc.weight` holds values that are not numbers"),
            ("not JSON", container("{]", 0), "header cannot be read"),
            ("not an object", container("[]", 0), "names to tensors"),
            ("no card", container("{}", 0), "opticus model import"),
            (
                "foreign",
                container(&format!("{{{}}}", entry("a", "F32", "[1]", "[0,4]")), 4),
                "opticus model import",
            ),
            ("duplicate", with_tensors(&twice, 8), "`a` is listed twice"),
            ("overlap", with_tensors(&overlap, 8), "overlap or leave a gap"),
            ("gap", with_tensors(&entry("a", "F32", "[1]", "[4,8]"), 8), "overlap or leave a gap"),
            ("backwards", with_tensors(&entry("a", "F32", "[0]", "[0,-4]"), 8), "header cannot be read"),
            ("shape", with_tensors(&entry("a", "F32", "[3]", "[0,8]"), 8), "does not fill 0..8"),
            (
                "overflow",
                with_tensors(&entry("a", "F32", "[4294967296,4294967296]", "[0,0]"), 0),
                "does not fill 0..0",
            ),
            (
                "bytes overflow",
                with_tensors(&entry("a", "F32", "[4611686018427387905]", "[0,4]"), 4),
                "does not fill 0..4",
            ),
            ("beyond", with_tensors(&entry("a", "F32", "[1000000000]", "[0,4000000000]"), 4), "cut short"),
            (
                "dimensions",
                with_tensors(&entry("a", "F32", &format!("[{many}]"), "[0,4]"), 4),
                "40 dimensions",
            ),
            ("integers", with_tensors(&entry("a", "I64", "[1]", "[0,8]"), 8), "not of a floating-point type"),
            ("deep", with_tensors(&deep, 0), "header cannot be read"),
            (
                "unknown key",
                with_tensors(r#""a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"x":1}"#, 0),
                "x",
            ),
        ];
        for (case, file, expected) in cases {
            let fault = parse(&file).expect_err(case).to_string();
            assert!(fault.contains(expected), "{case}: {fault}");
        }
    }

    #[test]
    fn a_newer_card_says_so_before_anything_else() {
        let card = |text: &str| {
            let text = serde_json::to_string(text).unwrap();
            parse(&container(&format!(r#"{{"__metadata__":{{"opticus":{text}}}}}"#), 0))
                .unwrap_err()
                .to_string()
        };
        assert!(card(r#"{"format_version":2,"shape":"new"}"#).contains("Update Opticus"));
        assert!(card("{}").contains("no `format_version`"));
        assert!(card("[1").contains("no JSON"));
        assert!(card(r#"{"format_version":1}"#).contains("missing field `job`"));
    }

    #[test]
    fn what_an_older_program_does_not_know_is_passed_over() {
        let mut card = serde_json::to_value(bundle().card).unwrap();
        card["colour_of_the_box"] = "red".into();
        let text = serde_json::to_string(&card.to_string()).unwrap();
        let file = container(&format!(r#"{{"__metadata__":{{"opticus":{text},"note":"x"}}}}"#), 0);
        assert_eq!(parse(&file).unwrap().card, bundle().card);
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.safetensors");
        std::fs::write(&path, b"no model").unwrap();
        for (result, kind) in [(load(&path).err(), "damaged"), (load(folder.path()).err(), "is no file")] {
            let message = result.unwrap().to_string();
            assert!(message.contains("safetensors") || message.contains(kind), "{message}");
            assert!(message.contains(&folder.path().display().to_string()), "{message}");
        }
        assert!(matches!(load(&folder.path().join("absent")), Err(Error::Io { .. })));
    }

    proptest! {
        #[test]
        fn no_change_of_bytes_makes_the_reader_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
            cuts in any::<bool>(),
        ) {
            let mut file = bytes(&bundle());
            for (at, value) in changes {
                let at = at.index(file.len());
                file[at] = value;
            }
            if cuts {
                file.truncate(cut.index(file.len()));
            }
            // What is still a model is finite and of the shape that it claims.
            if let Ok(bundle) = parse(&file) {
                for tensor in bundle.tensors.values() {
                    prop_assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len());
                    prop_assert!(tensor.data.iter().all(|value| value.is_finite()));
                }
            }
        }

        #[test]
        fn no_header_makes_the_reader_panic(header in r#"\{("[a-c]":\{("(dtype|shape|data_offsets)":("F32"|"F16"|\[[0-9,]{0,9}\]|[0-9]{1,20}),?){0,4}\},?){0,3}\}"#) {
            let _ = parse(&container(&header, 16));
        }
    }
}
