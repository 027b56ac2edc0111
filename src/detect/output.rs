//! Detections in the forms that other programs read.

use std::fmt::Write as _;

use opticus_pixels::draw::Mark;
use opticus_pixels::geometry::{Box2d, Size};
use opticus_pixels::suppress::Candidate;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

/// What `detect predict --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Predictions {
    /// One entry a picture, in the order of the arguments.
    pub predictions: Vec<FilePrediction>,
}

/// What was found in one picture.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct FilePrediction {
    /// The file, as named or found.
    pub file: String,
    /// Pixels across, upright.
    pub width: u32,
    /// Pixels down, upright.
    pub height: u32,
    /// Best first.
    pub detections: Vec<Detection>,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Detection {
    /// Class name.
    pub label: String,
    /// Class index in the model file's `classes`.
    pub class_id: usize,
    /// How sure the detector is, 0 to 1.
    pub score: f64,
    /// Left, top, right and bottom edge in pixels of the upright picture.
    #[serde(rename = "box")]
    pub bounds: [f64; 4],
}

impl FilePrediction {
    /// What was found in a picture, with names.
    pub fn new(file: String, size: Size, found: &[Candidate], classes: &[String]) -> Self {
        let detection = |c: &Candidate| Detection {
            label: classes.get(c.class).cloned().unwrap_or_else(|| c.class.to_string()),
            class_id: c.class,
            score: c.score,
            bounds: c.bounds.to_corners(),
        };
        Self {
            file,
            width: size.width,
            height: size.height,
            detections: found.iter().map(detection).collect(),
        }
    }

    /// Boxes to be drawn.
    pub fn marks(&self) -> Vec<Mark> {
        let mark = |d: &Detection| Mark {
            bounds: d.bounds.into(),
            class: d.class_id,
            name: d.label.clone(),
            score: Some(d.score),
            dashed: false,
        };
        self.detections.iter().map(mark).collect()
    }

    /// Lines `class x y width height score` with centre and size as fractions of the picture, as Ultralytics'
    /// `save_txt` with `save_conf` writes them.
    pub fn yolo(&self) -> String {
        let mut lines = String::new();
        let (width, height) = (f64::from(self.width.max(1)), f64::from(self.height.max(1)));
        for d in &self.detections {
            let [x, y, w, h] = Box2d::from(d.bounds).to_center();
            let _ = writeln!(
                lines,
                "{} {:.6} {:.6} {:.6} {:.6} {:.6}",
                d.class_id,
                x / width,
                y / height,
                w / width,
                h / height,
                d.score
            );
        }
        lines
    }

    /// As the TensorFlow Object Detection API's exported models answer: boxes are `[y1, x1, y2, x2]` as fractions of the
    /// picture, classes count from 1.
    pub fn tensorflow(&self) -> Value {
        let (width, height) = (f64::from(self.width.max(1)), f64::from(self.height.max(1)));
        let normalised = |d: &Detection| {
            let [x1, y1, x2, y2] = d.bounds;
            [y1 / height, x1 / width, y2 / height, x2 / width]
        };
        let list = |value: fn(&Detection) -> Value| self.detections.iter().map(value).collect::<Vec<_>>();
        json!({
            "file": self.file,
            "num_detections": self.detections.len(),
            "detection_boxes": self.detections.iter().map(normalised).collect::<Vec<_>>(),
            "detection_classes": list(|d| (d.class_id + 1).into()),
            "detection_scores": list(|d| d.score.into()),
        })
    }
}

impl Predictions {
    /// One row a detection: file, label, class index, score, left, top, right, bottom edge in pixels.
    pub fn csv(&self) -> String {
        let mut rows = String::from("file,label,class_id,score,x1,y1,x2,y2\n");
        for p in &self.predictions {
            for d in &p.detections {
                let [x1, y1, x2, y2] = d.bounds;
                let (file, label) = (quoted(&p.file), quoted(&d.label));
                let _ = writeln!(
                    rows,
                    "{file},{label},{},{:.6},{x1:.3},{y1:.3},{x2:.3},{y2:.3}",
                    d.class_id, d.score
                );
            }
        }
        rows
    }

    /// COCO's results: pictures count from 1 in the order of the arguments, categories are class indices from 1, boxes
    /// are left, top, width and height.
    pub fn coco(&self) -> Value {
        let of_picture = |(number, p): (usize, &FilePrediction)| {
            let result = |d: &Detection| {
                json!({
                    "image_id": number + 1,
                    "category_id": d.class_id + 1,
                    "bbox": Box2d::from(d.bounds).to_xywh(),
                    "score": d.score,
                })
            };
            p.detections.iter().map(result).collect::<Vec<_>>()
        };
        self.predictions.iter().enumerate().flat_map(of_picture).collect()
    }

    /// [`FilePrediction::tensorflow`] of every picture.
    pub fn tensorflow(&self) -> Value {
        self.predictions.iter().map(FilePrediction::tensorflow).collect()
    }
}

/// A field of a CSV file (RFC 4180).
fn quoted(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions() -> Predictions {
        let found = [
            Candidate { bounds: Box2d::new(20.0, 10.0, 60.0, 30.0), score: 0.875, class: 1 },
            Candidate { bounds: Box2d::new(0.0, 0.0, 200.0, 100.0), score: 0.25, class: 0 },
        ];
        let classes = ["cat".to_owned(), "dog, \"big\"".to_owned()];
        Predictions {
            predictions: vec![FilePrediction::new("a.jpg".into(), Size::new(200, 100), &found, &classes)],
        }
    }

    #[test]
    fn every_form_says_the_same() {
        let all = predictions();
        assert_eq!(
            all.csv(),
            "file,label,class_id,score,x1,y1,x2,y2\n\
             a.jpg,\"dog, \"\"big\"\"\",1,0.875000,20.000,10.000,60.000,30.000\n\
             a.jpg,cat,0,0.250000,0.000,0.000,200.000,100.000\n"
        );
        assert_eq!(
            all.predictions[0].yolo(),
            "1 0.200000 0.200000 0.200000 0.200000 0.875000\n0 0.500000 0.500000 1.000000 1.000000 0.250000\n"
        );
        assert_eq!(
            all.coco()[0],
            json!({"image_id": 1, "category_id": 2, "bbox": [20.0, 10.0, 40.0, 20.0], "score": 0.875})
        );
        let tensorflow = &all.tensorflow()[0];
        assert_eq!(tensorflow["num_detections"], 2);
        assert_eq!(tensorflow["detection_boxes"][0], json!([0.1, 0.1, 0.3, 0.3]));
        assert_eq!(tensorflow["detection_classes"], json!([2, 1]));
        assert_eq!(tensorflow["detection_scores"], json!([0.875, 0.25]));
        let document = serde_json::to_value(&all).unwrap_or_default();
        assert_eq!(document["predictions"][0]["detections"][0]["box"], json!([20.0, 10.0, 60.0, 30.0]));
    }
}
