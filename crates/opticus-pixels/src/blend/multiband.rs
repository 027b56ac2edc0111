//! Multi-band blending (Burt and Adelson 1983, "A Multiresolution Spline With Application to Image Mosaics"), and seams
//! along which two pictures differ least (Efros and Freeman 2001, "Image Quilting", section 2.1).

use rayon::prelude::*;

use super::{BlendError, Mask, alike};
use crate::geometry::Size;
use crate::preprocess::Planes;
use crate::pyramid::{self, Blend, Border};

const BORDER: Border = Border::Repeated;

/// Pictures blended by their masks: coarse structure over wide transitions, fine over narrow ones. At every pixel the masks'
/// values are brought to the sum 1; where all are 0, the first picture stands.
///
/// # Errors
/// [`BlendError`] for pictures or masks that differ in size, or another number of masks.
pub fn multiband(pictures: &[&Planes], masks: &[Mask], levels: Option<usize>) -> Result<Planes, BlendError> {
    let first = alike(pictures)?;
    if masks.len() != pictures.len() {
        return Err(BlendError::Mask(format!("{} masks for {} pictures", masks.len(), pictures.len())));
    }
    for mask in masks {
        if mask.size != first.size || mask.data.len() as u64 != first.size.area() {
            mask.check(first.size, "the pictures")?;
            return Err(BlendError::Mask("a mask's data does not fit its size".into()));
        }
    }
    let size = first.size;
    let count = levels.unwrap_or_else(|| pyramid::levels(size)).clamp(1, 32);
    let mut sums = vec![0.0f32; size.area() as usize];
    for mask in masks {
        sums.par_iter_mut().zip(&mask.data).for_each(|(sum, v)| *sum += v.max(0.0));
    }
    let mut blended = Blend::new(first.channels, size, count, BORDER);
    for (number, (picture, mask)) in pictures.iter().zip(masks).enumerate() {
        let share = |(v, sum): (&f32, &f32)| match (*sum > 0.0, number) {
            (true, _) => v.max(0.0) / sum,
            (false, 0) => 1.0,
            (false, _) => 0.0,
        };
        let shares: Vec<f32> = mask.data.par_iter().zip(&sums).map(share).collect();
        blended.add(picture, &shares);
    }
    let mut out = blended.collapse();
    out.data.par_iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
    Ok(out)
}

