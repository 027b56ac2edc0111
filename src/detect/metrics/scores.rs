//! The figures as they are printed and stored.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::curve::{Curve, Threshold};
use super::{Area, CocoOptions, Corners, Found, Truth, VocOptions, coco, voc};

/// Whose way of scoring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// COCO's twelve figures.
    #[default]
    Coco,
    /// Pascal VOC 2007: 11-point average precision.
    Voc07,
    /// Pascal VOC since 2010: the whole area under the curve.
    Voc10,
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coco => "coco",
            Self::Voc07 => "voc07",
            Self::Voc10 => "voc10",
        })
    }
}

impl FromStr for Style {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "coco" => Ok(Self::Coco),
            "voc07" => Ok(Self::Voc07),
            "voc10" => Ok(Self::Voc10),
            _ => Err("it is one of coco, voc07, voc10".into()),
        }
    }
}

/// How well objects were found. Figures are fractions, and -1 where there is nothing to measure them on (no small
/// object, say), as pycocotools has it; the VOC styles give `ap`, `ap50` and `ap75` only.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DetectScores {
    /// Whose way of scoring.
    pub style: Style,
    /// The IoU thresholds that `ap` is the mean over.
    pub iou: Vec<f64>,
    /// Pictures.
    pub images: usize,
    /// Objects in them, all of them.
    pub objects: usize,
    /// Detections given, all of them.
    pub detections: usize,
    /// Average precision, mean over classes and thresholds.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ap: Option<f64>,
    /// At IoU 0.5.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ap50: Option<f64>,
    /// At IoU 0.75.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ap75: Option<f64>,
    /// Of objects of up to 32² pixels.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ap_small: Option<f64>,
    /// Of objects of 32² to 96² pixels.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ap_medium: Option<f64>,
    /// Of objects of at least 96² pixels.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ap_large: Option<f64>,
    /// Average recall with one detection a picture and class.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ar1: Option<f64>,
    /// With ten.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ar10: Option<f64>,
    /// With a hundred.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ar100: Option<f64>,
    /// Of objects of up to 32² pixels.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ar_small: Option<f64>,
    /// Of objects of 32² to 96² pixels.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ar_medium: Option<f64>,
    /// Of objects of at least 96² pixels.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ar_large: Option<f64>,
    /// Figures of each class, in the order of the classes.
    pub per_class: Vec<ClassScores>,
}

/// How well objects of one class were found.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ClassScores {
    /// The class.
    pub label: String,
    /// Average precision, mean over the thresholds.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ap: Option<f64>,
    /// At IoU 0.5.
    #[serde(serialize_with = "figure")]
    #[schemars(with = "f64")]
    pub ap50: Option<f64>,
    /// Objects that count: no crowds, in the VOC styles no difficult ones.
    pub objects: usize,
    /// Detections judged: in COCO's style at most 100 a picture.
    pub detections: usize,
    /// The threshold on the score with the best F1 at the first IoU threshold; absent where nothing right was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_f1: Option<Threshold>,
    /// Precision by recall at the first IoU threshold, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
}

fn figure<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.unwrap_or(-1.0))
}

impl DetectScores {
    /// Scores detections in COCO's way. `classes` are the labels.
    pub fn coco(
        classes: &[String],
        images: usize,
        truth: &[Truth],
        found: &[Found],
        options: &CocoOptions,
    ) -> Self {
        let summary = coco(classes.len(), truth, found, options);
        let [ap, ap50, ap75, ap_small, ap_medium, ap_large, ar1, ar10, ar100, ar_small, ar_medium, ar_large] =
            summary.figures;
        let at_50 = options.iou.first() == Some(&0.5);
        let per_class = classes.iter().zip(summary.classes).map(|(label, class)| ClassScores {
            label: label.clone(),
            ap: class.ap,
            ap50: class.ap_first.filter(|_| at_50),
            objects: class.objects,
            detections: class.detections,
            best_f1: class.threshold,
            curve: Some(class.curve),
        });
        Self {
            style: Style::Coco,
            iou: options.iou.clone(),
            images,
            objects: truth.len(),
            detections: found.len(),
            ap,
            ap50,
            ap75,
            ap_small,
            ap_medium,
            ap_large,
            ar1,
            ar10,
            ar100,
            ar_small,
            ar_medium,
            ar_large,
            per_class: per_class.collect(),
        }
    }

