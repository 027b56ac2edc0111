//! From a network and the shape of its input to phases of steps over one arena.

use super::builder::{Conv, Linear, Node};
use super::depthwise::Depthwise;
use super::direct::{self, Dense, Direct};
use super::fuse::Network;
use super::map::{BLOCK, Map};
use super::pack::{Form, Packed, Weights};
use super::pool::Pool;
use super::step::{Arrange, Each, Frame, Import, Job, Normalize, Operation, Step};
use super::winograd::{self, Winograd};
use crate::pool::Averages;
use crate::simd::Level;
use crate::{Algorithm, Conv2d};

/// All that is decided for one shape of the input.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Steps of one phase do not read what others of it write.
    pub phases: Vec<Vec<Box<dyn Step>>>,
    /// Tasks of each phase.
    pub tasks: Vec<usize>,
    /// Values of the arena.
    pub arena: usize,
    pub outputs: Vec<Map>,
}

/// How a convolution is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Direct,
    /// One window: a dense layer.
    Dense,
    Depthwise,
    Winograd,
}

/// Output pixels of one picture from which the transforms of Winograd pay: its filters are four times as large, and
/// few tiles do not pay for reading them. A matter of one picture, whatever the batch: the result of a picture must
/// not depend on its company.
const WINOGRAD_PIXELS: usize = 100;
/// Channels, in and out, from which they pay.
const WINOGRAD_CHANNELS: usize = 32;

fn way(conv: &Conv2d, input: [usize; 4], output: [usize; 4], forced: Option<Algorithm>) -> Way {
    let Conv2d { in_channels, out_channels, kernel, stride, padding, dilation, groups } = *conv;
    let winograd = kernel == [3, 3] && stride == [1, 1] && dilation == [1, 1] && groups == 1;
    let depthwise = groups > 1 && groups == in_channels && in_channels == out_channels;
    if depthwise {
        Way::Depthwise
    } else if input[2..] == [1, 1] && padding == [0, 0] {
        Way::Dense
    } else if winograd
        && forced != Some(Algorithm::Implicit)
        && (forced == Some(Algorithm::Winograd)
            || in_channels.min(out_channels) >= WINOGRAD_CHANNELS && output[2] * output[3] >= WINOGRAD_PIXELS)
    {
        Way::Winograd
    } else {
        Way::Direct
    }
}

/// The work in progress.
struct Planner<'a> {
    network: &'a Network,
    shapes: &'a [[usize; 4]],
    ways: Vec<Option<Way>>,
    maps: Vec<Map>,
    /// The value whose map this one's is a part of, and the first channel there.
    part_of: Vec<Option<(usize, usize)>>,
    /// The phase that writes each value.
    phases: Vec<usize>,
}

impl Schedule {
    /// Chooses algorithms, packs the weights that are not packed yet, and lays out the arena.
    pub fn new(
        network: &Network,
        shapes: &[[usize; 4]],
        weights: &Weights,
        level: Level,
        forced: Option<Algorithm>,
    ) -> Schedule {
        let ways = network
            .nodes
            .iter()
            .zip(shapes)
            .map(|(node, shape)| match node {
                Node::Conv(node) => Some(way(&node.conv, shapes[node.x], *shape, forced)),
                _ => None,
            })
            .collect();
        let mut planner = Planner {
            network,
            shapes,
            ways,
            maps: Vec::new(),
            part_of: vec![None; shapes.len()],
            phases: vec![0; shapes.len()],
        };
        planner.join();
        planner.shape_maps();
        planner.order();
        let arena = planner.place();
        let count = planner.phases.iter().max().map_or(0, |last| last + 1);
        let mut phases: Vec<Vec<Box<dyn Step>>> = (0..count).map(|_| Vec::new()).collect();
        for (index, &phase) in planner.phases.iter().enumerate() {
            // The work that takes longest begins first.
            for step in planner.steps(index, weights, level) {
                phases[phase].push(step);
            }
        }
        for (index, map) in planner.maps.iter().enumerate() {
            // A joined value is written by its parts, frames included.
            let whole = matches!(network.nodes[index], Node::Concat(_));
            if map.framed() && !(whole && planner.part_of.iter().flatten().any(|part| part.0 == index)) {
                phases[planner.phases[index]].push(Box::new(Frame { map: *map }));
            }
        }
        let outputs = network.outputs.iter().map(|&value| planner.maps[value]).collect();
        let tasks = phases.iter().map(|steps| steps.iter().map(|step| step.tasks()).sum()).collect();
        Schedule { phases, tasks, arena, outputs }
    }
}

