//! The one path from a picture to detections: training's evaluation, the command line and the library all end in
//! [`Detector::detect`].

use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use opticus_pixels::Image8;
use opticus_pixels::codec::{self, ColorMode, Limits};
use opticus_pixels::geometry::Box2d;
use opticus_pixels::preprocess::Planes;
use opticus_pixels::propose::{Effort, Proposing, propose};
use opticus_pixels::suppress::Candidate;

use super::dataset::Pictures;
use super::metrics::{DetectScores, Found, Style, Truth};
use super::net::{DetectorConfig, DetectorNet, Stages};
use super::one_stage::GridDetector;
use super::score::truth_of;
use super::suppression::Suppression;
use super::transform::Transform;
use super::two_stage::RegionDetector;
use crate::bundle::{self, Bundle, Card, senseless};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::nets::state;

/// A trained detector: network, class names and the input that it was trained with.
#[derive(Debug)]
pub struct Detector {
    config: DetectorConfig,
    classes: Vec<String>,
    transform: Transform,
    parameters: u64,
    way: Way,
}

#[derive(Debug)]
enum Way {
    One(GridDetector),
    Two(RegionDetector),
}

impl Detector {
    /// Loads an Opticus model file; it holds everything that prediction needs.
    ///
    /// # Errors
    /// [`Error::ModelFile`] naming the file and what is wrong with it; [`Error::Io`].
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bundle(bundle::load(path)?, device).map_err(|e| e.of_model(path))
    }

    /// A detector from a model file's contents.
    ///
    /// # Errors
    /// [`Error::ModelFile`] if it is for another job, or its parts do not fit each other.
    pub fn from_bundle(bundle: Bundle, device: &Device) -> Result<Self> {
        bundle.card.expect_job(super::JOB)?;
        let Card { net, classes, preprocessing, .. } = bundle.card;
        let config: DetectorConfig = bundle::from_json("net", net)?;
        config.validate().map_err(senseless("net"))?;
        let transform: Transform = bundle::from_json("preprocessing", preprocessing)?;
        let net = config.load(&bundle.tensors, device)?;
        Self::from_parts(&net, config, classes, transform)
    }

    /// A detector from its parts, which must fit each other.
    ///
    /// # Errors
    /// [`Error::ModelFile`] if they do not.
    pub fn from_parts(
        net: &DetectorNet,
        config: DetectorConfig,
        classes: Vec<String>,
        transform: Transform,
    ) -> Result<Self> {
        transform.validate().map_err(senseless("preprocessing"))?;
        if classes.len() != config.classes() {
            return Err(Error::ModelFile(format!(
                "the model names {} classes but its network has {}",
                classes.len(),
                config.classes()
            )));
        }
        let way = match (net.valid(), &config.stages) {
            (DetectorNet::Grid(net), Stages::One(one)) => {
                Way::One(GridDetector::new(&net, one.clone(), transform.clone())?)
            }
            (DetectorNet::Regions(net), Stages::Two(two)) => {
                Way::Two(RegionDetector::new(&net, two.clone(), transform.clone())?)
            }
            _ => return Err(Error::ModelFile("the network is not of the configured kind".to_owned())),
        };
        let parameters = state::parameter_count(net) as u64;
        Ok(Self { config, classes, transform, parameters, way })
    }

    /// The same with another way to make one box of many.
    #[must_use]
    pub fn with_suppression(mut self, suppression: Suppression) -> Self {
        match &mut self.way {
            Way::One(detector) => detector.suppress_by(suppression),
            Way::Two(detector) => detector.suppress_by(suppression),
        }
        self
    }

    /// Class names, by index.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What the network is.
    pub fn config(&self) -> &DetectorConfig {
        &self.config
    }

    /// Number of trained values.
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// How pictures are prepared for the network.
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// Decodes a file for this model.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file.
    pub fn read(&self, path: &Path, limits: &Limits) -> Result<Image8> {
        read(path, limits)
    }

    /// What is in a picture of any size: best first, boxes in pixels of the picture, classes from 0. A network that
    /// proposes no regions gets those of selective search.
    ///
    /// # Errors
    /// [`Error::Input`] for a picture that is too large.
    pub fn detect(&self, image: &Image8) -> Result<Vec<Candidate>> {
        let searched = self.config.needs_proposals().then(|| search(image));
        self.detect_in(image, searched.as_deref().unwrap_or_default())
    }

    /// [`Self::detect`] with regions from elsewhere, best first, in pixels of the picture. A network that proposes its
    /// own does not look at them.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn detect_in(&self, image: &Image8, proposals: &[Box2d]) -> Result<Vec<Candidate>> {
        match &self.way {
            Way::One(detector) => detector.detect(&planes(image)),
            Way::Two(detector) => detector.detect(&planes(image), proposals),
        }
    }

    /// Whether the network proposes regions.
    pub fn proposes(&self) -> bool {
        match &self.way {
            Way::One(_) => false,
            Way::Two(detector) => !detector.needs_proposals(),
        }
    }

    /// Regions in which the network looks, best first, in pixels of the picture; `None` if it proposes none.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn propose(&self, image: &Image8) -> Result<Option<Vec<Candidate>>> {
        match &self.way {
            Way::Two(detector) if !detector.needs_proposals() => detector.propose(&planes(image)).map(Some),
            Way::One(_) | Way::Two(_) => Ok(None),
        }
    }
}

