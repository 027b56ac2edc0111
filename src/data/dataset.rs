//! What a data set is to its users: numbered pictures with targets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use opticus_pixels::codec::{self, ColorMode, Limits};
use opticus_pixels::{Image8, Size};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::sampler::{Purpose, rng_for, shuffle};
use crate::error::{Error, Result};

/// Numbered pictures with targets; shared by the threads that load them.
pub trait Dataset: Send + Sync {
    /// What is known of a picture: a class index, a list of boxes.
    type Target: Clone + Send + 'static;

    /// Number of pictures.
    fn len(&self) -> usize;

    /// Whether there is no picture.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads and decodes one picture, upright, in the data set's colour mode.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file if it is damaged, [`Error::Limit`] if it is too large,
    /// [`Error::Io`] if it cannot be read.
    fn load(&self, index: usize) -> Result<Image8>;

    /// What is known of picture `index`; cheap.
    fn target(&self, index: usize) -> Self::Target;

    /// The file of a picture, or `file#record` for one inside a larger file; for messages and reports.
    fn name(&self, index: usize) -> String;

    /// Whether loading is a mere copy, so that a cache would gain nothing.
    fn in_memory(&self) -> bool {
        false
    }
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    type Target = D::Target;

    fn len(&self) -> usize {
        (**self).len()
    }

    fn load(&self, index: usize) -> Result<Image8> {
        (**self).load(index)
    }

    fn target(&self, index: usize) -> Self::Target {
        (**self).target(index)
    }

    fn name(&self, index: usize) -> String {
        (**self).name(index)
    }

    fn in_memory(&self) -> bool {
        (**self).in_memory()
    }
}

/// Equal-sized pictures held in memory: what an IDX or CIFAR file, or the synthesiser, gives.
#[derive(Debug)]
pub struct Records {
    /// Where they came from, for names: `train-images-idx3-ubyte.gz`, `shapes`.
    pub origin: String,
    /// Extent of every picture.
    pub size: Size,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `count * height * width * channels` samples, interleaved.
    pub data: Vec<u8>,
}

impl Records {
    /// Samples of one picture.
    fn stride(&self) -> usize {
        self.size.area() as usize * self.channels
    }

    /// Number of pictures.
    pub fn count(&self) -> usize {
        self.data.len() / self.stride().max(1)
    }

    /// Its pictures in order, each with its class.
    pub fn items(self: &Arc<Self>, labels: impl IntoIterator<Item = usize>) -> impl Iterator<Item = Item> {
        labels.into_iter().enumerate().map(|(i, label)| Item {
            source: Source::Record { records: Arc::clone(self), index: i as u32 },
            label,
        })
    }

    /// The samples of picture `index`.
    pub fn samples(&self, index: usize) -> &[u8] {
        &self.data[index * self.stride()..][..self.stride()]
    }
}

/// Where one picture lies.
#[derive(Clone, Debug)]
pub enum Source {
    /// A picture file.
    File {
        /// Path, as given by the user and followed from there.
        path: PathBuf,
        /// Path within the data set with `/` between folders: equal on every machine.
        relative: Arc<str>,
    },
    /// A picture inside a larger file or made in memory.
    Record {
        /// The pictures it is one of.
        records: Arc<Records>,
        /// Which one.
        index: u32,
    },
}

impl Source {
    /// The file, or `file#record`.
    pub fn name(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Record { records, index } => format!("{}#{index}", records.origin),
        }
    }
}

/// One picture and its class.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where the picture lies.
    pub source: Source,
    /// Its class, an index into the classes' names.
    pub label: usize,
}

/// Pictures that each have one class.
#[derive(Clone, Debug)]
pub struct Labelled {
    classes: Arc<[String]>,
    items: Vec<Item>,
    color: ColorMode,
    limits: Limits,
}

impl Labelled {
    /// A data set from its parts.
    ///
    /// # Errors
    /// [`Error::Input`] if a label is not below the number of classes.
    pub fn new(classes: Vec<String>, items: Vec<Item>, color: ColorMode, limits: Limits) -> Result<Self> {
        if let Some(item) = items.iter().find(|i| i.label >= classes.len()) {
            return Err(Error::Input(format!(
                "{} has label {}, but there are only {} classes",
                item.source.name(),
                item.label,
                classes.len()
            )));
        }
        Ok(Self { classes: classes.into(), items, color, limits })
    }