    /// Scores detections in VOC's way, the 11-point area of 2007 or the whole area since 2010.
    pub fn voc(
        classes: &[String],
        images: usize,
        truth: &[Truth],
        found: &[Found],
        options: &VocOptions,
    ) -> Self {
        // Beside the thresholds asked for, the two that have a name.
        let asked = options.iou.len();
        let mut all = options.clone();
        all.iou.extend([0.5, 0.75]);
        let summary = voc(classes.len(), truth, found, &all);
        let mean = |values: &[Option<f64>]| {
            let known: Vec<f64> = values[..asked].iter().copied().flatten().collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        let per_class = classes.iter().zip(summary.classes).map(|(label, class)| ClassScores {
            label: label.clone(),
            ap: mean(&class.ap),
            ap50: class.ap[asked],
            objects: class.objects,
            detections: class.detections,
            best_f1: class.threshold,
            curve: Some(class.curve),
        });
        Self {
            style: if options.area == Area::ElevenPoint { Style::Voc07 } else { Style::Voc10 },
            iou: options.iou.clone(),
            images,
            objects: truth.len(),
            detections: found.len(),
            ap: mean(&summary.mean),
            ap50: summary.mean[asked],
            ap75: summary.mean[asked + 1],
            ap_small: None,
            ap_medium: None,
            ap_large: None,
            ar1: None,
            ar10: None,
            ar100: None,
            ar_small: None,
            ar_medium: None,
            ar_large: None,
            per_class: per_class.collect(),
        }
    }

    /// In the given style with everything else as usual: COCO's thresholds, or IoU 0.5 and continuous corners.
    pub fn of(style: Style, classes: &[String], images: usize, truth: &[Truth], found: &[Found]) -> Self {
        let area = match style {
            Style::Coco => return Self::coco(classes, images, truth, found, &CocoOptions::default()),
            Style::Voc07 => Area::ElevenPoint,
            Style::Voc10 => Area::All,
        };
        let options = VocOptions { iou: vec![0.5], area, corners: Corners::Continuous };
        Self::voc(classes, images, truth, found, &options)
    }

    /// Without the curves of the classes, which are long.
    pub fn without_curves(mut self) -> Self {
        self.per_class.iter_mut().for_each(|class| class.curve = None);
        self
    }

    /// The twelve figures in the order in which pycocotools prints them.
    pub fn figures(&self) -> [(&'static str, Option<f64>); 12] {
        [
            ("AP", self.ap),
            ("AP50", self.ap50),
            ("AP75", self.ap75),
            ("AP small", self.ap_small),
            ("AP medium", self.ap_medium),
            ("AP large", self.ap_large),
            ("AR 1", self.ar1),
            ("AR 10", self.ar10),
            ("AR 100", self.ar100),
            ("AR small", self.ar_small),
            ("AR medium", self.ar_medium),
            ("AR large", self.ar_large),
        ]
    }
}

impl fmt::Display for DetectScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |value: Option<f64>| value.map_or("     -".into(), |v| format!("{v:6.4}"));
        let iou: Vec<String> = self.iou.iter().map(|t| format!("{}", (t * 1e4).round() / 1e4)).collect();
        let iou = match iou.as_slice() {
            [first, .., last] if iou.len() > 4 => format!("{first} to {last}"),
            few => few.join(", "),
        };
        let style = match self.style {
            Style::Coco => "COCO",
            Style::Voc07 => "VOC 2007, 11 points",
            Style::Voc10 => "VOC 2010, whole area",
        };
        writeln!(
            f,
            "{style}, IoU {iou}: {} pictures, {} objects, {} detections\n",
            self.images, self.objects, self.detections
        )?;
        let shown = if self.style == Style::Coco { 12 } else { 3 };
        for row in self.figures()[..shown].chunks(3) {
            let cells: Vec<String> = row.iter().map(|(name, v)| format!("{name:9} {}", figure(*v))).collect();
            writeln!(f, "  {}", cells.join("   "))?;
        }
        let width = self.per_class.iter().map(|c| c.label.chars().count()).max().unwrap_or(0).clamp(5, 32);
        writeln!(f, "\n  {:width$}      AP    AP50  objects  detections   best F1  at score", "class")?;
        for class in &self.per_class {
            let label: String = class.label.chars().take(width).collect();
            write!(
                f,
                "  {label:width$}  {}  {}  {:7}  {:10}",
                figure(class.ap),
                figure(class.ap50),
                class.objects,
                class.detections
            )?;
            match class.best_f1 {
                Some(best) => writeln!(f, "   {:7.4}  {:8.4}", best.f1, best.score)?,
                None => writeln!(f, "         -         -")?,
            }
        }
        Ok(())
    }
}
