//! Procedural pictures of shapes: a data set for a machine without one.
//!
//! Ten classes of flat shapes with colour, texture, rotation, light, shadow, clutter, occlusion, blur and noise;
//! neither colour nor place nor size tells the class. Every picture is a pure function of (seed, number, side),
//! so any number of threads renders the same bytes, and the first thousand pictures of ten thousand are the
//! thousand of a smaller set.

mod color;
mod form;
mod paint;
mod scene;
mod silhouette;
mod write;

use std::sync::Arc;

use opticus_pixels::codec::{ColorMode, Limits};
use opticus_pixels::{Image8, Size};
use rayon::prelude::*;

use super::dataset::{Labelled, Records};
use super::sampler::{Purpose, rng_for};
use crate::error::{Error, Result};

pub use form::CLASSES;
pub use scene::Object;
pub use write::{Fractions, Task, Written, write};

/// Smallest and largest side of a picture.
const SIDES: std::ops::RangeInclusive<u32> = 16..=1024;
/// The most pictures of one set.
const MAX_COUNT: usize = 10_000_000;

/// A set of shape pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shapes {
    /// Number of pictures.
    pub count: usize,
    /// Side of each, in pixels: 16 to 1024.
    pub side: u32,
    /// Another seed gives other pictures.
    pub seed: u64,
}

impl Shapes {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value.
    pub fn validate(&self) -> Result<()> {
        if !(1..=MAX_COUNT).contains(&self.count) {
            return Err(Error::Config(format!("count is {}; it is between 1 and {MAX_COUNT}", self.count)));
        }
        if !SIDES.contains(&self.side) {
            return Err(Error::Config(format!(
                "size is {}; it is between {} and {} pixels",
                self.side,
                SIDES.start(),
                SIDES.end()
            )));
        }
        Ok(())
    }

    /// The class of picture `number` when each shows one object: all classes in turn.
    pub const fn label(number: usize) -> usize {
        number % CLASSES.len()
    }

    /// Renders picture `number` with one object, of class [`Shapes::label`].
    pub fn single(&self, number: usize) -> Image8 {
        let cast = scene::Cast { only: Some(Self::label(number)), side: self.side };
        scene::render(cast, &mut rng_for(self.seed, Purpose::Synth, 0, number as u64)).0
    }

    /// Renders picture `number` as a plain shape of class [`Shapes::label`] on plain paper.
    pub fn silhouette(&self, number: usize) -> Image8 {
        let rng = &mut rng_for(self.seed, Purpose::Synth, 2, number as u64);
        silhouette::render(Self::label(number), self.side, rng)
    }

    /// Renders picture `number` with one to six objects, and says where they are, in drawing order. At least
    /// three fifths of each can be seen.
    pub fn several(&self, number: usize) -> (Image8, Vec<Object>) {
        let cast = scene::Cast { only: None, side: self.side };
        scene::render(cast, &mut rng_for(self.seed, Purpose::Synth, 1, number as u64))
    }
}

/// Renders a classification set in memory, all classes in turn, in parallel.
///
/// # Errors
/// [`Error::Config`] if the options are out of range or the pictures would take more than 4 GiB.
pub fn shapes(options: &Shapes) -> Result<Labelled> {
    in_memory(options, "shapes", Shapes::single)
}

/// As [`shapes`], each a plain shape on plain paper ([`Shapes::silhouette`]).
///
/// # Errors
/// As [`shapes`].
pub fn silhouettes(options: &Shapes) -> Result<Labelled> {
    in_memory(options, "silhouettes", Shapes::silhouette)
}