    /// Names of the classes; a target is an index into them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The pictures and their classes.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Whether pictures are loaded as grey or RGB.
    pub fn color(&self) -> ColorMode {
        self.color
    }

    /// The same pictures, loaded in another colour mode.
    pub fn with_color(mut self, color: ColorMode) -> Self {
        self.color = color;
        self
    }

    /// Limits that decoding keeps.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The pictures at `indices`, in that order, with the same classes.
    ///
    /// # Panics
    /// If an index is not below [`Dataset::len`].
    pub fn subset(&self, indices: &[usize]) -> Self {
        Self { items: indices.iter().map(|&i| self.items[i].clone()).collect(), ..self.clone_empty() }
    }

    /// Classes and nothing of them.
    pub(super) fn without_pictures(classes: Vec<String>) -> Self {
        Self { classes: classes.into(), items: Vec::new(), color: ColorMode::Rgb, limits: Limits::default() }
    }

    fn clone_empty(&self) -> Self {
        Self {
            classes: Arc::clone(&self.classes),
            items: Vec::new(),
            color: self.color,
            limits: self.limits.clone(),
        }
    }

    /// Number of pictures of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for item in &self.items {
            counts[item.label] += 1;
        }
        counts
    }

    /// Splits off a fraction of every class: (the rest, the fraction), each in the original order.
    ///
    /// The total of the second part is `round(fraction * len)`, shared out among the classes by largest
    /// remainder, so that every class's share is within one picture of exact; a class keeps at least one
    /// picture in the first part. A pure function of the labels, `fraction` and `seed`.
    ///
    /// # Errors
    /// [`Error::Config`] if `fraction` is not between 0 and 1, both excluded.
    pub fn stratified_split(&self, fraction: f64, seed: u64) -> Result<(Self, Self)> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(Error::Config(format!(
                "the validation split is a fraction between 0 and 1, such as 0.2; {fraction} is not"
            )));
        }
        let labels: Vec<usize> = self.items.iter().map(|i| i.label).collect();
        let taken = stratified_choice(&labels, self.classes.len(), fraction, seed);
        let (second, first): (Vec<usize>, Vec<usize>) = (0..self.len()).partition(|&i| taken[i]);
        Ok((self.subset(&first), self.subset(&second)))
    }

    /// Refuses a data set that nothing can be learnt from: fewer than two classes, or a class without pictures.
    ///
    /// # Errors
    /// [`Error::Input`] that says what is missing and what to do.
    pub fn check_trainable(&self) -> Result<()> {
        if self.items.is_empty() {
            return Err(Error::Input("the training data has no pictures".into()));
        }
        if let [only] = &*self.classes {
            return Err(Error::Input(format!(
                "the training data has one class only, {only:?}; a classifier needs at least two. \
                 Put the pictures of each class into a folder of its own"
            )));
        }
        let counts = self.class_counts();
        let empty: Vec<&str> =
            self.classes.iter().zip(&counts).filter(|(_, c)| **c == 0).map(|(n, _)| n.as_str()).collect();
        if !empty.is_empty() {
            return Err(Error::Input(format!(
                "no training picture for {} of {} classes: {}. Add pictures or remove the classes",
                empty.len(),
                self.classes.len(),
                shorten(&empty, 8)
            )));
        }
        Ok(())
    }

    /// SHA-256, in hexadecimal, over the classes' names and each picture's relative name, size in bytes and
    /// label (for pictures in memory: over their samples). The same on every machine and wherever the data
    /// set lies; another order, picture or label gives another fingerprint.
    ///
    /// # Errors
    /// [`Error::Io`] if a file is gone.
    pub fn fingerprint(&self) -> Result<String> {
        let mut sum = Sha256::new();
        sum.update(b"opticus data 1\n");
        sum.update((self.classes.len() as u64).to_le_bytes());
        for name in self.classes.iter() {
            sum.update((name.len() as u64).to_le_bytes());
            sum.update(name.as_bytes());
        }
        for item in &self.items {
            sum.update((item.label as u64).to_le_bytes());
            match &item.source {
                Source::File { path, relative } => {
                    let bytes = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?.len();
                    sum.update([0]);
                    sum.update((relative.len() as u64).to_le_bytes());
                    sum.update(relative.as_bytes());
                    sum.update(bytes.to_le_bytes());
                }
                Source::Record { records, index } => {
                    sum.update([1]);
                    for n in [records.size.width, records.size.height, records.channels as u32] {
                        sum.update(n.to_le_bytes());
                    }
                    sum.update(records.samples(*index as usize));
                }
            }
        }
        Ok(hex(&sum.finalize()))
    }

    /// Decodes every picture, in parallel, and parts the good from the bad.
    pub(super) fn drop_unreadable(self) -> (Self, Vec<Skipped>) {
        let (good, skipped) = self.readable();
        (self.subset(&good), skipped)
    }

    /// The numbers of the pictures that can be read, and the others with the reason.
    pub(super) fn readable(&self) -> (Vec<usize>, Vec<Skipped>) {
        let faults: Vec<Option<String>> =
            (0..self.len()).into_par_iter().map(|i| self.load(i).err().map(|e| e.to_string())).collect();
        let good: Vec<usize> = (0..self.len()).filter(|&i| faults[i].is_none()).collect();
        let skipped = faults
            .into_iter()
            .enumerate()
            .filter_map(|(i, fault)| fault.map(|reason| Skipped { name: self.name(i), reason }))
            .collect();
        (good, skipped)
    }
}

