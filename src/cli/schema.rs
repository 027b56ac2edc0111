//! The JSON documents that commands print with `--json`, described for programs: `docs/schema/` holds these.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{bench, classify, detect, doctor, fuse, generate, model};
use crate::classify::metrics::ClassifyScores;
use crate::data::{convert, inspect, synth};
use crate::detect::metrics::DetectScores;
use crate::detect::output::Predictions;
use crate::generate::evaluation::GenerateScores;

/// One schema a kind of document, by the name of its file: the command's words joined by dashes.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("bench-classify", of::<bench::Table>()),
        ("bench-fuse", of::<bench::Measured>()),
        ("bench-infer", of::<bench::Timing>()),
        ("bench-kernels", of::<bench::KernelTable>()),
        ("bench-train", of::<bench::Timing>()),
        ("classify-eval", of::<ClassifyScores>()),
        ("classify-explain", of::<classify::Explanations>()),
        ("classify-predict", of::<classify::Predictions>()),
        ("classify-train", of::<classify::TrainResult>()),
        ("data-convert", of::<convert::Converted>()),
        ("data-inspect", of::<inspect::Inspection>()),
        ("data-make", of::<synth::Written>()),
        ("detect-eval", of::<detect::Evaluated>()),
        ("detect-predict", of::<Predictions>()),
        ("detect-propose", of::<detect::ProposedRegions>()),
        ("detect-score", of::<DetectScores>()),
        ("detect-train", of::<detect::TrainResult>()),
        ("doctor", of::<doctor::Diagnosis>()),
        ("fuse-alpha", of::<fuse::Fused>()),
        ("fuse-clone", of::<fuse::Fused>()),
        ("fuse-collage", of::<fuse::Fused>()),
        ("fuse-exposure", of::<fuse::Fused>()),
        ("fuse-features", of::<fuse::Fused>()),
        ("fuse-focus", of::<fuse::Fused>()),
        ("fuse-inpaint", of::<fuse::Fused>()),
        ("fuse-multiband", of::<fuse::Fused>()),
        ("fuse-panorama", of::<fuse::Stitched>()),
        ("fuse-train", of::<fuse::FuserTrained>()),
        ("fuse-transform", of::<fuse::Fused>()),
        ("fuse-score", of::<fuse::Figures>()),
        ("generate-interpolate", of::<generate::Interpolated>()),
        ("generate-project", of::<generate::Projected>()),
        ("generate-sample", of::<generate::Sampled>()),
        ("generate-eval", of::<GenerateScores>()),
        ("generate-train", of::<generate::GeneratorTrained>()),
        ("model-info", of::<model::Info>()),
    ]
}

/// Described as written, not as read: a field that may be left out of the document says so.
fn of<T: JsonSchema>() -> Schema {
    let settings = schemars::generate::SchemaSettings::default().for_serialize();
    SchemaGenerator::new(settings).into_root_schema_for::<T>()
}
