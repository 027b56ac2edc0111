//! Whole data sets, made and real.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use opticus_pixels::codec::{ColorMode, Limits, encode_jpeg, encode_png};
use opticus_pixels::{Box2d, Image8, Size};
use proptest::prelude::*;

use super::coco::Keep;
use super::*;
use crate::data::convert::Target;
use crate::data::inspect::{InspectOptions, inspect};
use crate::data::tests::shared;
use crate::data::{Dataset, Format, OnBad, Split};

fn put(root: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn picture(width: u32, height: u32, seed: u32) -> Image8 {
    let value = |i: u32| (i.wrapping_mul(2_654_435_761 + seed * 40_503) >> 13) as u8;
    Image8 { size: Size::new(width, height), channels: 3, data: (0..width * height * 3).map(value).collect() }
}

fn png(width: u32, height: u32, seed: u32) -> Vec<u8> {
    encode_png(&picture(width, height, seed)).unwrap()
}

const INSTANCES: &str = r#"{"info": {"year": 2026},
 "annotations": [
  {"id": 7, "image_id": 2, "category_id": 3, "bbox": [61.87, 6.25, 29.42, 10.18], "area": 150.5, "iscrowd": 1,
   "segmentation": {"counts": "abc", "size": [1, 2]}, "score": 1.50},
  {"id": 8, "image_id": 1, "category_id": 18, "bbox": [0, 0, 10, 20]}],
 "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car \"x\""}],
 "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30, "coco_url": "u"},
            {"id": 2, "file_name": "b.png", "width": 100, "height": 50}]}"#;

fn made_coco(root: &Path) {
    put(root, "annotations/instances_train2017.json", INSTANCES);
    put(root, "train2017/a.png", png(40, 30, 1));
    put(root, "train2017/b.png", png(100, 50, 2));
}

fn options(keep: Keep) -> OpenOptions {
    OpenOptions { keep, ..OpenOptions::default() }
}

/// What all formats hold of a picture: part, samples, boxes.
type Content = (Split, Vec<u8>, Vec<(String, Box2d)>);

/// Everything that all formats hold.
fn content(splits: &Splits) -> Vec<Content> {
    let of_part = |(split, data): (Split, &Annotated)| -> Vec<_> {
        let boxes =
            |i| data.target(i).into_iter().map(|a: Annotation| (data.classes()[a.class].clone(), a.bounds));
        (0..data.len()).map(|i| (split, data.load(i).unwrap().data, boxes(i).collect())).collect()
    };
    let mut all: Vec<Content> = splits.parts().flat_map(of_part).collect();
    all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    all
}

fn close(a: &[Content], b: &[Content], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!((a.0, &a.1, a.2.len()), (b.0, &b.1, b.2.len()));
        for ((la, ba), (lb, bb)) in a.2.iter().zip(&b.2) {
            assert_eq!(la, lb);
            for (x, y) in ba.to_corners().into_iter().zip(bb.to_corners()) {
                assert!((x - y).abs() <= tolerance, "{ba:?} {bb:?}");
            }
        }
    }
}

#[test]
fn coco_is_read_with_everything_and_written_again() {
    let root = tempfile::tempdir().unwrap();
    made_coco(root.path());
    let splits = open(root.path(), Format::Auto, &options(Keep::Everything)).unwrap();
    assert_eq!(
        (splits.format, splits.classes()),
        (Format::Coco, ["car \"x\"".into(), "dog".into()].as_slice())
    );
    let [a, b] = splits.train.pictures() else { panic!() };
    assert_eq!((a.id, a.size, a.annotations[0].class), (1, Size::new(40, 30), 1));
    assert_eq!(a.extra.as_deref(), Some("\"coco_url\":\"u\""));
    let car = &b.annotations[0];
    assert_eq!((car.id, car.crowd, car.area), (7, true, 150.5));
    assert_eq!(car.bounds, Box2d::from_xywh([61.87, 6.25, 29.42, 10.18]));
    assert_eq!(
        car.extra.as_deref(),
        Some("\"segmentation\":{\"counts\":\"abc\",\"size\":[1,2]},\"score\":1.50")
    );

    let out = root.path().join("out");
    convert(&splits, Target::Coco, &out).unwrap();
    let text = std::fs::read_to_string(out.join("annotations/instances_train.json")).unwrap();
    assert!(
        text.contains(
            "\"bbox\":[61.87,6.25,29.42,10.18],\"area\":150.5,\"iscrowd\":1,\"segmentation\":{\"counts\""
        ),
        "{text}"
    );
    let again = open(&out, Format::Auto, &options(Keep::Everything)).unwrap();
    let pairs = splits.train.pictures().iter().zip(again.train.pictures());
    assert!(
        pairs.into_iter().all(|(a, b)| (a.id, &a.annotations, &a.extra) == (b.id, &b.annotations, &b.extra))
    );
    assert_eq!(content(&splits), content(&again));
    assert_eq!(
        open(root.path(), Format::Coco, &OpenOptions::default()).unwrap().train.pictures()[0].extra,
        None
    );
}