/// Decodes a file as detectors and searches take it.
///
/// # Errors
/// [`Error::Input`] naming the file.
pub fn read(path: &Path, limits: &Limits) -> Result<Image8> {
    codec::decode_file(path, limits)
        .map(|d| d.into_image8(ColorMode::Rgb))
        .map_err(|e| Error::Input(format!("{}: {e}", path.display())))
}

/// Regions that may hold an object, by selective search: what R-CNN and Fast R-CNN look at, in training and after.
pub fn search(image: &Image8) -> Vec<Box2d> {
    propose(image, &Proposing::new(SEARCH))
}

/// How thoroughly [`search`] looks.
pub const SEARCH: Effort = Effort::Fast;

/// Red, green and blue planes in 0 to 1.
pub(super) fn planes(image: &Image8) -> Planes {
    let image = image.to_mode(ColorMode::Rgb);
    let area = image.size.area() as usize;
    let mut data = vec![0.0f32; 3 * area];
    for (channel, plane) in data.chunks_exact_mut(area.max(1)).enumerate() {
        let samples = image.data.iter().skip(channel).step_by(3);
        plane.iter_mut().zip(samples).for_each(|(value, sample)| *value = f32::from(*sample) / 255.0);
    }
    Planes { channels: 3, size: image.size, data }
}

/// What a detector found in annotated pictures beside what is there.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Class names.
    pub classes: Vec<String>,
    /// Number of pictures.
    pub images: usize,
    /// What is there.
    pub truth: Vec<Truth>,
    /// What was found.
    pub found: Vec<Found>,
    /// Seconds of detecting, decoding not included.
    pub seconds: f64,
}

impl Compared {
    /// How good the detections are.
    pub fn scores(&self, style: Style) -> DetectScores {
        DetectScores::of(style, &self.classes, self.images, &self.truth, &self.found)
    }
}

/// Runs a detector over annotated pictures: the same path as any prediction. `watch` gets each picture's number and
/// detections, for reports.
///
/// # Errors
/// [`Error::Input`] for a picture that cannot be read.
pub fn compare(
    detector: &Detector,
    pictures: &Pictures,
    mut watch: impl FnMut(usize, &[Candidate]),
) -> Result<Compared> {
    let (mut found, mut seconds) = (Vec::new(), 0.0);
    for index in 0..pictures.len() {
        let image = pictures.load(index)?;
        let proposals = match detector.config.needs_proposals() {
            true => pictures.proposals(index)?,
            false => Vec::new(),
        };
        let start = Instant::now();
        let detections = detector.detect_in(&image, &proposals)?;
        seconds += start.elapsed().as_secs_f64();
        found.extend(detections.iter().map(|d| Found {
            image: index as u32,
            class: d.class as u32,
            bbox: d.bounds.to_xywh(),
            score: d.score,
        }));
        watch(index, &detections);
    }
    let truth = truth_of(pictures.annotated());
    Ok(Compared { classes: detector.classes.clone(), images: pictures.len(), truth, found, seconds })
}

/// COCO's figures of a detector on annotated pictures.
///
/// # Errors
/// As [`compare`].
pub fn evaluate(detector: &Detector, pictures: &Pictures) -> Result<DetectScores> {
    Ok(compare(detector, pictures, |_, _| {})?.scores(Style::Coco))
}
