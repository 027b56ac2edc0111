//! Networks that find objects: what stands between a backbone's feature maps and boxes.
//!
//! Names and shapes of all parameters are torchvision's. Knows tensors only: anchors, matching, codes of boxes and
//! suppression are the detection job's.

mod body;
mod fpn;
mod region_net;

pub use body::Body;
pub use fpn::Fpn;
pub use region_net::{Family, Heads, REGION, RegionNet, RegionNetConfig, Rpn};
