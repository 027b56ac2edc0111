//! Graph segmentation by its definition.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use opticus_pixels::segment::{Segmenting, Segments, segment};
use opticus_pixels::{Image8, Size};
use proptest::collection::vec;
use proptest::prelude::*;

fn picture(most: u32, channels: usize, levels: u8) -> impl Strategy<Value = Image8> {
    (1..most, 1..most).prop_flat_map(move |(width, height)| {
        vec(0..levels, (width * height) as usize * channels).prop_map(move |data| Image8 {
            size: Size::new(width, height),
            channels,
            data: data.into_iter().map(|v| v * (255 / (levels - 1))).collect(),
        })
    })
}

/// Grey pictures of up to nine pixels whose levels are marks of a Golomb ruler, so that no two neighbours differ by as
/// much as two others.
fn without_ties() -> impl Strategy<Value = Image8> {
    (Just((0..9).collect::<Vec<u8>>()).prop_shuffle(), prop_oneof![Just((3, 3)), Just((2, 4)), Just((8, 1))])
        .prop_map(|(order, (width, height))| {
            const RULER: [u8; 9] = [0, 1, 5, 12, 25, 27, 35, 41, 44];
            let data = order.into_iter().take(width * height).map(|i| 3 * RULER[usize::from(i)]).collect();
            Image8 { size: Size::new(width as u32, height as u32), channels: 1, data }
        })
}

fn touching(size: Size) -> Vec<[usize; 2]> {
    let (width, height) = (size.width as i32, size.height as i32);
    let mut pairs = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for (dx, dy) in [(1, 0), (0, 1), (1, 1), (1, -1)] {
                if x + dx < width && (0..height).contains(&(y + dy)) {
                    pairs.push([(y * width + x) as usize, ((y + dy) * width + x + dx) as usize]);
                }
            }
        }
    }
    pairs
}

fn distance(image: &Image8, [a, b]: [usize; 2]) -> f32 {
    let pixel = |i: usize| &image.data[i * image.channels..(i + 1) * image.channels];
    let square = |(a, b): (&u8, &u8)| (f32::from(*a) - f32::from(*b)).powi(2);
    pixel(a).iter().zip(pixel(b)).map(square).sum::<f32>().sqrt()
}

/// Int(C): the largest weight of a minimum spanning tree of the region, by Prim.
fn internal(image: &Image8, region: &BTreeSet<usize>) -> f32 {
    let pairs = touching(image.size);
    let mut reached: BTreeSet<usize> = region.iter().take(1).copied().collect();
    let mut largest = 0.0f32;
    while reached.len() < region.len() {
        let ways = pairs.iter().filter_map(|[a, b]| match (reached.contains(a), reached.contains(b)) {
            (true, false) if region.contains(b) => Some((distance(image, [*a, *b]), *b)),
            (false, true) if region.contains(a) => Some((distance(image, [*a, *b]), *a)),
            _ => None,
        });
        let (weight, pixel) = ways.min_by(|a, b| a.0.total_cmp(&b.0)).expect("a region is connected");
        largest = largest.max(weight);
        reached.insert(pixel);
    }
    largest
}

/// Algorithm 1 with sets of pixels, everything computed anew at each step.
fn by_definition(image: &Image8, scale: f32) -> BTreeSet<BTreeSet<usize>> {
    let mut regions: Vec<BTreeSet<usize>> = (0..image.size.area() as usize).map(|p| [p].into()).collect();
    let mut edges = touching(image.size);
    edges.sort_by(|a, b| distance(image, *a).total_cmp(&distance(image, *b)));
    for edge in edges {
        let at = |pixel| regions.iter().position(|r| r.contains(&pixel)).unwrap();
        let (a, b) = (at(edge[0]), at(edge[1]));
        let limit = |r: &BTreeSet<usize>| internal(image, r) + scale / r.len() as f32;
        if a != b && distance(image, edge) <= limit(&regions[a]).min(limit(&regions[b])) {
            let taken = std::mem::take(&mut regions[b]);
            regions[a].extend(taken);
        }
    }
    regions.into_iter().filter(|r| !r.is_empty()).collect()
}