#[test]
fn boxes_go_round_through_every_format() {
    let root = tempfile::tempdir().unwrap();
    made_coco(root.path());
    let first = open(root.path(), Format::Auto, &options(Keep::Everything)).unwrap();
    let first = first.with_validation(0.5, 1).unwrap();
    let mut splits = first.clone();
    for (i, target) in [Target::Voc, Target::Coco, Target::Yolo, Target::Voc, Target::Yolo, Target::Coco]
        .into_iter()
        .enumerate()
    {
        let out = root.path().join(format!("out{i}"));
        let converted = convert(&splits, target, &out).unwrap();
        assert_eq!((converted.parts, converted.boxes), (vec![(Split::Train, 1), (Split::Val, 1)], Some(2)));
        splits = open(&out, Format::Auto, &options(Keep::Everything)).unwrap();
        assert_eq!(splits.format.to_string(), target.to_string());
        // COCO keeps edges to the bit, VOC all but the last bits, YOLO to ten decimals of the size.
        close(&content(&first), &content(&splits), if i < 2 { 1e-12 } else { 1e-7 });
    }
    assert!(convert(&splits, Target::Folder, &root.path().join("x")).is_err());
    assert!(convert(&splits, Target::Voc, root.path()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_box_survives_coco_to_the_bit_and_voc_to_twelve_digits(boxes in prop::collection::vec((0u32..4000, 0u32..3000, 1u32..900, 1u32..900, 1u32..5), 1..20)) {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "p/a.png", png(50, 40, 3));
        let annotations: Vec<Annotation> = boxes
            .iter()
            .enumerate()
            .map(|(i, &(x, y, w, h, digits))| {
                let unit = 10f64.powi(digits as i32);
                let b = [x, y, w, h].map(|v| f64::from(v) / unit);
                let bounds = Box2d::from_xywh(b);
                Annotation { class: 0, bounds, crowd: false, difficult: i % 3 == 0, area: b[2] * b[3], id: i as i64 + 1, extra: None }
            })
            .filter(|a| a.bounds.intersection(Box2d::whole(Size::new(50, 40))).is_some())
            // VOC's way to write a side of exactly one pixel is read as a side of none: see `voc`.
            .filter(|a| a.bounds.x1 + 1.0 != a.bounds.x2 && a.bounds.y1 + 1.0 != a.bounds.y2)
            .collect();
        let path = root.path().join("p/a.png");
        let page = Picture { path, relative: "a.png".into(), size: Size::new(50, 40), id: 1, extra: None, annotations: annotations.clone() };
        let data = Annotated::new(vec!["x".into()], vec![page], ColorMode::Rgb, Limits::default()).unwrap();
        for target in [Target::Coco, Target::Voc] {
            let out = root.path().join(target.to_string());
            let splits = Splits { train: data.clone(), val: None, test: None, format: Format::Coco, faults: Faults::default(), notes: vec![] };
            convert(&splits, target, &out).unwrap();
            let again = open(&out, Format::Auto, &OpenOptions::default()).unwrap();
            let found = again.train.pictures().first().map_or(&[][..], |p| &p.annotations);
            prop_assert_eq!(found.len(), annotations.len());
            // Counting from 1 costs a fraction its last bits.
            let tolerance = if target == Target::Voc { 1e-12 } else { 0.0 };
            for (a, b) in found.iter().zip(&annotations) {
                prop_assert_eq!(a.difficult, b.difficult);
                for (x, y) in a.bounds.to_corners().into_iter().zip(b.bounds.to_corners()) {
                    prop_assert!((x - y).abs() <= tolerance * y.max(1.0), "{:?} {:?}", a, b);
                }
            }
        }
    }
}

#[test]
fn every_fault_is_named_counted_and_left_out_or_refused() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "a.png", png(40, 30, 1));
    let boxes = [
        "[1, 1, 0, 5]",
        "[20, 1, -5, 5]",
        "[NaN, 1, 2, 2]",
        "[1, 1, 1e400, 2]",
        "[\"nan\", 1, 2, 3]",
        "[100, 100, 5, 5]",
        "[]",
        "[5, 5, 10, 10]",
    ];
    let mut list: Vec<String> = boxes
        .iter()
        .enumerate()
        .map(|(i, b)| format!("{{\"id\": {}, \"image_id\": 1, \"category_id\": 1, \"bbox\": {b}}}", i + 1))
        .collect();
    list.push("{\"id\": 8, \"image_id\": 1, \"category_id\": 1, \"bbox\": [1, 2, 3, 4]}".into());
    list.push("{\"id\": 9, \"image_id\": 1, \"category_id\": 5, \"bbox\": [1, 2, 3, 4]}".into());
    list.push("{\"id\": 10, \"image_id\": 4, \"category_id\": 1, \"bbox\": [1, 2, 3, 4]}".into());
    let document = format!(
        "{{\"images\": [{{\"id\": 1, \"file_name\": \"a.png\"}}, {{\"id\": 2, \"file_name\": \"gone.png\", \"width\": 9, \
         \"height\": 9}}, {{\"id\": 1, \"file_name\": \"b.png\"}}],\n\"annotations\": [\n{}],\n\"categories\": [{{\"id\": 1, \
         \"name\": \"x\"}}]}}",
        list.join(",\n")
    );
    put(root.path(), "instances.json", document);
    let refused = open(root.path(), Format::Auto, &OpenOptions::default()).unwrap_err().to_string();
    assert!(refused.contains("1 pictures that are not there (first gone.png"), "{refused}");
    let skip = OpenOptions { on_bad: OnBad::Skip, ..OpenOptions::default() };
    let splits = open(root.path(), Format::Auto, &skip).unwrap();
    let counts: Vec<(FaultKind, usize)> = splits.faults.counts().iter().map(|(k, n)| (*k, *n)).collect();
    use FaultKind::*;
    let expected = [
        (NotANumber, 3),
        (Inverted, 1),
        (NoArea, 1),
        (Outside, 1),
        (NoBox, 1),
        (UnknownCategory, 1),
        (UnknownPicture, 1),
        (DuplicateId, 1),
        (DuplicatePicture, 1),
        (MissingPicture, 1),
    ];
    assert_eq!(counts, expected);
    assert_eq!((splits.train.boxes(), splits.train.len()), (1, 1));
    let first = &splits.faults.listed().iter().find(|f| f.kind == NoArea).unwrap();
    assert_eq!(
        (first.place.as_str(), first.note.as_str()),
        ("instances.json: line 3, annotation 1", "bbox [1.0, 1.0, 0.0, 5.0] in 40x30")
    );
    let strict = OpenOptions { on_bad: OnBad::Skip, on_bad_boxes: OnBad::Error, ..OpenOptions::default() };
    let refused = open(root.path(), Format::Auto, &strict).unwrap_err().to_string();
    assert!(refused.contains("1 inverted boxes (first instances.json: line 4, annotation 2"), "{refused}");

    let report = inspect(root.path(), Format::Auto, &InspectOptions::default()).unwrap();
    let boxes = report.boxes.as_ref().unwrap();
    assert_eq!((boxes.boxes, report.unreadable.count, boxes.faults[&NotANumber].count), (1, 1, 3));
    assert!(report.to_string().contains("✗ 1 inverted boxes: left out"), "{report}");
}

