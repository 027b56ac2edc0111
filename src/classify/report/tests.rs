#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::classify::metrics::{ScoreKeeper, softmax};
use crate::error::Error;

/// A ring in a colour of its class on a dim ground: a picture that can be told from its neighbours.
fn ring(index: usize, class: usize) -> Image8 {
    let side = 48_u32;
    let centre = (20.0 + (index * 37 % 9) as f32, 20.0 + (index * 53 % 9) as f32);
    let radius = 6.0 + (class % 5) as f32 * 2.5;
    let hue = |shift: usize| (90 + (class * 61 + shift * 97) % 160) as u8;
    let data = (0..side * side)
        .flat_map(|i| {
            let (dx, dy) = ((i % side) as f32 - centre.0, (i / side) as f32 - centre.1);
            let on = (dx.hypot(dy) - radius).abs() < 2.5;
            if on { [hue(0), hue(1), hue(2)] } else { [34, 36, 44] }
        })
        .collect();
    Image8 { size: Size::new(side, side), channels: 3, data }
}

struct Rings {
    truths: Vec<usize>,
}

impl Sight for Rings {
    fn picture(&self, index: usize) -> Result<Image8> {
        match self.truths.get(index) {
            Some(_) if index == 13 => Err(Error::Input("damaged".to_owned())),
            Some(&truth) => Ok(ring(index, truth)),
            None => Err(Error::Input("no such picture".to_owned())),
        }
    }

    fn heat(&self, index: usize, class: usize) -> Result<Option<Image8>> {
        Ok(Some(ring(index, class + 1)))
    }
}

struct Sample {
    scores: ClassifyScores,
    answers: Vec<Answer>,
    log: Vec<LogRow>,
    data: DataSummary,
    sight: Rings,
}

/// A classifier that errs now and then, mostly between neighbouring classes.
fn sample(names: &[&str], pictures: usize) -> Sample {
    let classes: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let n = classes.len();
    let mut keeper = ScoreKeeper::new(&classes);
    let mut answers = Vec::new();
    for index in 0..pictures {
        let truth = index % n;
        let noise = |salt: usize| ((index * 2_654_435_761 + salt * 40_503) % 1000) as f32 / 1000.0;
        let mut logits: Vec<f32> = (0..n).map(|class| 2.2 * noise(class + 3)).collect();
        logits[truth] += 1.4 + 3.6 * noise(1);
        logits[(truth + 1) % n] += 2.4 * noise(2);
        keeper.push(&logits, &[truth]).unwrap();
        let probabilities = softmax(&logits).into_iter().map(|p| p as f32).collect();
        answers.push(Answer {
            index,
            name: format!("{}/{index:04}.png", classes[truth]),
            truth,
            probabilities,
        });
    }
    let log = (1..=30)
        .map(|epoch| {
            let t = f64::from(epoch);
            let wobble = 0.02 * (t * 2.7).sin();
            LogRow {
                epoch: t,
                train_loss: Some(0.12 + 2.1 * (-t / 5.0).exp()),
                train_top1: Some(0.97 - 0.85 * (-t / 5.0).exp()),
                val_loss: Some(0.2 + 1.9 * (-t / 4.0).exp() + wobble + 0.002 * t),
                val_top1: Some(0.955 - 0.8 * (-t / 4.0).exp() - wobble / 3.0),
                lr: Some(0.05 * (1.0 + (std::f64::consts::PI * t / 30.0).cos())),
                seconds: Some(4.2 * t),
            }
        })
        .collect();
    let data = DataSummary {
        name: "rings".into(),
        format: "folder".into(),
        train_counts: (0..n as u64).map(|i| 320 + i * 37 % 90).collect(),
        val: pictures as u64,
        test: None,
        fingerprint: "9f2c6a7e1d".into(),
        skipped: vec!["ring/0031.png: the file ends in the middle of the picture".into()],
    };
    let sight = Rings { truths: answers.iter().map(|a| a.truth).collect() };
    Sample { scores: keeper.finish().unwrap(), answers, log, data, sight }
}

fn page(sample: &Sample) -> String {
    let provenance =
        [("Command".to_owned(), "opticus classify train --data rings --net resnet20".to_owned())];
    run_report(&RunReport {
        title: "rings",
        net: "resnet20",
        parameters: 272_474,
        measured_on: &format!("{} validation pictures", sample.scores.images),
        log: &sample.log,
        scores: &sample.scores,
        answers: &sample.answers,
        sight: &sample.sight,
        data: &sample.data,
        configuration: "net = \"resnet20\"\n\n[fit]\nepochs = 30\n",
        provenance: &provenance,
    })
}

