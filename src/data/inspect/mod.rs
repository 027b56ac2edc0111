//! What a data set holds, and what in it ruins training.
//!
//! Nothing found is an error: an unreadable picture, a duplicate, a leak is what inspection is for. Every
//! picture is read once and decoded once, in parallel; what is kept of it is a few hundred bytes.

mod boxes;
mod entries;
mod facts;
mod look;
mod table;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use opticus_pixels::codec::Limits;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;

use super::open::{Format, Split};
use crate::error::Result;
pub use boxes::{BoxReport, ClassBoxes};
use entries::{Entries, Entry};
use facts::Facts;

/// How to inspect.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    /// Limits that decoding keeps.
    pub limits: Limits,
    /// Look for near duplicates too, not only exact ones.
    pub near: bool,
    /// The most entries listed of each kind of finding; all are counted.
    pub listed: usize,
}

impl Default for InspectOptions {
    fn default() -> Self {
        Self { limits: Limits::default(), near: true, listed: 1000 }
    }
}

/// Findings of one kind: all counted, the first of them listed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Findings<T> {
    /// How many there are.
    pub count: usize,
    /// The first of them.
    pub listed: Vec<T>,
}

impl<T> Default for Findings<T> {
    fn default() -> Self {
        Self { count: 0, listed: Vec::new() }
    }
}

impl<T> Findings<T> {
    fn push(&mut self, most: usize, finding: T) {
        self.count += 1;
        if self.listed.len() < most {
            self.listed.push(finding);
        }
    }
}

/// Something about one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FileNote {
    /// The file, within the data set.
    pub file: String,
    /// What about it.
    pub note: String,
}

/// A picture in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Member {
    /// The file, within the data set.
    pub file: String,
    /// Its part of the data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Its class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// Pictures that are the same.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DuplicateGroup {
    /// The pictures.
    pub members: Vec<Member>,
    /// 1 for the same bytes; else the least correlation by which two of them were found alike.
    pub similarity: f32,
}

/// Pictures of one class in one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClassCount {
    /// The class.
    pub label: String,
    /// Pictures in each part, readable or not, in the order of [`Inspection::splits`].
    pub pictures: Vec<usize>,
}

/// How evenly pictures are shared out among the classes, over all parts.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Balance {
    /// The class with the fewest pictures.
    pub smallest: String,
    /// Its pictures.
    pub fewest: usize,
    /// The class with the most.
    pub largest: String,
    /// Its pictures.
    pub most: usize,
    /// Entropy of the shares over the greatest possible: 1 is even, 0 is all in one class.
    pub evenness: f64,
}

/// How many pictures have a size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SizeCount {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Pictures.
    pub pictures: usize,
}

/// The sizes of the pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Sizes {
    /// How many different ones.
    pub distinct: usize,
    /// Least, median and greatest width.
    pub width: [u32; 3],
    /// Least, median and greatest height.
    pub height: [u32; 3],
    /// The commonest, most pictures first, at most twelve.
    pub common: Vec<SizeCount>,
}

