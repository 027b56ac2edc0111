//! Focus stacking: of several pictures of one scene, each sharp elsewhere, one that is sharp everywhere.
//!
//! At every place of every level of a Laplacian pyramid the picture with most local energy is taken (Burt and Kolczynski
//! 1993, "Enhanced Image Capture Through Fusion", sections 3 and 4); the coarsest level, which has no sharpness, is the mean weighted by
//! the energy above it. Pictures come one by one, so that memory does not grow with their number.

use rayon::prelude::*;

use super::{BlendError, luma};
use crate::geometry::Size;
use crate::preprocess::Planes;
use crate::pyramid::{self, Border, Pyramid};

const BORDER: Border = Border::Repeated;

/// Settings of a stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Focus {
    /// Levels of the pyramid, at least 2; by default the coarsest has about 16 pixels.
    pub levels: Option<usize>,
    /// How much more energy a picture needs to take a place from one before, as a factor: above 1, flat places are
    /// taken from one picture rather than mixed.
    pub margin: f32,
}

impl Default for Focus {
    fn default() -> Self {
        Self { levels: None, margin: 1.0 }
    }
}

/// A stack that grows picture by picture.
#[derive(Debug)]
pub struct FocusStack {
    size: Size,
    channels: usize,
    count: usize,
    margin: f32,
    pictures: usize,
    /// The fused levels; the last is a sum to be divided by `weight`.
    fused: Vec<Planes>,
    /// The greatest energy so far at each place of each level but the last.
    energy: Vec<Vec<f32>>,
    weight: Vec<f32>,
    /// The greatest energy over the finer levels at each pixel, and whose it is.
    sharpness: Vec<f32>,
    sharpest: Vec<u32>,
}

/// A finished stack.
#[derive(Clone, Debug, PartialEq)]
pub struct Stacked {
    /// The picture that is sharp everywhere.
    pub picture: Planes,
    /// Which picture, from 0, is sharpest at each pixel: the depth, if the pictures are in order.
    pub sharpest: Vec<u32>,
}

impl FocusStack {
    /// An empty stack of pictures of one size.
    ///
    /// # Errors
    /// [`BlendError::Option`] for settings out of range.
    pub fn new(size: Size, channels: usize, options: &Focus) -> Result<Self, BlendError> {
        let most = pyramid::levels(size);
        let count = options.levels.unwrap_or(most.saturating_sub(3).max(2)).min(most.max(2));
        if count < 2 || !(options.margin >= 1.0 && options.margin <= 100.0) {
            return Err(BlendError::Option(format!(
                "{count} levels and a margin of {}; give at least 2 levels and a margin of 1 to 100",
                options.margin
            )));
        }
        let area = size.area() as usize;
        Ok(Self {
            size,
            channels,
            count,
            margin: options.margin,
            pictures: 0,
            fused: Vec::new(),
            energy: Vec::new(),
            weight: Vec::new(),
            sharpness: vec![0.0; area],
            sharpest: vec![0; area],
        })
    }

    /// Adds a picture.
    ///
    /// # Errors
    /// [`BlendError`] for one of another size or with other channels.
    pub fn push(&mut self, picture: &Planes) -> Result<(), BlendError> {
        let number = self.pictures + 1;
        if picture.size != self.size {
            return Err(BlendError::Sizes { number, size: picture.size, first: self.size });
        }
        if picture.channels != self.channels {
            return Err(BlendError::Channels { number, channels: picture.channels, first: self.channels });
        }
        let grey = Planes { channels: 1, size: self.size, data: luma(picture) };
        let energies: Vec<Vec<f32>> = Pyramid::laplacian(grey, self.count, BORDER)
            .levels
            .iter()
            .take(self.count - 1)
            .map(|level| local_energy(&level.data, level.size))
            .collect();
        let sharpness = together(&energies, self.size);
        let details = Pyramid::laplacian(picture.clone(), self.count, BORDER).levels;
        let coarsest = details.len() - 1;
        let base_weight = base_weight(&energies, &details);
        if self.fused.is_empty() {
            self.fused = details;
            self.energy = energies;
            scale(&mut self.fused[coarsest], &base_weight);
            self.weight = base_weight;
            self.sharpness = sharpness;
        } else {
            let margin = self.margin;
            for (level, detail) in details.iter().enumerate() {
                let (fused, area) = (&mut self.fused[level], detail.size.area() as usize);
                if level == coarsest {
                    for (sum, plane) in fused.data.chunks_exact_mut(area).zip(detail.data.chunks_exact(area))
                    {
                        sum.iter_mut()
                            .zip(plane.iter().zip(&base_weight))
                            .for_each(|(s, (v, w))| *s += v * w);
                    }
                    self.weight.iter_mut().zip(&base_weight).for_each(|(sum, w)| *sum += w);
                    continue;
                }
                let won: Vec<bool> = self.energy[level]
                    .iter()
                    .zip(&energies[level])
                    .map(|(old, new)| *new > margin * old)
                    .collect();
                fused.data.par_chunks_exact_mut(area).zip(detail.data.par_chunks_exact(area)).for_each(
                    |(f, d)| {
                        f.iter_mut().zip(d.iter().zip(&won)).for_each(|(f, (d, won))| {
                            if *won {
                                *f = *d;
                            }
                        });
                    },
                );
                let better = self.energy[level].iter_mut().zip(energies[level].iter().zip(&won));
                better.filter(|(_, (_, won))| **won).for_each(|(old, (new, _))| *old = *new);
            }
            let own = self.pictures as u32;
            let places = self.sharpness.par_iter_mut().zip(&mut self.sharpest).zip(&sharpness);
            places.filter(|((old, _), new)| *new > *old).for_each(|((old, whose), new)| {
                *old = *new;
                *whose = own;
            });
        }
        self.pictures += 1;
        Ok(())
    }

