//! Hierarchical grouping (algorithm 1 of the selective search paper).

use std::collections::BinaryHeap;

use super::features::{COLORS, Regions};
use super::{Region, Similarity};

/// Merges the two most similar neighbours until one region is left. Gives the boxes of all regions in the order in
/// which they came to be: the first ones, then each merged one. Of pairs equally similar the one with the older
/// regions goes first.
pub(super) fn group(first: &Regions, similarity: Similarity) -> Vec<Region> {
    let mut groups = Groups::new(first, similarity);
    let mut queue: BinaryHeap<Pair> = first.neighbours.iter().map(|[a, b]| groups.pair(*a, *b)).collect();
    let mut touching = vec![Vec::new(); first.boxes.len()];
    for [a, b] in &first.neighbours {
        touching[*a as usize].push(*b);
        touching[*b as usize].push(*a);
    }
    let mut alive = vec![true; first.boxes.len()];
    while let Some(Pair { a, b, .. }) = queue.pop() {
        if !(alive[a as usize] && alive[b as usize]) {
            continue;
        }
        let merged = groups.merge(a, b);
        alive[a as usize] = false;
        alive[b as usize] = false;
        alive.push(true);
        let mut around = std::mem::take(&mut touching[a as usize]);
        around.append(&mut touching[b as usize]);
        around.sort_unstable();
        around.dedup();
        around.retain(|other| alive[*other as usize]);
        for other in &around {
            touching[*other as usize].push(merged);
            queue.push(groups.pair(*other, merged));
        }
        touching.push(around);
    }
    groups.boxes
}

/// Two regions that touch, in order of similarity.
#[derive(Clone, Copy)]
struct Pair {
    similarity: f32,
    a: u32,
    b: u32,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.similarity.total_cmp(&other.similarity).then_with(|| (other.a, other.b).cmp(&(self.a, self.b)))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

/// All regions so far.
struct Groups {
    similarity: Similarity,
    area: f32,
    colors: usize,
    row: usize,
    boxes: Vec<Region>,
    sizes: Vec<f32>,
    histograms: Vec<f32>,
}

impl Groups {
    fn new(first: &Regions, similarity: Similarity) -> Self {
        let with_room = |have: &[f32]| {
            let mut all = Vec::with_capacity(2 * have.len());
            all.extend_from_slice(have);
            all
        };
        // Grouping by size or fill alone needs no histograms.
        let measured = similarity.color || similarity.texture;
        Self {
            similarity,
            area: first.area,
            colors: if measured { first.channels * COLORS } else { 0 },
            row: if measured { first.row() } else { 0 },
            boxes: first.boxes.clone(),
            sizes: with_room(&first.sizes),
            histograms: if measured { with_room(&first.histograms) } else { Vec::new() },
        }
    }

    fn histogram(&self, region: usize) -> &[f32] {
        &self.histograms[region * self.row..(region + 1) * self.row]
    }

    fn pair(&self, a: u32, b: u32) -> Pair {
        let (i, j) = (a as usize, b as usize);
        let terms = self.similarity;
        let ((color_a, texture_a), (color_b, texture_b)) =
            (self.histogram(i).split_at(self.colors), self.histogram(j).split_at(self.colors));
        let mut similarity = 0.0;
        if terms.color {
            similarity += intersection(color_a, color_b);
        }
        if terms.texture {
            similarity += intersection(texture_a, texture_b);
        }
        let sizes = self.sizes[i] + self.sizes[j];
        if terms.size {
            similarity += 1.0 - sizes / self.area;
        }
        if terms.fill {
            similarity += 1.0 - (self.boxes[i].around(self.boxes[j]).area() - sizes) / self.area;
        }
        Pair { similarity, a, b }
    }

    /// The union of two regions; its histograms are the means weighted by size.
    fn merge(&mut self, a: u32, b: u32) -> u32 {
        let (i, j) = (a as usize, b as usize);
        let merged = self.boxes.len();
        self.boxes.push(self.boxes[i].around(self.boxes[j]));
        let (size_a, size_b) = (self.sizes[i], self.sizes[j]);
        let size = size_a + size_b;
        self.sizes.push(size);
        let (part_a, part_b) = (size_a / size, size_b / size);
        self.histograms.resize((merged + 1) * self.row, 0.0);
        let (all, new) = self.histograms.split_at_mut(merged * self.row);
        let both = all[i * self.row..(i + 1) * self.row].iter().zip(&all[j * self.row..(j + 1) * self.row]);
        for (new, (a, b)) in new.iter_mut().zip(both) {
            *new = part_a * a + part_b * b;
        }
        merged as u32
    }
}

/// Sum of the smaller bins, in a fixed order that vector instructions can follow.
fn intersection(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let least = |a: f32, b: f32| if a < b { a } else { b };
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| least(*a, *b)).sum();
    for (a, b) in a.zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += least(*a, *b);
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::super::colour::ColorSpace;
    use super::super::features::Features;
    use super::*;
    use crate::geometry::Size;
    use crate::image::Image8;
    use crate::segment::Segments;

