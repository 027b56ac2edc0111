//! From one picture to the next: latent numbers along great circles, embeddings along straight lines.

/// A place between pictures: what [`Generator::draw_embedded`](super::Generator::draw_embedded) takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Latent numbers.
    pub latent: Vec<f32>,
    /// What is asked for, as the model's encoder puts it; nothing for models without a condition.
    pub embedding: Option<Vec<f32>>,
}

/// Spherical interpolation (Shoemake 1985, "Animating rotation with quaternion curves", section 3.3):
/// `sin((1 − t) θ) / sin θ · a + sin(t θ) / sin θ · b`, θ the angle between both. Normal numbers in many dimensions
/// lie near a sphere; a straight line would pass through its inside, where no network has learnt. Vectors of one
/// direction, or opposite ones, between which there is no one arc, are interpolated along the line.
pub fn slerp(a: &[f32], b: &[f32], t: f64) -> Vec<f32> {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    let angle = cosine.clamp(-1.0, 1.0).acos();
    let sine = angle.sin();
    // Also false for zeros, whose angle is no number.
    if sine.is_nan() || sine < 1e-6 {
        return lerp(a, b, t);
    }
    mixed(a, b, ((1.0 - t) * angle).sin() / sine, (t * angle).sin() / sine)
}

/// Linear interpolation.
pub fn lerp(a: &[f32], b: &[f32], t: f64) -> Vec<f32> {
    mixed(a, b, 1.0 - t, t)
}

fn mixed(a: &[f32], b: &[f32], of_a: f64, of_b: f64) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) * of_a + f64::from(*b) * of_b) as f32).collect()
}

/// A path through these places, `steps` places from each to the next; it ends in the last one, or, closed, just
/// before the first one again. The given places are on it unchanged.
pub fn path(places: &[Place], steps: usize, closed: bool) -> Vec<Place> {
    let n = places.len();
    let mut along = Vec::with_capacity(frames(n, steps, closed));
    for i in 0..if closed { n } else { n.saturating_sub(1) } {
        let (a, b) = (&places[i], &places[(i + 1) % n]);
        along.push(a.clone());
        for step in 1..steps {
            let t = step as f64 / steps as f64;
            let embedding = a.embedding.as_ref().zip(b.embedding.as_ref()).map(|(a, b)| lerp(a, b, t));
            along.push(Place { latent: slerp(&a.latent, &b.latent, t), embedding });
        }
    }
    if !closed {
        along.extend(places.last().cloned());
    }
    along
}

/// Places on a [`path`] through `n` of them.
pub fn frames(n: usize, steps: usize, closed: bool) -> usize {
    match (n, closed) {
        (0, _) => 0,
        (n, true) => n.saturating_mul(steps.max(1)),
        (n, false) => (n - 1).saturating_mul(steps.max(1)).saturating_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn length(v: &[f32]) -> f64 {
        v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn an_arc_turns_evenly() {
        let (a, b) = ([1.0, 0.0], [0.0, 1.0]);
        for (t, degrees) in [(0.0, 0.0f64), (1.0 / 3.0, 30.0), (0.5, 45.0), (1.0, 90.0)] {
            let v = slerp(&a, &b, t);
            let (sin, cos) = degrees.to_radians().sin_cos();
            assert!(
                (f64::from(v[0]) - cos).abs() < 1e-6 && (f64::from(v[1]) - sin).abs() < 1e-6,
                "{t} {v:?}"
            );
        }
        assert_eq!(slerp(&a, &a, 0.3), a);
        assert_eq!(slerp(&[0.0, 0.0], &[2.0, 0.0], 0.5), [1.0, 0.0]);
        assert_eq!(slerp(&[1.0, 0.0], &[-1.0, 0.0], 0.25), [0.5, 0.0]);
    }

    proptest! {
        #[test]
        fn arcs_keep_the_length(a in proptest::collection::vec(-2.0f32..2.0, 8), turn in 1usize..8, t in 0.0f64..=1.0) {
            prop_assume!(length(&a) > 0.1);
            let mut b = a.clone();
            b.rotate_left(turn);
            let cosine: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x * *y)).sum::<f64>() / length(&a).powi(2);
            prop_assume!(cosine.abs() < 0.999);
            prop_assert!((length(&slerp(&a, &b, t)) - length(&a)).abs() < 1e-4 * length(&a));
        }
    }

    #[test]
    fn a_path_goes_through_its_places() {
        let place = |x: f32, e: f32| Place { latent: vec![x, 1.0], embedding: Some(vec![e]) };
        let places = [place(1.0, 0.0), place(2.0, 4.0), place(3.0, 8.0)];
        let open = path(&places, 4, false);
        assert_eq!(open.len(), frames(3, 4, false));
        assert_eq!([&open[0], &open[4], &open[8]], [&places[0], &places[1], &places[2]]);
        assert_eq!(open[1].embedding, Some(vec![1.0]));
        let closed = path(&places, 4, true);
        assert_eq!((closed.len(), frames(3, 4, true)), (12, 12));
        assert_eq!(closed[10].embedding, Some(vec![4.0]));
        assert_eq!(path(&places[..1], 5, false).len(), 1);
        assert!(path(&[], 5, true).is_empty());
    }
}
