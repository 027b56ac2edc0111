//! The binary form of CIFAR-10 and CIFAR-100.
//!
//! A record is one label byte (CIFAR-100: a coarse and a fine one, of which the fine counts) and 3072 bytes of
//! a 32×32 picture: the red plane, the green, the blue. CIFAR-10 lies in `data_batch_1.bin` … and
//! `test_batch.bin` with its class names in `batches.meta.txt`; CIFAR-100 in `train.bin` and `test.bin` with
//! them in `fine_label_names.txt`. Without the names file, CIFAR-10 has its
//! published names and CIFAR-100 numbers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use opticus_pixels::Size;
use opticus_pixels::codec::ColorMode;

use super::Format;
use super::dataset::{Labelled, Records};
use super::open::{OpenOptions, Split, Splits};
use crate::error::{Error, Result};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const PICTURE: usize = 3 * PLANE;
/// The most bytes read from one file; CIFAR's own have 154 MB.
const MAX_FILE: u64 = 1 << 30;
/// The most bytes of a file of class names.
const MAX_NAMES: u64 = 1 << 20;

const CIFAR_10: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Ten classes, one label byte.
    Ten,
    /// A hundred classes, a coarse and a fine label byte.
    Hundred,
}

impl Variant {
    const fn label_bytes(self) -> usize {
        match self {
            Self::Ten => 1,
            Self::Hundred => 2,
        }
    }

    const fn classes(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Hundred => 100,
        }
    }
}

/// Reads the records of one file: interleaved RGB samples and labels.
///
/// # Errors
/// A message that says what is wrong, without the file's name.
pub fn parse(bytes: &[u8], variant: Variant) -> Result<(Vec<u8>, Vec<u8>), String> {
    let record = variant.label_bytes() + PICTURE;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        return Err(format!(
            "its {} bytes are not a whole number of records of {record} bytes; it is cut short or of another kind",
            bytes.len()
        ));
    }
    let mut samples = Vec::with_capacity(bytes.len() / record * PICTURE);
    let mut labels = Vec::with_capacity(bytes.len() / record);
    for (i, record) in bytes.chunks_exact(record).enumerate() {
        let (label, planes) = record.split_at(variant.label_bytes());
        let label = label[variant.label_bytes() - 1];
        if usize::from(label) >= variant.classes() {
            return Err(format!("record {i} has label {label}; there are {} classes", variant.classes()));
        }
        labels.push(label);
        samples.extend((0..PLANE).flat_map(|p| [planes[p], planes[PLANE + p], planes[2 * PLANE + p]]));
    }
    Ok((samples, labels))
}

/// Which variant the files of a folder are, if any.
pub(super) fn recognise(files: &[PathBuf]) -> Option<Variant> {
    let has = |name: &str| files.iter().any(|f| f.file_name().is_some_and(|n| n == name));
    if files.iter().any(|f| is_batch(f)) || has("test_batch.bin") {
        Some(Variant::Ten)
    } else if has("train.bin") || (has("test.bin") && has("fine_label_names.txt")) {
        Some(Variant::Hundred)
    } else {
        None
    }
}

fn is_batch(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_prefix("data_batch_")
        .and_then(|n| n.strip_suffix(".bin"))
        .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
}

/// Opens the CIFAR files of a folder.
pub(super) fn open(
    folder: &Path,
    files: &[PathBuf],
    variant: Variant,
    options: &OpenOptions,
) -> Result<Splits> {
    let named = |name: &str| files.iter().filter(|f| f.file_name().is_some_and(|n| n == name)).collect();
    let (train, test): (Vec<&PathBuf>, Vec<&PathBuf>) = match variant {
        Variant::Ten => (files.iter().filter(|f| is_batch(f)).collect(), named("test_batch.bin")),
        Variant::Hundred => (named("train.bin"), named("test.bin")),
    };
    let classes = classes(folder, variant)?;
    let mut splits = Splits::empty(Format::Cifar, classes.clone());
    for (split, files) in [(Split::Train, train), (Split::Test, test)] {
        let mut items = Vec::new();
        for file in files {
            let bytes = crate::files::read_limited(file, MAX_FILE)?;
            let (data, labels) = parse(&bytes, variant).map_err(|why| {
                Error::Input(format!(
                    "cannot use the CIFAR file {}: {why}. Download it again",
                    file.display()
                ))
            })?;
            let origin = crate::files::name_of(file);
            let size = Size::new(SIDE as u32, SIDE as u32);
            let records = Arc::new(Records { origin, size, channels: 3, data });
            items.extend(records.items(labels.iter().copied().map(usize::from)));
        }
        if !items.is_empty() {
            let color = options.color.unwrap_or(ColorMode::Rgb);
            splits.put(split, Labelled::new(classes.clone(), items, color, options.limits.clone())?);
        }
    }
    Ok(splits)
}

