//! Which pictures overlap, and all cameras together.

use rayon::prelude::*;

use super::adjust::{Link, adjust, mean_error};
use super::camera::{Camera, guess, movement};
use super::fault::PanoramaError;
use super::homography::{PointPair, ransac};
use super::level::levelled;
use super::matrix::Matrix;
use super::view::View;
use crate::features::match_features;

/// Distance in pixels of the small pictures at which a match still agrees.
const TOLERANCE: f64 = 3.0;
/// The same when cameras are fitted: beyond it an error counts linearly.
const ADJUSTED: f64 = 2.0;
/// Movement in parts of a side below which two pictures are one and the same.
const STILL: f64 = 0.01;
/// Pictures up to which all pairs are compared with all their points.
const FEW: usize = 16;
/// Points of each picture by which pairs are chosen among many pictures.
const SCOUTS: usize = 250;

/// Two pictures that overlap.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Number of the first picture.
    pub first: usize,
    /// Number of the second picture.
    pub second: usize,
    /// Takes points of the first to the second, in pixels relative to each one's middle.
    pub matrix: Matrix,
    /// The matches that agree, in pixels relative to each one's middle.
    pub inliers: Vec<PointPair>,
    /// Those that do not.
    pub outliers: Vec<PointPair>,
    /// How many must agree.
    pub needed: usize,
}

impl Pair {
    /// Whether enough agree.
    fn holds(&self) -> bool {
        self.inliers.len() >= self.needed
    }

    /// All matches in pixels from the top left corners, and whether they agree: for [`super::draw_pair`].
    pub fn lines(&self, views: &[View]) -> Vec<([f64; 2], [f64; 2], bool)> {
        let corner = |number: usize, [x, y]: [f64; 2]| {
            let size = views[number].size;
            [x + f64::from(size.width) / 2.0, y + f64::from(size.height) / 2.0]
        };
        let sides = [(&self.outliers, false), (&self.inliers, true)];
        let all = sides.iter().flat_map(|(pairs, agrees)| pairs.iter().map(move |pair| (pair, *agrees)));
        all.map(|([p, q], agrees)| (corner(self.first, *p), corner(self.second, *q), agrees)).collect()
    }
}

/// Where all cameras looked.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// One for each picture.
    pub cameras: Vec<Camera>,
    /// The pairs that overlap.
    pub pairs: Vec<Pair>,
    /// Mean distance in pixels between where a point is and where its partner in another picture says it is.
    pub error: f64,
}

/// How many of this many matches must agree for two pictures to overlap (Brown and Lowe 2007, equation 13: more than
/// 8 + 0.3 n).
pub fn needed(matches: usize) -> usize {
    9 + (0.3 * matches as f64).floor() as usize
}

/// Finds which pictures overlap and where each camera looked.
///
/// # Errors
/// [`PanoramaError`]: a picture without points, pictures that no chain of pairs joins, pictures of the same.
pub fn register(views: &[View]) -> Result<Registration, PanoramaError> {
    if views.len() < 2 {
        return Err(PanoramaError::Few(views.len()));
    }
    for (number, view) in views.iter().enumerate() {
        let found = view.features.keypoints.len();
        if found < needed(0) {
            return Err(PanoramaError::Plain { number, found, needed: needed(0) });
        }
    }
    let all = compared(views);
    let (pairs, failed): (Vec<Pair>, Vec<Pair>) = all.into_iter().partition(Pair::holds);
    joined(views, &pairs, &failed)?;
    let sides = |view: &View| [view.size.width, view.size.height].map(f64::from);
    // The same seen twice says nothing of the camera.
    let moving: Vec<&Pair> = pairs.iter().filter(|p| movement(p, sides(&views[p.first])) > STILL).collect();
    if moving.is_empty() {
        let pair = &pairs[0];
        return Err(PanoramaError::Same { first: pair.first, second: pair.second });
    }
    let sums: Vec<f64> = views.iter().map(|v| sides(v)[0] + sides(v)[1]).collect();
    let still = |p: &&Pair| movement(p, sides(&views[p.first])) <= STILL;
    let chain: Vec<&Pair> = moving.iter().copied().chain(pairs.iter().filter(still)).collect();
    let mut cameras = guess(&sums, &chain);
    let links: Vec<Link> =
        pairs.iter().map(|p| Link { first: p.first, second: p.second, points: p.inliers.clone() }).collect();
    let alike: Vec<usize> =
        views.iter().map(|v| views.iter().position(|o| o.size == v.size).unwrap_or(0)).collect();
    let pixel = views.iter().map(|v| v.scale()[0]).fold(0.0, f64::max);
    // First towards each other from afar, then without the influence of what does not fit.
    for tolerance in [40.0 * ADJUSTED, 5.0 * ADJUSTED, ADJUSTED] {
        adjust(&mut cameras, &links, &alike, tolerance * pixel);
    }
    let error = mean_error(&cameras, &links);
    Ok(Registration { cameras: levelled(&cameras), pairs, error })
}

