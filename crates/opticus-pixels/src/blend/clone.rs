//! Seamless cloning (Pérez, Gangnet and Blake 2003, "Poisson Image Editing"): a cut-out takes on the light and colour of
//! where it is put, because only its gradients are taken along.

use rayon::prelude::*;

use super::poisson::Poisson;
use super::{BlendError, Mask, luma};
use crate::geometry::Size;
use crate::preprocess::Planes;

/// Which gradients the cloned region gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gradients {
    /// The source's (equation 9).
    #[default]
    Import,
    /// The stronger of the source's and the target's: for sources with holes, or transparent ones (equation 12).
    Mixed,
    /// Those of the source's luma: texture without colour.
    Monochrome,
}

/// `target` with the masked pixels of `source` in it; the top left pixel of the source, and of the mask, which is of its
/// size, comes to `at` (columns, rows), which may lie outside of the target. Pixels outside of the mask are unchanged.
///
/// # Errors
/// [`BlendError`] for other channels, a mask of another size, an empty one, one that would replace the whole target, or
/// one of which nothing comes to lie in the target.
pub fn clone_into(
    source: &Planes,
    mask: &Mask,
    target: &Planes,
    at: [i64; 2],
    gradients: Gradients,
) -> Result<Planes, BlendError> {
    mask.check(source.size, "the source")?;
    if source.channels != target.channels {
        return Err(BlendError::Channels { number: 2, channels: target.channels, first: source.channels });
    }
    let region = Region::placed(mask, target.size, at)?;
    let grey;
    let source = if gradients == Gradients::Monochrome {
        let luma = luma(source);
        let data = luma.iter().copied().cycle().take(luma.len() * source.channels).collect();
        grey = Planes { channels: source.channels, size: source.size, data };
        &grey
    } else {
        source
    };
    let [across, down] = [source.size.width as i64, source.size.height as i64];
    let area = source.size.area() as usize;
    let place = |[x, y]: [i64; 2]| {
        let (x, y) = (x - at[0], y - at[1]);
        ((0..across).contains(&x) && (0..down).contains(&y)).then_some((y * across + x) as usize)
    };
    Ok(region.solve(target, |channel, plane, from, to| {
        let own = plane.at(from) - plane.at(to);
        let source = &source.data[channel * area..][..area];
        // Beyond the source's edge nothing is known but the target.
        let Some((a, b)) = place(from).zip(place(to)) else { return own };
        let step = source[a] - source[b];
        if gradients == Gradients::Mixed && own.abs() > step.abs() { own } else { step }
    }))
}

/// The masked region in another colour: its channels are multiplied before its gradients are taken (section 5).
///
/// # Errors
/// [`BlendError`] for a mask of another size, an empty or a full one, or factors out of 0 to 10.
pub fn change_colour(picture: &Planes, mask: &Mask, factors: [f32; 3]) -> Result<Planes, BlendError> {
    mask.check(picture.size, "the picture")?;
    if factors.iter().any(|f| !(0.0..=10.0).contains(f)) {
        return Err(BlendError::Option(format!("colour factors {factors:?}; give each 0 to 10")));
    }
    let region = Region::placed(mask, picture.size, [0, 0])?;
    Ok(region
        .solve(picture, |channel, plane, from, to| factors[channel.min(2)] * (plane.at(from) - plane.at(to))))
}

/// The masked region with its light evened out: large gradients of the logarithm become smaller, small ones larger
/// (equation 16: `alpha^beta · |∇f|^−beta · ∇f`, with `alpha` times the region's mean gradient). The paper's values are 0.2 and 0.2.
///
/// # Errors
/// [`BlendError`] for a mask of another size, an empty or a full one, or values out of range.
pub fn change_illumination(
    picture: &Planes,
    mask: &Mask,
    alpha: f32,
    beta: f32,
) -> Result<Planes, BlendError> {
    /// Half a level of 8 bits, so that black has a logarithm.
    const LEAST: f32 = 0.5 / 255.0;
    mask.check(picture.size, "the picture")?;
    if !(alpha > 0.0 && alpha <= 10.0 && (0.0..1.0).contains(&beta)) {
        return Err(BlendError::Option(format!(
            "alpha {alpha} and beta {beta}; give an alpha above 0, at most 10, and a beta of 0 to below 1"
        )));
    }
    let region = Region::placed(mask, picture.size, [0, 0])?;
    let logarithm =
        Planes { data: picture.data.iter().map(|v| v.max(LEAST).ln()).collect(), ..picture.clone() };
    let [w, area] = [picture.size.width as usize, picture.size.area() as usize];
    let mean = |channel: usize| {
        let plane = &logarithm.data[channel * area..][..area];
        let steps = region.pixels().filter(|&i| i + w < area && (i + 1) % w != 0);
        let (sum, count) = steps.fold((0.0f64, 0u64), |(sum, count), i| {
            let step = (plane[i + 1] - plane[i]).hypot(plane[i + w] - plane[i]);
            (sum + f64::from(step), count + 1)
        });
        (sum / count.max(1) as f64) as f32
    };
    let means: Vec<f32> = (0..picture.channels).map(mean).collect();
    let solved = region.solve(&logarithm, |channel, plane, from, to| {
        let step = plane.at(from) - plane.at(to);
        if step == 0.0 { 0.0 } else { step * (alpha * means[channel] / step.abs()).powf(beta) }
    });
    let mut out = picture.clone();
    for channel in 0..picture.channels {
        for i in region.pixels() {
            out.data[channel * area + i] = solved.data[channel * area + i].exp();
        }
    }
    Ok(out)
}