/// A picture that its EXIF tag turns, with boxes for it as stored.
#[test]
fn boxes_of_the_stored_frame_are_turned_upright() {
    // By the eight rules: a box follows the pixels that it is around.
    let stored = Size::new(4, 3);
    let mark = Box2d::new(1.0, 0.0, 3.0, 1.0);
    let expected = [
        (1, [1.0, 0.0, 3.0, 1.0]),
        (2, [1.0, 0.0, 3.0, 1.0]),
        (3, [1.0, 2.0, 3.0, 3.0]),
        (4, [1.0, 2.0, 3.0, 3.0]),
        (5, [0.0, 1.0, 1.0, 3.0]),
        (6, [2.0, 1.0, 3.0, 3.0]),
        (7, [2.0, 1.0, 3.0, 3.0]),
        (8, [0.0, 1.0, 1.0, 3.0]),
    ];
    for (orientation, corners) in expected {
        assert_eq!(gather::turned(mark, stored, orientation).to_corners(), corners, "{orientation}");
    }
    let corner = Box2d::new(0.0, 0.0, 1.0, 1.0);
    for (orientation, corners) in [
        (2, [3.0, 0.0, 4.0, 1.0]),
        (6, [2.0, 0.0, 3.0, 1.0]),
        (8, [0.0, 3.0, 1.0, 4.0]),
        (7, [2.0, 3.0, 3.0, 4.0]),
    ] {
        assert_eq!(gather::turned(corner, stored, orientation).to_corners(), corners, "{orientation}");
    }
    let root = tempfile::tempdir().unwrap();
    let jpeg = encode_jpeg(&picture(40, 30, 1), 90).unwrap();
    // An EXIF segment behind the start marker: orientation 6.
    let tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut exif = vec![0xff, 0xe1, 0, (2 + 6 + tiff.len()) as u8];
    exif.extend(b"Exif\0\0");
    exif.extend(tiff);
    put(root.path(), "a.jpg", [&jpeg[..2], &exif, &jpeg[2..]].concat());
    let written = |w, h| {
        format!(
            "{{\"images\":[{{\"id\":1,\"file_name\":\"a.jpg\",\"width\":{w},\"height\":{h}}}],\"annotations\":[{{\"id\":1,\
             \"image_id\":1,\"category_id\":1,\"bbox\":[10,0,5,2]}}],\"categories\":[{{\"id\":1,\"name\":\"x\"}}]}}"
        )
    };
    for (size, corners, notes) in
        [((40, 30), [28.0, 10.0, 30.0, 15.0], 1), ((30, 40), [10.0, 0.0, 15.0, 2.0], 0)]
    {
        put(root.path(), "instances.json", written(size.0, size.1));
        let splits = open(root.path(), Format::Auto, &OpenOptions::default()).unwrap();
        assert_eq!(
            (splits.train.load(0).unwrap().size, splits.train.pictures()[0].size),
            (Size::new(30, 40), Size::new(30, 40))
        );
        assert_eq!(
            (splits.train.target(0)[0].bounds.to_corners(), splits.notes.len()),
            (corners, notes),
            "{:?}",
            splits.notes
        );
    }
}