/// The mask of the first picture, cut along the seam where the two differ least; it is 1 where only the first is
/// `valid`, 0 where only the second is. Without `valid`, the seam runs from top to bottom, or from left to right in
/// pictures that are higher than wide, the first picture before it.
///
/// # Errors
/// [`BlendError`] for pictures that differ in size or channels.
pub fn seam(a: &Planes, b: &Planes, valid: Option<[&[bool]; 2]>) -> Result<Mask, BlendError> {
    alike(&[a, b])?;
    let Size { width, height } = a.size;
    let [w, h] = [width as usize, height as usize];
    let both = |i: usize| valid.is_none_or(|[a, b]| a[i] && b[i]);
    let only = |i: usize| valid.is_some_and(|[a, b]| a[i] && !b[i]);
    if let Some(sides) = valid
        && sides.iter().any(|side| side.len() != w * h)
    {
        return Err(BlendError::Mask("which pixels are valid is not said of each".into()));
    }
    let difference: Vec<f32> = (0..w * h)
        .map(|i| {
            a.data
                .iter()
                .skip(i)
                .step_by(w * h)
                .zip(b.data.iter().skip(i).step_by(w * h))
                .map(|(a, b)| (a - b).powi(2))
                .sum()
        })
        .collect();
    // The first picture lies before the seam, to the left or above, or behind it.
    let centre = |side: usize| {
        let own = |i: &usize| valid.is_some_and(|sides| sides[side][*i]);
        let (x, y, n) = (0..w * h)
            .filter(own)
            .fold((0.0, 0.0, 1e-9), |(x, y, n), i| (x + (i % w) as f64, y + (i / w) as f64, n + 1.0));
        [x / n, y / n]
    };
    let (down, first_before) = match valid {
        None => (w >= h, true),
        Some(_) => {
            let ([ax, ay], [bx, by]) = (centre(0), centre(1));
            let down = (ax - bx).abs() >= (ay - by).abs();
            (down, if down { ax <= bx } else { ay <= by })
        }
    };
    // Along the seam one position a step; `across` are the places that it can have.
    let (along, across) = if down { (h, w) } else { (w, h) };
    let at = |step: usize, place: usize| if down { step * w + place } else { place * w + step };
    /// Where only one picture is, the seam has nothing to say, and nothing to gain.
    const NOWHERE: f32 = 1e3;
    let cost = |step: usize, place: usize| {
        let i = at(step, place);
        if both(i) { difference[i] } else { NOWHERE }
    };
    let mut sums: Vec<f32> = (0..across).map(|place| cost(0, place)).collect();
    let mut from = vec![0i8; along * across];
    for step in 1..along {
        let next: Vec<(f32, i8)> = (0..across)
            .map(|place| {
                let before = |shift: i8| {
                    let other = place as isize + isize::from(shift);
                    usize::try_from(other).ok().and_then(|o| sums.get(o)).map(|sum| (*sum, shift))
                };
                let least = [0, -1, 1].into_iter().filter_map(before).min_by(|a, b| a.0.total_cmp(&b.0));
                let (sum, shift) = least.unwrap_or((0.0, 0));
                (sum + cost(step, place), shift)
            })
            .collect();
        for (place, (sum, shift)) in next.into_iter().enumerate() {
            sums[place] = sum;
            from[step * across + place] = shift;
        }
    }
    // Of equal seams the most central: an identical pair is cut in the middle.
    let central = |place: usize| (place as isize - across as isize / 2).unsigned_abs();
    let mut place = (0..across)
        .min_by(|&p, &q| sums[p].total_cmp(&sums[q]).then(central(p).cmp(&central(q))))
        .unwrap_or(across / 2);
    let mut data = vec![0.0f32; w * h];
    for step in (0..along).rev() {
        for other in 0..across {
            let i = at(step, other);
            let before = other <= place;
            let in_first = if both(i) { before == first_before } else { only(i) };
            data[i] = f32::from(u8::from(in_first));
        }
        place = place.saturating_add_signed(isize::from(from[step * across + place]));
    }
    Ok(Mask { size: a.size, data })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn made(width: u32, height: u32, value: impl Fn(u32, u32) -> f32) -> Planes {
        let size = Size::new(width, height);
        let data =
            (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| value(x, y)).collect();
        Planes { channels: 1, size, data }
    }

    #[test]
    fn a_whole_mask_gives_its_picture_and_halves_meet_smoothly() {
        let (a, b) = (made(64, 32, |x, y| ((x * 3 + y) % 17) as f32 / 20.0), made(64, 32, |_, _| 0.9));
        let mask = |value: f32| Mask { size: a.size, data: vec![value; 64 * 32] };
        let whole = multiband(&[&a, &b], &[mask(1.0), mask(0.0)], None).unwrap();
        assert!(whole.data.iter().zip(&a.data).all(|(x, y)| (x - y).abs() < 1e-5));
        let dark = made(64, 32, |_, _| 0.1);
        let half =
            Mask { size: a.size, data: (0..64 * 32).map(|i| f32::from(u8::from(i % 64 < 32))).collect() };
        let rest = Mask { size: a.size, data: half.data.iter().map(|v| 1.0 - v).collect() };
        let met = multiband(&[&dark, &b], &[half, rest], None).unwrap();
        let row = &met.data[16 * 64..17 * 64];
        assert!(row.windows(2).all(|p| (p[1] - p[0]).abs() < 0.1), "{row:?}");
        assert!(row[0] < 0.35 && row[63] > 0.65 && row[63] - row[0] > 0.4);
        assert!(multiband(&[&dark, &b], &[mask(1.0)], None).is_err());
    }

    #[test]
    fn the_seam_goes_where_the_pictures_agree() {
        // They agree along one winding column only.
        let path = |y: u32| 20 + ((f64::from(y) / 5.0).sin() * 4.0) as u32;
        let a = made(48, 40, |_, _| 0.5);
        let b = made(48, 40, |x, y| if x.abs_diff(path(y)) <= 1 { 0.5 } else { 0.9 });
        let mask = seam(&a, &b, None).unwrap();
        for y in 0..40u32 {
            let cut = (0..48).filter(|x| mask.data[(y * 48 + x) as usize] == 1.0).count() as u32;
            assert!((cut - 1).abs_diff(path(y)) <= 1, "row {y}: {cut} {}", path(y));
        }
    }

    #[test]
    fn each_picture_stands_where_it_alone_is() {
        let a = made(30, 10, |_, _| 0.2);
        let b = made(30, 10, |_, _| 0.2);
        let (left, right): (Vec<bool>, Vec<bool>) = (0..300).map(|i| (i % 30 < 20, i % 30 >= 12)).unzip();
        for (valid, first) in [([&left[..], &right[..]], 1.0), ([&right[..], &left[..]], 0.0)] {
            let mask = seam(&a, &b, Some(valid)).unwrap();
            assert!((0..10).all(|y| (0..12).all(|x| mask.data[y * 30 + x] == first)));
            assert!((0..10).all(|y| (20..30).all(|x| mask.data[y * 30 + x] == 1.0 - first)));
        }
    }
}