    /// A picture of random blocks of many sizes, cut into them: no two pairs of regions are equally similar.
    fn blocks() -> (Image8, Segments) {
        let size = Size::new(40, 30);
        let before = |marks: &[u32], v: u32| marks.iter().filter(|mark| **mark <= v).count() as u32;
        let label = |p: u32| before(&[7, 19], p / 40) * 5 + before(&[5, 14, 21, 33], p % 40);
        let labels: Vec<u32> = (0..1200).map(label).collect();
        let mix = |v: u32| (v.wrapping_mul(2_654_435_761) >> 13) ^ v.wrapping_mul(40_503);
        let value = |p: u32, c: u32| (mix(labels[p as usize] * 3 + c) % 200 + mix(p * 3 + c) % 50) as u8;
        let data = (0..1200).flat_map(|p| (0..3).map(move |c| (p, c))).map(|(p, c)| value(p, c)).collect();
        (Image8 { size, channels: 3, data }, Segments { size, labels, regions: 15 })
    }

    /// The algorithm as the paper has it: all pairs compared anew in each round, each region measured from its pixels.
    fn by_definition(features: &Features, segments: &Segments, similarity: Similarity) -> Vec<Region> {
        let mut labels = segments.labels.clone();
        let mut live: Vec<u32> = (0..segments.regions as u32).collect();
        let first = features.regions(segments);
        let mut boxes = first.boxes;
        while live.len() > 1 {
            let position = |label: &u32| live.iter().position(|l| l == label).unwrap_or(0) as u32;
            let now = Segments {
                size: segments.size,
                labels: labels.iter().map(position).collect(),
                regions: live.len(),
            };
            let measured = features.regions(&now);
            let groups = Groups::new(&measured, similarity);
            let value = |pair: &[u32; 2]| groups.pair(pair[0], pair[1]).similarity;
            let best = measured.neighbours.iter().max_by(|p, q| value(p).total_cmp(&value(q)));
            let Some([a, b]) = best.map(|pair| pair.map(|i| live[i as usize])) else { break };
            let merged = boxes.len() as u32;
            boxes.push(boxes[a as usize].around(boxes[b as usize]));
            for label in labels.iter_mut().filter(|label| **label == a || **label == b) {
                *label = merged;
            }
            live.retain(|l| *l != a && *l != b);
            live.push(merged);
        }
        boxes
    }

    #[test]
    fn grouping_by_definition() {
        let (image, segments) = blocks();
        for space in [ColorSpace::Lab, ColorSpace::Hsv, ColorSpace::Intensity] {
            let features = Features::of(&space.planes(&image));
            let regions = features.regions(&segments);
            for similarity in [Similarity::ALL, Similarity::NO_COLOR] {
                let expected = by_definition(&features, &segments, similarity);
                assert_eq!(expected.len(), 29);
                assert_eq!(group(&regions, similarity), expected, "{space:?}");
            }
        }
    }

    #[test]
    fn histograms_stay_shares() {
        let (image, segments) = blocks();
        let regions = Features::of(&ColorSpace::Lab.planes(&image)).regions(&segments);
        let mut groups = Groups::new(&regions, Similarity::ALL);
        let merged = groups.merge(0, 1) as usize;
        let last = groups.merge(merged as u32, 2) as usize;
        for region in [0, merged, last] {
            let (colors, textures) = groups.histogram(region).split_at(3 * COLORS);
            assert!((colors.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            assert!((textures.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }

    /// Equations 4 and 5 on a case done by hand: two squares of 10 pixels' side in a picture of 1000 pixels.
    #[test]
    fn size_and_fill_by_hand() {
        let square = |x| Region { x1: x, y1: 0, x2: x + 10, y2: 10 };
        let regions = Regions {
            area: 1000.0,
            channels: 1,
            boxes: vec![square(0), square(10), Region { x1: 20, y1: 10, x2: 30, y2: 20 }],
            sizes: vec![100.0; 3],
            histograms: Vec::new(),
            neighbours: vec![[0, 1], [1, 2]],
        };
        let value = |similarity, a, b| Groups::new(&regions, similarity).pair(a, b).similarity;
        assert!((value(Similarity::SIZE, 0, 1) - 0.8).abs() < 1e-6);
        assert!((value(Similarity::FILL, 0, 1) - 1.0).abs() < 1e-6);
        assert!((value(Similarity::FILL, 1, 2) - 0.8).abs() < 1e-6);
    }
}
