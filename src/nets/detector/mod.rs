//! Networks that find objects: what stands between a backbone's feature maps and boxes.
//!
//! Names and shapes of all parameters are torchvision's. Knows tensors only: anchors, matching, codes of boxes and
//! suppression are the detection job's.

mod faster_rcnn;
mod fpn;

pub use faster_rcnn::{FasterRcnn, FasterRcnnConfig, Heads, REGION, Rpn};
pub use fpn::Fpn;
