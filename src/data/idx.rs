//! IDX, the format of MNIST, Fashion-MNIST, KMNIST and EMNIST.
//!
//! A folder holds pairs of files, plain or `.gz`:
//! `train-images-idx3-ubyte` with `train-labels-idx1-ubyte`, and `t10k-…` (or `test-…`) for the test part.
//! A dot may stand for the dash before `idx` (`train-images.idx3-ubyte`), and a prefix may stand before
//! (`emnist-letters-train-images-idx3-ubyte.gz`).
//!
//! Each file is a big-endian header (two zero bytes, type code 0x08 = unsigned byte, number of dimensions,
//! then each dimension as u32) and the bytes: pictures × rows × columns, or labels.
//!
//! Class names come from `classes.txt` (a name a line) if it is there; else, for EMNIST, from its
//! `…-mapping.txt`; else they are the labels' digits. EMNIST stores its pictures transposed; they are turned
//! upright.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use opticus_pixels::Size;
use opticus_pixels::codec::ColorMode;

use super::dataset::{Labelled, Records};
use super::open::{OpenOptions, Split, Splits};
use crate::error::{Error, Result};

/// The most bytes that one IDX file may hold once unpacked; EMNIST's largest has 0.55 GB.
const MAX_BYTES: u64 = 2 << 30;
/// Deflate cannot pack more than 1032 bytes into one.
const MAX_PACKING: u64 = 1032;

/// The bytes of an IDX file and their shape.
#[derive(Debug, PartialEq, Eq)]
pub struct IdxArray {
    /// Extent in each dimension, slowest first.
    pub dimensions: Vec<usize>,
    /// The product of `dimensions` bytes.
    pub data: Vec<u8>,
}

/// Reads an IDX stream of unsigned bytes, unpacked already. Nothing is allocated on the header's word: memory
/// grows with what the stream really holds, and never beyond `limit`.
///
/// # Errors
/// A message that says what is wrong, without the file's name.
pub fn parse(mut stream: impl Read, limit: u64) -> Result<IdxArray, String> {
    let mut magic = [0u8; 4];
    stream.read_exact(&mut magic).map_err(|e| short("the header", &e))?;
    let [zero, zero2, kind, rank] = magic;
    if (zero, zero2) != (0, 0) {
        return Err(format!(
            "it is not an IDX file: it begins with {magic:02x?} where two zero bytes belong"
        ));
    }
    if kind != 0x08 {
        return Err(format!(
            "its element type is 0x{kind:02x}; only unsigned bytes (0x08) are pictures or labels"
        ));
    }
    if !(1..=4).contains(&rank) {
        return Err(format!("its header declares {rank} dimensions; 1 to 4 are possible"));
    }
    let mut dimensions = Vec::new();
    let (mut total, mut volume) = (1u64, 1u64);
    for _ in 0..rank {
        let mut bytes = [0u8; 4];
        stream.read_exact(&mut bytes).map_err(|e| short("the header", &e))?;
        let extent = u32::from_be_bytes(bytes);
        dimensions.push(extent as usize);
        // Four 32-bit factors may overflow 64 bits; saturation is above every limit.
        total = total.saturating_mul(u64::from(extent));
        // A zero must not hide that the others are no possible sizes.
        volume = volume.saturating_mul(u64::from(extent.max(1)));
    }
    if volume > limit {
        return Err(format!(
            "its header declares more bytes ({dimensions:?}) than the {limit} that are possible here"
        ));
    }
    let mut data = Vec::with_capacity(total.min(1 << 20) as usize);
    stream.by_ref().take(total).read_to_end(&mut data).map_err(|e| short("the data", &e))?;
    if (data.len() as u64) < total {
        return Err(format!(
            "it is cut short: its header declares {total} bytes ({dimensions:?}), {} are there",
            data.len()
        ));
    }
    match stream.read(&mut [0u8]) {
        Ok(0) => Ok(IdxArray { dimensions, data }),
        Ok(_) => Err(format!("it goes on after the {total} bytes that its header declares ({dimensions:?})")),
        Err(e) => Err(short("the end", &e)),
    }
}

fn short(place: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => format!("it is cut short in {place}"),
        _ => format!("{place} cannot be read: {error}"),
    }
}

