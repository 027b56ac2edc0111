//! Which picture is shown where: cuts along which neighbours differ least (Kwatra and others 2003, "Graphcut
//! Textures"), found in small pictures.

use rayon::prelude::*;

use super::camera::Camera;
use super::cut::Grid;
use super::gain::{Overlap, gains};
use super::projection::{Rect, Surface};
use super::view::View;
use crate::geometry::Size;
use crate::image::Image8;
use crate::resize::{Filter, resize};

/// No picture.
pub const NOTHING: u16 = u16::MAX;
/// Cost of a seam where nothing differs, so that it is short there: one level of 255.
const LENGTH: f32 = 1.0 / 255.0;
/// How much a picture is preferred where its border is far, as lenses are best in the middle: for each pixel, in levels
/// of 0 to 1, against one at its border.
const MIDDLE: f32 = 0.006;
/// Above and below, a value is cut off and says nothing of brightness.
const CLIPPED: [f32; 2] = [0.02, 0.98];

/// A small picture on the surface.
struct Patch {
    rect: Rect,
    colours: Vec<[f32; 3]>,
    there: Vec<bool>,
    /// 1 in the picture's middle, 0 at its border (Brown and Lowe 2007, section 7).
    central: Vec<f32>,
}

impl Patch {
    /// How central a pixel is that is there.
    fn central(&self, x: usize, y: usize) -> f32 {
        self.central[(y - self.rect.y) * self.rect.width + x - self.rect.x]
    }

    fn at(&self, x: usize, y: usize) -> Option<[f32; 3]> {
        let (x, y) = (x.checked_sub(self.rect.x)?, y.checked_sub(self.rect.y)?);
        if x >= self.rect.width || y >= self.rect.height {
            return None;
        }
        let at = y * self.rect.width + x;
        self.there[at].then(|| self.colours[at])
    }
}

/// What is shown, and how bright.
pub struct Seams {
    /// Number of the picture at each pixel of the small surface, or [`NOTHING`].
    pub labels: Vec<u16>,
    /// A factor for each picture.
    pub gains: Vec<f32>,
}

/// Finds gains and seams on a small surface; `order` says which picture is laid down first.
pub fn seams(views: &[View], cameras: &[Camera], surface: &Surface, shrink: f64, order: &[usize]) -> Seams {
    let mut patches: Vec<Option<Patch>> =
        views.par_iter().zip(cameras).map(|(view, camera)| patch(view, camera, surface, shrink)).collect();
    let n = views.len();
    let overlaps: Vec<Overlap> = (0..n * n)
        .into_par_iter()
        .map(|i| match (&patches[i / n], &patches[i % n]) {
            (Some(a), Some(b)) if i / n < i % n => overlap(a, b),
            _ => Overlap::default(),
        })
        .collect();
    let gains = gains(n, |i, j| {
        let both = overlaps[i.min(j) * n + i.max(j)];
        if i < j { both } else { Overlap { means: [both.means[1], both.means[0]], ..both } }
    });
    let gains: Vec<f32> = gains.iter().map(|g| *g as f32).collect();
    for (patch, gain) in patches.iter_mut().zip(&gains) {
        if let Some(patch) = patch {
            patch.colours.iter_mut().for_each(|c| *c = c.map(|v| (v * gain).min(1.0)));
        }
    }
    let mut labels = vec![NOTHING; surface.size[0] * surface.size[1]];
    for &number in order {
        if let Some(patch) = &patches[number] {
            lay(&mut labels, surface.size[0], &patches, number, patch);
        }
    }
    Seams { labels, gains }
}

/// A view on the small surface.
fn patch(view: &View, camera: &Camera, surface: &Surface, shrink: f64) -> Option<Patch> {
    let rect = surface.rect(camera, view.size)?;
    let Size { width, height } = view.size;
    let side = |side: u32, most: u32| ((f64::from(side) * shrink).round() as u32).clamp(1, most);
    let to = Size::new(side(width, view.small.size.width), side(height, view.small.size.height));
    let small =
        if to == view.small.size { view.small.clone() } else { resize(&view.small, to, Filter::Bilinear) };
    let opaque = view.opaque.as_ref().map(|opaque| {
        let data = opaque.iter().map(|o| if *o { 255 } else { 0 }).collect();
        resize(&Image8 { size: view.small.size, channels: 1, data }, to, Filter::Nearest).data
    });
    let [w, h] = [to.width as usize, to.height as usize];
    let (fx, fy) = (w as f64 / f64::from(width), h as f64 / f64::from(height));
    let map = surface.map(camera, rect);
    let mut colours = vec![[0.0f32; 3]; rect.width * rect.height];
    let mut there = vec![false; colours.len()];
    let mut central = vec![0.0f32; colours.len()];
    let rows = colours.chunks_exact_mut(rect.width).zip(there.chunks_exact_mut(rect.width));
    for (y, ((colours, there), central)) in rows.zip(central.chunks_exact_mut(rect.width)).enumerate() {
        let pixels = colours.iter_mut().zip(there).zip(central);
        for (((colour, there), central), [px, py]) in pixels.zip(map.row(y)) {
            let [x, y] = [(px * fx + w as f64 / 2.0 - 0.5) as f32, (py * fy + h as f64 / 2.0 - 0.5) as f32];
            let inside = x >= -0.5 && y >= -0.5 && x <= w as f32 - 0.5 && y <= h as f32 - 0.5;
            if !inside {
                continue;
            }
            let (x, y) = (x.clamp(0.0, w as f32 - 1.0), y.clamp(0.0, h as f32 - 1.0));
            let (x0, y0) = (x as usize, y as usize);
            let (x1, y1) = ((x0 + 1).min(w - 1), (y0 + 1).min(h - 1));
            let (tx, ty) = (x - x0 as f32, y - y0 as f32);
            let value = |x: usize, y: usize, c: usize| f32::from(small.data[(y * w + x) * 3 + c]) / 255.0;
            *colour = std::array::from_fn(|c| {
                let above = value(x0, y0, c) * (1.0 - tx) + value(x1, y0, c) * tx;
                let below = value(x0, y1, c) * (1.0 - tx) + value(x1, y1, c) * tx;
                above * (1.0 - ty) + below * ty
            });
            let aside = |x: f32, side: usize| 1.0 - (2.0 * (x + 0.5) / side as f32 - 1.0).abs();
            *central = aside(x, w) * aside(y, h);
            *there = opaque.as_ref().is_none_or(|o| o[(y + 0.5) as usize * w + (x + 0.5) as usize] > 0);
        }
    }
    Some(Patch { rect, colours, there, central })
}

