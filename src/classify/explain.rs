//! Why a network answered as it did: which parts of the picture carry the answer.
//!
//! Three methods, one result, a [`HeatMap`]:
//!
//! - **Grad-CAM** (Selvaraju et al. 2017): the last feature maps, each weighted by the mean gradient of the class's
//!   logit with respect to it, summed, negative values cut.
//! - **Grad-CAM++** (Chattopadhay et al. 2018): the same with gradients weighted place by place (their eq. 19), which
//!   finds several instances of a class better.
//! - **Occlusion** (Zeiler and Fergus 2014): a patch of the picture's mean colour is slid over the picture; a place is
//!   as hot as the class's probability falls when it is covered. Slow, but asks the network itself.
//!
//! [`Explainer::faithfulness`] then measures whether the heat deserves belief: removing the hottest pixels first
//! should lower the class's probability sooner than removing pixels at random.
//!
//! # Coordinates
//!
//! Heat maps have the size of the network's input: pixel `(x, y)` of the map is pixel `(x, y)` of what
//! [`Preprocessing::geometry`](opticus_pixels::preprocess::Preprocessing::geometry) makes of the upright picture.
//! What that crops away the network never saw, and it has no heat. A position of the last feature maps stands for
//! the input pixels around `centre + stride · (position − middle of the map)`: it is placed by the network's stride,
//! and not by stretching the map over the picture, which for networks without padding puts the heat several pixels
//! too far out.

mod faithfulness;
mod heat;

use std::sync::OnceLock;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use opticus_pixels::draw::overlay_heat;
use opticus_pixels::preprocess::{Planes, Preprocessing};
use opticus_pixels::resize::{Filter, resize};
use opticus_pixels::{Image8, Size};
use serde::{Deserialize, Serialize};

pub use faithfulness::{Curve, Faithfulness};
pub use heat::HeatMap;

use super::metrics::softmax;
use crate::error::{Error, Result};
use crate::nets::{Backbone, Net, Predictor};
use heat::Grid;

/// Pictures sent through the network at once.
const BATCH: usize = 16;

/// How the heat is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// Gradient-weighted class activation map.
    #[serde(rename = "grad-cam")]
    GradCam,
    /// Its refinement for several instances.
    #[serde(rename = "grad-cam++")]
    GradCamPlusPlus,
    /// Occlusion sensitivity.
    #[serde(rename = "occlusion")]
    Occlusion,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::GradCam, Self::GradCamPlusPlus, Self::Occlusion];

    /// The name a user types.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GradCam => "grad-cam",
            Self::GradCamPlusPlus => "grad-cam++",
            Self::Occlusion => "occlusion",
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

impl std::str::FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Config(format!("there is no method of explanation called `{name}`. Choose one of {names}"))
        })
    }
}

/// Size and step of the sliding patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occlusion {
    /// Side of the patch in pixels of the network's input.
    pub patch: u32,
    /// Pixels from one place to the next.
    pub step: u32,
}

impl Occlusion {
    /// A patch of a fifth of the shorter side, moved by a quarter of itself.
    pub fn fitting(planes: &Planes) -> Self {
        let shorter = planes.size.width.min(planes.size.height);
        let patch = shorter.div_ceil(5).max(1);
        Self { patch, step: (patch / 4).max(1) }
    }
}

/// How opaque the hottest place of an overlay is.
const OPACITY: f32 = 0.6;

/// The heat of one class in one picture.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What the network saw of the picture: resized and cropped.
    pub seen: Image8,
    /// The class explained.
    pub class: usize,
    /// What the network gives it.
    pub probability: f64,
    /// How the heat was found.
    pub method: Method,
    /// Where the network finds what speaks for the class, in the coordinates of `seen`.
    pub heat: HeatMap,
}

impl Explanation {
    /// The picture with the heat over it. A picture whose longer side is shorter than `at_least` is enlarged by a
    /// whole number until it is not, so that the heat of small pictures can be seen.
    pub fn overlay(&self, at_least: u32) -> Image8 {
        let Size { width, height } = self.seen.size;
        let factor = at_least.div_ceil(width.max(height)).max(1);
        if factor == 1 {
            return overlay_heat(&self.seen, &self.heat.values, OPACITY);
        }
        let size = Size::new(width * factor, height * factor);
        let pixels = Grid { columns: width as usize, rows: height as usize, stride: factor as usize };
        let heat = pixels.spread(&self.heat.values, size);
        overlay_heat(&resize(&self.seen, size, Filter::Nearest), &heat, OPACITY)
    }
}

/// Explains the answers of one network.
#[derive(Debug)]
pub struct Explainer {
    net: Net,
    device: Device,
    /// Made for the first picture whose probabilities are asked for.
    predictor: OnceLock<Predictor>,
}

