//! The cheapest cut of a grid between two sides: maximum flow by two search trees that are kept from path to path
//! (Boykov and Kolmogorov 2004, "An Experimental Comparison of Min-Cut/Max-Flow Algorithms for Energy Minimization in
//! Vision").

use std::collections::VecDeque;

/// A grid of pixels, each joined with its four neighbours.
pub struct Grid {
    width: usize,
    /// Free capacity from a pixel to its neighbour to the right, to the left, below and above.
    free: [Vec<f32>; 4],
    /// Free capacity from the first side (positive) or to the second (negative).
    side: Vec<f32>,
    tree: Vec<u8>,
    /// Direction of the parent, or one of the following.
    parent: Vec<u8>,
    active: VecDeque<usize>,
    waiting: Vec<bool>,
    orphans: VecDeque<usize>,
    /// The round in which the way to the root was last known to hold, and its length.
    stamp: Vec<(u32, u32)>,
    round: u32,
}

const NONE: u8 = 4;
const ROOT: u8 = 5;
const LOST: u8 = 6;
const FREE: u8 = 0;
const FIRST: u8 = 1;
const SECOND: u8 = 2;

/// The direction back.
const fn back(direction: usize) -> usize {
    direction ^ 1
}

impl Grid {
    pub fn new(width: usize, height: usize) -> Self {
        let n = width * height;
        Self {
            width,
            free: std::array::from_fn(|_| vec![0.0; n]),
            side: vec![0.0; n],
            tree: vec![FREE; n],
            parent: vec![NONE; n],
            active: VecDeque::new(),
            waiting: vec![false; n],
            orphans: VecDeque::new(),
            stamp: vec![(0, 0); n],
            round: 1,
        }
    }

    /// What it costs to part a pixel from its right neighbour, or, with `below`, from the one below.
    pub fn join(&mut self, at: usize, below: bool, cost: f32) {
        let (direction, other) = if below { (2, at + self.width) } else { (0, at + 1) };
        self.free[direction][at] += cost;
        self.free[back(direction)][other] += cost;
    }

    /// What it costs a pixel not to be on the first side (positive) or on the second (negative); sums up.
    pub fn pull(&mut self, at: usize, cost: f32) {
        self.side[at] += cost;
    }

    fn step(&self, at: usize, direction: usize) -> usize {
        match direction {
            0 => at + 1,
            1 => at - 1,
            2 => at + self.width,
            _ => at - self.width,
        }
    }

    fn wake(&mut self, at: usize) {
        if !self.waiting[at] {
            self.waiting[at] = true;
            self.active.push_back(at);
        }
    }

    /// Whether each pixel is on the first side; what nothing pulls is on the second.
    pub fn cut(mut self) -> Vec<bool> {
        for at in 0..self.side.len() {
            if self.side[at] != 0.0 {
                self.tree[at] = if self.side[at] > 0.0 { FIRST } else { SECOND };
                self.parent[at] = ROOT;
                self.wake(at);
            }
        }
        while let Some(at) = self.active.pop_front() {
            self.waiting[at] = false;
            while let Some((from, direction)) = self.grow(at) {
                self.augment(from, direction);
                self.round += 1;
                while let Some(orphan) = self.orphans.pop_front() {
                    self.adopt(orphan);
                }
            }
        }
        self.tree.iter().map(|t| *t == FIRST).collect()
    }

    /// Free capacity along the tree's flow between a pixel and its neighbour further from the root.
    fn onward(&self, at: usize, direction: usize) -> f32 {
        match self.tree[at] {
            FIRST => self.free[direction][at],
            _ => self.toward(at, direction),
        }
    }

    /// Free capacity from the neighbour to the pixel; 0 beyond the border.
    fn toward(&self, at: usize, direction: usize) -> f32 {
        let x = at % self.width;
        let inside = match direction {
            0 => x + 1 < self.width,
            1 => x > 0,
            2 => at + self.width < self.side.len(),
            _ => at >= self.width,
        };
        if inside { self.free[back(direction)][self.step(at, direction)] } else { 0.0 }
    }

    /// Lets a tree grow from a pixel; where it meets the other, the pixel of the first tree and the direction to the
    /// second.
    fn grow(&mut self, at: usize) -> Option<(usize, usize)> {
        let own = self.tree[at];
        if own == FREE {
            return None;
        }
        for direction in 0..4 {
            if self.onward(at, direction) <= 0.0 {
                continue;
            }
            let next = self.step(at, direction);
            if self.tree[next] == FREE {
                self.tree[next] = own;
                self.parent[next] = back(direction) as u8;
                self.stamp[next] = (self.stamp[at].0, self.stamp[at].1 + 1);
                self.wake(next);
            } else if self.tree[next] != own {
                return Some(if own == FIRST { (at, direction) } else { (next, back(direction)) });
            }
        }
        None
    }

