//! Convolution of all channels, window by window; and the dense layer, which is one of a single window.

use std::sync::Arc;

use super::map::{BLOCK, Map};
use super::pack::Packed;
use super::step::{Job, Memory, Step, part};
use super::tile::{Place, Segment, Tile, pairs};
use crate::simd::{Kernel, Level, Simd};
use crate::{Activation, Conv2d};

/// The segments of the windows of a convolution over a map, and where their weights are in `[channel][tap]`.
pub(super) fn windows(conv: &Conv2d, input: &Map) -> (Vec<Segment>, Vec<Option<usize>>) {
    let [height, width] = conv.kernel;
    let (mut segments, mut order) = (Vec::new(), Vec::new());
    // Taps of a row lie side by side in a picture of few channels.
    let joined = input.blocks() == 1 && input.lanes == input.channels && conv.dilation[1] == 1;
    for block in 0..input.blocks() {
        let channels = input.lanes.min(input.channels - block * input.lanes);
        for y in 0..height {
            let row = block * input.plane() + y * conv.dilation[0] * input.row();
            for x in 0..width {
                let offset = row + x * conv.dilation[1] * input.lanes;
                match segments.last_mut() {
                    Some(Segment { len, .. }) if joined && x > 0 => *len += channels,
                    _ => segments.push(Segment { offset, len: channels }),
                }
                let channel = |c: usize| ((block * input.lanes + c) * height + y) * width + x;
                order.extend((0..channels).map(|c| Some(channel(c))));
            }
        }
    }
    (segments, order)
}

/// How the work of a convolution is cut: lines of pixels, and panels of output channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cut {
    pub lines: usize,
    pub panels: usize,
}

/// What is to be cut. Images are cut anyway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub images: usize,
    pub lines: usize,
    pub panels: usize,
    /// Values that the lines of one image read.
    pub input: usize,
    /// Values that all panels read.
    pub weights: usize,
    /// Of one image.
    pub multiplications: usize,
}

/// Multiplications that take as long as handing over a task.
const HANDOVER: f64 = 4e4;
/// Multiplications that take as long as bringing a value from the third cache.
const READ: f64 = 16.0;

impl Cut {
    /// The parts of lines and of panels whose last task is expected to be done first. Each task reads its part of the
    /// input and its part of the weights, so that more tasks read more.
    pub fn new(work: Work) -> Cut {
        let Work { images, lines, panels, .. } = work;
        let mut best = (f64::INFINITY, Cut { lines: 1, panels: 1 });
        for by_panels in parts(panels) {
            for by_lines in parts(lines) {
                // The longest part is waited for.
                let longest = |n: usize, parts: usize| n.div_ceil(parts) as f64 / n.max(1) as f64;
                let (lines, panels) = (longest(lines, by_lines), longest(panels, by_panels));
                let task = HANDOVER
                    + work.multiplications as f64 * lines * panels
                    + READ * (work.input as f64 * lines + work.weights as f64 * panels);
                let tasks = images * by_lines * by_panels;
                // Most machines have four to sixteen threads; the cut must not depend on how many there are now.
                // A thread that is interrupted is waited for: half a task more.
                let cost: f64 =
                    [4, 8, 16].map(|threads| (tasks.div_ceil(threads) as f64 + 0.5) * task).iter().sum();
                if cost < best.0 {
                    best = (cost, Cut { lines: by_lines, panels: by_panels });
                }
            }
        }
        best.1
    }
}

/// Numbers of parts to try: all small ones, then some.
fn parts(n: usize) -> impl Iterator<Item = usize> {
    (1..=n.max(1)).filter(move |&parts| parts <= 16 || parts == n || parts % 8 == 0 && parts <= 64)
}

/// A convolution, cut into tasks.
#[derive(Debug)]
pub(super) struct Direct {
    job: Job,
    segments: Vec<Segment>,
    cut: Cut,
}