impl Planner<'_> {
    /// Values that can be written into their place in a joined value.
    fn join(&mut self) {
        let mut uses = vec![0; self.shapes.len()];
        let reads = self.network.nodes.iter().flat_map(Node::reads);
        reads.chain(self.network.outputs.iter().copied()).for_each(|value| uses[value] += 1);
        for (index, node) in self.network.nodes.iter().enumerate() {
            let Node::Concat(parts) = node else { continue };
            let whole = |&part: &usize| {
                uses[part] == 1
                    && self.shapes[part][1].is_multiple_of(BLOCK)
                    && !matches!(self.network.nodes[part], Node::Input(_) | Node::Concat(_))
            };
            if parts.iter().all(whole) {
                let mut channel = 0;
                for &part in parts {
                    self.part_of[part] = Some((index, channel));
                    channel += self.shapes[part][1];
                }
            }
        }
    }

    /// Lanes and frames of all maps, by what reads them.
    fn shape_maps(&mut self) {
        self.maps = self.shapes.iter().map(|&shape| Map::new(shape, BLOCK)).collect();
        let few = self.shapes[0][1];
        let direct = self.network.nodes.iter().enumerate().filter(|(_, node)| node.reads().contains(&0));
        let mut readers = direct.peekable();
        let read = readers.peek().is_some();
        let joins = |(index, node): (usize, &Node)| {
            matches!(node, Node::Conv(conv) if conv.residual != Some(0))
                && self.ways[index] == Some(Way::Direct)
        };
        if few < BLOCK && read && readers.all(joins) && !self.network.outputs.contains(&0) {
            self.maps[0] = Map::new(self.shapes[0], few);
        }
        for (index, node) in self.network.nodes.iter().enumerate() {
            let Node::Conv(node) = node else { continue };
            let map = self.maps[node.x];
            let conv = &node.conv;
            for axis in 0..2 {
                let after = if self.ways[index] == Some(Way::Winograd) {
                    winograd::overhang(map.size[axis], conv.padding[axis])
                } else {
                    let reach = (self.shapes[index][2 + axis].max(1) - 1) * conv.stride[axis]
                        + (conv.kernel[axis] - 1) * conv.dilation[axis]
                        + 1;
                    reach.saturating_sub(map.size[axis] + conv.padding[axis])
                };
                let map = &mut self.maps[node.x];
                map.before[axis] = map.before[axis].max(conv.padding[axis]);
                map.after[axis] = map.after[axis].max(after);
            }
        }
        // Parts lie in the map of the whole.
        for index in 0..self.maps.len() {
            if let Some((whole, _)) = self.part_of[index] {
                let whole = self.maps[whole];
                let map = &mut self.maps[index];
                (map.before, map.after, map.pitch) = (whole.before, whole.after, whole.pitch);
            }
        }
    }

    /// Each value as early as what it reads allows.
    fn order(&mut self) {
        for (index, node) in self.network.nodes.iter().enumerate() {
            let before = node.reads().into_iter().map(|read| self.phases[read] + 1).max();
            self.phases[index] = before.unwrap_or(0);
        }
    }

    /// Gives each map its place in the arena, and returns the arena's size: the largest first, each at the lowest
    /// place that is free while it lives.
    fn place(&mut self) -> usize {
        let last = self.phases.iter().copied().max().unwrap_or(0);
        let root = |index: usize| self.part_of[index].map_or(index, |(whole, _)| whole);
        // First and last phase of each root.
        let mut lives: Vec<(usize, usize)> = self.phases.iter().map(|&phase| (phase, phase)).collect();
        for (index, node) in self.network.nodes.iter().enumerate() {
            let whole = root(index);
            lives[whole].0 = lives[whole].0.min(self.phases[index]);
            for read in node.reads() {
                let read = root(read);
                lives[read].1 = lives[read].1.max(self.phases[index]);
            }
        }
        for &output in &self.network.outputs {
            lives[root(output)].1 = last;
        }
        let mut order: Vec<usize> = (0..self.maps.len()).filter(|&index| root(index) == index).collect();
        order.sort_by_key(|&index| (std::cmp::Reverse(self.maps[index].len()), index));
        let mut placed: Vec<usize> = Vec::with_capacity(order.len());
        let mut arena = 0;
        for index in order {
            // A cache line apart, and room for a vector read past the end.
            let len = (self.maps[index].len() + BLOCK).next_multiple_of(BLOCK);
            let mut taken: Vec<(usize, usize)> = placed
                .iter()
                .filter(|&&other| lives[other].0 <= lives[index].1 && lives[index].0 <= lives[other].1)
                .map(|&other| {
                    let map = &self.maps[other];
                    (map.offset, map.offset + (map.len() + BLOCK).next_multiple_of(BLOCK))
                })
                .collect();
            taken.sort_unstable();
            let mut offset = 0;
            for (begin, end) in taken {
                if offset + len <= begin {
                    break;
                }
                offset = offset.max(end);
            }
            self.maps[index].offset = offset;
            arena = arena.max(offset + len);
            placed.push(index);
        }
        for index in 0..self.maps.len() {
            if let Some((whole, channel)) = self.part_of[index] {
                let whole = self.maps[whole];
                self.maps[index].offset = whole.offset + channel / BLOCK * whole.plane();
            }
        }
        arena
    }

    /// What computes a value.
    fn steps(&self, index: usize, weights: &Weights, level: Level) -> Vec<Box<dyn Step>> {
        let out = self.maps[index];
        let map = |value: usize| self.maps[value];
        let each = |x: usize, operation: Operation| -> Vec<Box<dyn Step>> {
            vec![Box::new(Each { input: map(x), out, operation })]
        };
        let padded = |values: &[f32]| {
            let mut values = values.to_vec();
            values.resize(out.blocks() * BLOCK, 0.0);
            values
        };
        match &self.network.nodes[index] {
            Node::Input(_) => vec![Box::new(Import { map: out })],
            Node::Conv(node) => self.convolution(index, node, weights, level),
            Node::Linear(Linear { x, weight, activation, .. }) => {
                let (segments, order) = Dense::segments(&map(*x));
                let packed = weights.get(index, Form::Picture { size: map(*x).size }, || {
                    Packed::windows(level, &weight.values(), &weight.bias, &order)
                });
                vec![Box::new(Dense { input: map(*x), out, packed, segments, activation: *activation })]
            }
            Node::Affine { x, scale, shift } => {
                each(*x, Operation::Affine { scale: padded(scale), shift: padded(shift) })
            }
            Node::Apply { x, function } => each(*x, Operation::Apply(*function)),
            Node::Add { a, b } => each(*a, Operation::Add(map(*b))),
            Node::Mul { a, b } if self.shapes[*a] == self.shapes[*b] => each(*a, Operation::Mul(map(*b))),
            Node::Mul { a, b } => each(*a, Operation::Weigh(map(*b))),
            Node::MaxPool { x, pool } => match pool.check(self.shapes[*x]) {
                Ok(shape) => vec![Box::new(Pool::greatest(&shape, map(*x), out))],
                // Shapes were checked.
                Err(_) => Vec::new(),
            },
            Node::AvgPool { x, pool, averaged } => match pool.check(self.shapes[*x]) {
                Ok(shape) => vec![Box::new(Pool::means(&Averages::of_pool(&shape, *averaged), map(*x), out))],
                Err(_) => Vec::new(),
            },
            Node::AdaptiveAvgPool { x, size } => {
                vec![Box::new(Pool::means(&Averages::adaptive(map(*x).size, *size), map(*x), out))]
            }
            Node::Concat(parts) => {
                let apart: Vec<Map> = parts
                    .iter()
                    .filter(|&&part| self.part_of[part].is_none())
                    .map(|&part| map(part))
                    .collect();
                // Parts that were written in their place need nothing.
                if apart.is_empty() { Vec::new() } else { vec![arrange(out, apart, 0)] }
            }
            Node::PadChannels { x, before, .. } => vec![arrange(out, vec![map(*x)], *before)],
            Node::Every { x, step } => {
                let along = |axis: usize| (0..out.size[axis]).map(|i| i * step[axis]).collect();
                vec![resample(out, map(*x), along(0), along(1))]
            }
            Node::Nearest { x, .. } => {
                let from = map(*x).size;
                let along =
                    |axis: usize| (0..out.size[axis]).map(|i| i * from[axis] / out.size[axis]).collect();
                vec![resample(out, map(*x), along(0), along(1))]
            }
            Node::Normalize { x, scale } => {
                vec![Box::new(Normalize { input: map(*x), out, scale: padded(scale) })]
            }
        }
    }

    fn convolution(&self, index: usize, node: &Conv, weights: &Weights, level: Level) -> Vec<Box<dyn Step>> {
        let Conv { x, conv, weight, residual, activation } = node;
        let (input, out, residual) =
            (self.maps[*x], self.maps[index], residual.map(|value| self.maps[value]));
        let job = |packed| Job { input, out, residual, packed, conv: *conv, activation: *activation };
        let windows = || {
            let (segments, order) = direct::windows(conv, &input);
            let packed = weights.get(index, Form::Windows { lanes: input.lanes }, || {
                Packed::windows(level, &weight.values(), &weight.bias, &order)
            });
            (segments, packed)
        };
        match self.ways[index] {
            Some(Way::Depthwise) => {
                let packed =
                    weights.get(index, Form::Depthwise, || Packed::depthwise(&weight.values(), &weight.bias));
                vec![Box::new(Depthwise::new(job(packed)))]
            }
            Some(Way::Winograd) => {
                let packed = weights
                    .get(index, Form::Winograd, || Packed::winograd(level, &weight.values(), &weight.bias));
                vec![Box::new(Winograd::new(job(packed), level))]
            }
            Some(Way::Dense) if residual.is_none() => {
                // One pixel of a window of one picture: other taps are in the padding, which there is none of.
                let (segments, packed) = windows();
                vec![Box::new(Dense { input, out, packed, segments, activation: *activation })]
            }
            _ => {
                let (segments, packed) = windows();
                vec![Box::new(Direct::new(job(packed), segments, level))]
            }
        }
    }
}

/// Whole maps one after another.
fn arrange(out: Map, parts: Vec<Map>, before: usize) -> Box<dyn Step> {
    let [rows, cols] = out.size.map(|side| (0..side).collect());
    Box::new(Arrange { out, parts, before, rows, cols })
}

/// Some rows and columns of a map.
fn resample(out: Map, input: Map, rows: Vec<usize>, cols: Vec<usize>) -> Box<dyn Step> {
    Box::new(Arrange { out, parts: vec![input], before: 0, rows, cols })
}