/// What [`inspect`] found.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Inspection {
    /// The data set, as named.
    pub path: String,
    /// Its kind; `None` for pictures without classes.
    pub format: Option<Format>,
    /// Pictures, readable or not.
    pub pictures: usize,
    /// Pictures that can be read.
    pub readable: usize,
    /// Bytes of all picture files.
    pub bytes: u64,
    /// The parts, in order.
    pub splits: Vec<Split>,
    /// Pictures of each class in each part.
    pub classes: Vec<ClassCount>,
    /// How even the classes are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    /// Sizes of the readable pictures, upright.
    pub sizes: Sizes,
    /// Pictures by file format.
    pub formats: BTreeMap<String, usize>,
    /// Pictures by kind of pixel: `grey`, `grey + alpha`, `rgb`, `rgb + alpha`, `cmyk`, ….
    pub pixels: BTreeMap<String, usize>,
    /// Mean and standard deviation of the channels (R, G, B, or grey), 0..=1, over all readable pictures alike.
    pub mean: Vec<f64>,
    /// See [`Inspection::mean`].
    pub std: Vec<f64>,
    /// Classes whose folder has no picture.
    pub empty_classes: Vec<String>,
    /// Damaged, truncated, too large or not pictures at all.
    pub unreadable: Findings<FileNote>,
    /// The name says another format than the content.
    pub wrong_extension: Findings<FileNote>,
    /// Files without a picture's extension: not loaded. The note says if they are pictures all the same.
    pub ignored: Findings<FileNote>,
    /// Pictures beside the class folders, in no class: not loaded.
    pub stray: Findings<FileNote>,
    /// Tiny or extremely long pictures.
    pub degenerate: Findings<FileNote>,
    /// Pictures of one tone.
    pub blank: Findings<FileNote>,
    /// Pictures that a tag turns upright (it is applied).
    pub exif_rotated: Findings<FileNote>,
    /// Pictures in print colours (they are converted).
    pub cmyk: Findings<FileNote>,
    /// Pictures of more than 8 bits (they are reduced).
    pub deep: Findings<FileNote>,
    /// Files of several frames (the first is used).
    pub animated: Findings<FileNote>,
    /// Groups of files with the same bytes.
    pub exact_duplicates: Findings<DuplicateGroup>,
    /// Groups of pictures that look the same; exact duplicates count once.
    pub near_duplicates: Findings<DuplicateGroup>,
    /// Groups, exact or near, with members in more than one part.
    pub leakage: Findings<DuplicateGroup>,
    /// Pictures of validation and test whose very bytes are in the training part.
    pub leaked_pictures: usize,
    /// Other pictures of validation and test that look the same as one of the training part.
    pub leaked_alike: usize,
    /// Groups, exact or near, with members of more than one class.
    pub conflicting_labels: Findings<DuplicateGroup>,
    /// The boxes, if the data set has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boxes: Option<BoxReport>,
}

/// Looks at every picture of a data set, or of a folder of pictures without classes.
///
/// # Errors
/// If the path does not exist or cannot be listed, if an IDX, CIFAR or CSV file is damaged as a whole, or if
/// there is no picture at all.
pub fn inspect(path: &Path, format: Format, options: &InspectOptions) -> Result<Inspection> {
    let listing = boxes::listing(path, format, &options.limits)?;
    let entries = match &listing {
        Some(listing) => boxes::entries(listing),
        None => Entries::gather(path, format, &options.limits)?,
    };
    let facts: Vec<Facts> =
        entries.pictures.par_iter().map(|e| Facts::of(&e.source, &options.limits)).collect();
    let mut report = count(path, &entries, &facts);
    note_faults(&mut report, &entries, &facts, options.listed);
    note_duplicates(&mut report, &entries, &facts, options);
    report.boxes = listing.map(|listing| BoxReport::of(&listing, options.listed));
    Ok(report)
}