fn overlap(a: &Patch, b: &Patch) -> Overlap {
    let mut sums = Overlap::default();
    let luma = |c: [f32; 3]| f64::from(0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2]);
    let clipped = |c: [f32; 3]| c.iter().all(|v| *v < CLIPPED[0]) || c.iter().any(|v| *v > CLIPPED[1]);
    for y in a.rect.y.max(b.rect.y)..(a.rect.y + a.rect.height).min(b.rect.y + b.rect.height) {
        for x in a.rect.x.max(b.rect.x)..(a.rect.x + a.rect.width).min(b.rect.x + b.rect.width) {
            if let (Some(p), Some(q)) = (a.at(x, y), b.at(x, y))
                && !clipped(p)
                && !clipped(q)
            {
                sums.count += 1.0;
                sums.means[0] += luma(p);
                sums.means[1] += luma(q);
            }
        }
    }
    let n = sums.count.max(1.0);
    Overlap { means: sums.means.map(|v| v / n), ..sums }
}

/// Lays a picture over what is there already, up to the cheapest cut.
fn lay(labels: &mut [u16], width: usize, patches: &[Option<Patch>], number: usize, patch: &Patch) {
    let Rect { x: left, y: top, width: w, height: h } = patch.rect;
    // What is there, and how much both differ; less than 0 where not both are.
    let mut difference = vec![-1.0f32; w * h];
    let mut preferred = vec![0.0f32; w * h];
    for y in 0..h {
        for x in 0..w {
            let label = labels[(top + y) * width + left + x];
            let Some(Some(old)) = patches.get(usize::from(label)) else { continue };
            if let (Some(p), Some(q)) = (old.at(left + x, top + y), patch.at(left + x, top + y)) {
                difference[y * w + x] = (0..3).map(|c| (p[c] - q[c]).abs()).sum();
                preferred[y * w + x] = old.central(left + x, top + y) - patch.central(left + x, top + y);
            }
        }
    }
    let mut grid = Grid::new(w, h);
    let place = |x: usize, y: usize| labels[(top + y) * width + left + x];
    // Where there is only one picture, it pulls what adjoins.
    let alone = |x: i64, y: i64| -> f32 {
        let inside = (0..w as i64).contains(&x) && (0..h as i64).contains(&y);
        if !inside {
            let (gx, gy) = (left as i64 + x, top as i64 + y);
            let beyond = gx < 0 || gy < 0 || gx >= width as i64 || gy >= (labels.len() / width) as i64;
            let old = !beyond && labels[gy as usize * width + gx as usize] != NOTHING;
            return if old { 1.0 } else { 0.0 };
        }
        let (x, y) = (x as usize, y as usize);
        match (place(x, y) != NOTHING, patch.there[y * w + x]) {
            (true, false) => 1.0,
            (false, true) => -1.0,
            _ => 0.0,
        }
    };
    for y in 0..h {
        for x in 0..w {
            let at = y * w + x;
            let own = difference[at];
            if own < 0.0 {
                continue;
            }
            for (below, next) in
                [(false, (x + 1 < w).then_some(at + 1)), (true, (y + 1 < h).then_some(at + w))]
            {
                if let Some(next) = next.filter(|n| difference[*n] >= 0.0) {
                    grid.join(at, below, own + difference[next] + LENGTH);
                }
            }
            grid.pull(at, MIDDLE * preferred[at]);
            let (x, y) = (x as i64, y as i64);
            for (x, y) in [(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)] {
                grid.pull(at, alone(x, y) * (2.0 * own + LENGTH));
            }
        }
    }
    let old = grid.cut();
    for y in 0..h {
        for x in 0..w {
            let at = y * w + x;
            let label = &mut labels[(top + y) * width + left + x];
            let newer = patch.there[at] && (*label == NOTHING || !old[at] && difference[at] >= 0.0);
            if newer {
                *label = number as u16;
            }
        }
    }
}