impl Explainer {
    /// For this network, which is used as in prediction: no dropout, running statistics.
    pub fn new(net: &Net, device: &Device) -> Self {
        Self { net: net.valid(), device: device.clone().inner(), predictor: OnceLock::new() }
    }

    /// Probabilities of all classes for one preprocessed picture.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the network's scores are not finite numbers.
    pub fn probabilities(&self, planes: &Planes) -> Result<Vec<f64>> {
        let mut all = self.run(planes, std::slice::from_ref(&planes.data))?;
        all.pop().ok_or_else(|| Error::Input("there is no picture to look at".to_owned()))
    }

    /// Explains one picture, brought to the network by the one preprocessing path: what speaks for `class`, or for
    /// the class that the network finds likeliest.
    ///
    /// # Errors
    /// As [`explain`](Self::explain).
    pub fn explain_picture(
        &self,
        preprocessing: &Preprocessing,
        image: &Image8,
        class: Option<usize>,
        method: Method,
    ) -> Result<Explanation> {
        self.explain_seen(preprocessing, preprocessing.geometry(image), class, method)
    }

    /// The same for a picture that was already brought to the network's size: a crop must not be cropped again.
    ///
    /// # Errors
    /// As [`explain`](Self::explain).
    pub fn explain_seen(
        &self,
        preprocessing: &Preprocessing,
        seen: Image8,
        class: Option<usize>,
        method: Method,
    ) -> Result<Explanation> {
        let planes = preprocessing.normalize(&seen);
        let probabilities = self.probabilities(&planes)?;
        let likeliest = || {
            (1..probabilities.len())
                .fold(0, |best, i| if probabilities[i] > probabilities[best] { i } else { best })
        };
        let class = class.unwrap_or_else(likeliest);
        check_class(class, probabilities.len())?;
        let heat = self.explain(&planes, class, method)?;
        Ok(Explanation { seen, class, probability: probabilities[class], method, heat })
    }

    /// Where the network finds what speaks for `class` in this preprocessed picture.
    ///
    /// # Errors
    /// [`Error::Input`] if the network has no such class; [`Error::Diverged`] if its values are not finite.
    pub fn explain(&self, planes: &Planes, class: usize, method: Method) -> Result<HeatMap> {
        match method {
            Method::GradCam => self.activation_map(planes, class, heat::grad_cam),
            Method::GradCamPlusPlus => self.activation_map(planes, class, heat::grad_cam_plus_plus),
            Method::Occlusion => self.occlude(planes, class, Occlusion::fitting(planes)),
        }
    }

    /// [`Method::Occlusion`] with a patch of one's own.
    ///
    /// # Errors
    /// As [`explain`](Self::explain), and [`Error::Config`] if the patch is not at least 1 and at most as large as
    /// the picture, or the step is 0.
    pub fn occlude(&self, planes: &Planes, class: usize, occlusion: Occlusion) -> Result<HeatMap> {
        let Occlusion { patch, step } = occlusion;
        let (width, height) = (planes.size.width, planes.size.height);
        if patch == 0 || step == 0 || patch > width.min(height) {
            return Err(Error::Config(format!(
                "an occluding patch of {patch} pixels moved by {step} does not fit a picture of {width}x{height}; \
                 use a patch of 1 to {} and a step of at least 1",
                width.min(height)
            )));
        }
        let whole = self.probability(planes, std::slice::from_ref(&planes.data), class)?[0];
        let mean = heat::mean_colour(planes);
        let starts = |side: u32| {
            // The last place touches the border, whatever the step.
            (0..side - patch).step_by(step as usize).chain([side - patch]).map(|start| start as usize)
        };
        let places: Vec<_> =
            starts(height).flat_map(|top| starts(width).map(move |left| (top, left))).collect();
        let (width, patch) = (width as usize, patch as usize);
        let area = planes.size.area() as usize;
        let mut fall = vec![0.0_f64; area];
        let mut covered = vec![0_u32; area];
        for part in places.chunks(BATCH) {
            let occluded: Vec<Vec<f32>> = part
                .iter()
                .map(|&(top, left)| {
                    let mut data = planes.data.clone();
                    for (plane, &colour) in data.chunks_exact_mut(area).zip(&mean) {
                        for row in plane.chunks_exact_mut(width).skip(top).take(patch) {
                            row[left..left + patch].fill(colour);
                        }
                    }
                    data
                })
                .collect();
            for (&(top, left), p) in part.iter().zip(self.probability(planes, &occluded, class)?) {
                for y in top..top + patch {
                    for x in left..left + patch {
                        fall[y * width + x] += whole - p;
                        covered[y * width + x] += 1;
                    }
                }
            }
        }
        let mean_fall =
            fall.iter().zip(&covered).map(|(fall, &n)| (fall / f64::from(n.max(1))) as f32).collect();
        // Maps as coarse as this one come from as many patches as fit side by side.
        let coarse = |side: u32| (side as usize).div_ceil(patch);
        let grid =
            Grid { columns: coarse(planes.size.width), rows: coarse(planes.size.height), stride: patch };
        Ok(HeatMap::scaled(planes.size, mean_fall, grid))
    }

