//! Boxes drawn on pictures.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod voc;

use opticus_pixels::codec::encode_png;
use opticus_pixels::draw::{BoxDrawing, Mark, class_color, draw_boxes, readable_on};
use opticus_pixels::resize::{Filter, resize};
use opticus_pixels::{Box2d, Image8, Size};
use proptest::collection::vec;
use proptest::prelude::*;

fn grey(width: u32, height: u32) -> Image8 {
    let data = vec![128; width as usize * height as usize];
    Image8 { size: Size::new(width, height), channels: 1, data }
}

fn mark(edges: [f64; 4], class: usize, name: &str, score: Option<f64>) -> Mark {
    Mark { bounds: edges.into(), class, name: name.to_owned(), score, dashed: false }
}

fn pixel(image: &Image8, x: usize, y: usize) -> [u8; 3] {
    let at = (y * image.size.width as usize + x) * 3;
    image.data[at..at + 3].try_into().unwrap()
}

fn lines_only() -> BoxDrawing {
    BoxDrawing { labels: false, line: Some(2), ..BoxDrawing::default() }
}

#[test]
fn labels_read_as_the_article_has_them() {
    let label = |name: &str, score| mark([0.0; 4], 0, name, score).label();
    assert_eq!(label("raccoon", Some(0.974)), "raccoon: 97%");
    // Python rounds halves to even, and so does the article's function.
    assert_eq!(label("raccoon", Some(0.125)), "raccoon: 12%");
    assert_eq!(label("raccoon", None), "raccoon");
    assert_eq!(label("", Some(1.0)), "100%");
    assert_eq!(label("", None), "");
    assert_eq!(label("x", Some(f64::INFINITY)), "x: 100%");
}

#[test]
fn lines_lie_on_the_edges() {
    let image = draw_boxes(&grey(60, 40), &[mark([10.0, 8.0, 50.0, 30.0], 1, "", Some(0.9))], &lines_only());
    let color = class_color(1);
    for x in 0..60 {
        for y in 0..40 {
            let outer = (9..51).contains(&x) && (7..31).contains(&y);
            let inner = (11..49).contains(&x) && (9..29).contains(&y);
            let expected = if outer && !inner { color } else { [128; 3] };
            assert_eq!(pixel(&image, x, y), expected, "{x} {y}");
        }
    }
}

#[test]
fn a_box_as_large_as_the_picture_is_seen_whole() {
    let image = draw_boxes(&grey(30, 20), &[mark([-9.0, -9.0, 99.0, 99.0], 0, "", None)], &lines_only());
    for (x, y) in [(0, 0), (29, 0), (0, 19), (29, 19), (15, 1), (1, 10), (28, 10), (15, 18)] {
        assert_eq!(pixel(&image, x, y), class_color(0));
    }
    assert_eq!(pixel(&image, 15, 10), [128; 3]);
}

#[test]
fn weak_and_too_many_boxes_are_left_out() {
    let at = |x: f64, score| mark([x, 5.0, x + 6.0, 15.0], 0, "", score);
    let marks = [
        at(5.0, Some(0.30)),
        at(15.0, Some(0.31)),
        at(25.0, Some(0.9)),
        at(35.0, None),
        at(45.0, Some(f64::NAN)),
    ];
    let drawn = |settings| {
        let image = draw_boxes(&grey(60, 20), &marks, &settings);
        [5, 15, 25, 35, 45].map(|x| pixel(&image, x, 10) != [128; 3])
    };
    assert_eq!(drawn(lines_only()), [false, true, true, true, false]);
    assert_eq!(drawn(BoxDrawing { max_boxes: 1, ..lines_only() }), [false, false, true, true, false]);
}

#[test]
fn the_better_box_lies_above() {
    let marks =
        [mark([5.0, 5.0, 30.0, 30.0], 0, "", Some(0.9)), mark([5.0, 5.0, 30.0, 30.0], 1, "", Some(0.5))];
    assert_eq!(pixel(&draw_boxes(&grey(40, 40), &marks, &lines_only()), 5, 15), class_color(0));
}

#[test]
fn dashes_alternate() {
    let dashed = Mark { dashed: true, ..mark([10.0, 10.0, 90.0, 60.0], 2, "", None) };
    let image = draw_boxes(&grey(100, 70), &[dashed], &lines_only());
    let top: Vec<_> = (9..91).map(|x| pixel(&image, x, 10)).collect();
    let changes = top.windows(2).filter(|w| w[0] != w[1]).count();
    assert_eq!(changes, 82 / 8);
    assert!(top.contains(&class_color(2)) && top.contains(&readable_on(class_color(2))));
}

