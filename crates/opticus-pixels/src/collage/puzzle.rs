//! A picture cut into tiles, shuffled, and put together again by how well edges continue.

use rayon::prelude::*;

use super::error::setting;
use super::{CollageError, check};
use crate::codec::ColorMode;
use crate::geometry::Size;
use crate::image::Image8;
use crate::resize::crop;

/// A picture's tiles, row by row, all of one size. What the columns and rows do not divide is cut off evenly at the
/// rims.
///
/// # Errors
/// If the picture is broken, or if columns or rows are 0 or more than its pixels.
pub fn cut(picture: &Image8, columns: u32, rows: u32) -> Result<Vec<Image8>, CollageError> {
    check(std::slice::from_ref(picture))?;
    if columns == 0 || columns > picture.size.width {
        return Err(setting("columns", columns, "1 to the picture's width"));
    }
    if rows == 0 || rows > picture.size.height {
        return Err(setting("rows", rows, "1 to the picture's height"));
    }
    let tile = Size::new(picture.size.width / columns, picture.size.height / rows);
    let (left, top) = (picture.size.width % columns / 2, picture.size.height % rows / 2);
    let place = |i: u64| {
        let (column, row) = (i % u64::from(columns), i / u64::from(columns));
        let x = u64::from(left) + column * u64::from(tile.width);
        let y = u64::from(top) + row * u64::from(tile.height);
        crop(picture, x as i64, y as i64, tile)
    };
    Ok((0..u64::from(columns) * u64::from(rows)).map(place).collect())
}

/// An order of `count` tiles, all equally likely over the seeds (Fisher and Yates): `order[place]` is the tile.
pub fn shuffle(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = seed;
    for last in (1..count).rev() {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let other = ((u128::from(z) * (last as u128 + 1)) >> 64) as usize;
        order.swap(last, other);
    }
    order
}

/// One picture from tiles: place `i`, row by row, shows tile `order[i]`.
///
/// # Errors
/// If tiles are broken or unlike each other, or if `order` does not name one tile for each place of whole rows.
pub fn assemble(tiles: &[Image8], order: &[usize], columns: u32) -> Result<Image8, CollageError> {
    let (tile, channels) = alike(tiles)?;
    if columns == 0 {
        return Err(setting("columns", columns, "at least 1"));
    }
    let rows = (order.len() as u64).div_ceil(u64::from(columns)).min(u64::from(u32::MAX)) as u32;
    let whole = !order.is_empty() && order.len() as u64 == u64::from(columns) * u64::from(rows);
    if !whole || order.iter().any(|tile| *tile >= tiles.len()) {
        return Err(CollageError::Places { got: order.len(), columns, rows });
    }
    let sheet = super::bounded(
        u64::from(columns) * u64::from(tile.width),
        u64::from(rows) * u64::from(tile.height),
        10_000.0,
    )?;
    let (piece, line) = (tile.width as usize * channels, sheet.width as usize * channels);
    let mut data = vec![0; line * sheet.height as usize];
    data.par_chunks_exact_mut(line).enumerate().for_each(|(y, out)| {
        let (row, y) = (y / tile.height as usize, y % tile.height as usize);
        for (out, tile) in out.chunks_exact_mut(piece).zip(&order[row * columns as usize..]) {
            out.copy_from_slice(&tiles[*tile].data[y * piece..(y + 1) * piece]);
        }
    });
    Ok(Image8 { size: sheet, channels, data })
}

fn alike(tiles: &[Image8]) -> Result<(Size, usize), CollageError> {
    check(tiles)?;
    let first = tiles.first().ok_or(CollageError::NoPictures)?;
    match tiles.iter().enumerate().find(|(_, t)| (t.size, t.channels) != (first.size, first.channels)) {
        Some((index, t)) => Err(CollageError::OddTile { index, size: t.size, channels: t.channels }),
        None => Ok((first.size, first.channels)),
    }
}