    /// Sends as much as goes along the path through the meeting point.
    fn augment(&mut self, from: usize, direction: usize) {
        let to = self.step(from, direction);
        let mut most = self.free[direction][from];
        for (start, first) in [(from, true), (to, false)] {
            let mut at = start;
            while self.parent[at] != ROOT {
                let way = usize::from(self.parent[at]);
                let next = self.step(at, way);
                most = most.min(if first { self.free[back(way)][next] } else { self.free[way][at] });
                at = next;
            }
            most = most.min(self.side[at].abs());
        }
        self.free[direction][from] -= most;
        self.free[back(direction)][to] += most;
        for (start, first) in [(from, true), (to, false)] {
            let mut at = start;
            while self.parent[at] != ROOT {
                let way = usize::from(self.parent[at]);
                let next = self.step(at, way);
                let (give, take, along) = if first { (next, at, back(way)) } else { (at, next, way) };
                self.free[along][give] -= most;
                self.free[back(along)][take] += most;
                if self.free[along][give] <= 0.0 {
                    self.parent[at] = LOST;
                    self.orphans.push_back(at);
                }
                at = next;
            }
            self.side[at] -= if first { most } else { -most };
            if self.side[at] == 0.0 {
                self.parent[at] = LOST;
                self.orphans.push_back(at);
            }
        }
    }

    /// Length of the way to the root; none if it leads nowhere.
    fn depth(&mut self, start: usize) -> Option<u32> {
        let (mut at, mut length) = (start, 0);
        let whole = loop {
            let (round, depth) = self.stamp[at];
            if round == self.round {
                break length + depth;
            }
            match self.parent[at] {
                ROOT => {
                    self.stamp[at] = (self.round, 1);
                    break length + 1;
                }
                NONE | LOST => return None,
                way => at = self.step(at, usize::from(way)),
            }
            length += 1;
        };
        // Known from now on in this round.
        let (mut at, mut left) = (start, whole);
        while self.stamp[at].0 != self.round {
            self.stamp[at] = (self.round, left);
            left -= 1;
            at = self.step(at, usize::from(self.parent[at]));
        }
        Some(whole)
    }

    /// Finds another parent for a pixel that lost its own, or sets it free.
    fn adopt(&mut self, at: usize) {
        let own = self.tree[at];
        let mut best: Option<(u32, usize)> = None;
        for direction in 0..4 {
            // From the parent to the pixel, along the tree's flow.
            let capacity = if own == FIRST { self.toward(at, direction) } else { self.free[direction][at] };
            if capacity <= 0.0 {
                continue;
            }
            let next = self.step(at, direction);
            if self.tree[next] == own
                && let Some(depth) = self.depth(next)
                && best.is_none_or(|(least, _)| depth < least)
            {
                best = Some((depth, direction));
            }
        }
        if let Some((depth, direction)) = best {
            self.parent[at] = direction as u8;
            self.stamp[at] = (self.round, depth + 1);
            return;
        }
        for direction in 0..4 {
            let joined = self.toward(at, direction) > 0.0 || self.free[direction][at] > 0.0;
            if !joined {
                continue;
            }
            let next = self.step(at, direction);
            if self.tree[next] != own {
                continue;
            }
            let capacity = if own == FIRST { self.toward(at, direction) } else { self.free[direction][at] };
            if capacity > 0.0 {
                self.wake(next);
            }
            if usize::from(self.parent[next]) == back(direction) {
                self.parent[next] = LOST;
                self.orphans.push_back(next);
            }
        }
        self.tree[at] = FREE;
        self.parent[at] = NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the least of all cuts of a small grid.
    #[test]
    fn the_cut_is_the_cheapest_of_all() {
        let (w, h) = (4, 3);
        let mut state = 11u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) % 9) as f32
        };
        for _ in 0..200 {
            let mut grid = Grid::new(w, h);
            let (mut joins, mut pulls) = (Vec::new(), vec![0.0f32; w * h]);
            for (at, pull) in pulls.iter_mut().enumerate() {
                for below in [false, true] {
                    if if below { at / w + 1 < h } else { at % w + 1 < w } {
                        let cost = random();
                        grid.join(at, below, cost);
                        joins.push((at, if below { at + w } else { at + 1 }, cost));
                    }
                }
                *pull = if random() > 4.0 { random() - random() } else { 0.0 };
                grid.pull(at, *pull);
            }
            let cost = |first: &dyn Fn(usize) -> bool| -> f32 {
                let parted = joins.iter().filter(|(a, b, _)| first(*a) != first(*b)).map(|(_, _, c)| c);
                let pulled =
                    pulls.iter().enumerate().filter(|(i, p)| first(*i) != (**p > 0.0)).map(|(_, p)| p.abs());
                parted.sum::<f32>() + pulled.sum::<f32>()
            };
            let best =
                (0u32..1 << (w * h)).map(|bits| cost(&|i| bits >> i & 1 == 1)).fold(f32::MAX, f32::min);
            let found = grid.cut();
            assert_eq!(cost(&|i| found[i]), best);
        }
    }
}