/// One plane of the target as it was.
struct Values<'a> {
    plane: &'a [f32],
    across: usize,
}

impl Values<'_> {
    fn at(&self, [x, y]: [i64; 2]) -> f32 {
        self.plane[y as usize * self.across + x as usize]
    }
}

/// Pixels of a target whose values are sought, and the rectangle around them.
struct Region {
    target: Size,
    /// Left and top of the rectangle, which is one pixel wider than the region on each side that the target has.
    corner: [usize; 2],
    size: Size,
    mask: Vec<bool>,
}

impl Region {
    fn placed(mask: &Mask, target: Size, [left, top]: [i64; 2]) -> Result<Self, BlendError> {
        let [w, h] = [i64::from(target.width), i64::from(target.height)];
        let across = i64::from(mask.size.width);
        let inside = mask.inside();
        let places = (0i64..)
            .zip(&inside)
            .filter(|(_, inside)| **inside)
            .map(|(i, _)| (left.saturating_add(i % across), top.saturating_add(i / across)));
        let places: Vec<(i64, i64)> =
            places.filter(|(x, y)| (0..w).contains(x) && (0..h).contains(y)).collect();
        let Some(&(x, y)) = places.first() else {
            return Err(BlendError::Mask(format!(
                "at {left},{top} nothing of the mask lies in the target of {w}x{h} pixels; choose another --at"
            )));
        };
        if places.len() as i64 == w * h {
            return Err(BlendError::Mask(
                "the mask covers the whole target: nothing of it would be left to fit to".into(),
            ));
        }
        let [mut x1, mut y1, mut x2, mut y2] = [x, y, x, y];
        for &(x, y) in &places {
            [x1, x2] = [x1.min(x), x2.max(x)];
            [y1, y2] = [y1.min(y), y2.max(y)];
        }
        let [x1, y1] = [(x1 - 1).max(0), (y1 - 1).max(0)];
        let [x2, y2] = [(x2 + 2).min(w), (y2 + 2).min(h)];
        let size = Size::new((x2 - x1) as u32, (y2 - y1) as u32);
        let mut mask = vec![false; size.area() as usize];
        for (x, y) in places {
            mask[((y - y1) * i64::from(size.width) + x - x1) as usize] = true;
        }
        Ok(Self { target, corner: [x1 as usize, y1 as usize], size, mask })
    }

    /// Its pixels' numbers in the target.
    fn pixels(&self) -> impl Iterator<Item = usize> + '_ {
        let (width, across) = (self.size.width as usize, self.target.width as usize);
        let sought = self.mask.iter().enumerate().filter(|(_, inside)| **inside);
        sought.map(move |(i, _)| (i / width + self.corner[1]) * across + i % width + self.corner[0])
    }

    /// The picture with values in the region whose steps to each neighbour come closest to those wanted: `step(channel, value
    /// at a place, from, to)` is the value at `from` less that at `to`, places being columns and rows of the target.
    fn solve(
        &self,
        target: &Planes,
        step: impl Fn(usize, &Values<'_>, [i64; 2], [i64; 2]) -> f32 + Sync,
    ) -> Planes {
        let [width, height] = [self.size.width as usize, self.size.height as usize];
        let across = self.target.width as usize;
        let area = self.target.area() as usize;
        let [left, top] = self.corner;
        // By columns and rows: dividing for them at every pixel would take longer than what is done there.
        let neighbours = |x: usize, y: usize| {
            let all = [
                (x > 0, [x.wrapping_sub(1), y]),
                (x + 1 < width, [x + 1, y]),
                (y > 0, [x, y.wrapping_sub(1)]),
                (y + 1 < height, [x, y + 1]),
            ];
            all.into_iter().filter(|(there, _)| *there).map(|(_, at)| at)
        };
        let places = || (0..height).flat_map(|y| (0..width).map(move |x| [x, y]));
        let count = |[x, y]: [usize; 2]| neighbours(x, y).filter(|[x, y]| !self.mask[y * width + x]).count();
        let known: Vec<u8> = places().map(|at| count(at) as u8).collect();
        let equations = Poisson::new(&self.mask, width, &known);
        let place = |[x, y]: [usize; 2]| [(x + left) as i64, (y + top) as i64];
        let mut out = target.clone();
        out.data.par_chunks_exact_mut(area).enumerate().for_each(|(channel, plane)| {
            let value = Values { plane, across };
            let row = |y: usize| &value.plane[(y + top) * across + left..][..width];
            let start = (0..height).map(row).collect::<Vec<_>>().concat();
            let mut wanted = vec![0.0f32; self.mask.len()];
            for ([x, y], wanted) in places().zip(&mut wanted) {
                if !self.mask[y * width + x] {
                    continue;
                }
                *wanted = neighbours(x, y)
                    .map(|n| {
                        let at = n[1] * width + n[0];
                        let fixed = if self.mask[at] { 0.0 } else { start[at] };
                        fixed + step(channel, &value, place([x, y]), place(n))
                    })
                    .sum();
            }
            let solved = equations.solve(&wanted, &start);
            for ([x, y], solved) in places().zip(&solved) {
                if self.mask[y * width + x] {
                    plane[(y + top) * across + left + x] = *solved;
                }
            }
        });
        out
    }
}