fn classes(folder: &Path, variant: Variant) -> Result<Vec<String>> {
    let file = folder.join(match variant {
        Variant::Ten => "batches.meta.txt",
        Variant::Hundred => "fine_label_names.txt",
    });
    let names = match (file.is_file(), variant) {
        (true, _) => read_names(&file)?,
        (false, Variant::Ten) => CIFAR_10.map(String::from).to_vec(),
        (false, Variant::Hundred) => (0..100).map(|i| i.to_string()).collect(),
    };
    if names.len() != variant.classes() {
        return Err(Error::Input(format!(
            "{} names {} classes; {} are needed",
            file.display(),
            names.len(),
            variant.classes()
        )));
    }
    Ok(names)
}

/// The non-empty lines of a small text file.
pub(super) fn read_names(path: &Path) -> Result<Vec<String>> {
    let bytes = crate::files::read_limited(path, MAX_NAMES)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::Input(format!("{} is not UTF-8 text", path.display())))?;
    Ok(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::{Dataset, open};
    use proptest::prelude::*;

    /// A record whose pixel `p` is (p, 2p, 3p) modulo 256.
    fn record(labels: &[u8]) -> Vec<u8> {
        let mut bytes = labels.to_vec();
        for channel in 1..=3usize {
            bytes.extend((0..PLANE).map(|p| (p * channel) as u8));
        }
        bytes
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..7000), hundred: bool) {
            let variant = if hundred { Variant::Hundred } else { Variant::Ten };
            if let Ok((samples, labels)) = parse(&bytes, variant) {
                prop_assert_eq!(samples.len(), labels.len() * PICTURE);
                prop_assert!(labels.iter().all(|l| usize::from(*l) < variant.classes()));
            }
        }
    }

    #[test]
    fn planes_are_interleaved_and_the_fine_label_counts() {
        let (samples, labels) = parse(&[record(&[7]), record(&[9])].concat(), Variant::Ten).unwrap();
        assert_eq!(labels, [7, 9]);
        assert_eq!(samples[300..303], [100, 200, 44]);
        let (_, labels) = parse(&record(&[19, 99]), Variant::Hundred).unwrap();
        assert_eq!(labels, [99]);
    }

    #[test]
    fn cut_files_and_bad_labels_are_named() {
        let whole = record(&[3]);
        assert!(parse(&whole[..3000], Variant::Ten).unwrap_err().contains("cut short"));
        assert!(parse(&[], Variant::Ten).is_err());
        assert!(parse(&record(&[10]), Variant::Ten).unwrap_err().contains("record 0 has label 10"));
    }

    #[test]
    fn a_folder_opens_with_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("data_batch_1.bin"), [record(&[0]), record(&[5])].concat()).unwrap();
        std::fs::write(at("data_batch_2.bin"), record(&[1])).unwrap();
        std::fs::write(at("test_batch.bin"), record(&[2])).unwrap();
        let splits = open(folder.path(), Format::Auto, &OpenOptions::default()).unwrap();
        assert_eq!(
            (splits.format, splits.train.len(), splits.test.as_ref().unwrap().len()),
            (Format::Cifar, 3, 1)
        );
        assert_eq!(splits.classes()[5], "dog");
        assert_eq!((splits.train.target(1), splits.train.name(2)), (5, "data_batch_2.bin#0".into()));
        assert_eq!(splits.train.load(0).unwrap().data[300..303], [100, 200, 44]);
        std::fs::write(at("batches.meta.txt"), "a\nb\n").unwrap();
        let fault = open(folder.path(), Format::Auto, &OpenOptions::default()).unwrap_err().to_string();
        assert!(fault.contains("names 2 classes; 10 are needed"), "{fault}");
    }
}
