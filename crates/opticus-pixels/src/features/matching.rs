//! Which point of one picture is which of another.

use pulp::Arch;

use super::{DIMENSIONS, Features};

/// Greatest ratio of the nearest distance to that of the next point elsewhere (Lowe 2004, section 7.1).
const RATIO: f32 = 0.8;
/// Pixels within which two points are one, seen at two angles.
const SAME: f32 = 1.0;

/// A pair of points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Number of the point in the first picture.
    pub first: usize,
    /// Number of the point in the second picture.
    pub second: usize,
    /// Distance of their descriptors over that of the next best.
    pub ratio: f32,
}

/// Points that are each other's nearest, and nearer by far than the next; the surest first.
pub fn match_features(a: &Features, b: &Features) -> Vec<Match> {
    let (n, m) = (a.keypoints.len(), b.keypoints.len());
    let arch = Arch::new();
    let mut best_of_b = vec![(f32::MIN, usize::MAX); m];
    let mut products = vec![0.0f32; m];
    let mut found = Vec::new();
    for first in 0..n {
        let own = &a.descriptors[first * DIMENSIONS..][..DIMENSIONS];
        arch.dispatch(|| multiply(own, &b.descriptors, &mut products));
        let mut nearest = (f32::MIN, usize::MAX);
        for (second, &product) in products.iter().enumerate() {
            if product > nearest.0 {
                nearest = (product, second);
            }
            if product > best_of_b[second].0 {
                best_of_b[second] = (product, first);
            }
        }
        let Some(at) = b.keypoints.get(nearest.1) else { continue };
        let mut next = f32::MIN;
        for (product, other) in products.iter().zip(&b.keypoints) {
            if *product > next && (other.x - at.x).abs().max((other.y - at.y).abs()) > SAME {
                next = *product;
            }
        }
        // Of vectors of length 1.
        let distance = |product: f32| (2.0 - 2.0 * product).max(0.0).sqrt();
        let ratio = distance(nearest.0) / distance(next.max(-1.0)).max(1e-6);
        if ratio < RATIO {
            found.push(Match { first, second: nearest.1, ratio });
        }
    }
    found.retain(|m| best_of_b[m.second].1 == m.first);
    found.sort_by(|p, q| p.ratio.total_cmp(&q.ratio).then(p.first.cmp(&q.first)));
    // A point seen at two angles matches once.
    let mut taken: std::collections::BTreeSet<[u32; 4]> = std::collections::BTreeSet::new();
    found.retain(|m| {
        let (p, q) = (&a.keypoints[m.first], &b.keypoints[m.second]);
        taken.insert([p.x, p.y, q.x, q.y].map(f32::to_bits))
    });
    found
}

/// Products of one descriptor with each of many.
#[inline(always)]
fn multiply(one: &[f32], many: &[f32], out: &mut [f32]) {
    let (one, _) = one.as_chunks::<16>();
    for (out, other) in out.iter_mut().zip(many.chunks_exact(DIMENSIONS)) {
        let mut sums = [0.0f32; 16];
        for (a, b) in one.iter().zip(other.as_chunks::<16>().0) {
            for i in 0..16 {
                sums[i] += a[i] * b[i];
            }
        }
        *out = sums.iter().sum();
    }
}