/// The order in which unrotated tiles make a picture of `columns` and `rows`: `order[place]` is the tile, row by row.
///
/// After Gallagher, "Jigsaw puzzles with pieces of unknown orientation" (CVPR 2012): edges are compared by the
/// Mahalanobis distance of the step across them from the steps before them (section 3), relative to the second best
/// of each edge; pieces are joined like a minimum spanning tree, nearest first, where they do not overlap (section 4.1),
/// and here also only where they stay within the known frame; left over pieces go where they fit best (section 4.3).
///
/// # Errors
/// If tiles are broken or unlike each other, or if their number is not `columns * rows`, or above 4096.
pub fn solve(tiles: &[Image8], columns: u32, rows: u32) -> Result<Vec<usize>, CollageError> {
    alike(tiles)?;
    if tiles.len() as u64 != u64::from(columns) * u64::from(rows) {
        return Err(CollageError::Places { got: tiles.len(), columns, rows });
    }
    if tiles.len() > 4096 {
        return Err(setting("the number of tiles", tiles.len(), "at most 4096"));
    }
    let costs = Costs::new(tiles);
    let mut forest = Forest::new(tiles.len(), i64::from(columns), i64::from(rows));
    for (first, second, direction) in costs.ranked() {
        forest.join(first, second, direction);
    }
    Ok(costs.turned(forest.fill(&costs), columns as usize, rows as usize))
}

/// Which neighbour: the second is to the right of the first, or below it.
const STEPS: [[i64; 2]; 2] = [[1, 0], [0, 1]];

/// How badly tiles continue each other.
struct Costs {
    count: usize,
    /// `relative[direction][first * count + second]`, 1 where both would rather have another.
    relative: [Vec<f32>; 2],
}

impl Costs {
    fn new(tiles: &[Image8]) -> Self {
        let count = tiles.len();
        let relative = [0, 1].map(|direction| {
            let edges: Vec<[Edge; 2]> = tiles
                .par_iter()
                .map(|t| [Edge::new(t, direction, true), Edge::new(t, direction, false)])
                .collect();
            let mut costs = vec![0f32; count * count];
            costs.par_chunks_exact_mut(count).enumerate().for_each(|(first, row)| {
                for (second, cost) in row.iter_mut().enumerate() {
                    *cost = match first == second {
                        true => f32::INFINITY,
                        false => {
                            edges[first][0].across(&edges[second][1])
                                + edges[second][1].across(&edges[first][0])
                        }
                    };
                }
            });
            let ease = edges.first().map_or(1.0, |[edge, _]| EASE * edge.colours.len() as f32);
            relative(&costs, count, ease)
        });
        Self { count, relative }
    }

    /// The order with columns and rows turned so that the worst seams, those between the last and the first included,
    /// come to lie at the rim: pictures with a frame are else joined at its two sides.
    fn turned(&self, order: Vec<usize>, columns: usize, rows: usize) -> Vec<usize> {
        let seam = |direction: usize, pairs: &mut dyn Iterator<Item = [usize; 2]>| -> f32 {
            let cost =
                |[a, b]: [usize; 2]| self.relative[direction][order[a] * self.count + order[b]].min(1.0);
            pairs.map(cost).sum()
        };
        // The seam before each column, and before each row; the rim as it is wins a tie.
        let worst = |costs: Vec<f32>| {
            (0..costs.len()).max_by(|a, b| costs[*a].total_cmp(&costs[*b]).then(b.cmp(a))).unwrap_or(0)
        };
        let before = |k: usize, count: usize| (k + count - 1) % count;
        let across = (0..columns)
            .map(|x| seam(0, &mut (0..rows).map(|y| [y * columns + before(x, columns), y * columns + x])));
        let down = (0..rows)
            .map(|y| seam(1, &mut (0..columns).map(|x| [before(y, rows) * columns + x, y * columns + x])));
        let (left, top) = (worst(across.collect()), worst(down.collect()));
        let place = |i: usize| (i / columns + top) % rows * columns + (i % columns + left) % columns;
        (0..order.len()).map(|i| order[place(i)]).collect()
    }

    /// All pairs and directions, best first.
    fn ranked(&self) -> Vec<(usize, usize, usize)> {
        let pairs = self.relative.iter().enumerate().flat_map(|(direction, costs)| {
            costs.iter().enumerate().map(move |(i, cost)| (*cost, i / self.count, i % self.count, direction))
        });
        let mut pairs: Vec<_> = pairs.filter(|(cost, ..)| cost.is_finite()).collect();
        pairs.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
        pairs.into_iter().map(|(_, first, second, direction)| (first, second, direction)).collect()
    }
}

/// Added to costs before they are compared, for each pixel of an edge: flat edges, as those of a frame, continue each
/// other perfectly without belonging together, so that nothing below this tells a pair from another.
const EASE: f32 = 1.0;

