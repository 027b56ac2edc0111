//! Exact Euclidean distances to a set of pixels (Felzenszwalb and Huttenlocher, "Distance transforms of sampled
//! functions", Theory of Computing 8, 2012).

use rayon::prelude::*;

use crate::geometry::Size;

/// The distance in pixels of every pixel from the nearest one of which `is` holds: 0 on such a pixel, infinite if there
/// is none.
pub(super) fn distances(size: Size, is: impl Fn(usize) -> bool) -> Vec<f32> {
    let (width, height) = (size.width as usize, size.height as usize);
    // Beyond any distance that occurs, yet with room for sums.
    const FAR: u32 = 1 << 30;
    let mut down: Vec<u32> = (0..width * height).map(|i| if is(i) { 0 } else { FAR }).collect();
    for y in 1..height {
        let (above, below) = down.split_at_mut(y * width);
        for (below, above) in below[..width].iter_mut().zip(&above[(y - 1) * width..]) {
            *below = (*below).min(above + 1);
        }
    }
    for y in (1..height).rev() {
        let (above, below) = down.split_at_mut(y * width);
        for (above, below) in above[(y - 1) * width..].iter_mut().zip(&below[..width]) {
            *above = (*above).min(below + 1);
        }
    }
    let mut out = vec![f32::INFINITY; width * height];
    let rows = out.par_chunks_exact_mut(width.max(1)).zip(down.par_chunks_exact(width.max(1)));
    rows.for_each_init(
        || (Vec::new(), Vec::new()),
        |(places, starts), (out, down)| {
            envelope(down, FAR, out, places, starts);
        },
    );
    out
}

/// The lower envelope of one parabola a column.
fn envelope(down: &[u32], far: u32, out: &mut [f32], places: &mut Vec<usize>, starts: &mut Vec<f64>) {
    places.clear();
    starts.clear();
    let square = |x: usize| (f64::from(down[x])).powi(2);
    for x in (0..down.len()).filter(|x| down[*x] < far) {
        let mut start = f64::NEG_INFINITY;
        while let (Some(place), Some(from)) = (places.last(), starts.last()) {
            let (a, b) = (*place as f64, x as f64);
            start = ((square(x) + b * b) - (square(*place) + a * a)) / (2.0 * (b - a));
            if start > *from {
                break;
            }
            places.pop();
            starts.pop();
            start = f64::NEG_INFINITY;
        }
        places.push(x);
        starts.push(start);
    }
    let mut k = 0;
    for (x, out) in out.iter_mut().enumerate() {
        while starts.get(k + 1).is_some_and(|start| *start < x as f64) {
            k += 1;
        }
        if let Some(place) = places.get(k) {
            let across = x as f64 - *place as f64;
            *out = (across * across + square(*place)).sqrt() as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_to_the_nearest() {
        let size = Size::new(23, 17);
        let is = |i: usize| (i * 7919 + i * i * 31) % 61 == 5;
        assert!((0..23 * 17).any(is));
        for (i, distance) in distances(size, is).iter().enumerate() {
            let to =
                |j: usize| (((i % 23).abs_diff(j % 23)).pow(2) + (i / 23).abs_diff(j / 23).pow(2)) as f32;
            let nearest = (0..23 * 17).filter(|j| is(*j)).map(|j| to(j).sqrt()).fold(f32::INFINITY, f32::min);
            assert_eq!(*distance, nearest);
        }
    }

    #[test]
    fn nothing_is_near_nothing() {
        assert!(distances(Size::new(5, 4), |_| false).iter().all(|d| *d == f32::INFINITY));
    }
}