    /// Whether the heat deserves belief; see [`Faithfulness`]. Equal seeds give equal figures.
    ///
    /// # Errors
    /// As [`explain`](Self::explain).
    pub fn faithfulness(
        &self,
        planes: &Planes,
        heat: &HeatMap,
        class: usize,
        seed: u64,
    ) -> Result<Faithfulness> {
        faithfulness::measure(planes, heat, seed, |pictures| self.probability(planes, pictures, class))
    }

    /// Grad-CAM and its kin: `weigh` makes one map of the last feature maps and the gradients upon them.
    fn activation_map(
        &self,
        planes: &Planes,
        class: usize,
        weigh: fn(&[f32], &[f32], usize) -> Vec<f32>,
    ) -> Result<HeatMap> {
        let x = self.upload(planes, std::slice::from_ref(&planes.data));
        let stride = self.net.features(x.clone()).last().map_or(1, |feature| feature.stride);
        // The trunk runs without autodiff; its map becomes the leaf from which the gradient is asked.
        let map = self.net.trunk(x).autodiff().require_grad(); // [1, c, h, w]
        let logits = self.net.head(map.clone()); // [1, classes]
        let [_, classes] = logits.dims();
        check_class(class, classes)?;
        let gradient = map.grad(&logits.narrow(1, class, 1).sum().backward());
        let [_, _, rows, columns] = map.dims();
        let activations = values(map.inner())?;
        // A head that ignores the map has no gradient: nothing speaks for the class anywhere.
        let gradients = gradient.map_or_else(|| Ok(vec![0.0; activations.len()]), values)?;
        let cells = weigh(&activations, &gradients, rows * columns);
        let grid = Grid { columns, rows, stride };
        Ok(HeatMap::scaled(planes.size, grid.spread(&cells, planes.size), grid))
    }

    /// Probability of one class for each picture, all of the shape of `planes`.
    fn probability(&self, planes: &Planes, pictures: &[Vec<f32>], class: usize) -> Result<Vec<f64>> {
        let all = self.run(planes, pictures)?;
        all.into_iter()
            .map(|p| {
                check_class(class, p.len())?;
                Ok(p[class])
            })
            .collect()
    }

    fn run(&self, planes: &Planes, pictures: &[Vec<f32>]) -> Result<Vec<Vec<f64>>> {
        let picture = [planes.channels, planes.size.height as usize, planes.size.width as usize];
        let predictor = match self.predictor.get() {
            Some(predictor) => predictor,
            None => {
                let predictor = Predictor::new(&self.net, picture)?;
                self.predictor.get_or_init(|| predictor)
            }
        };
        let mut all = Vec::with_capacity(pictures.len());
        for batch in pictures.chunks(BATCH) {
            let [c, h, w] = picture;
            let logits = predictor.logits(&batch.concat(), [batch.len(), c, h, w])?;
            let classes = logits.len() / batch.len();
            all.extend(finite(logits)?.chunks_exact(classes.max(1)).map(softmax));
        }
        Ok(all)
    }

    fn upload(&self, planes: &Planes, pictures: &[Vec<f32>]) -> Tensor<4> {
        let shape =
            [pictures.len(), planes.channels, planes.size.height as usize, planes.size.width as usize];
        Tensor::from_data(TensorData::new(pictures.concat(), shape), &self.device) // [n, c, h, w]
    }
}

fn check_class(class: usize, classes: usize) -> Result<()> {
    if class < classes {
        return Ok(());
    }
    Err(Error::Input(format!(
        "the network has {classes} classes, numbered from 0; there is no class {class}"
    )))
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let values = tensor
        .into_data()
        .try_into_vec::<f32>()
        .map_err(|e| Error::Device(format!("the network's values cannot be read: {e:?}")))?;
    finite(values)
}

fn finite(values: Vec<f32>) -> Result<Vec<f32>> {
    if values.iter().all(|v| v.is_finite()) {
        return Ok(values);
    }
    Err(Error::Diverged(
        "the network's values for this picture are not finite numbers: its weights are damaged or its training diverged"
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests;