fn regions(segments: &Segments) -> Vec<BTreeSet<usize>> {
    let mut regions = vec![BTreeSet::new(); segments.regions];
    for (pixel, label) in segments.labels.iter().enumerate() {
        regions[*label as usize].insert(pixel);
    }
    regions
}

proptest! {
    #[test]
    fn tiny_pictures_by_definition(image in without_ties(), scale in 1.0..300.0f32) {
        let ours = segment(&image, &Segmenting { sigma: 0.0, scale, min_size: 0 });
        prop_assert_eq!(regions(&ours).into_iter().collect::<BTreeSet<_>>(), by_definition(&image, scale));
    }

    /// Theorem 1 of the paper: no boundary without evidence.
    #[test]
    fn not_too_fine(image in picture(9, 3, 5), scale in 1.0..600.0f32) {
        let ours = segment(&image, &Segmenting { sigma: 0.0, scale, min_size: 0 });
        let all = regions(&ours);
        let limits: Vec<f32> = all.iter().map(|r| internal(&image, r) + scale / r.len() as f32).collect();
        for [a, b] in touching(image.size) {
            let (i, j) = (ours.labels[a] as usize, ours.labels[b] as usize);
            if i != j {
                let weight = distance(&image, [a, b]);
                prop_assert!(weight > limits[i].min(limits[j]) - 1e-3, "{weight} {:?}", (limits[i], limits[j]));
            }
        }
    }

    #[test]
    fn regions_are_connected_large_and_named_in_order(
        image in picture(24, 1, 4),
        scale in 0.0..900.0f32,
        min_size in 0u32..30,
        sigma in 0.0..2.0f32,
    ) {
        let ours = segment(&image, &Segmenting { sigma, scale, min_size });
        let all = regions(&ours);
        let pairs = touching(image.size);
        for region in &all {
            prop_assert!(region.len() >= (min_size as usize).min(image.size.area() as usize));
            let mut reached: BTreeSet<usize> = region.iter().take(1).copied().collect();
            loop {
                let before = reached.len();
                for [a, b] in &pairs {
                    if region.contains(a) && region.contains(b) && (reached.contains(a) || reached.contains(b)) {
                        reached.extend([*a, *b]);
                    }
                }
                if reached.len() == before {
                    break;
                }
            }
            prop_assert_eq!(&reached, region);
        }
        let firsts: Vec<_> = all.iter().map(|r| r.first().copied()).collect();
        prop_assert!(firsts.is_sorted() && firsts.iter().all(Option::is_some));
    }
}

#[test]
fn three_fields_are_three_regions() {
    // The figure of the paper: a ramp, a flat field and a noisy one, which no single threshold separates.
    let (width, height) = (90u32, 40u32);
    let value = |x: u32, y: u32| match x {
        0..30 => 2 * x,
        30..60 => 200,
        _ => 100 + ((x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519)) >> 11) % 21,
    };
    let data = (0..height).flat_map(|y| (0..width).map(move |x| value(x, y) as u8)).collect();
    let image = Image8 { size: Size::new(width, height), channels: 1, data };
    let ours = segment(&image, &Segmenting { sigma: 0.0, scale: 500.0, min_size: 100 });
    assert_eq!(ours.regions, 3);
    assert!(
        ours.labels
            .chunks(90)
            .all(|row| row[..30].iter().all(|l| *l == 0) && row[60..].iter().all(|l| *l == 2))
    );
}

#[test]
fn odd_pictures_and_settings() {
    let nothing = Image8 { size: Size::new(0, 0), channels: 3, data: Vec::new() };
    assert_eq!(segment(&nothing, &Segmenting::default()).regions, 0);
    let data = (0..64).collect();
    let image = Image8 { size: Size::new(4, 4), channels: 4, data };
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 1e30] {
        let settings = Segmenting { sigma: odd, scale: odd, min_size: u32::MAX };
        assert_eq!(segment(&image, &settings).regions, 1);
    }
}
