//! Reading the windows of a convolution, one vector of neighbouring output pixels at a time.
//!
//! For a vector of output pixels and one tap, the input pixels either lie side by side, or two apart, or anywhere;
//! some of them may be padding. All taps of a vector share the pattern; they differ by an offset and by which
//! lanes are inside the input. So a vector is described once ([`Lanes`]) and then read for every channel.

use crate::simd::{Simd, first};

/// How the lanes of a vector lie in the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pattern {
    /// Runs of neighbours.
    Adjacent,
    /// Runs of every second pixel.
    EverySecond,
    Anywhere,
}

/// Runs of lanes that are read one by one before it is cheaper to gather.
const RUNS: usize = 4;

/// Lanes at a constant distance: the end of a row or of an image ends it.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Where lane 0 would be, relative to the lane 0 of the vector.
    offset: isize,
    mask: u32,
}

/// Windows over a batch of planes; several sets of taps (phases) may share them. Output pixel `(y, x)` and tap `(i, j)` read input pixel
/// `(y * step[0] + tap_rows[i], x * step[1] + tap_cols[j])`, which is zero outside the plane.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    pub grid: [usize; 2],
    pub step: [usize; 2],
    pub plane: [usize; 2],
    /// Values from one image to the next.
    pub image_stride: usize,
    pub images: usize,
    pub tap_rows: Vec<isize>,
    pub tap_cols: Vec<isize>,
}

/// One tap of one vector: where lane 0 is, relative to the origin of the vector, and which lanes are inside.
#[derive(Clone, Copy, Debug)]
struct Read {
    offset: isize,
    mask: u32,
}

/// The description of one vector of output pixels for all taps.
pub(crate) struct Lanes {
    pattern: Pattern,
    /// Where lane 0 of a tap at distance zero is, relative to the first value of the channel of image 0.
    origin: isize,
    /// The number of lanes, if all of them are in one row and inside the plane for all taps: then the next vector of
    /// that kind differs by its origin only.
    interior: Option<usize>,
    index: [i32; 16],
    runs: Vec<Run>,
    reads: Vec<Read>,
    rows: Vec<u32>,
    cols: Vec<u32>,
}

impl Lanes {
    pub fn new() -> Lanes {
        Lanes {
            pattern: Pattern::Adjacent,
            origin: 0,
            interior: None,
            index: [0; 16],
            runs: Vec::new(),
            reads: Vec::new(),
            rows: Vec::new(),
            cols: Vec::new(),
        }
    }
}

impl Windows {
    /// The descriptions of all vectors of `width` pixels of one image; the last one may be shorter.
    pub fn table(&self, width: usize) -> Vec<Lanes> {
        let pixels = self.pixels();
        let describe = |pixel: usize| {
            let mut lanes = Lanes::new();
            self.describe(&mut lanes, 0, pixel, width.min(pixels - pixel));
            lanes
        };
        (0..pixels).step_by(width).map(describe).collect()
    }

    /// Number of taps.
    pub fn taps(&self) -> usize {
        self.tap_rows.len() * self.tap_cols.len()
    }

