//! Which way is up (Brown and Lowe 2007, section 5): who turns a camera to pan rarely twists it.

use super::camera::Camera;
use super::matrix::{self, Matrix, Vector, cross, dot, unit};

/// How much the cameras' own upright counts beside the plane that their horizontal axes span: enough to decide where all
/// axes are nearly one, as in a column of pictures.
const OWN: f64 = 0.002;

/// Cameras turned together so that the horizon is level and their mean direction is ahead.
pub fn levelled(cameras: &[Camera]) -> Vec<Camera> {
    let axis = |camera: &Camera, row: usize| -> Vector {
        [camera.rotation[3 * row], camera.rotation[3 * row + 1], camera.rotation[3 * row + 2]]
    };
    let mut moments: Matrix = [0.0; 9];
    let mut add = |v: Vector, weight: f64| {
        for (i, m) in moments.iter_mut().enumerate() {
            *m += weight * v[i / 3] * v[i % 3];
        }
    };
    for camera in cameras {
        add(axis(camera, 0), 1.0);
        add(axis(camera, 1), -OWN);
    }
    let sum = |row: usize| {
        cameras.iter().map(|c| axis(c, row)).fold([0.0; 3], |s, v| [s[0] + v[0], s[1] + v[1], s[2] + v[2]])
    };
    let mut down = matrix::least_eigenvector(&moments);
    if dot(down, sum(1)) < 0.0 {
        down = down.map(|v| -v);
    }
    // All the way round there is no mean direction: the first picture's.
    let ahead = |v: Vector| {
        let along = dot(v, down);
        unit([v[0] - along * down[0], v[1] - along * down[1], v[2] - along * down[2]])
    };
    let mean = sum(2).map(|v| v / cameras.len().max(1) as f64);
    let mean = if dot(mean, mean) > 0.01 { ahead(mean) } else { None };
    let Some(z) = mean.or_else(|| cameras.first().and_then(|c| ahead(axis(c, 2)))) else {
        return cameras.to_vec();
    };
    let x = cross(down, z);
    // Rows are the new world's axes in the old one.
    let world = [x[0], x[1], x[2], down[0], down[1], down[2], z[0], z[1], z[2]];
    let back = matrix::transposed(&world);
    cameras.iter().map(|c| Camera { rotation: matrix::product(&c.rotation, &back), ..*c }).collect()
}

/// Cameras turned together so that their mean direction is ahead: where a plane is to face the scene.
pub fn facing(cameras: &[Camera]) -> Vec<Camera> {
    let sum = cameras.iter().fold([0.0; 3], |s: Vector, c| std::array::from_fn(|i| s[i] + c.rotation[6 + i]));
    let Some(z) = unit(sum) else { return cameras.to_vec() };
    let Some(x) = unit(cross([0.0, 1.0, 0.0], z)) else { return cameras.to_vec() };
    let y = cross(z, x);
    let back = matrix::transposed(&[x[0], x[1], x[2], y[0], y[1], y[2], z[0], z[1], z[2]]);
    cameras.iter().map(|c| Camera { rotation: matrix::product(&c.rotation, &back), ..*c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pan_with_a_tilted_first_camera_comes_out_level() {
        let tilt = matrix::rotation([0.2, 0.4, 0.3]);
        let cameras: Vec<Camera> = [-0.5, -0.2, 0.1, 0.6]
            .iter()
            .map(|y| Camera {
                rotation: matrix::product(&matrix::rotation([0.0, *y, 0.0]), &tilt),
                focal: 1.0,
            })
            .collect();
        for camera in levelled(&cameras) {
            let [x, _, z] = camera.ray([0.0, 0.0]);
            assert!(camera.rotation[1].abs() < 1e-6 && x.hypot(z) > 0.999, "{camera:?}");
        }
    }
}