fn in_memory(options: &Shapes, name: &str, draw: fn(&Shapes, usize) -> Image8) -> Result<Labelled> {
    options.validate()?;
    let size = Size::new(options.side, options.side);
    let stride = size.area() as usize * 3;
    if (stride as u64).saturating_mul(options.count as u64) > 4 << 30 {
        return Err(Error::Config(format!(
            "{} pictures of {} pixels' side are more than 4 GiB; write them to disk instead",
            options.count, options.side
        )));
    }
    let mut data = vec![0u8; stride * options.count];
    data.par_chunks_mut(stride)
        .enumerate()
        .for_each(|(i, slot)| slot.copy_from_slice(&draw(options, i).data));
    let origin = format!("{name}-{}", options.seed);
    let records = Arc::new(Records { origin, size, channels: 3, data });
    let items = records.items((0..options.count).map(Shapes::label)).collect();
    Labelled::new(CLASSES.map(String::from).to_vec(), items, ColorMode::Rgb, Limits::default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::Dataset;
    use opticus_pixels::codec::encode_png;

    fn small(seed: u64) -> Shapes {
        Shapes { count: 40, side: 48, seed }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_for_any_number_of_threads() {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| shapes(&small(3)).unwrap().fingerprint().unwrap())
        };
        assert_eq!(with(1), with(4));
        assert_ne!(with(1), shapes(&small(4)).unwrap().fingerprint().unwrap());
    }

    #[test]
    fn silhouettes_have_one_colour_on_white() {
        for number in 0..20 {
            let picture = small(5).silhouette(number);
            let at = |x: usize, y: usize| &picture.data[(y * 48 + x) * 3..][..3];
            assert!(
                [(0, 0), (47, 0), (0, 47), (47, 47)].iter().all(|(x, y)| at(*x, *y).iter().all(|v| *v > 240))
            );
            let inked = picture.data.chunks(3).filter(|p| p.iter().any(|v| *v < 150)).count();
            assert!((150..1700).contains(&inked), "{number}: {inked}");
        }
        assert_ne!(
            silhouettes(&small(3)).unwrap().load(4).unwrap(),
            shapes(&small(3)).unwrap().load(4).unwrap()
        );
    }

    #[test]
    fn a_larger_set_begins_with_the_smaller() {
        let few = shapes(&small(0)).unwrap();
        let many = shapes(&Shapes { count: 60, ..small(0) }).unwrap();
        assert_eq!(few.load(39).unwrap(), many.load(39).unwrap());
        assert_eq!(few.class_counts(), vec![4; 10]);
    }

    #[test]
    fn objects_are_visible_and_their_boxes_are_within_the_picture() {
        let set = Shapes { count: 60, side: 96, seed: 1 };
        let mut labels = [0; 10];
        let mut boxes = 0;
        for number in 0..60 {
            let (picture, objects) = set.several(number);
            assert_eq!(picture.data.len(), 96 * 96 * 3);
            assert!((1..=6).contains(&objects.len()), "{} objects in {number}", objects.len());
            for object in objects {
                let [x, y, w, h] = object.bounds;
                assert!(w >= 4 && h >= 4 && x + w <= 96 && y + h <= 96, "{object:?}");
                assert!(object.area > 0 && object.area <= w * h, "{object:?}");
                assert!((0.6..=1.001).contains(&object.visible), "{object:?}");
                labels[object.label] += 1;
                boxes += 1;
            }
        }
        assert!(boxes > 120 && labels.iter().all(|n| *n > 3), "{boxes}: {labels:?}");
    }

    #[test]
    fn bad_options_are_refused() {
        for bad in [
            Shapes { count: 0, ..small(0) },
            Shapes { side: 8, ..small(0) },
            Shapes { side: 9999, ..small(0) },
        ] {
            assert!(matches!(shapes(&bad), Err(Error::Config(_))));
        }
        assert!(shapes(&Shapes { count: 9_000_000, side: 1024, seed: 0 }).is_err());
    }

    #[test]
    fn written_sets_open_again_with_the_same_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let set = small(2);
        let fractions = Fractions { val: 0.25, test: 0.25 };
        let written = write(&folder.path().join("c"), &set, Task::Classify, fractions).unwrap();
        assert_eq!(
            written.parts,
            [(crate::data::Split::Train, 20), (crate::data::Split::Val, 10), (crate::data::Split::Test, 10)]
        );
        let opened =
            crate::data::open(&folder.path().join("c"), Default::default(), &Default::default()).unwrap();
        assert_eq!(opened.classes(), CLASSES);
        assert_eq!((opened.train.len(), opened.val.unwrap().len(), opened.test.unwrap().len()), (20, 10, 10));
        let first = (0..20).find(|i| opened.train.name(*i).ends_with("000007.png")).unwrap();
        assert_eq!(opened.train.load(first).unwrap(), set.single(7));
        assert!(
            write(folder.path(), &set, Task::Classify, fractions).is_err(),
            "a folder that holds something"
        );
    }

    #[test]
    fn detection_sets_are_coco() {
        let folder = tempfile::tempdir().unwrap();
        let written = write(folder.path(), &small(2), Task::Detect, Fractions::default()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("instances.json")).unwrap();
        let coco: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(coco["images"].as_array().unwrap().len(), 40);
        assert_eq!(coco["annotations"].as_array().unwrap().len(), written.boxes);
        assert_eq!(coco["categories"][9]["name"], "triangle");
        let image = folder.path().join("images").join(coco["images"][3]["file_name"].as_str().unwrap());
        assert!(image.is_file());
    }

    /// Not a check: `OPTICUS_SHEET=sheet.png cargo test -- --ignored sheet` writes pictures to look at.
    #[test]
    #[ignore = "writes a contact sheet to look at"]
    fn sheet() {
        let Some(path) = std::env::var_os("OPTICUS_SHEET") else { return };
        let (columns, rows, side, gap) = (10usize, 8usize, 96usize, 4usize);
        let several = std::env::var_os("OPTICUS_SHEET_SEVERAL").is_some();
        let set = Shapes { count: columns * rows, side: side as u32, seed: 0 };
        let (width, height) = (columns * (side + gap) + gap, rows * (side + gap) + gap);
        let mut data = vec![255u8; width * height * 3];
        for number in 0..columns * rows {
            let picture = if several { set.several(number).0 } else { set.single(number) };
            let (x, y) = (number % columns * (side + gap) + gap, number / columns * (side + gap) + gap);
            for row in 0..side {
                let to = ((y + row) * width + x) * 3;
                data[to..to + side * 3].copy_from_slice(&picture.data[row * side * 3..][..side * 3]);
            }
        }
        let sheet = Image8 { size: Size::new(width as u32, height as u32), channels: 3, data };
        std::fs::write(path, encode_png(&sheet).unwrap()).unwrap();
    }
}
