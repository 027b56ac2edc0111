//! The graph of neighbouring pixels, and its cuts.

use super::{Planes, Segments};
use crate::geometry::Size;

/// Neighbouring pixels and how far apart their colours are, nearest first.
pub(crate) struct Graph {
    size: Size,
    /// Weight's bits above, number of the edge below. Edge `4 p + d` joins pixel `p` with its neighbour in direction
    /// `d`, see [`neighbour`].
    edges: Vec<u64>,
}

/// The pixel to the right, below, below to the right, or above to the right.
fn neighbour(size: Size, pixel: usize, direction: usize) -> Option<usize> {
    let (width, height) = (size.width as usize, size.height as usize);
    let (x, y) = (pixel % width, pixel / width);
    let right = x + 1 < width;
    match direction {
        0 => right.then_some(pixel + 1),
        1 => (y + 1 < height).then_some(pixel + width),
        2 => (right && y + 1 < height).then_some(pixel + width + 1),
        _ => (right && y > 0).then(|| pixel + 1 - width),
    }
}

impl Graph {
    pub fn new(planes: &Planes) -> Self {
        let size = planes.size;
        let pixels = (size.area() as usize).min(planes.channels.iter().map(Vec::len).min().unwrap_or(0));
        let mut edges = Vec::with_capacity(4 * pixels);
        for pixel in 0..pixels {
            for direction in 0..4 {
                let Some(other) = neighbour(size, pixel, direction) else { continue };
                let square: f32 = planes.channels.iter().map(|c| (c[pixel] - c[other]).powi(2)).sum();
                // Bits of numbers not below zero are in the numbers' order.
                edges.push(u64::from(square.sqrt().to_bits()) << 32 | (4 * pixel + direction) as u64);
            }
        }
        sort(&mut edges);
        Self { size, edges }
    }

    /// The segmentation (algorithm 1 of the paper, with τ of equation 4), then regions below `min_size` merged over
    /// their nearest edges.
    pub fn cut(&self, scale: f32, min_size: u32) -> Segments {
        let pixels = self.size.area() as usize;
        let mut sets = Sets { parents: (0..pixels as u32).collect(), sizes: vec![1; pixels] };
        // Int(C) + k / |C| of each set: the weight up to which it merges.
        let mut limits = vec![scale; pixels];
        for edge in &self.edges {
            let (weight, a, b) = self.ends(*edge);
            let (a, b) = (sets.root(a), sets.root(b));
            if a != b && weight <= limits[a] && weight <= limits[b] {
                let root = sets.join(a, b);
                limits[root] = weight + scale / sets.sizes[root] as f32;
            }
        }
        for edge in &self.edges {
            let (_, a, b) = self.ends(*edge);
            let (a, b) = (sets.root(a), sets.root(b));
            if a != b && (sets.sizes[a] < min_size || sets.sizes[b] < min_size) {
                sets.join(a, b);
            }
        }
        let mut names = vec![u32::MAX; pixels];
        let mut regions = 0;
        let labels = (0..pixels)
            .map(|pixel| {
                let name = &mut names[sets.root(pixel)];
                if *name == u32::MAX {
                    *name = regions;
                    regions += 1;
                }
                *name
            })
            .collect();
        Segments { size: self.size, labels, regions: regions as usize }
    }

    fn ends(&self, edge: u64) -> (f32, usize, usize) {
        let (pixel, direction) = ((edge as u32 / 4) as usize, edge as usize % 4);
        let width = self.size.width as usize;
        let other = match direction {
            0 => pixel + 1,
            1 => pixel + width,
            2 => pixel + width + 1,
            _ => pixel + 1 - width,
        };
        (f32::from_bits((edge >> 32) as u32), pixel, other)
    }
}

/// Sorts by the upper 32 bits, keeping the order of equals: a radix sort in three passes, four times as fast as a
/// sort by comparison.
fn sort(edges: &mut Vec<u64>) {
    const BITS: u32 = 11;
    let mut other = vec![0; edges.len()];
    for shift in [32, 32 + BITS, 32 + 2 * BITS] {
        let digit = |edge: u64| (edge >> shift) as usize & ((1 << BITS) - 1);
        let mut starts = [0usize; 1 << BITS];
        for edge in edges.iter() {
            starts[digit(*edge)] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += std::mem::replace(start, sum);
        }
        for edge in edges.iter() {
            let at = &mut starts[digit(*edge)];
            other[*at] = *edge;
            *at += 1;
        }
        std::mem::swap(edges, &mut other);
    }
}

/// Disjoint sets of pixels.
struct Sets {
    parents: Vec<u32>,
    sizes: Vec<u32>,
}

impl Sets {
    fn root(&mut self, mut at: usize) -> usize {
        while self.parents[at] as usize != at {
            self.parents[at] = self.parents[self.parents[at] as usize];
            at = self.parents[at] as usize;
        }
        at
    }

    /// Joins two roots; gives the new one.
    fn join(&mut self, a: usize, b: usize) -> usize {
        let (root, other) = if self.sizes[a] >= self.sizes[b] { (a, b) } else { (b, a) };
        self.parents[other] = root as u32;
        self.sizes[root] += self.sizes[other];
        root
    }
}