impl Dataset for Labelled {
    type Target = usize;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn load(&self, index: usize) -> Result<Image8> {
        match &self.items[index].source {
            Source::File { path, .. } => load_file(path, self.color, &self.limits),
            Source::Record { records, index } => {
                let picture = Image8 {
                    size: records.size,
                    channels: records.channels,
                    data: records.samples(*index as usize).to_vec(),
                };
                Ok(picture.to_mode(self.color))
            }
        }
    }

    fn target(&self, index: usize) -> usize {
        self.items[index].label
    }

    fn name(&self, index: usize) -> String {
        self.items[index].source.name()
    }

    fn in_memory(&self) -> bool {
        self.items.iter().all(|i| matches!(i.source, Source::Record { .. }))
    }
}

/// A picture left out because it cannot be read, where the user asked to go on without.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Skipped {
    /// Its file.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads and decodes one picture file; the error names the file.
pub(super) fn load_file(path: &Path, color: ColorMode, limits: &Limits) -> Result<Image8> {
    match codec::decode_file(path, limits) {
        Ok(decoded) => Ok(decoded.into_image8(color)),
        Err(fault) => Err(picture_error(path, fault)),
    }
}

/// A decoder's fault as an error that names the file.
pub(super) fn picture_error(path: &Path, fault: codec::CodecError) -> Error {
    match fault {
        codec::CodecError::Io(source) => Error::io("read", path, source),
        codec::CodecError::TooLarge(_) => Error::Limit(format!("{}: {fault}", path.display())),
        _ => Error::Input(format!("{}: {fault}", path.display())),
    }
}