fn count(path: &Path, entries: &Entries, facts: &[Facts]) -> Inspection {
    let splits: Vec<Split> =
        entries.pictures.iter().map(|e| e.split).collect::<BTreeSet<_>>().into_iter().collect();
    let mut classes: Vec<ClassCount> = entries
        .classes
        .iter()
        .map(|label| ClassCount { label: label.clone(), pictures: vec![0; splits.len()] })
        .collect();
    for entry in &entries.pictures {
        if let (Some(label), Some(split)) = (entry.label, splits.iter().position(|s| *s == entry.split)) {
            classes[label].pictures[split] += 1;
        }
    }
    let mut formats = BTreeMap::new();
    let mut pixels = BTreeMap::new();
    for fact in facts.iter().filter_map(|f| f.seen.as_ref()) {
        *formats.entry(fact.format.clone()).or_default() += 1;
        *pixels.entry(fact.pixels.clone()).or_default() += 1;
    }
    let (mean, std) = facts::color_statistics(facts);
    Inspection {
        path: path.display().to_string(),
        format: entries.format,
        pictures: facts.len(),
        readable: facts.iter().filter(|f| f.fault.is_none()).count(),
        bytes: facts.iter().map(|f| f.bytes).sum(),
        balance: balance(&classes),
        empty_classes: entries.empty_classes.clone(),
        classes,
        splits,
        sizes: sizes(facts),
        formats,
        pixels,
        mean,
        std,
        unreadable: Findings::default(),
        wrong_extension: Findings::default(),
        ignored: Findings::default(),
        stray: Findings::default(),
        degenerate: Findings::default(),
        blank: Findings::default(),
        exif_rotated: Findings::default(),
        cmyk: Findings::default(),
        deep: Findings::default(),
        animated: Findings::default(),
        exact_duplicates: Findings::default(),
        near_duplicates: Findings::default(),
        leakage: Findings::default(),
        leaked_pictures: 0,
        leaked_alike: 0,
        conflicting_labels: Findings::default(),
        boxes: None,
    }
}

fn balance(classes: &[ClassCount]) -> Option<Balance> {
    let counts: Vec<usize> = classes.iter().map(|c| c.pictures.iter().sum()).collect();
    let total: usize = counts.iter().sum();
    if classes.len() < 2 || total == 0 {
        return None;
    }
    let (smallest, fewest) = counts.iter().enumerate().min_by_key(|(_, c)| **c)?;
    // Of equals the first, as for the smallest.
    let (largest, most) = counts.iter().enumerate().max_by(|(i, a), (j, b)| a.cmp(b).then(j.cmp(i)))?;
    let entropy: f64 = counts
        .iter()
        .filter(|c| **c > 0)
        .map(|c| *c as f64 / total as f64)
        .map(|share| -share * share.ln())
        .sum();
    Some(Balance {
        smallest: classes[smallest].label.clone(),
        fewest: *fewest,
        largest: classes[largest].label.clone(),
        most: *most,
        evenness: entropy / (classes.len() as f64).ln(),
    })
}

fn sizes(facts: &[Facts]) -> Sizes {
    const COMMON: usize = 12;
    let seen: Vec<_> = facts.iter().filter(|f| f.fault.is_none()).filter_map(|f| f.size).collect();
    if seen.is_empty() {
        return Sizes::default();
    }
    let spread = |mut values: Vec<u32>| {
        values.sort_unstable();
        [values[0], values[values.len() / 2], values[values.len() - 1]]
    };
    let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for size in &seen {
        *counts.entry((size.width, size.height)).or_default() += 1;
    }
    let distinct = counts.len();
    let mut common: Vec<SizeCount> =
        counts.into_iter().map(|((width, height), pictures)| SizeCount { width, height, pictures }).collect();
    common.sort_by_key(|c| std::cmp::Reverse(c.pictures));
    common.truncate(COMMON);
    Sizes {
        distinct,
        width: spread(seen.iter().map(|s| s.width).collect()),
        height: spread(seen.iter().map(|s| s.height).collect()),
        common,
    }
}