#[test]
fn yolo_in_the_layouts_of_its_tools() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "images/train/a.png", png(40, 20, 1));
    put(root.path(), "images/train/empty.png", png(40, 20, 2));
    put(root.path(), "images/val/b.png", png(10, 10, 3));
    put(
        root.path(),
        "labels/train/a.txt",
        "1 0.5 0.5 0.5 0.5\n\n0 0.25 0.25 0 0.5\n7 0.5 0.5 0.5 0.5\n0 nan 0.5 0.5 0.5\n0 0.5\n",
    );
    put(root.path(), "labels/val/b.txt", "0 0.1 0.1 0.9 0.1 0.9 0.9\n");
    let bare = open(root.path(), Format::Auto, &OpenOptions::default()).unwrap();
    assert_eq!((bare.format, bare.classes().len(), bare.notes.len()), (Format::Yolo, 8, 1));
    put(
        root.path(),
        "data.yaml",
        "path: /nowhere/else\ntrain: ../images/train\nval: images/val\nnames: [a, b]\n",
    );
    let splits = open(root.path(), Format::Auto, &OpenOptions::default()).unwrap();
    assert_eq!((splits.train.len(), splits.train.boxes()), (2, 1));
    assert_eq!(splits.train.target(0)[0].bounds.to_corners(), [10.0, 5.0, 30.0, 15.0]);
    let val = splits.val.as_ref().unwrap();
    assert!((val.target(0)[0].area - 64.0).abs() < 1e-9);
    let counts: Vec<usize> = splits.faults.counts().values().copied().collect();
    assert_eq!(counts, [1, 1, 1, 1], "{}", splits.faults.summary());
    put(root.path(), "data.yaml", "train: images/nowhere\nnames: [a, b]\n");
    assert!(
        open(root.path(), Format::Auto, &OpenOptions::default())
            .unwrap_err()
            .to_string()
            .contains("there is no images/nowhere")
    );
    put(root.path(), "data.yaml", "train: images/train\nnc: 3\nnames: [a, b]\n");
    assert!(
        open(root.path(), Format::Auto, &OpenOptions::default())
            .unwrap_err()
            .to_string()
            .contains("`nc` says 3")
    );
}

