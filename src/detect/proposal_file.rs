//! Regions from elsewhere: the file that `opticus detect propose --to` writes and `--proposals` reads.
//!
//! ```json
//! {"version": 1, "source": "selective search, fast",
//!  "pictures": [{"file": "images/a.jpg", "width": 640, "height": 480, "boxes": [[12.0, 30.5, 80.0, 99.0]]}]}
//! ```
//!
//! `boxes` are `[x1, y1, x2, y2]` in pixels of the upright picture, best first; `scores`, where the proposer has any,
//! are as many as the boxes. A picture and an entry belong together if the name of one is the end of the other's, by
//! whole parts of the path: `images/a.jpg` is the entry of `/photos/images/a.jpg`, and `a.jpg` is as well.

use std::collections::HashMap;
use std::path::Path;

use opticus_pixels::geometry::{Box2d, Size};
use opticus_pixels::suppress::Candidate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::files;

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// Larger files are refused: 10,000 pictures of 2000 boxes have a quarter of this.
const MOST_BYTES: u64 = 4 << 30;
/// Pixels by which a box may lie outside its picture: what programs that round, or count from 1, are off by.
const SLACK: f64 = 1.0;

/// A file of proposals as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProposalFile {
    /// 1.
    pub version: u32,
    /// What proposed them.
    #[serde(default)]
    pub source: String,
    /// One entry a picture.
    pub pictures: Vec<Proposed>,
}

/// The regions of one picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proposed {
    /// The picture's name within its data set, or as named or found; folders are separated by `/`.
    pub file: String,
    /// Pixels across, upright.
    pub width: u32,
    /// Pixels down, upright.
    pub height: u32,
    /// Left, top, right and bottom edges in pixels of the upright picture, best first.
    pub boxes: Vec<[f64; 4]>,
    /// How sure the proposer is of each box, where it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<Vec<f64>>,
}

impl Proposed {
    /// Regions without scores.
    pub fn boxes(file: String, size: Size, boxes: &[Box2d]) -> Self {
        let boxes = boxes.iter().map(|b| b.to_corners()).collect();
        Self { file, width: size.width, height: size.height, boxes, scores: None }
    }

    /// Regions with scores.
    pub fn scored(file: String, size: Size, found: &[Candidate]) -> Self {
        let boxes: Vec<Box2d> = found.iter().map(|c| c.bounds).collect();
        let scores = Some(found.iter().map(|c| c.score).collect());
        Self { scores, ..Self::boxes(file, size, &boxes) }
    }

    /// What is wrong with it, if anything.
    fn fault(&self) -> Option<String> {
        if self.file.is_empty() || self.width == 0 || self.height == 0 {
            return Some("a picture without name or extent".into());
        }
        if self.scores.as_ref().is_some_and(|scores| scores.len() != self.boxes.len()) {
            return Some("`scores` are not as many as `boxes`".into());
        }
        let (right, bottom) = (f64::from(self.width) + SLACK, f64::from(self.height) + SLACK);
        let good = |b: &[f64; 4]| {
            let inside = b[0] >= -SLACK && b[1] >= -SLACK && b[2] <= right && b[3] <= bottom;
            inside && !Box2d::from(*b).degenerate()
        };
        let bad = self.boxes.iter().position(|b| !good(b))?;
        Some(format!(
            "boxes[{bad}] is {:?}; it takes [x1, y1, x2, y2] with x1 < x2 and y1 < y2, inside {}x{}",
            self.boxes[bad], self.width, self.height
        ))
    }
}

impl ProposalFile {
    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write_atomically(path, |out| Ok(serde_json::to_writer(out, self)?))
    }
}

/// Regions of many pictures, found by the pictures' names.
#[derive(Clone, Debug)]
pub struct Proposals {
    /// Where they come from, for messages.
    name: String,
    pictures: Vec<Proposed>,
    /// Entries by the last part of their name.
    by_last: HashMap<String, Vec<usize>>,
    fingerprint: String,
}