const NAMES: [&str; 10] =
    ["anchor", "bracelet", "<coin>", "dial", "egg", "ferris wheel", "gear", "hoop", "iris", "jar lid & ring"];

#[test]
fn the_report_tells_all_and_lets_no_name_through_unescaped() {
    let sample = sample(&NAMES, 400);
    let html = page(&sample);
    for title in [
        "How it learnt",
        "What it mistakes",
        "Worst and best",
        "Class by class",
        "How sure it may be",
        "Data",
    ] {
        assert_eq!(html.matches(&format!("\">{title}</h2>")).count(), 1, "{title}");
    }
    assert!(html.contains("&lt;coin&gt;") && !html.contains("<coin>"));
    assert!(html.contains(&percent(sample.scores.top1, 2)) && html.contains("272,474"));
    assert!(html.contains("2 min 06 s"), "30 epochs of 4.2 s");
    assert!(!html.contains("NaN"));
    // Every tag that must be closed is.
    for tag in ["section", "figure", "table", "svg", "ul", "div", "details", "g", "tr", "h3"] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "<{tag}>");
    }
}

#[test]
fn the_worst_come_first_and_carry_the_truth_and_the_heat() {
    let sample = sample(&NAMES, 400);
    let section = pictures_section(&sample.scores, &sample.answers, &sample.sight).unwrap();
    let html = Page::new("").section(section).render();
    let worst = sample
        .answers
        .iter()
        .filter(|a| !a.right() && a.index != 13)
        .min_by(|a, b| a.probability(a.truth).total_cmp(&b.probability(b.truth)))
        .unwrap();
    let first = html.split("<figure class=\"card").nth(1).unwrap();
    assert!(first.contains(&crate::report::escape(&worst.name)), "{first}");
    assert!(first.starts_with(" wide") && first.contains("class=\"truth\""));
    let guesses = |card: &str| card.matches("<li").count();
    for card in html.split("<figure class=\"card").skip(1) {
        assert!(guesses(card) == GUESSES && card.contains("class=\"truth\""), "{card}");
    }
    // The best show every class once before any twice.
    let best = html.split("<h3>Best</h3>").nth(1).unwrap();
    let titles: std::collections::BTreeSet<&str> = best
        .split("aria-label=\"right\">✓</span> <bdi>")
        .skip(1)
        .filter_map(|t| t.split('<').next())
        .collect();
    assert_eq!(titles.len(), NAMES.len());
}

#[test]
fn a_picture_that_cannot_be_read_is_left_out_and_the_report_goes_on() {
    let mut sample = sample(&NAMES, 40);
    sample.answers.retain(|a| a.index == 13);
    let section = pictures_section(&sample.scores, &sample.answers, &sample.sight).unwrap();
    assert!(!Page::new("").section(section).render().contains("<img"));
}

#[test]
fn nothing_wrong_nothing_logged_and_hardly_any_class_still_make_a_page() {
    let names = ["only".to_owned()];
    let mut keeper = ScoreKeeper::new(&names);
    keeper.push(&[0.5], &[0]).unwrap();
    let mut sample = sample(&["a", "b"], 4);
    (sample.scores, sample.answers, sample.log) = (keeper.finish().unwrap(), Vec::new(), Vec::new());
    sample.data = DataSummary::default();
    let html = page(&sample);
    assert!(html.contains("every picture was recognised") && !html.contains("How it learnt"));
    assert!(html.contains("100.00%") && !html.contains("NaN"));
}

#[test]
fn a_hundred_classes_stay_readable_and_small() {
    let names: Vec<String> = (0..100).map(|i| format!("species number {i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let html = page(&sample(&names, 2000));
    assert!(html.contains("<svg class=\"confusion\"") && html.contains("Top-5 accuracy"));
    assert!(html.len() < 1_500_000, "{} bytes", html.len());
}

#[test]
fn thumbnails_keep_their_shape() {
    let long = Image8 { size: Size::new(1000, 10), channels: 1, data: vec![7; 10_000] };
    assert_eq!(thumbnail(&long).size, Size::new(THUMBNAIL, 2));
    assert_eq!(thumbnail(&ring(0, 0)), ring(0, 0));
}

#[test]
#[ignore = "writes sample reports into target/ for a person to look at"]
fn samples_to_look_at() {
    let target = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::write(target.join("report-10.html"), page(&sample(&NAMES, 400))).unwrap();
    std::fs::write(target.join("report-2.html"), page(&sample(&["cat", "dog"], 60))).unwrap();
    let names: Vec<String> = (0..100).map(|i| format!("species number {i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    std::fs::write(target.join("report-100.html"), page(&sample(&names, 2000))).unwrap();
}