fn note_faults(report: &mut Inspection, entries: &Entries, facts: &[Facts], most: usize) {
    /// Sides below this, and shapes longer than this, teach a network nothing.
    const SHORTEST: u32 = 8;
    const LONGEST: u32 = 10;
    for (entry, fact) in entries.pictures.iter().zip(facts) {
        let note = |note: String| FileNote { file: entry.name.clone(), note };
        if let Some(fault) = &fact.fault {
            report.unreadable.push(most, note(fault.clone()));
        }
        let Some(seen) = &fact.seen else { continue };
        if let Some(wrong) = &seen.wrong_extension {
            report.wrong_extension.push(most, note(wrong.clone()));
        }
        if let Some(size) = fact.size.filter(|_| fact.fault.is_none()) {
            let (short, long) = (size.width.min(size.height), size.width.max(size.height));
            if short < SHORTEST || long / short.max(1) >= LONGEST {
                report.degenerate.push(most, note(format!("{}x{} pixels", size.width, size.height)));
            }
        }
        if fact.look.as_ref().is_some_and(look::Look::is_blank) {
            report.blank.push(most, note("one tone".into()));
        }
        if seen.orientation > 1 {
            let turned = [
                "mirrored",
                "turned by 180°",
                "flipped",
                "transposed",
                "turned by 90°",
                "transversed",
                "turned by 270°",
            ];
            let what = turned.get(usize::from(seen.orientation) - 2).copied().unwrap_or("turned");
            report.exif_rotated.push(most, note(format!("orientation {}: {what}", seen.orientation)));
        }
        if seen.cmyk {
            report.cmyk.push(most, note("CMYK".into()));
        }
        if seen.bits > 8 {
            report.deep.push(most, note(format!("{} bits per channel", seen.bits)));
        }
        if seen.animated {
            report.animated.push(most, note("several frames".into()));
        }
    }
    for (findings, files) in [(&mut report.ignored, &entries.ignored), (&mut report.stray, &entries.stray)] {
        for file in files {
            findings.push(most, file.clone());
        }
    }
}

