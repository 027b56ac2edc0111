//! Operations that become a part of the convolution or dense layer before them.

use super::builder::{Conv, Node, Source, Value};
use crate::{Activation, Conv2d};

/// A network whose remaining nodes are those that its outputs need.
#[derive(Debug)]
pub(super) struct Network {
    pub nodes: Vec<Node>,
    pub outputs: Vec<usize>,
}

/// Folds scales into weights, and hands sums and activations over; then drops what nothing reads.
pub(super) fn fuse(nodes: Vec<Node>, outputs: &[Value]) -> Network {
    let outputs: Vec<usize> = outputs.iter().map(|value| value.0).collect();
    let mut network = Network { nodes, outputs };
    network.nodes.iter_mut().for_each(spread_groups);
    network.join_concats();
    let mut at = 0;
    // A node moves to the place of the operation that it takes over, so that one pass sees every chain to its end.
    while at < network.nodes.len() {
        network.absorb(at);
        at += 1;
    }
    network.sweep();
    network
}

/// A convolution in groups becomes one of all channels with weights of zero between the groups; one channel a group
/// stays as it is.
fn spread_groups(node: &mut Node) {
    let Node::Conv(Conv { conv, weight, .. }) = node else { return };
    let Conv2d { in_channels, out_channels, kernel, groups, .. } = *conv;
    let uneven = groups == 0 || !in_channels.is_multiple_of(groups) || !out_channels.is_multiple_of(groups);
    let taps = kernel[0] * kernel[1];
    if groups <= 1 || uneven || taps == 0 || (groups == in_channels && groups == out_channels) {
        return;
    }
    let (group, rows) = (in_channels / groups * taps, out_channels / groups);
    let source = weight.source.clone();
    weight.source = Source::new(out_channels * in_channels * taps, move || {
        let mut spread = vec![0.0; out_channels * in_channels * taps];
        for (row, filter) in source.values().chunks_exact(group).enumerate() {
            spread[row * in_channels * taps + row / rows * group..][..group].copy_from_slice(filter);
        }
        spread
    });
    conv.groups = 1;
}

impl Network {
    /// How often each value is read.
    fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        let reads = self.nodes.iter().flat_map(Node::reads);
        reads.chain(self.outputs.iter().copied()).for_each(|value| uses[value] += 1);
        uses
    }

    /// A function of joined maps becomes one of each map, where nobody else reads that.
    fn join_concats(&mut self) {
        let uses = self.uses();
        for at in 0..self.nodes.len() {
            let Node::Apply { x, function } = self.nodes[at] else { continue };
            let Node::Concat(parts) = &self.nodes[x] else { continue };
            if uses[x] != 1 || parts.iter().any(|&part| uses[part] != 1) {
                continue;
            }
            // New nodes are written at the end, out of order: `sweep` sorts.
            let parts = parts.clone();
            let first = self.nodes.len();
            let applied = (first..first + parts.len()).collect();
            self.nodes.extend(parts.into_iter().map(|x| Node::Apply { x, function }));
            self.nodes[at] = Node::Concat(applied);
        }
        self.sweep();
    }

    /// Makes node `at` the convolution or dense layer that it reads, extended by itself; if it can.
    fn absorb(&mut self, at: usize) {
        let uses = self.uses();
        let single = |x: usize| uses[x] == 1;
        match &self.nodes[at] {
            Node::Affine { x, scale, shift } if single(*x) => {
                let (x, scale, shift) = (*x, scale.clone(), shift.clone());
                match &mut self.nodes[x] {
                    Node::Conv(conv) if conv.plain() && conv.conv.out_channels == scale.len() => {
                        conv.weight.fold(&scale, &shift);
                    }
                    Node::Linear(linear)
                        if linear.activation == Activation::None && linear.outputs == scale.len() =>
                    {
                        linear.weight.fold(&scale, &shift);
                    }
                    _ => return,
                }
                self.replace(at, x);
            }
            Node::Apply { x, function } if single(*x) => {
                let (x, Some(wanted)) = (*x, Activation::of_function(*function)) else { return };
                match &mut self.nodes[x] {
                    Node::Conv(conv) if conv.activation == Activation::None => conv.activation = wanted,
                    Node::Linear(linear) if linear.activation == Activation::None => {
                        linear.activation = wanted;
                    }
                    _ => return,
                }
                self.replace(at, x);
            }
            Node::Add { a, b } => {
                let (a, b) = (*a, *b);
                for (x, other) in [(a, b), (b, a)] {
                    if x != other
                        && single(x)
                        && let Node::Conv(conv) = &mut self.nodes[x]
                        && conv.plain()
                    {
                        conv.residual = Some(other);
                        return self.replace(at, x);
                    }
                }
            }
            _ => {}
        }
    }

    /// Node `x`, which only `at` reads, moves to its place.
    fn replace(&mut self, at: usize, x: usize) {
        self.nodes[at] = std::mem::replace(&mut self.nodes[x], Node::Concat(Vec::new()));
    }

    /// Drops the nodes that no output needs, and sorts the others so that each comes after what it reads.
    fn sweep(&mut self) {
        let mut order: Vec<usize> = Vec::with_capacity(self.nodes.len());
        let mut number: Vec<Option<usize>> = vec![None; self.nodes.len()];
        // Depth first, with a stack of our own: a network may be deep.
        let mut stack: Vec<(usize, bool)> = self.outputs.iter().rev().map(|&node| (node, false)).collect();
        // The input comes first, read or not.
        stack.push((0, false));
        while let Some((node, ready)) = stack.pop() {
            if number[node].is_some() {
                continue;
            }
            if ready {
                number[node] = Some(order.len());
                order.push(node);
            } else {
                stack.push((node, true));
                stack.extend(self.nodes[node].reads().into_iter().rev().map(|read| (read, false)));
            }
        }
        let renumber = |value: &mut usize| *value = number[*value].unwrap_or(0);
        let mut nodes: Vec<Node> = Vec::with_capacity(order.len());
        for &old in &order {
            let mut node = std::mem::replace(&mut self.nodes[old], Node::Concat(Vec::new()));
            node.each_read(renumber);
            nodes.push(node);
        }
        self.nodes = nodes;
        self.outputs.iter_mut().for_each(renumber);
    }
}
