//! Matrices of 3×3, row by row.

pub type Matrix = [f64; 9];
pub type Vector = [f64; 3];

pub const IDENTITY: Matrix = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

pub fn product(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|i| (0..3).map(|k| a[i / 3 * 3 + k] * b[k * 3 + i % 3]).sum())
}

pub fn apply(m: &Matrix, v: Vector) -> Vector {
    std::array::from_fn(|i| m[3 * i] * v[0] + m[3 * i + 1] * v[1] + m[3 * i + 2] * v[2])
}

pub fn transposed(m: &Matrix) -> Matrix {
    std::array::from_fn(|i| m[i % 3 * 3 + i / 3])
}

pub fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Of length 1; `None` for a vector of none.
pub fn unit(v: Vector) -> Option<Vector> {
    let length = dot(v, v).sqrt();
    (length > 1e-12).then(|| v.map(|x| x / length))
}

pub fn inverse(m: &Matrix) -> Option<Matrix> {
    let [a, b, c] = [[m[0], m[1], m[2]], [m[3], m[4], m[5]], [m[6], m[7], m[8]]];
    let columns = [cross(b, c), cross(c, a), cross(a, b)];
    let determinant = dot(a, columns[0]);
    let usable = determinant.is_finite() && determinant.abs() > 1e-300;
    usable.then(|| std::array::from_fn(|i| columns[i % 3][i / 3] / determinant))
}

/// The turn about an axis by its length in radians (Rodrigues).
pub fn rotation(axis: Vector) -> Matrix {
    let angle = dot(axis, axis).sqrt();
    let [s, c] = match angle < 1e-9 {
        true => [1.0, 0.5],
        false => [angle.sin() / angle, (1.0 - angle.cos()) / (angle * angle)],
    };
    let [x, y, z] = axis;
    let k = [0.0, -z, y, z, 0.0, -x, -y, x, 0.0];
    let square = product(&k, &k);
    std::array::from_fn(|i| IDENTITY[i] + s * k[i] + c * square[i])
}

/// The rotation nearest to a matrix that is one up to a factor and errors: its polar part, by Newton's iteration
/// (Higham 1986).
pub fn nearest_rotation(m: &Matrix) -> Option<Matrix> {
    let [a, b, c] = [[m[0], m[1], m[2]], [m[3], m[4], m[5]], [m[6], m[7], m[8]]];
    let determinant = dot(a, cross(b, c));
    let factor = determinant.cbrt();
    if !factor.is_finite() || factor.abs() < 1e-12 {
        return None;
    }
    let mut r = m.map(|v| v / factor);
    for _ in 0..50 {
        let other = transposed(&inverse(&r)?);
        let next: Matrix = std::array::from_fn(|i| 0.5 * (r[i] + other[i]));
        let change = next.iter().zip(&r).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        r = next;
        if change < 1e-14 {
            break;
        }
    }
    Some(r)
}

/// The eigenvector of the least eigenvalue of a symmetric matrix (Jacobi's rotations).
pub fn least_eigenvector(m: &Matrix) -> Vector {
    let (mut a, mut vectors) = (*m, IDENTITY);
    for _ in 0..30 {
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            let off = a[3 * p + q];
            if off.abs() < 1e-300 {
                continue;
            }
            let angle = 0.5 * (2.0 * off).atan2(a[4 * q] - a[4 * p]);
            let (s, c) = angle.sin_cos();
            let mut turn = IDENTITY;
            (turn[4 * p], turn[4 * q], turn[3 * p + q], turn[3 * q + p]) = (c, c, s, -s);
            a = product(&transposed(&turn), &product(&a, &turn));
            vectors = product(&vectors, &turn);
        }
    }
    let least = (0..3).min_by(|&i, &j| a[4 * i].total_cmp(&a[4 * j])).unwrap_or(0);
    [vectors[least], vectors[3 + least], vectors[6 + least]]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rotations_are_found_again_and_matrices_undone() {
        let r = rotation([0.3, -0.5, 0.2]);
        let identity = product(&r, &transposed(&r));
        assert!(identity.iter().zip(&IDENTITY).all(|(a, b)| (a - b).abs() < 1e-12));
        let noisy = r.map(|v| -3.0 * v);
        assert!(nearest_rotation(&noisy).unwrap().iter().zip(&r).all(|(a, b)| (a - b).abs() < 1e-12));
        let m = [2.0, 1.0, 0.0, 0.5, 3.0, 1.0, 0.1, 0.2, 1.0];
        let identity = product(&m, &inverse(&m).unwrap());
        assert!(identity.iter().zip(&IDENTITY).all(|(a, b)| (a - b).abs() < 1e-12));
        assert_eq!(inverse(&[0.0; 9]), None);
        // Eigenvalues 3, 2 and 1 along the axes of `r`.
        let diagonal = [3.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0];
        let turned = product(&r, &product(&diagonal, &transposed(&r)));
        let found = least_eigenvector(&turned);
        assert!((dot(found, [r[1], r[4], r[7]]).abs() - 1.0).abs() < 1e-9);
    }
}