fn note_duplicates(report: &mut Inspection, entries: &Entries, facts: &[Facts], options: &InspectOptions) {
    let mut same: HashMap<[u8; 32], Vec<usize>> = HashMap::new();
    for (i, fact) in facts.iter().enumerate() {
        if let Some(sum) = fact.sha256 {
            same.entry(sum).or_default().push(i);
        }
    }
    let mut exact: Vec<Vec<usize>> = same.into_values().collect();
    exact.sort();
    // Near duplicates are sought among one of each set of exact ones.
    let looks: Vec<(usize, &look::Look)> =
        exact.iter().filter_map(|set| Some((set[0], facts[set[0]].look.as_ref()?))).collect();
    let near = if options.near { look::groups(&looks) } else { Vec::new() };
    let copies: HashMap<usize, &Vec<usize>> =
        exact.iter().filter(|s| s.len() > 1).map(|set| (set[0], set)).collect();
    let near: Vec<look::Group> = near
        .into_iter()
        .map(|mut group| {
            let extra = group.members.iter().filter_map(|m| copies.get(m)).flat_map(|c| &c[1..]).copied();
            group.members.extend(extra.collect::<Vec<_>>());
            group.members.sort_unstable();
            group
        })
        .collect();

    let member = |i: usize| {
        let entry: &Entry = &entries.pictures[i];
        Member {
            file: entry.name.clone(),
            split: (report.splits.len() > 1).then_some(entry.split),
            label: entry.label.map(|l| entries.classes[l].clone()),
        }
    };
    let group = |members: &[usize], similarity: f32| DuplicateGroup {
        members: members.iter().map(|i| member(*i)).collect(),
        similarity,
    };
    let most = options.listed;
    let mut findings: [Findings<DuplicateGroup>; 4] = Default::default();
    let [exact_found, near_found, leaks, conflicts] = &mut findings;
    let mut in_near: BTreeSet<usize> = BTreeSet::new();
    let held_out = |members: &[usize]| -> Vec<usize> {
        let of_training = |i: &usize| entries.pictures[*i].split == Split::Train;
        if members.iter().any(of_training) {
            members.iter().copied().filter(|i| !of_training(i)).collect()
        } else {
            vec![]
        }
    };
    let mut judge = |members: &[usize], similarity: f32| {
        let splits: BTreeSet<Split> = members.iter().map(|i| entries.pictures[*i].split).collect();
        if splits.len() > 1 {
            leaks.push(most, group(members, similarity));
        }
        let labels: BTreeSet<_> = members.iter().filter_map(|i| entries.pictures[*i].label).collect();
        if labels.len() > 1 {
            conflicts.push(most, group(members, similarity));
        }
    };
    for found in &near {
        near_found.push(most, group(&found.members, found.similarity));
        judge(&found.members, found.similarity);
        in_near.extend(&found.members);
    }
    for set in exact.iter().filter(|set| set.len() > 1) {
        exact_found.push(most, group(set, 1.0));
        // Else it is part of a near group, which has been judged.
        if !in_near.contains(&set[0]) {
            judge(set, 1.0);
        }
    }
    let leaked: BTreeSet<usize> = exact.iter().flat_map(|set| held_out(set)).collect();
    let alike: BTreeSet<usize> = near.iter().flat_map(|group| held_out(&group.members)).collect();
    let leaked_alike = alike.difference(&leaked).count();
    let [exact_found, near_found, leaks, conflicts] = findings;
    report.exact_duplicates = exact_found;
    report.near_duplicates = near_found;
    report.leakage = leaks;
    report.conflicting_labels = conflicts;
    report.leaked_pictures = leaked.len();
    report.leaked_alike = leaked_alike;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::synth::Shapes;
    use opticus_pixels::codec::encode_png;
    use opticus_pixels::{Image8, Size};

    fn scene(number: usize) -> Image8 {
        Shapes { count: 100, side: 64, seed: 5 }.single(number)
    }

    fn put(root: &Path, name: &str, bytes: &[u8]) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn grey(width: u32, height: u32, value: impl Fn(u32) -> u8) -> Vec<u8> {
        let data = (0..width * height).map(value).collect();
        encode_png(&Image8 { size: Size::new(width, height), channels: 1, data }).unwrap()
    }

    fn files(findings: &Findings<FileNote>) -> Vec<&str> {
        findings.listed.iter().map(|n| n.file.as_str()).collect()
    }

    fn groups(findings: &Findings<DuplicateGroup>) -> Vec<Vec<&str>> {
        findings.listed.iter().map(|g| g.members.iter().map(|m| m.file.as_str()).collect()).collect()
    }

    #[test]
    fn what_ruins_training_is_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let png = |n| encode_png(&scene(n)).unwrap();
        for n in 0..6 {
            put(root, &format!("train/{}/{n}.png", if n % 2 == 0 { "a" } else { "b" }), &png(n));
        }
        put(root, "val/a/10.png", &png(10));
        put(root, "val/b/11.png", &png(11));
        // Faults, each in its own way.
        put(root, "train/a/empty.jpg", b"");
        put(root, "train/a/text.png", b"this is no picture");
        put(root, "train/a/cut.png", &png(20)[..400]);
        put(root, "train/a/really_png.jpg", &png(21));
        put(root, "train/b/tiny.png", &grey(3, 2, |i| if i % 2 == 0 { 0 } else { 200 }));
        put(root, "train/b/blank.png", &grey(32, 32, |_| 70));
        put(root, "train/b/notes.txt", b"words");
        put(root, "train/b/picture.dat", &png(22));
        put(root, "train/stray.png", &png(23));
        std::fs::create_dir_all(root.join("val/c")).unwrap();
        // The same bytes in two classes; the same picture, with fewer levels, in two parts.
        put(root, "train/b/copy_of_0.png", &png(0));
        let mut again = scene(3);
        again.data.iter_mut().for_each(|v| *v = (*v & 0xf8) + 4);
        put(root, "val/b/3_again.png", &encode_png(&again).unwrap());

        let found = inspect(root, Format::Auto, &InspectOptions::default()).unwrap();
        assert_eq!(found.format, Some(Format::Folder));
        assert_eq!(found.splits, [Split::Train, Split::Val]);
        assert_eq!((found.pictures, found.readable), (16, 13));
        let counts: Vec<(&str, &[usize])> =
            found.classes.iter().map(|c| (c.label.as_str(), c.pictures.as_slice())).collect();
        assert_eq!(counts, [("a", [7, 1].as_slice()), ("b", &[6, 2]), ("c", &[0, 0])]);
        assert_eq!(found.empty_classes, ["val/c"]);
        assert_eq!(files(&found.unreadable), ["train/a/cut.png", "train/a/empty.jpg", "train/a/text.png"]);
        assert_eq!(files(&found.wrong_extension), ["train/a/really_png.jpg"]);
        assert_eq!(files(&found.degenerate), ["train/b/tiny.png"]);
        assert_eq!(files(&found.blank), ["train/b/blank.png"]);
        assert_eq!(files(&found.ignored), ["train/b/notes.txt", "train/b/picture.dat"]);
        assert!(found.ignored.listed[1].note.contains("PNG by its content"));
        assert_eq!(files(&found.stray), ["train/stray.png"]);
        assert_eq!(groups(&found.exact_duplicates), [["train/a/0.png", "train/b/copy_of_0.png"]]);
        assert_eq!(groups(&found.conflicting_labels), [["train/a/0.png", "train/b/copy_of_0.png"]]);
        assert_eq!(groups(&found.near_duplicates), [["train/b/3.png", "val/b/3_again.png"]]);
        assert_eq!(groups(&found.leakage), [["train/b/3.png", "val/b/3_again.png"]]);
        assert_eq!((found.leaked_pictures, found.leaked_alike), (0, 1));
        let text = found.to_string();
        let parts = [
            "3 files cannot be read",
            "train/a/cut.png",
            "1 group of pictures that look the same",
            "1 of 3 held-out",
        ];
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["unreadable"]["count"], 3);
    }

    #[test]
    fn a_clean_set_is_called_clean_and_its_statistics_are_right() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "a/1.png", &grey(16, 16, |i| if i % 16 < 8 { 0 } else { 255 }));
        put(root.path(), "b/1.png", &grey(16, 16, |i| if i % 16 < 8 { 255 } else { 0 }));
        let found = inspect(root.path(), Format::Auto, &InspectOptions::default()).unwrap();
        assert_eq!((found.mean.clone(), found.std.clone()), (vec![0.5], vec![0.5]));
        assert_eq!(found.sizes.common, [SizeCount { width: 16, height: 16, pictures: 2 }]);
        assert_eq!(found.balance.as_ref().unwrap().evenness, 1.0);
        assert!(found.to_string().contains("✓ nothing that would ruin training"), "{found}");
    }

    #[test]
    fn pictures_without_classes_and_single_ones_are_looked_at() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "1.png", &encode_png(&scene(1)).unwrap());
        put(root.path(), "2.png", &encode_png(&scene(2)).unwrap());
        for (path, pictures) in [(root.path().to_path_buf(), 2), (root.path().join("1.png"), 1)] {
            let found = inspect(&path, Format::Auto, &InspectOptions::default()).unwrap();
            assert_eq!((found.format, found.pictures, found.readable), (None, pictures, pictures));
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(inspect(empty.path(), Format::Auto, &InspectOptions::default()).is_err());
        assert!(inspect(&root.path().join("missing"), Format::Auto, &InspectOptions::default()).is_err());
    }

    #[test]
    fn a_table_with_missing_pictures_lists_them() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "1.png", &encode_png(&scene(1)).unwrap());
        put(root.path(), "t.csv", b"path,label\n1.png,x\nmissing.png,y\n");
        let found = inspect(&root.path().join("t.csv"), Format::Auto, &InspectOptions::default()).unwrap();
        assert_eq!((found.pictures, found.readable), (2, 1));
        assert_eq!(files(&found.unreadable), ["missing.png"]);
    }

    #[test]
    fn findings_beyond_the_limit_are_counted() {
        let root = tempfile::tempdir().unwrap();
        (0..5).for_each(|i| put(root.path(), &format!("a/{i}.png"), b"x"));
        let few = InspectOptions { listed: 2, ..InspectOptions::default() };
        let found = inspect(root.path(), Format::Auto, &few).unwrap();
        assert_eq!((found.unreadable.count, found.unreadable.listed.len()), (5, 2));
        assert!(found.to_string().contains("… and 3 more"), "{found}");
    }
}