/// Reads an IDX file; `.gz` is told by its content, not its name.
///
/// # Errors
/// [`Error::Io`] or [`Error::Input`], naming the file.
pub fn read(path: &Path) -> Result<IdxArray> {
    let io = |e| Error::io("read", path, e);
    let mut file = std::fs::File::open(path).map_err(io)?;
    let packed = file.metadata().map_err(io)?.len();
    let mut start = [0u8; 2];
    let gzip = match file.read_exact(&mut start) {
        Ok(()) => start == [0x1f, 0x8b],
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => false,
        Err(e) => return Err(io(e)),
    };
    let file = std::fs::File::open(path).map_err(io)?;
    let result = if gzip {
        let limit = MAX_BYTES.min(packed.saturating_mul(MAX_PACKING));
        parse(flate2::read::MultiGzDecoder::new(BufReader::new(file)), limit)
    } else {
        parse(BufReader::new(file), MAX_BYTES.min(packed))
    };
    result.map_err(|why| {
        Error::Input(format!("cannot use the IDX file {}: {why}. Download it again", path.display()))
    })
}

/// Writes an IDX file of unsigned bytes, gzip-packed if the name ends in `.gz`.
///
/// # Errors
/// [`Error::Io`]; nothing half-written stays.
pub fn write(path: &Path, array: &IdxArray) -> Result<()> {
    let mut header = vec![0, 0, 0x08, array.dimensions.len() as u8];
    for &extent in &array.dimensions {
        header.extend_from_slice(&(extent as u32).to_be_bytes());
    }
    let packed = path.extension().is_some_and(|e| e == "gz");
    crate::files::write_atomically(path, |out| {
        if packed {
            let mut out = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            std::io::Write::write_all(&mut out, &header)?;
            std::io::Write::write_all(&mut out, &array.data)?;
            out.finish().map(|_| ())
        } else {
            out.write_all(&header)?;
            out.write_all(&array.data)
        }
    })
}

/// A file of pictures, and the file of their labels if it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) images: PathBuf,
    pub(super) labels: PathBuf,
    pub(super) split: Split,
}

/// The pairs of IDX files in a folder, by name.
pub(super) fn pairs(files: &[PathBuf]) -> Vec<Pair> {
    let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let stem = |p: &Path| {
        let name = name(p);
        name.strip_suffix(".gz").unwrap_or(&name).replace('.', "-")
    };
    let mut pairs = Vec::new();
    for images in files {
        let image_stem = stem(images);
        if !image_stem.contains("images-idx3") {
            continue;
        }
        let wanted = image_stem.replace("images-idx3", "labels-idx1");
        let fallback =
            images.with_file_name(name(images).replace("images", "labels").replace("idx3", "idx1"));
        let labels = files.iter().find(|f| stem(f) == wanted).cloned().unwrap_or(fallback);
        let split = if image_stem.contains("t10k") || image_stem.contains("test") {
            Split::Test
        } else if image_stem.contains("val") {
            Split::Val
        } else {
            Split::Train
        };
        // Both `x` and `x.gz` may lie there; the first in order is enough.
        if !pairs.iter().any(|p: &Pair| stem(&p.images) == image_stem) {
            pairs.push(Pair { images: images.clone(), labels, split });
        }
    }
    pairs
}

/// Opens the IDX files of a folder.
pub(super) fn open(folder: &Path, files: &[PathBuf], options: &OpenOptions) -> Result<Splits> {
    let mut loaded: BTreeMap<Split, (Arc<Records>, Vec<u8>)> = BTreeMap::new();
    for pair in pairs(files) {
        if loaded.contains_key(&pair.split) {
            return Err(Error::Input(format!(
                "{} holds two IDX data sets for {}; give each a folder of its own (EMNIST's variants, for instance)",
                folder.display(),
                pair.split
            )));
        }
        loaded.insert(pair.split, load_pair(&pair)?);
    }
    let highest = loaded.values().flat_map(|(_, labels)| labels.iter().copied()).max().unwrap_or(0);
    let (classes, class_of) = class_names(folder, files, highest)?;
    let mut splits = Splits::empty(super::Format::Idx, classes.clone());
    for (split, (records, labels)) in loaded {
        let class = |(i, label): (usize, &u8)| {
            class_of[usize::from(*label)].ok_or_else(|| {
                Error::Input(format!("{}#{i} has label {label}, which has no class name", records.origin))
            })
        };
        let items =
            records.items(labels.iter().enumerate().map(class).collect::<Result<Vec<_>>>()?).collect();
        let color = options.color.unwrap_or(ColorMode::Grey);
        splits.put(split, Labelled::new(classes.clone(), items, color, options.limits.clone())?);
    }
    Ok(splits)
}