impl Direct {
    pub fn new(job: Job, segments: Vec<Segment>, level: Level) -> Direct {
        let mut step = Direct { job, segments, cut: Cut { lines: 1, panels: 1 } };
        let Job { input, out, packed, .. } = &step.job;
        let (_, count) = step.lines();
        let lines = if count == 1 { out.pixels().div_ceil(FLAT_LINE) } else { count };
        step.cut = Cut::new(Work {
            images: out.images,
            lines,
            panels: (out.blocks() * BLOCK).div_ceil(level.panel()),
            input: input.plane() * input.blocks(),
            weights: packed.weights.len(),
            multiplications: packed.weights.len() * out.pixels(),
        });
        step
    }

    /// Whether pixels of several rows lie side by side in all maps.
    fn flat(&self) -> bool {
        let Job { input, out, residual, conv, .. } = &self.job;
        let maps = [Some(input), Some(out), residual.as_ref()];
        conv.kernel == [1, 1]
            && conv.stride == [1, 1]
            && conv.padding == [0, 0]
            && maps.into_iter().flatten().all(|map| !map.framed())
    }

    /// Pixels of a line, and lines of a plane.
    fn lines(&self) -> (usize, usize) {
        let out = &self.job.out;
        if self.flat() { (out.pixels(), 1) } else { (out.size[1], out.size[0]) }
    }
}

/// Pixels of a long line that are not cut: two tiles.
const FLAT_LINE: usize = 28;

impl Step for Direct {
    fn tasks(&self) -> usize {
        self.job.out.images * self.cut.lines * self.cut.panels
    }

    unsafe fn run(&self, level: Level, memory: &Memory, task: usize) {
        let Cut { lines, panels } = self.cut;
        let (image, task) = (task / (lines * panels), task % (lines * panels));
        level.run(Task { step: self, memory, image, line: task / panels, panel: task % panels });
    }
}

struct Task<'a> {
    step: &'a Direct,
    memory: &'a Memory<'a>,
    image: usize,
    line: usize,
    panel: usize,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Task { step, memory, image, .. } = self;
        let Job { input, out, residual, packed, conv, activation } = &step.job;
        let (pixels, count) = step.lines();
        let width = 2 * S::LANES;
        let padded = out.blocks() * BLOCK;
        let inner = packed.weights.len() / padded.max(1);
        // A long line is cut between its tiles, others line by line.
        let (lines, pixels) = if count == 1 && pixels > FLAT_LINE && step.cut.lines > 1 {
            let tiles = part(pixels.div_ceil(FLAT_LINE), self.line, step.cut.lines);
            (0..1, tiles.start * FLAT_LINE..(tiles.end * FLAT_LINE).min(pixels))
        } else {
            (part(count, self.line, step.cut.lines), 0..pixels)
        };
        let arena = memory.arena.get();
        let origin = input.window(image, 0, conv.padding);
        let paired = pairs::<S>(pixels.len(), conv.stride[1] * input.lanes);
        for panel in part(padded.div_ceil(width), self.panel, step.cut.panels) {
            let first = panel * width;
            let mut y = lines.start;
            while y < lines.end {
                let second = (paired && y + 1 < lines.end).then_some(conv.stride[0] * input.row());
                let place = |map: &Map| {
                    let at = map.at(image, first / BLOCK, y, 0) + pixels.start * BLOCK + first % BLOCK;
                    let vector = if S::LANES == BLOCK { map.plane() } else { S::LANES };
                    (arena.wrapping_add(at), vector)
                };
                let (to, vector) = place(out);
                let tile = Tile {
                    input: arena.wrapping_add(
                        origin
                            + y * conv.stride[0] * input.row()
                            + pixels.start * conv.stride[1] * input.lanes,
                    ),
                    apart: conv.stride[1] * input.lanes,
                    pixels: pixels.len(),
                    second,
                    segments: &step.segments,
                    weights: packed.weights[first * inner..].as_ptr(),
                    vectors: (padded - first).min(width) / S::LANES,
                    out: Place { first: to, pixel: BLOCK, vector, line: out.row() },
                    bias: packed.bias[first..].as_ptr(),
                    residual: match residual {
                        Some(map) => {
                            let (first, vector) = place(map);
                            Place { first: first.cast_const(), pixel: BLOCK, vector, line: map.row() }
                        }
                        None => Place::NONE,
                    },
                    activation: *activation,
                    next: if y == lines.start {
                        packed.weights.as_ptr().wrapping_add((first + width) * inner)
                    } else {
                        std::ptr::null()
                    },
                };
                // SAFETY: windows of the framed input, weights of this panel, and pixels of the output that are this
                // task's alone.
                unsafe { s.sum(&tile) };
                y += 1 + usize::from(second.is_some());
            }
        }
    }
}