#[test]
fn what_is_no_data_set_of_boxes_is_said() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "notes.json", "{\"a\": 1}");
    let fault = open(root.path(), Format::Auto, &OpenOptions::default()).unwrap_err().to_string();
    assert!(fault.contains("no data set of boxes. Looked for: COCO"), "{fault}");
    let fault =
        open(&root.path().join("notes.json"), Format::Auto, &OpenOptions::default()).unwrap_err().to_string();
    assert!(fault.contains("notes.json: line 1") && fault.contains("no `images`"), "{fault}");
    assert!(
        open(root.path(), Format::Csv, &OpenOptions::default())
            .unwrap_err()
            .to_string()
            .contains("has no boxes")
    );
}

#[test]
fn blood_cells_have_two_boxes_without_area() {
    let Some(path) = shared("detect/bccd_trainval") else { return };
    let splits = open(&path, Format::Auto, &OpenOptions::default()).unwrap();
    assert_eq!(
        (splits.format, splits.classes()),
        (Format::Voc, ["Platelets".into(), "RBC".into(), "WBC".into()].as_slice())
    );
    let places: Vec<&str> =
        splits.faults.listed().iter().map(|f| f.place.split(':').next().unwrap()).collect();
    assert_eq!(places, ["Annotations/BloodImage_00338.xml", "Annotations/BloodImage_00343.xml"]);
    assert_eq!(splits.faults.counts().keys().collect::<Vec<_>>(), [&FaultKind::NoArea]);
    let boxes: usize = splits.parts().map(|(_, data)| data.boxes()).sum();
    assert_eq!(boxes, 3943 - 2);
    let lines =
        |name: &str| std::fs::read_to_string(path.join("ImageSets/Main").join(name)).unwrap().lines().count();
    assert_eq!(
        (splits.train.len(), splits.val.as_ref().unwrap().len()),
        (lines("train.txt"), lines("val.txt"))
    );
}

#[test]
fn raccoons_and_cards_open_whole() {
    for (folder, pictures, boxes, classes) in
        [("detect/raccoon_train", 160, 173, 1), ("detect/cards_train50", 50, 50, 6)]
    {
        let Some(path) = shared(folder) else { return };
        let splits = open(&path, Format::Auto, &OpenOptions::default()).unwrap();
        assert_eq!(
            (splits.train.len(), splits.train.boxes(), splits.classes().len()),
            (pictures, boxes, classes),
            "{folder}"
        );
        assert_eq!(splits.faults.total(), 0, "{}", splits.faults.summary());
        let (train, val) = splits.train.split(0.2, 0).unwrap();
        assert_eq!((train.len(), val.len()), (pictures * 4 / 5, pictures / 5));
    }
}