impl Proposals {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Error::Input`] naming file, place and fault; [`Error::Limit`] for one that is too large; [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = files::read_limited(path, MOST_BYTES)?;
        Self::parse(&bytes, path.display().to_string())
    }

    /// What a file of this name holds.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(bytes: &[u8], name: String) -> Result<Self> {
        let file: ProposalFile = serde_json::from_slice(bytes).map_err(|e| {
            Error::Input(format!(
                "{name}: no file of proposals: {e}. `opticus detect propose --to` writes them"
            ))
        })?;
        if file.version != VERSION {
            return Err(Error::Input(format!(
                "{name}: proposals of version {}; this program reads version {VERSION}",
                file.version
            )));
        }
        let mut by_last: HashMap<String, Vec<usize>> = HashMap::new();
        let mut names = HashMap::new();
        for (number, picture) in file.pictures.iter().enumerate() {
            let place = || format!("{name}: pictures[{number}] ({})", picture.file);
            if let Some(fault) = picture.fault() {
                return Err(Error::Input(format!("{}: {fault}", place())));
            }
            let parts = parts(&picture.file);
            by_last.entry(parts.last().map_or_else(String::new, |p| (*p).into())).or_default().push(number);
            if let Some(first) = names.insert(parts.join("/"), number) {
                return Err(Error::Input(format!("{}: the same picture as pictures[{first}]", place())));
            }
        }
        let fingerprint = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { name, pictures: file.pictures, by_last, fingerprint })
    }

    /// SHA-256 of the file, in hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The regions of a picture of this name and size, best first.
    ///
    /// # Errors
    /// [`Error::Input`] if there are none, if two entries fit equally well, or if they are of another size.
    pub fn of(&self, picture: &str, size: Size) -> Result<Vec<Box2d>> {
        let Self { name, .. } = self;
        let own = parts(picture);
        let entries = own.last().and_then(|last| self.by_last.get(*last)).map_or(&[][..], Vec::as_slice);
        let fitting = entries.iter().filter_map(|&number| {
            let its = parts(&self.pictures[number].file);
            let shared = own.iter().rev().zip(its.iter().rev()).take_while(|(a, b)| a == b).count();
            (shared == own.len().min(its.len())).then_some((shared, number))
        });
        let fitting: Vec<(usize, usize)> = fitting.collect();
        let most = fitting.iter().map(|(shared, _)| *shared).max();
        let mut best = fitting.iter().filter(|(shared, _)| Some(*shared) == most).map(|(_, number)| *number);
        let Some(number) = best.next() else {
            return Err(Error::Input(format!(
                "{name} has no proposals for {picture}; let `opticus detect propose` look at the same pictures"
            )));
        };
        let entry = &self.pictures[number];
        if let Some(other) = best.next() {
            return Err(Error::Input(format!(
                "{name}: both {} and {} may be {picture}; name pictures by their folders, too",
                entry.file, self.pictures[other].file
            )));
        }
        if size != Size::new(entry.width, entry.height) {
            return Err(Error::Input(format!(
                "{name}: {} is {}x{}, but the picture {picture} is {}x{}; the proposals are those of another picture, \
                 or of one that was turned or scaled",
                entry.file, entry.width, entry.height, size.width, size.height
            )));
        }
        // The slack is of use to nobody.
        let boxes = entry.boxes.iter().map(|b| Box2d::from(*b).clipped(size));
        Ok(boxes.filter(|b| !b.degenerate()).collect())
    }
}

/// The parts of a path, whatever the system that wrote it.
fn parts(name: &str) -> Vec<&str> {
    name.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn file(names: &[&str]) -> Vec<u8> {
        let size = Size::new(20, 10);
        let entry = |(i, name): (usize, &&str)| {
            Proposed::boxes((*name).into(), size, &[Box2d::new(0.0, 0.0, 1.0 + i as f64, 2.5)])
        };
        let pictures = names.iter().enumerate().map(entry).collect();
        serde_json::to_vec(&ProposalFile { version: VERSION, source: "test".into(), pictures }).unwrap()
    }

    #[test]
    fn a_picture_is_found_by_the_end_of_its_name() {
        let all = Proposals::parse(&file(&["images/a.jpg", "more/a.jpg", "b.jpg"]), "p".into()).unwrap();
        let of = |name: &str| all.of(name, Size::new(20, 10)).map(|boxes| boxes[0].x2);
        assert_eq!(of("/photos/images/a.jpg").unwrap(), 1.0);
        assert_eq!(of("./more/a.jpg").unwrap(), 2.0);
        assert_eq!(of(r"c:\more\a.jpg").unwrap(), 2.0);
        assert_eq!(of("any/where/b.jpg").unwrap(), 3.0);
        assert!(of("a.jpg").unwrap_err().to_string().contains("both images/a.jpg and more/a.jpg"));
        assert!(of("other/a.jpg").unwrap_err().to_string().contains("no proposals for other/a.jpg"));
        assert!(of("xb.jpg").is_err());
        let turned = all.of("b.jpg", Size::new(10, 20)).unwrap_err().to_string();
        assert!(turned.contains("b.jpg is 20x10"), "{turned}");
    }

    #[test]
    fn a_longer_fit_wins() {
        let all = Proposals::parse(&file(&["a.jpg", "x/a.jpg"]), "p".into()).unwrap();
        assert_eq!(all.of("y/x/a.jpg", Size::new(20, 10)).unwrap()[0].x2, 2.0);
        assert_eq!(all.of("y/z/a.jpg", Size::new(20, 10)).unwrap()[0].x2, 1.0);
    }

    #[test]
    fn hostile_files_are_refused_with_the_place() {
        let entry = |inner: &str| {
            format!(r#"{{"version":1,"pictures":[{{"file":"a","width":9,"height":9,{inner}}}]}}"#)
        };
        let cases = [
            ("[".to_owned(), "line 1 column"),
            ("{}".to_owned(), "version"),
            (r#"{"version":2,"pictures":[]}"#.to_owned(), "version 2"),
            (entry(r#""boxes":[[0,0,1,1],[0,0,0,1]]"#), "pictures[0] (a): boxes[1]"),
            (entry(r#""boxes":[[3,0,1,1]]"#), "boxes[0]"),
            (entry(r#""boxes":[[0,0,1,99]]"#), "inside 9x9"),
            (entry(r#""boxes":[[0,0,1]]"#), "length"),
            (entry(r#""boxes":[[0,0,1,1e999]]"#), "number out of range"),
            (entry(r#""boxes":[[0,0,1,null]]"#), "null"),
            (entry(r#""boxes":[[0,0,1,1]],"scores":[]"#), "scores"),
            (entry(r#""boxes":[],"bboxes":[]"#), "bboxes"),
        ];
        for (text, part) in cases {
            let error = Proposals::parse(text.as_bytes(), "p.json".into()).unwrap_err().to_string();
            assert!(error.starts_with("p.json: ") && error.contains(part), "{text}\n{error}");
        }
        let twice = Proposals::parse(&file(&["x/a.jpg", "./x/a.jpg"]), "p".into()).unwrap_err().to_string();
        assert!(twice.contains("the same picture as pictures[0]"), "{twice}");
    }

    #[test]
    fn written_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.json");
        let found = [Candidate { bounds: Box2d::new(-0.5, 1.0, 8.25, 10.0), score: 0.75, class: 0 }];
        let pictures = vec![Proposed::scored("a.png".into(), Size::new(9, 10), &found)];
        ProposalFile { version: VERSION, source: "test".into(), pictures }.save(&path).unwrap();
        let all = Proposals::read(&path).unwrap();
        assert_eq!(all.of("a.png", Size::new(9, 10)).unwrap(), [Box2d::new(0.0, 1.0, 8.25, 10.0)]);
        assert_eq!(all.fingerprint().len(), 64);
    }
}
