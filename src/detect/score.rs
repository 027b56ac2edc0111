//! From files of what is there and files of what was found to what [`metrics`](super::metrics) compares.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;

use opticus_pixels::Size;
use opticus_pixels::codec::Limits;

use super::metrics::{Found, Truth};
use crate::data::Format;
use crate::data::detection::coco::{self, Detection, Keep};
use crate::data::detection::text::{TextBoxes, read_folder};
use crate::data::detection::yolo::parse_line;
use crate::data::detection::{self, Annotated};
use crate::data::json::{self, Kind, Reader};
use crate::error::{Error, Result};

/// How the files of a comparison are read.
#[derive(Clone, Debug, Default)]
pub struct ScoreFiles {
    /// Kind of data set that the truth is.
    pub format: Format,
    /// What the numbers of plain text mean.
    pub boxes: TextBoxes,
    /// Size of all pictures, for plain text in fractions of it.
    pub image_size: Option<Size>,
}

/// Objects and detections, ready to be compared.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Labels of the classes.
    pub classes: Vec<String>,
    /// Number of pictures.
    pub images: usize,
    /// What is there.
    pub truth: Vec<Truth>,
    /// What was found.
    pub found: Vec<Found>,
    /// Plain text on both sides: boxes as the VOC tools write them, whose far corners count as inside.
    pub plain_text: bool,
    /// What people should know.
    pub notes: Vec<String>,
}

/// What is there, and by which names detections refer to it.
#[derive(Default)]
struct Known {
    comparison: Comparison,
    /// Pictures by number, and by name without folder and ending.
    by_id: HashMap<i64, u32>,
    by_stem: HashMap<String, u32>,
    /// Classes by the number that a results file gives them.
    classes: HashMap<i64, u32>,
    format: Option<Format>,
    sizes: Vec<Size>,
}

/// Reads both sides of a comparison. `truth` is COCO instances, a VOC or YOLO data set, or a folder of plain text;
/// `found` is COCO results, what `detect predict --json` prints, or a folder of text files, named as the pictures.
///
/// # Errors
/// [`Error::Input`] with file and place, [`Error::Config`], [`Error::Io`].
pub fn read(truth: &Path, found: &Path, files: &ScoreFiles) -> Result<Comparison> {
    let metadata = std::fs::metadata(truth).map_err(|e| Error::io("open the truth", truth, e))?;
    let plain = files.format == Format::Auto && metadata.is_dir() && detection::recognise(truth)?.is_none();
    let coco = metadata.is_file() && matches!(files.format, Format::Auto | Format::Coco) && !is_yaml(truth);
    let mut known = if coco {
        from_instances(truth)?
    } else if plain {
        from_text(truth, found, files)?
    } else {
        from_data_set(truth, files.format)?
    };
    let metadata = std::fs::metadata(found).map_err(|e| Error::io("open the detections", found, e))?;
    if metadata.is_file() {
        add_document(&mut known, truth, found)?;
    } else if known.format == Some(Format::Yolo) {
        add_yolo_folder(&mut known, found)?;
    } else {
        add_text_folder(&mut known, found, files)?;
    }
    Ok(known.comparison)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml"))
}