#[test]
fn a_label_stands_above_its_box_in_its_colour() {
    let image = draw_boxes(
        &grey(200, 100),
        &[mark([20.0, 50.0, 150.0, 90.0], 4, "cat", Some(0.88))],
        &BoxDrawing::default(),
    );
    let ground = class_color(4);
    let above = (36..49).flat_map(|y| (20..60).map(move |x| [x, y]));
    let above: Vec<_> = above.map(|[x, y]| pixel(&image, x, y)).collect();
    // Small letters are mostly edges: what is nearer to a colour than not counts as it.
    let share = |color: [u8; 3]| {
        let close = |p: &&[u8; 3]| p.iter().zip(color).all(|(a, b)| a.abs_diff(b) < 100);
        above.iter().filter(close).count() as f64 / above.len() as f64
    };
    assert!(share(ground) > 0.4, "{}", share(ground));
    assert!(share(readable_on(ground)) > 0.08, "{}", share(readable_on(ground)));
}

fn edge() -> impl Strategy<Value = f64> {
    prop_oneof![8 => -50.0..150.0f64, 1 => any::<f64>(), 1 => Just(f64::NAN)]
}

proptest! {
    #[test]
    fn drawing_anything_is_safe(
        size in (1u32..60, 1u32..60),
        boxes in vec((vec(edge(), 4), any::<usize>(), ".{0,30}", any::<Option<f64>>(), any::<bool>()), 0..12),
        line in proptest::option::of(any::<u32>()),
        text_size in proptest::option::of(any::<f32>()),
    ) {
        let marks: Vec<_> = boxes
            .into_iter()
            .map(|(edges, class, name, score, dashed)| Mark { bounds: Box2d::new(edges[0], edges[1], edges[2], edges[3]), class, name, score, dashed })
            .collect();
        let image = grey(size.0, size.1);
        let drawn = draw_boxes(&image, &marks, &BoxDrawing { line, text_size, min_score: 0.0, ..BoxDrawing::default() });
        prop_assert_eq!(drawn.size, image.size);
        prop_assert_eq!(drawn.data.len(), image.data.len() * 3);
    }
}

#[test]
fn an_empty_picture_stays_empty() {
    let nothing = Image8 { size: Size::new(0, 0), channels: 3, data: Vec::new() };
    let drawn = draw_boxes(&nothing, &[mark([0.0, 0.0, 1.0, 1.0], 0, "a", None)], &BoxDrawing::default());
    assert_eq!(drawn, nothing);
}

/// Writes pictures to look at into the folder `OPTICUS_OUT`.
#[test]
#[ignore = "pictures for a person to look at"]
fn pictures_to_look_at() {
    let folder =
        std::path::PathBuf::from(std::env::var_os("OPTICUS_OUT").expect("OPTICUS_OUT names a folder"));
    let mut classes: Vec<String> = Vec::new();
    let photos = [("bccd_trainval", 3), ("raccoon_train", 4), ("cards_train50", 2)];
    for photo in photos.into_iter().flat_map(|(folder, most)| voc::photos(folder, most)) {
        for side in [100, 640, 4000] {
            let longest = photo.image.size.width.max(photo.image.size.height);
            let factor = f64::from(side) / f64::from(longest);
            let scaled = |v: u32| (f64::from(v) * factor).round() as u32;
            let size = Size::new(scaled(photo.image.size.width), scaled(photo.image.size.height));
            let image = resize(&photo.image, size, Filter::Bilinear);
            let mut marks = Vec::new();
            for (i, (name, bounds)) in photo.objects.iter().enumerate() {
                let class = classes.iter().position(|c| c == name).unwrap_or_else(|| {
                    classes.push(name.clone());
                    classes.len() - 1
                });
                let bounds = bounds.scaled([factor; 2]);
                let score = 0.99 - 0.013 * i as f64;
                marks.push(Mark { bounds, class, name: name.clone(), score: Some(score), dashed: false });
                let off = bounds.translated([0.03 * bounds.width(), 0.05 * bounds.height()]);
                marks.push(Mark { bounds: off, class, name: String::new(), score: None, dashed: true });
            }
            let drawn = draw_boxes(&image, &marks, &BoxDrawing::default());
            std::fs::write(folder.join(format!("{}-{side}.png", photo.name)), encode_png(&drawn).unwrap())
                .unwrap();
        }
    }
    let page = grey(1000, 700);
    let classes: Vec<Mark> = (0..64)
        .map(|class| {
            let (x, y) = (f64::from(class % 8) * 120.0 + 20.0, f64::from(class / 8) * 84.0 + 30.0);
            mark([x, y, x + 90.0, y + 45.0], class as usize, &format!("Größe {class}"), Some(0.5))
        })
        .collect();
    let drawn = draw_boxes(&page, &classes, &BoxDrawing::default());
    std::fs::write(folder.join("palette.png"), encode_png(&drawn).unwrap()).unwrap();
    let same: Vec<Mark> = (0..9)
        .map(|i| mark([200.0, 200.0, 300.0, 290.0], i, "the same box", Some(0.9)))
        .chain([
            mark([960.0, 2.0, 999.0, 80.0], 9, "at the edge", Some(0.31)),
            mark([0.0, 0.0, 1000.0, 700.0], 10, "猫 everything Ж Ω", None),
        ])
        .collect();
    let drawn = draw_boxes(&page, &same, &BoxDrawing::default());
    std::fs::write(folder.join("same.png"), encode_png(&drawn).unwrap()).unwrap();
}
