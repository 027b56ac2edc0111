//! Published detectors brought in: torchvision's weights with what they are trained for.

use std::path::Path;

use burn::tensor::Device;
use sha2::{Digest, Sha256};

use super::net::DetectorKind;
use super::predict::Detector;
use crate::bundle::{self, Bundle, Card, FORMAT_VERSION, Provenance};
use crate::error::{Error, Result};
use crate::files;
use crate::nets::import::read_weights;
use crate::tensors::TensorMap;

/// COCO's categories by their numbers from 1, as torchvision lists them: ten numbers have no category and are called
/// `N/A`.
const COCO: &str = include_str!("labels/coco90.txt");

/// Largest file of weights read, in bytes.
const MAX_WEIGHTS: u64 = 16 << 30;
/// Largest file of class names read, in bytes.
const MAX_NAMES: u64 = 4 << 20;

/// A file of foreign weights and what is said about it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The file: safetensors, PyTorch zip or legacy pickle.
    pub weights: &'a Path,
    /// The detector that they belong to.
    pub net: DetectorKind,
    /// Class names, one a line, without background; `None`: COCO's.
    pub classes: Option<&'a Path>,
    /// Licence of the weights, for the card.
    pub licence: &'a str,
}

/// Makes a model of foreign weights, and sees that it can predict. Nothing in the file is executed.
///
/// # Errors
/// [`Error::ModelFile`] naming the file if it is damaged or its tensors are not this network's; [`Error::Config`] if
/// its classes have no well-known names and none are given.
pub fn import(request: &Request<'_>, device: &Device) -> Result<Bundle> {
    let path = request.weights;
    let bytes = files::read_limited(path, MAX_WEIGHTS)?;
    let named = |e: Error| match e {
        Error::ModelFile(what) => Error::ModelFile(format!("{}: {what}", path.display())),
        other => other,
    };
    let tensors = modern(read_weights(&bytes).map_err(named)?);
    let count = classes_of(request.net, &tensors).map_err(named)?;
    let config = request.net.config(count, None)?;
    let transform = request.net.transform();
    let classes = class_names(request.classes, count)?;
    // Names and shapes are checked, and the network is run-ready.
    let net = config.load(&tensors, device).map_err(named)?;
    Detector::from_parts(&net, config.clone(), classes.clone(), transform.clone())?;
    let file = crate::files::name_of(path);
    let sum: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    let card = Card {
        format_version: FORMAT_VERSION,
        job: super::JOB.into(),
        net: bundle::to_json("net", &config)?,
        classes,
        preprocessing: bundle::to_json("preprocessing", &transform)?,
        metrics: Vec::new(),
        provenance: Provenance {
            command: format!("model import --net {} {file}", request.net.name()),
            seed: None,
            data_fingerprint: format!("sha256 of {file}: {sum}"),
            product_version: env!("CARGO_PKG_VERSION").into(),
        },
        licence: request.licence.into(),
    };
    Ok(Bundle { card, tensors })
}

/// The tensors under the names of today: torchvision put the pyramid's and the proposing network's convolutions into
/// lists of one in version 0.13, and older files are still the published ones. Counters of batches are of no use.
fn modern(tensors: TensorMap) -> TensorMap {
    let renamed = |name: String| {
        let parts: Vec<&str> = name.split('.').collect();
        match parts[..] {
            ["backbone", "fpn", blocks, level, last] => format!("backbone.fpn.{blocks}.{level}.0.{last}"),
            ["rpn", "head", "conv", last] => format!("rpn.head.conv.0.0.{last}"),
            _ => name,
        }
    };
    let kept = tensors.into_iter().filter(|(name, _)| !name.ends_with("num_batches_tracked"));
    kept.map(|(name, tensor)| (renamed(name), tensor)).collect()
}