fn stem(name: &str) -> &str {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// As pycocotools reads it: pictures and categories in order of their numbers, annotations of others left out, boxes
/// and areas as written.
fn from_instances(path: &Path) -> Result<Known> {
    let instances = coco::read_instances(path, Keep::Nothing)?;
    let mut known = Known { format: Some(Format::Coco), ..Known::default() };
    let mut pictures = instances.pictures;
    pictures.sort_by_key(|p| p.id);
    pictures.dedup_by_key(|p| p.id);
    for (i, picture) in pictures.iter().enumerate() {
        known.by_id.insert(picture.id, i as u32);
        known.by_stem.insert(stem(&picture.file_name).to_string(), i as u32);
        known.sizes.push(Size::new(picture.size[0], picture.size[1]));
    }
    let mut categories = instances.categories;
    categories.sort_by_key(|c| c.id);
    categories.dedup_by_key(|c| c.id);
    known.classes = categories.iter().enumerate().map(|(i, c)| (c.id, i as u32)).collect();
    let notes = &mut known.comparison.notes;
    let (mut strangers, mut without, mut unsized_, mut numbered_zero) = (0, 0, 0, 0);
    let mut seen = std::collections::HashSet::with_capacity(instances.annotations.len());
    for a in instances.annotations {
        if let Some(id) = a.id.filter(|id| !seen.insert(*id)) {
            return Err(Error::Input(format!(
                "{}: line {}: a second annotation with the number {id}; which one counts is not said. Number them \
                 from 1",
                path.display(),
                a.line
            )));
        }
        let (Some(&image), Some(&class)) = (known.by_id.get(&a.image), known.classes.get(&a.category)) else {
            strangers += 1;
            continue;
        };
        let Some(bbox) = a.bbox.filter(|b| b.iter().all(|v| v.is_finite())) else {
            without += 1;
            continue;
        };
        unsized_ += usize::from(a.area.is_none());
        numbered_zero += usize::from(a.id == Some(0));
        known.comparison.truth.push(Truth {
            image,
            class,
            bbox,
            area: a.area.unwrap_or(bbox[2] * bbox[3]),
            crowd: a.crowd,
            difficult: a.difficult,
            number_zero: a.id == Some(0),
        });
    }
    for (count, what) in [
        (strangers, "annotations of pictures or categories that are not listed are left out"),
        (without, "annotations without a box of finite numbers are left out"),
        (unsized_, "annotations have no `area`; their box's is taken"),
        (
            numbered_zero,
            "annotation has the number 0, which COCO's evaluation takes for no match: number from 1",
        ),
    ] {
        if count > 0 {
            notes.push(format!("{}: {count} {what}", path.display()));
        }
    }
    known.comparison.images = pictures.len();
    known.comparison.classes = categories.into_iter().map(|c| c.name).collect();
    Ok(known)
}

/// The objects of a data set, pictures in its order. Crowds and difficult objects are marked; areas are the
/// annotations'.
pub fn truth_of(data: &Annotated) -> Vec<Truth> {
    let of_picture = |(image, picture): (usize, &detection::Picture)| -> Vec<Truth> {
        picture.annotations.iter().map(|a| truth(image as u32, a)).collect()
    };
    data.pictures().iter().enumerate().flat_map(of_picture).collect()
}

fn truth(image: u32, a: &detection::Annotation) -> Truth {
    Truth {
        image,
        class: a.class as u32,
        bbox: a.bounds.to_xywh(),
        area: a.area,
        crowd: a.crowd,
        difficult: a.difficult,
        number_zero: false,
    }
}

fn from_data_set(path: &Path, format: Format) -> Result<Known> {
    let listing = detection::read(path, format, &Limits::default())?;
    let mut known = Known { format: Some(listing.format), ..Known::default() };
    for (i, (_, picture)) in listing.pictures.iter().enumerate() {
        known.by_id.insert(picture.id, i as u32);
        known.by_stem.insert(stem(&picture.relative).to_string(), i as u32);
        known.sizes.push(picture.size);
        known.comparison.truth.extend(picture.annotations.iter().map(|a| truth(i as u32, a)));
    }
    known.comparison.notes = listing.notes;
    if listing.faults.total() > 0 {
        known.comparison.notes.push(format!("{}: left out: {}", path.display(), listing.faults.summary()));
    }
    known.comparison.images = listing.pictures.len();
    known.classes = (0..listing.classes.len()).map(|i| (i as i64 + 1, i as u32)).collect();
    known.comparison.classes = listing.classes;
    Ok(known)
}

fn from_text(truth: &Path, found: &Path, files: &ScoreFiles) -> Result<Known> {
    let read = read_folder(truth, false, files.boxes, files.image_size)?;
    if read.is_empty() {
        return Err(Error::Input(format!(
            "{} has no annotations: no COCO, VOC or YOLO data set, and no .txt file with lines `label x y width height`",
            truth.display()
        )));
    }
    let classes: BTreeSet<&str> = read.iter().flat_map(|f| &f.boxes).map(|b| b.label.as_str()).collect();
    let classes: Vec<String> = classes.into_iter().map(String::from).collect();
    let index: HashMap<&str, u32> = classes.iter().enumerate().map(|(i, c)| (c.as_str(), i as u32)).collect();
    let mut known = Known::default();
    for (image, file) in read.iter().enumerate() {
        known.by_stem.insert(file.stem.clone(), image as u32);
        known.by_id.insert(image as i64 + 1, image as u32);
        for b in &file.boxes {
            known.comparison.truth.push(Truth {
                image: image as u32,
                class: index.get(b.label.as_str()).copied().unwrap_or(u32::MAX),
                bbox: b.bbox,
                area: b.bbox[2] * b.bbox[3],
                crowd: false,
                difficult: false,
                number_zero: false,
            });
        }
    }
    known.classes = (0..classes.len()).map(|i| (i as i64 + 1, i as u32)).collect();
    known.comparison.images = read.len();
    known.comparison.plain_text = found.is_dir();
    known.comparison.classes = classes;
    Ok(known)
}

/// Detections of classes that nobody knows are left out, as the reference tools do, and counted.
struct Strangers(usize);

impl Strangers {
    fn note(self, known: &mut Known, found: &Path) {
        if self.0 > 0 {
            let what = "detections are of classes that the truth does not have, and are left out";
            known.comparison.notes.push(format!("{}: {} {what}", found.display(), self.0));
        }
    }
}

fn add_document(known: &mut Known, truth: &Path, found: &Path) -> Result<()> {
    let file = File::open(found).map_err(|e| Error::io("read", found, e))?;
    let kind = Reader::new(file).peek();
    if matches!(kind, Ok(Kind::Object)) {
        return add_predictions(known, truth, found);
    }
    let mut strangers = Strangers(0);
    let (by_id, classes) = (&known.by_id, &known.classes);
    let out = &mut known.comparison.found;
    coco::read_results(found, |d: Detection| {
        let Some(&image) = by_id.get(&d.image) else {
            return Err(format!("image_id {} is not among the pictures of {}", d.image, truth.display()));
        };
        match classes.get(&d.category) {
            Some(&class) => out.push(Found { image, class, bbox: d.bbox, score: d.score }),
            None => strangers.0 += 1,
        }
        Ok(())
    })?;
    strangers.note(known, found);
    Ok(())
}

/// What `detect predict --json` prints.
fn add_predictions(known: &mut Known, truth: &Path, found: &Path) -> Result<()> {
    let file = File::open(found).map_err(|e| Error::io("read", found, e))?;
    let mut reader = Reader::new(file);
    let mut strangers = Strangers(0);
    let labels: HashMap<&str, u32> =
        known.comparison.classes.iter().enumerate().map(|(i, c)| (c.as_str(), i as u32)).collect();
    let by_stem = &known.by_stem;
    let out = &mut known.comparison.found;
    let mut any = false;
    let read = reader.object(|r, key| {
        if key != "predictions" {
            return r.skip();
        }
        any = true;
        r.array(|r| {
            let (mut image, first) = (None, out.len());
            r.object(|r, key| match key {
                "file" => {
                    let name = r.text()?;
                    let known = by_stem.get(stem(&name)).copied();
                    image = Some(known.ok_or_else(|| {
                        r.fault(format!("{name} is not among the pictures of {}", truth.display()))
                    })?);
                    Ok(())
                }
                "detections" => r.array(|r| {
                    match prediction(r, &labels)? {
                        Some(detection) => out.push(detection),
                        None => strangers.0 += 1,
                    }
                    Ok(())
                }),
                _ => r.skip(),
            })?;
            let image = image.ok_or_else(|| r.fault("a prediction without `file`"))?;
            out[first..].iter_mut().for_each(|d| d.image = image);
            Ok(())
        })
    });
    let read = read.and_then(|()| reader.finish()).and_then(|()| match any {
        true => Ok(()),
        false => Err(reader.fault(
            "neither COCO results (a list of detections) nor what `opticus detect predict --json` prints",
        )),
    });
    read.map_err(|fault| match fault {
        json::Fault::Io(e) => Error::io("read", found, e),
        fault => Error::Input(format!("{}: {fault}", found.display())),
    })?;
    strangers.note(known, found);
    Ok(())
}

/// `None` for a label that is not known.
fn prediction(reader: &mut Reader<File>, labels: &HashMap<&str, u32>) -> json::Result<Option<Found>> {
    let (mut class, mut score, mut corners, mut count) = (None, None, [f64::NAN; 4], 0);
    reader.object(|r, key| {
        match key {
            "label" => class = labels.get(r.text()?.as_str()).copied(),
            "score" => score = Some(r.number()?),
            "box" => r.array(|r| {
                let value = r.number()?;
                if let Some(place) = corners.get_mut(count) {
                    *place = value;
                }
                count += 1;
                Ok(())
            })?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    let [x1, y1, x2, y2] = corners;
    let score = score.filter(|s| !s.is_nan()).ok_or_else(|| reader.fault("a detection without a `score`"))?;
    if count != 4 || !corners.iter().all(|v| v.is_finite()) {
        return Err(reader.fault("a detection whose `box` is not four finite numbers"));
    }
    Ok(class.map(|class| Found { image: 0, class, bbox: [x1, y1, x2 - x1, y2 - y1], score }))
}

fn picture_of(known: &Known, folder: &Path, stem: &str) -> Result<u32> {
    known.by_stem.get(stem).copied().ok_or_else(|| {
        let file = folder.join(format!("{stem}.txt"));
        Error::Input(format!("{}: the truth has no picture of that name", file.display()))
    })
}

fn add_text_folder(known: &mut Known, found: &Path, files: &ScoreFiles) -> Result<()> {
    let read = read_folder(found, true, files.boxes, files.image_size)?;
    let mut strangers = Strangers(0);
    for file in read {
        let image = picture_of(known, found, &file.stem)?;
        for b in file.boxes {
            let class = known.comparison.classes.iter().position(|c| *c == b.label);
            match (class, b.score) {
                (Some(class), Some(score)) => {
                    known.comparison.found.push(Found { image, class: class as u32, bbox: b.bbox, score });
                }
                _ => strangers.0 += 1,
            }
        }
    }
    strangers.note(known, found);
    Ok(())
}

/// `class x y width height score`, as Ultralytics saves what it found.
fn add_yolo_folder(known: &mut Known, found: &Path) -> Result<()> {
    let mut strangers = Strangers(0);
    let mut files: Vec<_> = std::fs::read_dir(found)
        .map_err(|e| Error::io("list the folder", found, e))?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("txt")))
        .collect();
    files.sort();
    for path in files {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let image = picture_of(known, found, stem(&name))?;
        let size = known.sizes[image as usize];
        let bytes = crate::files::read_limited(&path, 256 << 20)?;
        for (i, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let fault = |why: String| Error::Input(format!("{}: line {}: {why}", path.display(), i + 1));
            let read = parse_line(line).map_err(fault)?;
            let score = read
                .score
                .filter(|s| !s.is_nan())
                .ok_or_else(|| fault("no score: a detection is `class x y width height score`".into()))?;
            if read.class >= known.comparison.classes.len() {
                strangers.0 += 1;
                continue;
            }
            let bounds = read.bounds.scaled([f64::from(size.width), f64::from(size.height)]);
            let (class, bbox) = (read.class as u32, bounds.to_xywh());
            known.comparison.found.push(Found { image, class, bbox, score });
        }
    }
    strangers.note(known, found);
    Ok(())
}
