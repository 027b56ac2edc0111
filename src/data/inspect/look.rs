//! What a picture looks like, in few bytes: to find the same picture again after another encoder, a change of
//! size or a touch of brightness.
//!
//! Candidates are found by a perceptual hash (the signs of the 64 lowest frequencies of a 32×32 reduction,
//! about their median; "pHash", Zauner 2010) and confirmed by the correlation of the reductions themselves,
//! since a hash alone takes different handwritten ones for the same.

use std::sync::LazyLock;

use opticus_pixels::Image8;
use rayon::prelude::*;

/// Pictures whose hashes differ in more bits are not compared further.
pub(super) const HASH_BITS: u32 = 5;
/// The least correlation of two reductions of the same picture.
pub(super) const CORRELATION: f32 = 0.99;
/// The most that their mean absolute difference may be, of 255.
pub(super) const DIFFERENCE: f32 = 20.0;
/// A picture whose reduction varies less than this (standard deviation, of 255) shows nothing to compare.
pub(super) const BLANK: f32 = 1.0;

const SIDE: usize = 32;

/// A picture in few bytes.
#[derive(Clone, Debug)]
pub(super) struct Look {
    hash: u64,
    /// The reduction, grey. Boxed: a hundred thousand of them are sorted and moved.
    thumb: Box<[u8; SIDE * SIDE]>,
    mean: f32,
    deviation: f32,
}

impl Look {
    pub(super) fn of(picture: &Image8) -> Self {
        let small = reduce(picture);
        let thumb = Box::new(small.map(|v| (v + 0.5) as u8));
        let count = (SIDE * SIDE) as f32;
        let mean = thumb.iter().map(|v| f32::from(*v)).sum::<f32>() / count;
        let variance = thumb.iter().map(|v| (f32::from(*v) - mean).powi(2)).sum::<f32>() / count;
        Self { hash: perceptual_hash(&small), thumb, mean, deviation: variance.sqrt() }
    }

    /// Whether it shows nothing but one tone.
    pub(super) fn is_blank(&self) -> bool {
        self.deviation < BLANK
    }

    /// Correlation of two pictures if they are the same one, as far as can be seen.
    pub(super) fn same(&self, other: &Self) -> Option<f32> {
        if (self.hash ^ other.hash).count_ones() > HASH_BITS || self.is_blank() || other.is_blank() {
            return None;
        }
        let (mut product, mut difference) = (0u32, 0u32);
        for (a, b) in self.thumb.iter().zip(other.thumb.iter()) {
            product += u32::from(*a) * u32::from(*b);
            difference += u32::from(a.abs_diff(*b));
        }
        let count = (SIDE * SIDE) as f32;
        if difference as f32 / count > DIFFERENCE {
            return None;
        }
        let covariance =
            (f64::from(product) / f64::from(count) - f64::from(self.mean) * f64::from(other.mean)) as f32;
        let correlation = covariance / (self.deviation * other.deviation);
        (correlation >= CORRELATION).then(|| correlation.min(1.0))
    }
}

/// Grey area averages of a 32×32 grid over the whole picture, whatever its shape, 0..=255.
fn reduce(picture: &Image8) -> [f32; SIDE * SIDE] {
    const N: usize = SIDE;
    let (width, height) = (picture.size.width as usize, picture.size.height as usize);
    // Share of pixel `i` that falls into each cell it touches: (cell, weight), at most a few cells a pixel.
    let shares = |extent: usize| -> Vec<Vec<(usize, f32)>> {
        let scale = N as f64 / extent as f64;
        (0..extent)
            .map(|i| {
                let (from, to) = (i as f64 * scale, (i + 1) as f64 * scale);
                let last = (to.ceil() as usize).min(N);
                (from as usize..last)
                    .map(|cell| (cell, (to.min(cell as f64 + 1.0) - from.max(cell as f64)) as f32))
                    .filter(|(_, share)| *share > 0.0)
                    .collect()
            })
            .collect()
    };
    let (columns, rows) = (shares(width), shares(height));
    let mut cells = [0f32; N * N];
    let mut line = [0f32; N];
    for (y, into) in rows.iter().enumerate() {
        line.fill(0.0);
        let samples = &picture.data[y * width * picture.channels..][..width * picture.channels];
        for (pixel, into) in samples.chunks_exact(picture.channels).zip(&columns) {
            let grey = match pixel {
                [r, g, b, ..] => 0.299 * f32::from(*r) + 0.587 * f32::from(*g) + 0.114 * f32::from(*b),
                [v, ..] => f32::from(*v),
                [] => 0.0,
            };
            for (cell, share) in into {
                line[*cell] += grey * share;
            }
        }
        for (cell, share) in into {
            for (sum, value) in cells[cell * N..cell * N + N].iter_mut().zip(line) {
                *sum += value * share;
            }
        }
    }
    // The shares of all pixels that fall into a cell add up to one cell: sums are averages.
    cells
}

