//! Boxes as corrections of other boxes, which is what a network learns to say.

use opticus_pixels::geometry::Box2d;

/// The code of a box relative to another (Girshick et al. 2014, appendix C): the shift of the centre in widths and
/// heights, and the logarithms of the ratios of the sides, each times a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxCoder {
    /// For x, y, width and height.
    pub weights: [f64; 4],
}

impl BoxCoder {
    /// Unweighted: a region proposal network's.
    pub const PLAIN: Self = Self { weights: [1.0; 4] };
    /// That of the heads of Fast and Faster R-CNN, and of SSD.
    pub const HEAD: Self = Self { weights: [10.0, 10.0, 5.0, 5.0] };

    /// The code of `target` relative to `reference`. Both must have a width and a height.
    pub fn encode(&self, target: Box2d, reference: Box2d) -> [f32; 4] {
        let [x, y, w, h] = target.to_center();
        let [rx, ry, rw, rh] = reference.to_center();
        let [wx, wy, ww, wh] = self.weights;
        [wx * (x - rx) / rw, wy * (y - ry) / rh, ww * (w / rw).ln(), wh * (h / rh).ln()].map(|v| v as f32)
    }

    /// The box with this code. Sides grow at most by the factor 1000 / 16, so that nonsense stays finite.
    pub fn decode(&self, code: [f32; 4], reference: Box2d) -> Box2d {
        let [rx, ry, rw, rh] = reference.to_center();
        let [wx, wy, ww, wh] = self.weights;
        let [dx, dy, dw, dh] = code.map(f64::from);
        let most = (1000.0f64 / 16.0).ln();
        let (x, y) = (dx / wx * rw + rx, dy / wy * rh + ry);
        let (w, h) = ((dw / ww).min(most).exp() * rw, (dh / wh).min(most).exp() * rh);
        Box2d::from_center([x, y, w, h])
    }
}
