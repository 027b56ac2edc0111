//! Networks that find objects: what stands between a backbone's feature maps and boxes.
//!
//! Names and shapes of all parameters are torchvision's. Knows tensors only: anchors, matching, codes of boxes and
//! suppression are the detection job's.

mod body;
mod fpn;
mod region_net;
mod ssd;
mod ssd_trunk;

use burn::tensor::Tensor;

pub use body::Body;
pub use fpn::Fpn;
pub use region_net::{Family, Heads, REGION, RegionNet, RegionNetConfig, Rpn};
pub use ssd::{Ssd, SsdConfig, SsdKind};

/// What is said of each anchor of a map: from [n, anchors · columns, h, w] to [n, h · w · anchors, columns], position by
/// position.
pub fn per_anchor(said: Tensor<4>, columns: usize) -> Tensor<3> {
    let [n, all, h, w] = said.dims();
    let each = all / columns;
    let said = said.reshape([n, each, columns, h, w]).permute([0, 3, 4, 1, 2]);
    said.reshape([n, h * w * each, columns])
}