/// Each cost over the second least of its row or column, whichever is less, all with `ease` added.
fn relative(costs: &[f32], count: usize, ease: f32) -> Vec<f32> {
    let second = |values: &mut dyn Iterator<Item = f32>| {
        let (mut least, mut next) = (f32::INFINITY, f32::INFINITY);
        for value in values {
            if value < least {
                (least, next) = (value, least);
            } else {
                next = next.min(value);
            }
        }
        if next.is_finite() { next + ease } else { 1.0 }
    };
    let rows: Vec<f32> =
        (0..count).map(|r| second(&mut costs[r * count..][..count].iter().copied())).collect();
    let columns: Vec<f32> =
        (0..count).map(|c| second(&mut costs.iter().skip(c).step_by(count).copied())).collect();
    costs
        .iter()
        .enumerate()
        .map(|(i, cost)| (cost + ease) / rows[i / count].min(columns[i % count]))
        .collect()
}

/// The pixels along one side of a tile, and what the steps towards it are like.
struct Edge {
    colours: Vec<[f32; 3]>,
    mean: [f32; 3],
    /// Inverse covariance of the steps.
    inverse: [[f32; 3]; 3],
}

impl Edge {
    /// The right or lower side (`far`), or the left or upper one.
    fn new(tile: &Image8, direction: usize, far: bool) -> Self {
        let rgb = tile.to_mode(ColorMode::Rgb);
        let (width, height) = (rgb.size.width as usize, rgb.size.height as usize);
        let pixels = rgb.data.as_chunks::<3>().0;
        let (depth, length) = if direction == 0 { (width, height) } else { (height, width) };
        let at = |inwards: usize, along: usize| {
            let across = if far { depth - 1 - inwards } else { inwards };
            let (x, y) = if direction == 0 { (across, along) } else { (along, across) };
            pixels[y * width + x].map(f32::from)
        };
        let colours: Vec<[f32; 3]> = (0..length).map(|along| at(0, along)).collect();
        let inner = 1.min(depth - 1);
        let steps: Vec<[f32; 3]> = (0..length).map(|along| minus(colours[along], at(inner, along))).collect();
        // Dummy steps keep the covariance of flat edges regular, as in the paper.
        let dummies = [
            [0., 0., 0.],
            [1., 1., 1.],
            [-1., -1., -1.],
            [0., 0., 1.],
            [0., 1., 0.],
            [1., 0., 0.],
            [-1., 0., 0.],
            [0., -1., 0.],
            [0., 0., -1.],
        ];
        let count = length as f32;
        let mean = [0, 1, 2].map(|c| steps.iter().map(|s| s[c]).sum::<f32>() / count);
        let mut covariance = [[0f32; 3]; 3];
        for step in steps.iter().copied().map(|s| minus(s, mean)).chain(dummies) {
            for (row, a) in covariance.iter_mut().zip(step) {
                for (sum, b) in row.iter_mut().zip(step) {
                    *sum += a * b / (count + dummies.len() as f32);
                }
            }
        }
        Self { colours, mean, inverse: inverse(covariance) }
    }

    /// How unlike the steps towards this side the steps across to another one are.
    fn across(&self, other: &Self) -> f32 {
        let pairs = self.colours.iter().zip(&other.colours);
        pairs
            .map(|(here, there)| {
                let d = minus(minus(*there, *here), self.mean);
                let row = |r: [f32; 3]| r[0] * d[0] + r[1] * d[1] + r[2] * d[2];
                d[0] * row(self.inverse[0]) + d[1] * row(self.inverse[1]) + d[2] * row(self.inverse[2])
            })
            .sum()
    }
}