/// All pairs worth a look.
fn compared(views: &[View]) -> Vec<Pair> {
    let n = views.len();
    let mut candidates: Vec<[usize; 2]> = (0..n).flat_map(|a| (a + 1..n).map(move |b| [a, b])).collect();
    if n > FEW {
        // The strongest points choose for each picture those that it may overlap with.
        let scouts: Vec<_> = views.par_iter().map(|v| v.features.strongest(SCOUTS)).collect();
        let counts: Vec<usize> =
            candidates.par_iter().map(|&[a, b]| match_features(&scouts[a], &scouts[b]).len()).collect();
        let mut kept = vec![false; candidates.len()];
        for picture in 0..n {
            let mut own: Vec<usize> =
                (0..candidates.len()).filter(|i| candidates[*i].contains(&picture)).collect();
            own.sort_by_key(|i| (std::cmp::Reverse(counts[*i]), *i));
            own.iter().take(10).for_each(|i| kept[*i] = true);
        }
        let mut kept = kept.into_iter();
        candidates.retain(|_| kept.next().unwrap_or(false));
    }
    candidates.par_iter().map(|&[first, second]| compare(views, first, second)).collect()
}

fn compare(views: &[View], first: usize, second: usize) -> Pair {
    let (a, b) = (&views[first], &views[second]);
    let matches = match_features(&a.features, &b.features);
    let points: Vec<PointPair> = matches.iter().map(|m| [a.point(m.first), b.point(m.second)]).collect();
    let tolerance = TOLERANCE * b.scale()[0];
    let found = ransac(&points, tolerance, (first * views.len() + second) as u64);
    let needed = needed(points.len());
    let mut pair = Pair {
        first,
        second,
        matrix: super::matrix::IDENTITY,
        inliers: Vec::new(),
        outliers: Vec::new(),
        needed,
    };
    match found {
        Some(found) => {
            pair.matrix = found.matrix;
            for (point, inside) in points.into_iter().zip(found.inliers) {
                if inside { pair.inliers.push(point) } else { pair.outliers.push(point) }
            }
        }
        None => pair.outliers = points,
    }
    pair
}

/// Checks that pairs join all pictures, or says which came nearest to it.
fn joined(views: &[View], pairs: &[Pair], failed: &[Pair]) -> Result<(), PanoramaError> {
    let mut group: Vec<usize> = (0..views.len()).collect();
    for pair in pairs {
        let [a, b] = [group[pair.first], group[pair.second]];
        group.iter_mut().filter(|g| **g == b).for_each(|g| *g = a);
    }
    let lone = |pair: &&Pair| group[pair.first] != group[pair.second];
    let nearness = |pair: &Pair| pair.inliers.len() as f64 / pair.needed as f64;
    let nearest = failed.iter().filter(lone).min_by(|p, q| {
        nearness(q).total_cmp(&nearness(p)).then((p.first, p.second).cmp(&(q.first, q.second)))
    });
    match nearest {
        Some(pair) => Err(PanoramaError::Unmatched {
            first: pair.first,
            second: pair.second,
            agreeing: pair.inliers.len(),
            matches: pair.inliers.len() + pair.outliers.len(),
            needed: pair.needed,
            lines: pair.lines(views),
        }),
        None if group.iter().any(|g| *g != group[0]) => {
            let other = group.iter().position(|g| *g != group[0]).unwrap_or(0);
            let lines = Vec::new();
            Err(PanoramaError::Unmatched {
                first: 0,
                second: other,
                agreeing: 0,
                matches: 0,
                needed: needed(0),
                lines,
            })
        }
        None => Ok(()),
    }
}