fn load_pair(pair: &Pair) -> Result<(Arc<Records>, Vec<u8>)> {
    let images = read(&pair.images)?;
    let &[count, rows, columns] = images.dimensions.as_slice() else {
        return Err(Error::Input(format!(
            "{} has {} dimensions; pictures have three: count, rows, columns",
            pair.images.display(),
            images.dimensions.len()
        )));
    };
    if rows == 0 || columns == 0 {
        return Err(Error::Input(format!(
            "the pictures of {} measure {columns}x{rows} pixels",
            pair.images.display()
        )));
    }
    let labels = read(&pair.labels)?;
    if labels.dimensions != [count] {
        return Err(Error::Input(format!(
            "{} holds {count} pictures, but {} has labels of shape {:?}; the two files do not belong together",
            pair.images.display(),
            pair.labels.display(),
            labels.dimensions
        )));
    }
    let name = crate::files::name_of(&pair.images);
    let mut data = images.data;
    let (mut width, mut height) = (columns, rows);
    if name.to_lowercase().starts_with("emnist") {
        for picture in data.chunks_exact_mut(rows * columns) {
            let turned: Vec<u8> = (0..columns)
                .flat_map(|x| (0..rows).map(move |y| (x, y)))
                .map(|(x, y)| picture[y * columns + x])
                .collect();
            picture.copy_from_slice(&turned);
        }
        (width, height) = (rows, columns);
    }
    let size = Size::new(width as u32, height as u32);
    Ok((Arc::new(Records { origin: name, size, channels: 1, data }), labels.data))
}