/// The number of classes, without background, that the last layers' sizes tell.
fn classes_of(kind: DetectorKind, tensors: &TensorMap) -> Result<usize> {
    let rows = |name: &str| tensors.get(name).and_then(|tensor| tensor.shape.first()).copied();
    let (name, each) = match kind {
        DetectorKind::Ssd300Vgg16 => ("head.classification_head.module_list.0.weight", 4),
        DetectorKind::Ssdlite320MobilenetV3 => ("head.classification_head.module_list.0.1.weight", 6),
        DetectorKind::FasterRcnnResnet50Fpn | DetectorKind::FasterRcnnMobilenetV3Fpn => {
            ("roi_heads.box_predictor.cls_score.weight", 1)
        }
        DetectorKind::Rcnn | DetectorKind::FastRcnn | DetectorKind::FasterRcnn | DetectorKind::SsdLite => {
            return Err(Error::Config(format!(
                "{} is a network of ours: nobody else has weights for it. Train it, or import {}",
                kind.name(),
                "faster-rcnn-resnet50-fpn, faster-rcnn-mobilenet-v3-fpn, ssd300-vgg16 or ssdlite320-mobilenet-v3"
            )));
        }
    };
    match rows(name) {
        Some(rows) if rows % each == 0 && rows / each > 1 => Ok(rows / each - 1),
        Some(rows) => {
            Err(Error::ModelFile(format!("`{name}` has {rows} rows, which is no number of classes")))
        }
        None => Err(Error::ModelFile(format!(
            "there is no `{name}`; is this a state dictionary of torchvision's {}?",
            kind.name()
        ))),
    }
}

/// Names for a detector's classes: from a file, one a line, or COCO's.
fn class_names(file: Option<&Path>, count: usize) -> Result<Vec<String>> {
    let text = match file {
        Some(path) => String::from_utf8(files::read_limited(path, MAX_NAMES)?).map_err(|_| {
            Error::Input(format!("{} is not UTF-8 text; write one class name a line", path.display()))
        })?,
        None => COCO.to_owned(),
    };
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
    match (names.len() == count, file) {
        (true, _) => Ok(names),
        (false, Some(path)) => Err(Error::Input(format!(
            "{} names {} classes; the network has {count}, background not counted",
            path.display(),
            names.len()
        ))),
        (false, None) => Err(Error::Config(format!(
            "these weights have {count} classes, which are not COCO's {}; give --classes FILE with one name a line, \
             without background",
            names.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::nets::state;
    use crate::tensors::HostTensor;

    #[test]
    fn older_names_become_todays() {
        let tensor = HostTensor { shape: vec![1], data: vec![0.0] };
        let names = [
            ("backbone.fpn.inner_blocks.2.weight", "backbone.fpn.inner_blocks.2.0.weight"),
            ("backbone.fpn.layer_blocks.0.0.bias", "backbone.fpn.layer_blocks.0.0.bias"),
            ("rpn.head.conv.weight", "rpn.head.conv.0.0.weight"),
            ("rpn.head.cls_logits.weight", "rpn.head.cls_logits.weight"),
        ];
        for (old, new) in names {
            let map = modern(TensorMap::from([(old.to_owned(), tensor.clone())]));
            assert_eq!(map.keys().collect::<Vec<_>>(), [new]);
        }
        let counter = "backbone.body.bn1.num_batches_tracked".to_owned();
        assert!(modern(TensorMap::from([(counter, tensor)])).is_empty());
    }

    #[test]
    fn weights_of_ours_go_out_and_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::flex();
        for (kind, classes) in
            [(DetectorKind::FasterRcnnMobilenetV3Fpn, 3), (DetectorKind::Ssdlite320MobilenetV3, 90)]
        {
            let config = kind.config(classes, None).unwrap();
            let weights = state::to_map(&config.init(1, &device).unwrap());
            let path = folder.path().join("weights.safetensors");
            bundle::save_plain(&path, &weights).unwrap();
            let names = folder.path().join("names.txt");
            std::fs::write(&names, "a\nb\nc\n").unwrap();
            let given = (classes == 3).then_some(names.as_path());
            let request = Request { weights: &path, net: kind, classes: given, licence: "" };
            let bundle = import(&request, &device).unwrap();
            assert_eq!(bundle.tensors, weights);
            assert_eq!(bundle.card.classes.len(), classes);
            let other = Request { net: DetectorKind::Ssd300Vgg16, ..request };
            assert!(import(&other, &device).unwrap_err().to_string().contains("weights.safetensors"));
        }
    }

    #[test]
    fn cocos_names_are_at_their_numbers() {
        let names = class_names(None, 90).unwrap();
        // Published: 1 person, 18 dog, 90 toothbrush, 12 not used.
        assert_eq!([0, 17, 89, 11].map(|i| names[i].as_str()), ["person", "dog", "toothbrush", "N/A"]);
        assert!(class_names(None, 20).is_err());
    }
}