/// A dense layer: all values of a picture at once.
#[derive(Debug)]
pub(super) struct Dense {
    pub input: Map,
    pub out: Map,
    pub packed: Arc<Packed>,
    pub segments: Vec<Segment>,
    pub activation: Activation,
}

/// Weights of one task of a dense layer: what is read in some microseconds.
const DENSE: usize = 1 << 15;

impl Dense {
    /// The segments of a picture, and where their weights are in `[channel][row][column]`.
    pub fn segments(input: &Map) -> (Vec<Segment>, Vec<Option<usize>>) {
        let [height, width] = input.size;
        let (mut segments, mut order): (Vec<Segment>, _) = (Vec::new(), Vec::new());
        for block in 0..input.blocks() {
            for y in 0..height {
                for x in 0..width {
                    let offset = input.at(0, block, y, x) - input.offset;
                    match segments.last_mut() {
                        Some(Segment { offset: first, len }) if *first + *len == offset => {
                            *len += input.lanes
                        }
                        _ => segments.push(Segment { offset, len: input.lanes }),
                    }
                    order.extend((0..input.lanes).map(|lane| {
                        let channel = block * input.lanes + lane;
                        (channel < input.channels).then_some((channel * height + y) * width + x)
                    }));
                }
            }
        }
        (segments, order)
    }

    fn parts(&self) -> usize {
        (self.packed.weights.len() / DENSE).clamp(1, self.out.blocks().div_ceil(2))
    }
}

impl Step for Dense {
    fn tasks(&self) -> usize {
        self.parts()
    }

    unsafe fn run(&self, level: Level, memory: &Memory, task: usize) {
        level.run(DenseTask { step: self, memory, part: task });
    }
}

struct DenseTask<'a> {
    step: &'a Dense,
    memory: &'a Memory<'a>,
    part: usize,
}

impl Kernel for DenseTask<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Dense { input, out, packed, segments, activation } = self.step;
        let arena = self.memory.arena.get();
        let padded = out.blocks() * BLOCK;
        let width = 2 * S::LANES;
        let inner = packed.weights.len() / padded.max(1);
        for panel in part(padded.div_ceil(width), self.part, self.step.parts()) {
            let first = panel * width;
            // The result may have a frame, for a window that is larger than its one pixel.
            let to = out.at(0, first / BLOCK, 0, 0) + first % BLOCK;
            let tile = Tile {
                input: arena.wrapping_add(input.offset),
                apart: input.image(),
                pixels: out.images,
                second: None,
                segments,
                weights: packed.weights[first * inner..].as_ptr(),
                vectors: (padded - first).min(width) / S::LANES,
                out: Place {
                    first: arena.wrapping_add(to),
                    pixel: out.image(),
                    vector: if S::LANES == BLOCK { out.plane() } else { S::LANES },
                    line: 0,
                },
                bias: packed.bias[first..].as_ptr(),
                residual: Place::NONE,
                activation: *activation,
                next: packed.weights.as_ptr().wrapping_add((first + width) * inner),
            };
            // SAFETY: all pictures of the input, weights of this panel, and output channels of this task alone.
            unsafe { s.sum(&tile) };
        }
    }
}