/// Names of the classes, and the class of each of the 256 possible labels.
fn class_names(folder: &Path, files: &[PathBuf], highest: u8) -> Result<(Vec<String>, Vec<Option<usize>>)> {
    let listed = folder.join("classes.txt");
    let mapping = files.iter().find(|f| f.to_string_lossy().to_lowercase().ends_with("-mapping.txt"));
    let mut class_of = vec![None; 256];
    let mut names = Vec::new();
    if listed.is_file() {
        names = super::cifar::read_names(&listed)?;
        class_of.iter_mut().take(names.len()).enumerate().for_each(|(i, c)| *c = Some(i));
    } else if let Some(mapping) = mapping {
        for line in super::cifar::read_names(mapping)? {
            let numbers: Vec<u32> = line.split_whitespace().filter_map(|w| w.parse().ok()).collect();
            let (Some(&label), Some(name)) = (
                numbers.first().filter(|l| **l < 256),
                numbers.get(1).and_then(|c| char::from_u32(*c)).filter(|c| c.is_ascii_graphic()),
            ) else {
                return Err(Error::Input(format!(
                    "{}: the line {line:?} is not a label and the code of its character",
                    mapping.display()
                )));
            };
            class_of[label as usize] = Some(names.len());
            names.push(name.to_string());
        }
    } else {
        names.extend((0..=highest).map(|l| l.to_string()));
        class_of.iter_mut().take(names.len()).enumerate().for_each(|(i, c)| *c = Some(i));
    }
    Ok((names, class_of))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::{Dataset, Format, open};
    use proptest::prelude::*;

    fn bytes(dimensions: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
        dimensions.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(bytes.as_slice(), 1 << 20);
        }

        #[test]
        fn any_dimensions_are_read_or_refused(dimensions in prop::collection::vec(any::<u32>(), 0..6), n in 0usize..64) {
            let result = parse(bytes(&dimensions, &vec![1; n]).as_slice(), MAX_BYTES);
            if let Ok(array) = result {
                prop_assert_eq!(array.data.len(), n);
            }
        }

        #[test]
        fn what_is_written_is_read_again(rows in 1usize..5, columns in 1usize..5, count in 0usize..5, packed: bool) {
            let data: Vec<u8> = (0..count * rows * columns).map(|i| i as u8).collect();
            let array = IdxArray { dimensions: vec![count, rows, columns], data };
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(if packed { "x.gz" } else { "x" });
            write(&path, &array).unwrap();
            prop_assert_eq!(read(&path).unwrap(), array);
        }
    }

    #[test]
    fn hostile_headers_are_refused_before_memory_is_taken() {
        let refuse = |b: &[u8], part: &str| {
            let why = parse(b, 1 << 30).unwrap_err();
            assert!(why.contains(part), "{why}");
        };
        refuse(&[], "cut short in the header");
        refuse(&bytes(&[u32::MAX; 4], &[]), "than the 1073741824 that are possible");
        refuse(&bytes(&[1 << 24, 0, 1 << 24, 1 << 24], &[]), "than the 1073741824 that are possible");
        refuse(&bytes(&[1 << 30], &[1, 2, 3]), "3 are there");
        refuse(&bytes(&[2], &[1, 2, 3]), "goes on after the 2 bytes");
        refuse(&bytes(&[1; 5], &[1]), "5 dimensions");
        refuse(&[0, 0, 0x0d, 1, 0, 0, 0, 0], "0x0d");
        refuse(b"\x89PNG....", "not an IDX file");
    }

    /// A gigabyte of zeros is a megabyte of gzip; the header's word is checked before it is unpacked.
    #[test]
    fn a_gzip_bomb_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train-images-idx3-ubyte.gz");
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, &bytes(&[1, 2, 2], &[0; 4])).unwrap();
        std::io::Write::write_all(&mut packer, &vec![0; 8 << 20]).unwrap();
        std::fs::write(&path, packer.finish().unwrap()).unwrap();
        let fault = read(&path).unwrap_err().to_string();
        assert!(fault.contains("goes on after the 4 bytes"), "{fault}");
    }

    #[test]
    fn names_pair_images_with_labels_and_tell_the_part() {
        let paths: Vec<PathBuf> = [
            "emnist-letters-train-images-idx3-ubyte.gz",
            "emnist-letters-train-labels-idx1-ubyte.gz",
            "t10k-images.idx3-ubyte",
            "t10k-labels.idx1-ubyte",
            "val-images-idx3-ubyte",
            "readme.txt",
        ]
        .map(PathBuf::from)
        .to_vec();
        let pairs = pairs(&paths);
        let found: Vec<(&str, &str, Split)> =
            pairs.iter().map(|p| (p.images.to_str().unwrap(), p.labels.to_str().unwrap(), p.split)).collect();
        assert_eq!(
            found,
            [
                (
                    "emnist-letters-train-images-idx3-ubyte.gz",
                    "emnist-letters-train-labels-idx1-ubyte.gz",
                    Split::Train
                ),
                ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte", Split::Test),
                ("val-images-idx3-ubyte", "val-labels-idx1-ubyte", Split::Val),
            ]
        );
    }

    fn put(folder: &Path, name: &str, dimensions: &[u32], data: &[u8]) {
        std::fs::write(folder.join(name), bytes(dimensions, data)).unwrap();
    }

    #[test]
    fn a_folder_opens_with_its_parts_and_names() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "train-images-idx3-ubyte", &[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        put(folder.path(), "train-labels-idx1-ubyte", &[2], &[2, 0]);
        put(folder.path(), "t10k-images-idx3-ubyte", &[1, 1, 3], &[7, 8, 9]);
        put(folder.path(), "t10k-labels-idx1-ubyte", &[1], &[1]);
        let splits = open(folder.path(), Format::Auto, &OpenOptions::default()).unwrap();
        assert_eq!(splits.classes(), ["0", "1", "2"]);
        assert_eq!(
            (splits.train.len(), splits.val.is_none(), splits.test.as_ref().unwrap().len()),
            (2, true, 1)
        );
        let picture = splits.train.load(1).unwrap();
        assert_eq!((picture.size, picture.data), (Size::new(3, 1), vec![4, 5, 6]));
        assert_eq!(splits.test.unwrap().name(0), "t10k-images-idx3-ubyte#0");
        std::fs::write(folder.path().join("classes.txt"), "boot\nbag\ncoat\n").unwrap();
        let splits = open(folder.path(), Format::Auto, &OpenOptions::default()).unwrap();
        assert_eq!(splits.classes(), ["boot", "bag", "coat"]);
        std::fs::write(folder.path().join("classes.txt"), "boot\n").unwrap();
        let fault = open(folder.path(), Format::Auto, &OpenOptions::default()).unwrap_err().to_string();
        assert!(fault.contains("has label"), "{fault}");
    }

    #[test]
    fn emnist_is_turned_upright_and_named_by_its_mapping() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "emnist-letters-train-images-idx3-ubyte", &[1, 2, 2], &[1, 2, 3, 4]);
        put(folder.path(), "emnist-letters-train-labels-idx1-ubyte", &[1], &[2]);
        std::fs::write(folder.path().join("emnist-letters-mapping.txt"), "1 65 97\n2 66 98\n").unwrap();
        let splits = open(folder.path(), Format::Auto, &OpenOptions::default()).unwrap();
        assert_eq!(
            (splits.classes(), splits.train.target(0)),
            (["A".to_string(), "B".to_string()].as_slice(), 1)
        );
        assert_eq!(splits.train.load(0).unwrap().data, [1, 3, 2, 4]);
    }

    #[test]
    fn files_that_do_not_belong_together_are_named() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "train-images-idx3-ubyte", &[2, 1, 1], &[1, 2]);
        let fault = || open(folder.path(), Format::Auto, &OpenOptions::default()).unwrap_err().to_string();
        assert!(fault().contains("train-labels-idx1-ubyte"), "{}", fault());
        put(folder.path(), "train-labels-idx1-ubyte", &[3], &[1, 2, 3]);
        assert!(fault().contains("do not belong together"), "{}", fault());
        put(folder.path(), "train-labels-idx1-ubyte", &[2], &[1]);
        assert!(fault().contains("cut short"), "{}", fault());
    }
}