    /// Output pixels of one image.
    pub fn pixels(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Describes the `count` output pixels from number `pixel` of image `image` on (into the following images
    /// where that one ends); lanes past the last image are empty.
    pub fn describe(&self, lanes: &mut Lanes, image: usize, pixel: usize, count: usize) {
        let [height, width] = self.plane.map(|d| d as isize);
        let (y, x) = (pixel / self.grid[1], pixel % self.grid[1]);
        let origin =
            (image * self.image_stride + y * self.step[0] * self.plane[1] + x * self.step[1]) as isize;
        lanes.origin = origin;
        let one_row = x + count <= self.grid[1];
        let inside = one_row && self.inside(0, y, 1, height) && self.inside(1, x, count, width);
        let interior = inside.then_some(count);
        if inside && lanes.interior == interior {
            return;
        }
        lanes.interior = interior;
        lanes.rows.clear();
        lanes.cols.clear();
        lanes.reads.clear();
        lanes.runs.clear();
        if one_row {
            // One row of one image.
            lanes.pattern = match self.step[1] {
                1 => Pattern::Adjacent,
                2 => Pattern::EverySecond,
                step => {
                    for (l, index) in lanes.index.iter_mut().enumerate() {
                        *index = (l * step) as i32;
                    }
                    Pattern::Anywhere
                }
            };
            let all = first(count);
            let top = (y * self.step[0]) as isize;
            lanes.rows.extend(
                self.tap_rows.iter().map(|&dy| if (0..height).contains(&(top + dy)) { all } else { 0 }),
            );
            let step = self.step[1] as isize;
            let left = (x * self.step[1]) as isize;
            lanes.cols.extend(self.tap_cols.iter().map(|&dx| {
                // Lanes l with 0 <= left + dx + l * step < width.
                let start = left + dx;
                let low = if start >= 0 { 0 } else { (-start + step - 1) / step };
                let high = if start >= width { 0 } else { (width - start + step - 1) / step };
                first(high.clamp(0, 32) as usize) & !first(low.clamp(0, 32) as usize) & all
            }));
        } else {
            self.describe_scattered(lanes, image, pixel, count, origin);
        }
        if lanes.pattern == Pattern::EverySecond {
            let runs = lanes.runs.iter_mut().map(|run| &mut run.mask);
            for mask in lanes.cols.iter_mut().chain(&mut lanes.rows).chain(runs) {
                *mask = spread(*mask);
            }
        }
        for (&dy, &row) in self.tap_rows.iter().zip(&lanes.rows) {
            for (&dx, &col) in self.tap_cols.iter().zip(&lanes.cols) {
                lanes.reads.push(Read { offset: dy * width + dx, mask: row & col });
            }
        }
    }

    /// Whether all taps of `count` windows from number `first` on along one axis are inside.
    fn inside(&self, axis: usize, first: usize, count: usize, size: isize) -> bool {
        let taps = if axis == 0 { &self.tap_rows } else { &self.tap_cols };
        // Taps are in order, up or down.
        let (Some(&a), Some(&b)) = (taps.first(), taps.last()) else { return true };
        let start = (first * self.step[axis]) as isize;
        let end = ((first + count - 1) * self.step[axis]) as isize;
        start + a.min(b) >= 0 && end + a.max(b) < size
    }

    /// Pixels of several rows or images.
    fn describe_scattered(&self, lanes: &mut Lanes, image: usize, pixel: usize, count: usize, origin: isize) {
        let [height, width] = self.plane.map(|d| d as isize);
        let (mut n, mut y, mut x) = (image, pixel / self.grid[1], pixel % self.grid[1]);
        let mut tops = [isize::MIN / 2; 16];
        let mut lefts = [isize::MIN / 2; 16];
        lanes.index = [0; 16];
        let step = self.step[1] as isize;
        for l in 0..count {
            if n == self.images {
                break;
            }
            tops[l] = (y * self.step[0]) as isize;
            lefts[l] = (x * self.step[1]) as isize;
            let at = (n * self.image_stride) as isize + tops[l] * width + lefts[l] - origin;
            lanes.index[l] = at as i32;
            let offset = at - l as isize * step;
            match lanes.runs.last_mut() {
                Some(run) if run.offset == offset => run.mask |= 1 << l,
                _ => lanes.runs.push(Run { offset, mask: 1 << l }),
            }
            x += 1;
            if x == self.grid[1] {
                x = 0;
                y += 1;
                if y == self.grid[0] {
                    y = 0;
                    n += 1;
                }
            }
        }
        lanes.pattern = match step {
            1 if lanes.runs.len() <= RUNS => Pattern::Adjacent,
            2 if lanes.runs.len() <= RUNS => Pattern::EverySecond,
            _ => Pattern::Anywhere,
        };
        if lanes.runs.len() == 1 {
            // One run is the vector itself.
            lanes.runs.clear();
        }
        let inside = |starts: &[isize; 16], shift: isize, size: isize| {
            let mut mask = 0;
            for (l, &start) in starts.iter().enumerate() {
                mask |= u32::from((0..size).contains(&(start + shift))) << l;
            }
            mask
        };
        lanes.rows.extend(self.tap_rows.iter().map(|&dy| inside(&tops, dy, height)));
        lanes.cols.extend(self.tap_cols.iter().map(|&dx| inside(&lefts, dx, width)));
    }
}

/// Bit `i` moved to bit `2 * i`.
fn spread(mask: u32) -> u32 {
    let mut m = mask & 0xffff;
    m = (m | m << 8) & 0x00ff_00ff;
    m = (m | m << 4) & 0x0f0f_0f0f;
    m = (m | m << 2) & 0x3333_3333;
    (m | m << 1) & 0x5555_5555
}

/// Runs `$body` for every tap of `$lanes` with its number and its vector of the plane at `$src`. The way to read is
/// chosen once, outside of the loop.
macro_rules! for_taps {
    ($s:ident, $lanes:expr, $src:expr, |$tap:ident, $v:ident| $body:expr) => {{
        let lanes: &Lanes = $lanes;
        let src: *const f32 = $src.wrapping_offset(lanes.origin);
        macro_rules! each {
            ($p:ident, $mask:ident, $read:expr) => {
                for $tap in 0..lanes.reads.len() {
                    let read = lanes.reads[$tap];
                    let ($p, $mask) = (src.wrapping_offset(read.offset), read.mask);
                    let $v = $read;
                    $body;
                }
            };
        }
        macro_rules! runs {
            ($load:ident) => {
                each!(p, mask, {
                    let mut v = $s.zero();
                    for run in &lanes.runs {
                        v = $s.add(v, $s.$load(p.wrapping_offset(run.offset), mask & run.mask));
                    }
                    v
                })
            };
        }
        match lanes.pattern {
            Pattern::Adjacent if !lanes.runs.is_empty() => runs!(load_masked),
            Pattern::EverySecond if !lanes.runs.is_empty() => runs!(load_even),
            Pattern::Adjacent => each!(p, mask, $s.load_masked(p, mask)),
            Pattern::EverySecond => each!(p, mask, $s.load_even(p, mask)),
            Pattern::Anywhere => each!(p, mask, $s.gather(p, lanes.index.as_ptr(), mask)),
        }
    }};
}

/// Pixels of the result by which reading runs ahead.
const AHEAD: isize = 64;

/// Channels of a plane to read, and where the vectors go: channel by channel, tap by tap, `dst_step` apart.
#[derive(Clone, Copy)]
pub(crate) struct Gathering {
    /// First channel, image 0.
    pub src: *const f32,
    pub plane: usize,
    pub channels: usize,
    pub dst: *mut f32,
    pub dst_step: usize,
}

/// Reads the described pixels under every tap of every channel.
///
/// # Safety
/// `lanes` must come from windows over the planes at `g.src`; `channels * taps` vectors must be writable at `g.dst`.
#[inline(always)]
pub(crate) unsafe fn gather<S: Simd>(s: S, lanes: &Lanes, g: Gathering) {
    let Gathering { mut src, mut dst, .. } = g;
    // What comes next lies in another page for every channel, where the processor's own prefetching starts anew.
    let ahead = lanes.origin + if lanes.pattern == Pattern::Adjacent { AHEAD } else { 2 * AHEAD };
    for _ in 0..g.channels {
        s.prefetch(src.wrapping_offset(ahead));
        // SAFETY: set bits of the masks are pixels inside the plane; the rest is by contract.
        unsafe {
            for_taps!(s, lanes, src, |_tap, v| {
                s.store(dst, v);
                dst = dst.wrapping_add(g.dst_step);
            });
        }
        src = src.wrapping_add(g.plane);
    }
}

/// The sums over the taps of a weight times the pixels under it, added to `sums`, for `PLANES` planes one after the
/// other: a description is read once for all of them.
///
/// # Safety
/// `lanes` must come from windows over the planes at `src`, `plane` values apart, and `weights` hold one value a tap
/// for each plane.
#[inline(always)]
pub(crate) unsafe fn weigh<S: Simd, const PLANES: usize>(
    s: S,
    lanes: &Lanes,
    src: *const f32,
    plane: usize,
    weights: *const f32,
    mut sums: [S::V; PLANES],
) -> [S::V; PLANES] {
    if lanes.pattern == Pattern::Adjacent && lanes.runs.is_empty() {
        for (tap, read) in lanes.reads.iter().enumerate() {
            let p = src.wrapping_offset(lanes.origin + read.offset);
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: as in `gather`; weights by contract.
                unsafe {
                    let weight = s.splat(*weights.add(i * lanes.reads.len() + tap));
                    *sum = s.fma(weight, s.load_masked(p.wrapping_add(i * plane), read.mask), *sum);
                }
            }
        }
    } else {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            unsafe {
                let weights = weights.add(i * lanes.reads.len());
                for_taps!(s, lanes, src.wrapping_add(i * plane), |tap, v| {
                    *sum = s.fma(s.splat(*weights.add(tap)), v, *sum);
                });
            }
        }
    }
    sums
}

/// Adds `v` times the pixels under each tap to the sums of that tap, `[tap][LANES]`.
///
/// # Safety
/// `lanes` must come from windows over the plane at `src`, and `sums` hold one vector a tap.
#[inline(always)]
pub(crate) unsafe fn correlate<S: Simd>(s: S, lanes: &Lanes, src: *const f32, v: S::V, sums: *mut f32) {
    // SAFETY: as in `gather`; sums by contract.
    unsafe {
        for_taps!(s, lanes, src, |tap, pixels| {
            let at = sums.add(tap * S::LANES);
            s.store(at, s.fma(v, pixels, s.load(at)));
        });
    }
}