fn minus(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// Of a symmetric positive definite matrix, by its adjugate.
fn inverse(m: [[f32; 3]; 3]) -> [[f32; 3]; 3] {
    let m = m.map(|row| row.map(f64::from));
    let minor = |r: usize, c: usize| {
        let ((a, b), (i, j)) = (((r + 1) % 3, (r + 2) % 3), ((c + 1) % 3, (c + 2) % 3));
        m[a][i] * m[b][j] - m[a][j] * m[b][i]
    };
    let determinant: f64 = (0..3).map(|c| m[0][c] * minor(0, c)).sum();
    let scale = 1.0 / determinant.max(1e-12);
    [0, 1, 2].map(|r| [0, 1, 2].map(|c| (minor(c, r) * scale) as f32))
}

/// Groups of tiles whose places relative to each other are settled.
struct Forest {
    frame: [i64; 2],
    /// The group of each tile.
    groups: Vec<usize>,
    /// Column and row of each tile in its group.
    places: Vec<[i64; 2]>,
    members: Vec<Vec<usize>>,
}

impl Forest {
    fn new(count: usize, columns: i64, rows: i64) -> Self {
        Self {
            frame: [columns, rows],
            groups: (0..count).collect(),
            places: vec![[0, 0]; count],
            members: (0..count).map(|i| vec![i]).collect(),
        }
    }

    /// Joins the groups of two tiles so that the second is the first's neighbour, unless tiles would overlap or leave
    /// the frame.
    fn join(&mut self, first: usize, second: usize, direction: usize) {
        let (a, b) = (self.groups[first], self.groups[second]);
        if a == b {
            return;
        }
        let shift = [0, 1].map(|k| self.places[first][k] + STEPS[direction][k] - self.places[second][k]);
        let moved: Vec<[i64; 2]> =
            self.members[b].iter().map(|t| [0, 1].map(|k| self.places[*t][k] + shift[k])).collect();
        let there: Vec<[i64; 2]> = self.members[a].iter().map(|t| self.places[*t]).collect();
        if !self.fits(there.iter().chain(&moved)) {
            return;
        }
        let taken: std::collections::HashSet<[i64; 2]> = there.into_iter().collect();
        if moved.iter().any(|place| taken.contains(place)) {
            return;
        }
        let joined = std::mem::take(&mut self.members[b]);
        for (tile, place) in joined.iter().zip(moved) {
            (self.groups[*tile], self.places[*tile]) = (a, place);
        }
        self.members[a].extend(joined);
    }

    fn fits<'a>(&self, places: impl Iterator<Item = &'a [i64; 2]>) -> bool {
        let (least, most) = extent(places);
        (0..2).all(|k| most[k] - least[k] < self.frame[k])
    }

    /// Tiles outside the largest group one by one where they fit it best; then the order of all.
    fn fill(mut self, costs: &Costs) -> Vec<usize> {
        let count = self.groups.len();
        let largest = (0..count).max_by_key(|g| (self.members[*g].len(), std::cmp::Reverse(*g))).unwrap_or(0);
        let mut board: std::collections::BTreeMap<[i64; 2], usize> =
            self.members[largest].iter().map(|t| (self.places[*t], *t)).collect();
        let mut left: Vec<usize> = (0..count).filter(|t| self.groups[*t] != largest).collect();
        while !left.is_empty() {
            let free: std::collections::BTreeSet<[i64; 2]> = board
                .keys()
                .flat_map(|[x, y]| [[x + 1, *y], [x - 1, *y], [*x, y + 1], [*x, y - 1]])
                .filter(|place| !board.contains_key(place) && self.fits(board.keys().chain([place])))
                .collect();
            let fit = |place: &[i64; 2], tile: usize| {
                let (mut sum, mut sides) = (0.0f32, 0.0f32);
                for (costs_of, step) in costs.relative.iter().zip(STEPS) {
                    if let Some(before) = board.get(&[place[0] - step[0], place[1] - step[1]]) {
                        (sum, sides) = (sum + costs_of[before * count + tile], sides + 1.0);
                    }
                    if let Some(after) = board.get(&[place[0] + step[0], place[1] + step[1]]) {
                        (sum, sides) = (sum + costs_of[tile * count + after], sides + 1.0);
                    }
                }
                // Places with more neighbours first: they are surer.
                (sum / sides) / sides
            };
            let best = free
                .iter()
                .flat_map(|place| {
                    left.iter().enumerate().map(move |(i, tile)| (fit(place, *tile), *place, i))
                })
                .min_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
            // There always is a place: the frame has as many as there are tiles.
            let Some((_, place, i)) = best else { break };
            let tile = left.remove(i);
            self.places[tile] = place;
            board.insert(place, tile);
        }
        let mut order: Vec<([i64; 2], usize)> = board.into_iter().collect();
        order.sort_unstable_by_key(|([x, y], _)| (*y, *x));
        order.into_iter().map(|(_, tile)| tile).collect()
    }
}

fn extent<'a>(places: impl Iterator<Item = &'a [i64; 2]>) -> ([i64; 2], [i64; 2]) {
    places.fold(([i64::MAX; 2], [i64::MIN; 2]), |(least, most), place| {
        ([0, 1].map(|k| least[k].min(place[k])), [0, 1].map(|k| most[k].max(place[k])))
    })
}