/// Chooses a fraction of each class. See [`Labelled::stratified_split`].
fn stratified_choice(labels: &[usize], classes: usize, fraction: f64, seed: u64) -> Vec<bool> {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (i, &label) in labels.iter().enumerate() {
        members[label].push(i);
    }
    let most = |class: &[usize]| class.len().saturating_sub(1);
    let exact: Vec<f64> = members.iter().map(|m| m.len() as f64 * fraction).collect();
    let mut quota: Vec<usize> = members.iter().zip(&exact).map(|(m, e)| (*e as usize).min(most(m))).collect();
    let total = (labels.len() as f64 * fraction).round() as usize;
    // Largest remainder; among equal ones the order of the classes decides.
    let mut by_remainder: Vec<usize> = (0..classes).collect();
    by_remainder.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let mut missing = total.saturating_sub(quota.iter().sum());
    for class in by_remainder {
        if missing > 0 && exact[class].fract() > 0.0 && quota[class] < most(&members[class]) {
            quota[class] += 1;
            missing -= 1;
        }
    }
    let mut taken = vec![false; labels.len()];
    for (class, members) in members.iter_mut().enumerate() {
        shuffle(members, &mut rng_for(seed, Purpose::Split, 0, class as u64));
        for &i in &members[..quota[class]] {
            taken[i] = true;
        }
    }
    taken
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The first `most` names, quoted, and how many more there are.
pub(super) fn shorten(names: &[impl AsRef<str>], most: usize) -> String {
    let mut text =
        names.iter().take(most).map(|n| format!("{:?}", n.as_ref())).collect::<Vec<_>>().join(", ");
    if names.len() > most {
        text.push_str(&format!(" and {} more", names.len() - most));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn in_memory(labels: &[usize], classes: usize) -> Labelled {
        let data = (0..labels.len() * 4).map(|i| (i % 251) as u8).collect();
        let records = Arc::new(Records { origin: "test".into(), size: Size::new(2, 2), channels: 1, data });
        let items = records.items(labels.iter().copied()).collect();
        let names = (0..classes).map(|c| format!("c{c}")).collect();
        Labelled::new(names, items, ColorMode::Grey, Limits::default()).unwrap()
    }

    proptest! {
        #[test]
        fn a_split_is_a_stratified_partition(
            labels in prop::collection::vec(0usize..5, 0..200),
            fraction in 0.01f64..0.99,
            seed: u64,
        ) {
            let all = in_memory(&labels, 5);
            let (rest, part) = all.stratified_split(fraction, seed).unwrap();
            let mut names: Vec<String> =
                (0..rest.len()).map(|i| rest.name(i)).chain((0..part.len()).map(|i| part.name(i))).collect();
            names.sort();
            let mut expected: Vec<String> = (0..all.len()).map(|i| all.name(i)).collect();
            expected.sort();
            prop_assert_eq!(names, expected);
            for ((n, r), p) in all.class_counts().into_iter().zip(rest.class_counts()).zip(part.class_counts()) {
                prop_assert!(n == 0 || r >= 1);
                prop_assert!((p as f64 - n as f64 * fraction).abs() < 1.0 || p + 1 == n, "{} of {}", p, n);
            }
            // Order within each part is the original one.
            let (again, _) = all.stratified_split(fraction, seed).unwrap();
            prop_assert_eq!(again.fingerprint().unwrap(), rest.fingerprint().unwrap());
        }
    }

    #[test]
    fn a_split_shares_remainders_out() {
        let labels: Vec<usize> = (0..600).map(|i| i / 60).collect();
        let (rest, part) = in_memory(&labels, 10).stratified_split(0.2, 0).unwrap();
        assert_eq!(part.class_counts(), vec![12; 10]);
        assert_eq!(rest.class_counts(), vec![48; 10]);
        // Ten classes of 3: an exact share of 0.6 each, 6 in all.
        let labels: Vec<usize> = (0..30).map(|i| i / 3).collect();
        let (_, part) = in_memory(&labels, 10).stratified_split(0.2, 0).unwrap();
        assert_eq!(part.len(), 6);
        assert!(part.class_counts().iter().all(|&c| c <= 1));
    }

    #[test]
    fn another_seed_gives_another_split() {
        let labels: Vec<usize> = (0..100).map(|i| i % 2).collect();
        let all = in_memory(&labels, 2);
        let of = |seed| all.stratified_split(0.3, seed).unwrap().1.fingerprint().unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn the_fingerprint_sees_label_order_picture_and_class() {
        let base = in_memory(&[0, 1, 1, 0], 2);
        let print = base.fingerprint().unwrap();
        assert_eq!(print.len(), 64);
        assert_eq!(print, in_memory(&[0, 1, 1, 0], 2).fingerprint().unwrap());
        for other in [in_memory(&[0, 1, 0, 0], 2), in_memory(&[0, 1, 1, 0], 3), base.subset(&[1, 0, 2, 3])] {
            assert_ne!(print, other.fingerprint().unwrap());
        }
    }

    #[test]
    fn bad_splits_and_labels_are_refused() {
        let all = in_memory(&[0, 1], 2);
        for fraction in [0.0, 1.0, -0.1, 1.5, f64::NAN] {
            assert!(matches!(all.stratified_split(fraction, 0), Err(Error::Config(_))), "{fraction}");
        }
        let items = all.items().to_vec();
        assert!(Labelled::new(vec!["one".into()], items, ColorMode::Grey, Limits::default()).is_err());
    }

    #[test]
    fn data_nothing_can_be_learnt_from_is_named() {
        let message = |d: Labelled| d.check_trainable().unwrap_err().to_string();
        assert!(message(in_memory(&[], 2)).contains("no pictures"));
        assert!(message(in_memory(&[0, 0], 1)).contains("one class only, \"c0\""));
        assert!(message(in_memory(&[0, 2], 4)).contains("\"c1\", \"c3\""));
        in_memory(&[0, 1], 2).check_trainable().unwrap();
    }
}