/// The signs, about their median, of the 8×8 lowest frequencies of a 32×32 picture but for the mean.
fn perceptual_hash(small: &[f32; SIDE * SIDE]) -> u64 {
    static WAVES: LazyLock<[[f32; 32]; 8]> = LazyLock::new(|| {
        let wave = |k: usize, n: usize| (std::f32::consts::PI / 32.0 * (n as f32 + 0.5) * k as f32).cos();
        std::array::from_fn(|k| std::array::from_fn(|n| wave(k, n)))
    });
    let waves = &*WAVES;
    let mut by_rows = [[0f32; 8]; 32];
    for (row, out) in small.chunks_exact(32).zip(&mut by_rows) {
        for (wave, sum) in waves.iter().zip(out) {
            *sum = wave.iter().zip(row).map(|(a, b)| a * b).sum();
        }
    }
    let mut low = [0f32; 64];
    for (i, value) in low.iter_mut().enumerate() {
        *value = waves[i / 8].iter().zip(&by_rows).map(|(w, row)| w * row[i % 8]).sum();
    }
    let mut sorted = low;
    sorted[1..].sort_by(f32::total_cmp);
    let median = sorted[32];
    low.iter().enumerate().skip(1).filter(|(_, v)| **v > median).fold(0, |hash, (i, _)| hash | 1 << i)
}

/// Pairs of pictures that look the same, as groups of at least two: the numbers in each group are in order, and
/// so are the groups by their first.
///
/// Two hashes that differ in at most [`HASH_BITS`] bits agree wholly in one of `HASH_BITS + 1` bands (there are
/// more bands than differences), so only pictures that share a band are compared.
pub(super) fn groups(looks: &[(usize, &Look)]) -> Vec<Group> {
    const BANDS: usize = HASH_BITS as usize + 1;
    const BLOCK: usize = 64;
    let bands = banded_bits::<BANDS>(looks);
    let mut sets = Sets::new(looks.len());
    let mut least = vec![1.0f32; looks.len()];
    for band in bands {
        let key = |hash: u64| {
            band.iter().enumerate().fold(0usize, |k, (i, bit)| k | ((hash >> bit & 1) as usize) << i)
        };
        // Hashes beside the numbers: most comparisons end with them, and must not fetch the pictures.
        let mut buckets: Vec<Vec<(u64, u32)>> = vec![Vec::new(); 1 << band.len()];
        for (i, (_, look)) in looks.iter().enumerate() {
            if !look.is_blank() {
                buckets[key(look.hash)].push((look.hash, i as u32));
            }
        }
        for bucket in buckets {
            // In blocks, and without pairs that are joined already: were all pictures alike, every pair would
            // be one, too many to hold.
            for start in (0..bucket.len()).step_by(BLOCK) {
                let sets_now: Vec<usize> = bucket.iter().map(|(_, i)| sets.root(*i as usize)).collect();
                let row = |at: usize| {
                    let (hash, i) = bucket[at];
                    let (bucket, sets_now) = (&bucket, &sets_now);
                    (at + 1..bucket.len()).filter_map(move |other| {
                        let (other_hash, j) = bucket[other];
                        if (hash ^ other_hash).count_ones() > HASH_BITS || sets_now[at] == sets_now[other] {
                            return None;
                        }
                        let correlation = looks[i as usize].1.same(looks[j as usize].1)?;
                        Some((i as usize, j as usize, correlation))
                    })
                };
                let rows = start..(start + BLOCK).min(bucket.len());
                let pairs: Vec<(usize, usize, f32)> = rows.into_par_iter().flat_map_iter(row).collect();
                for (i, j, correlation) in pairs {
                    let (a, b) = (sets.root(i), sets.root(j));
                    let root = sets.join(a, b);
                    least[root] = correlation.min(least[a]).min(least[b]);
                }
            }
        }
    }
    let mut members: std::collections::BTreeMap<usize, Vec<usize>> = Default::default();
    for (i, (number, _)) in looks.iter().enumerate() {
        members.entry(sets.root(i)).or_default().push(*number);
    }
    let mut groups: Vec<Group> = members
        .into_iter()
        .filter(|(_, m)| m.len() > 1)
        .map(|(root, members)| Group { members, similarity: least[root] })
        .collect();
    groups.sort_by(|a, b| a.members.cmp(&b.members));
    groups
}

/// Pictures that look the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) members: Vec<usize>,
    /// The least correlation by which two of them were joined.
    pub(super) similarity: f32,
}

/// The 64 bits dealt out to the bands, most telling first, so that no band is made of bits that are alike in
/// all pictures (black borders make whole rows of frequencies agree).
fn banded_bits<const BANDS: usize>(looks: &[(usize, &Look)]) -> [Vec<u32>; BANDS] {
    let mut ones = [0usize; 64];
    for (_, look) in looks {
        for (bit, count) in ones.iter_mut().enumerate() {
            *count += (look.hash >> bit & 1) as usize;
        }
    }
    let mut order: Vec<u32> = (0..64).collect();
    order.sort_by_key(|bit| ones[*bit as usize].abs_diff(looks.len() / 2));
    std::array::from_fn(|band| order.iter().skip(band).step_by(BANDS).copied().collect())
}

/// Disjoint sets.
struct Sets(Vec<usize>);

impl Sets {
    fn new(len: usize) -> Self {
        Self((0..len).collect())
    }