    /// The fused picture.
    ///
    /// # Errors
    /// [`BlendError::None`] if there was no picture.
    pub fn finish(mut self) -> Result<Stacked, BlendError> {
        let Some(base) = self.fused.last_mut() else { return Err(BlendError::None) };
        let shares: Vec<f32> = self.weight.iter().map(|w| 1.0 / w.max(f32::MIN_POSITIVE)).collect();
        scale(base, &shares);
        let picture = Pyramid { levels: self.fused, border: BORDER }.collapse();
        Ok(Stacked { picture, sharpest: self.sharpest })
    }
}

fn scale(planes: &mut Planes, by: &[f32]) {
    planes.data.chunks_exact_mut(by.len().max(1)).for_each(|plane| {
        plane.iter_mut().zip(by).for_each(|(v, b)| *v *= b);
    });
}

/// The squares around each place, weighted (1 4 6 4 1) / 16 along both sides.
fn local_energy(detail: &[f32], size: Size) -> Vec<f32> {
    let [w, h] = [size.width as usize, size.height as usize];
    let mut across = vec![0.0f32; detail.len()];
    across.par_chunks_mut(w).zip(detail.par_chunks(w)).for_each(|(out, row)| {
        let mut wide = vec![0.0; w + 4];
        wide.iter_mut().enumerate().for_each(|(i, v)| *v = row[i.saturating_sub(2).min(w - 1)].powi(2));
        out.iter_mut().zip(wide.windows(5)).for_each(|(out, v)| {
            *out = (v[0] + v[4]) * 0.0625 + (v[1] + v[3]) * 0.25 + v[2] * 0.375;
        });
    });
    let mut out = vec![0.0f32; detail.len()];
    out.par_chunks_mut(w).enumerate().for_each(|(y, out)| {
        let row = |d: usize| &across[(y + d).saturating_sub(2).min(h - 1) * w..][..w];
        let (a, b, c, d, e) = (row(0), row(1), row(2), row(3), row(4));
        for (i, out) in out.iter_mut().enumerate() {
            *out = (a[i] + e[i]) * 0.0625 + (b[i] + d[i]) * 0.25 + c[i] * 0.375;
        }
    });
    out
}

/// Energies of the three finest levels at every pixel: what sharpness is judged by.
fn together(energies: &[Vec<f32>], size: Size) -> Vec<f32> {
    let mut sizes = vec![size];
    while sizes.len() < energies.len().min(3) {
        sizes.push(pyramid::half(sizes[sizes.len() - 1]));
    }
    let mut sum = energies.get(sizes.len() - 1).cloned().unwrap_or_default();
    for level in (0..sizes.len().saturating_sub(1)).rev() {
        let mut finer = energies[level].clone();
        pyramid::add_up(&mut finer, sizes[level], &sum, 1.0, BORDER);
        sum = finer;
    }
    sum
}

/// How much of the coarsest level each picture gives: by the energy of the level above, brought down.
fn base_weight(energies: &[Vec<f32>], details: &[Planes]) -> Vec<f32> {
    /// A thousandth of a level: flat places are shared equally.
    const LEAST: f32 = 1e-8;
    let [.., above, _] = details else { return Vec::new() };
    let last = energies.last().map_or(&[][..], Vec::as_slice);
    pyramid::down(last, above.size, BORDER).iter().map(|e| e + LEAST).collect()
}