    fn root(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) -> usize {
        let (a, b) = (self.root(a), self.root(b));
        // The smaller number leads, whatever the order of joining.
        let (low, high) = (a.min(b), a.max(b));
        self.0[high] = low;
        low
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::synth::Shapes;
    use opticus_pixels::Size;

    fn scene(number: usize) -> Image8 {
        Shapes { count: 1000, side: 96, seed: 11 }.single(number)
    }

    fn changed(picture: &Image8, change: impl Fn(u8) -> f64) -> Image8 {
        let data = picture.data.iter().map(|v| change(*v).clamp(0.0, 255.0) as u8).collect();
        Image8 { data, ..picture.clone() }
    }

    /// Half the size, by averaging.
    fn halved(picture: &Image8) -> Image8 {
        let (w, h) = (picture.size.width as usize, picture.size.height as usize);
        let at = |x: usize, y: usize, c: usize| u32::from(picture.data[(y * w + x) * 3 + c]);
        let mut data = Vec::new();
        for y in 0..h / 2 {
            for x in 0..w / 2 {
                for c in 0..3 {
                    let (x, y) = (2 * x, 2 * y);
                    data.push(
                        ((at(x, y, c) + at(x + 1, y, c) + at(x, y + 1, c) + at(x + 1, y + 1, c)) / 4) as u8,
                    );
                }
            }
        }
        Image8 { size: Size::new(w as u32 / 2, h as u32 / 2), channels: 3, data }
    }

    #[test]
    fn the_same_picture_is_known_again_and_others_are_not() {
        let originals: Vec<Image8> = (0..200).map(scene).collect();
        let mut pictures = originals.clone();
        pictures.extend(originals.iter().map(halved));
        pictures.extend(originals.iter().map(|p| changed(p, |v| f64::from(v) * 1.06)));
        pictures.extend(originals.iter().map(|p| changed(p, |v| (f64::from(v) / 8.0).round() * 8.0)));
        let looks: Vec<Look> = pictures.iter().map(Look::of).collect();
        let numbered: Vec<(usize, &Look)> = looks.iter().enumerate().collect();
        let groups = groups(&numbered);
        let right = groups.iter().filter(|g| g.members.iter().all(|m| m % 200 == g.members[0] % 200));
        assert_eq!(right.count(), groups.len(), "two different pictures in a group");
        let whole = groups.iter().filter(|g| g.members.len() == 4).count();
        assert!(whole >= 190, "{whole} of 200 found with all their copies");
    }

    /// What the bands find is what comparing all with all finds.
    #[test]
    fn bands_miss_nothing() {
        let pictures: Vec<Image8> = (0..120).flat_map(|i| [scene(i), halved(&scene(i))]).collect();
        let looks: Vec<Look> = pictures.iter().map(Look::of).collect();
        let numbered: Vec<(usize, &Look)> = looks.iter().enumerate().collect();
        let mut joined: Vec<(usize, usize)> = Vec::new();
        for i in 0..looks.len() {
            joined
                .extend((i + 1..looks.len()).filter(|j| looks[i].same(&looks[*j]).is_some()).map(|j| (i, j)));
        }
        let groups = groups(&numbered);
        for (i, j) in &joined {
            assert!(groups.iter().any(|g| g.members.contains(i) && g.members.contains(j)));
        }
        assert!(groups.iter().all(|g| joined.iter().any(|(i, _)| g.members.contains(i))));
        assert!(!joined.is_empty());
    }

    #[test]
    fn blank_pictures_are_not_duplicates_of_one_another() {
        let blank = |v: u8| Look::of(&Image8 { size: Size::new(5, 3), channels: 1, data: vec![v; 15] });
        let looks = [blank(0), blank(255), blank(0)];
        assert!(looks.iter().all(Look::is_blank));
        assert!(groups(&looks.iter().enumerate().collect::<Vec<_>>()).is_empty());
    }

    /// Every pair alike: memory and time must stay bounded.
    #[test]
    fn thousands_of_alike_pictures_are_one_group() {
        let original = scene(3);
        let looks: Vec<Look> = (0..3000)
            .map(|i| {
                let mut picture = halved(&original);
                picture.data[i % 1000] ^= 1;
                Look::of(&picture)
            })
            .collect();
        let groups = groups(&looks.iter().enumerate().collect::<Vec<_>>());
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].members.len(), 3000);
    }

    #[test]
    fn area_averages_keep_the_mean_whatever_the_size() {
        for (w, h) in [(1, 1), (3, 70), (32, 32), (100, 45), (31, 33)] {
            let data: Vec<u8> = (0..w * h).map(|i| (i * 37 % 256) as u8).collect();
            let mean = data.iter().map(|v| f64::from(*v)).sum::<f64>() / f64::from(w * h);
            let cells = reduce(&Image8 { size: Size::new(w, h), channels: 1, data });
            let reduced = cells.iter().map(|v| f64::from(*v)).sum::<f64>() / cells.len() as f64;
            assert!((mean - reduced).abs() < 0.01, "{w}x{h}: {mean} {reduced}");
        }
    }
}
