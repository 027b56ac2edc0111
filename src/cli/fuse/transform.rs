//! `opticus fuse transform`.

use clap::{Args, ValueEnum};
use opticus_pixels::blend::{Transform, fuse_transform};

use super::super::Global;
use super::blend_error;
use super::result::{OutArgs, Work};
use super::stack::StackArgs;
use crate::error::Result;
use crate::files::name_of;

/// Options of `fuse transform`.
#[derive(Args, Debug)]
pub struct TransformArgs {
    #[command(flatten)]
    pub stack: StackArgs,
    #[command(flatten)]
    pub out: OutArgs,
    /// Where details are compared.
    #[arg(long, value_name = "WHERE", default_value = "laplacian")]
    pub by: By,
}

/// Where details are compared.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum By {
    /// The levels of a Laplacian pyramid.
    Laplacian,
    /// An undecimated wavelet transform.
    Wavelet,
    /// Base and detail with weights that follow the pictures' edges.
    Guided,
}

/// Runs `fuse transform`.
pub fn run(args: &TransformArgs, global: &Global) -> Result<()> {
    args.out.format()?;
    let stack = args.stack.read(2)?;
    let how = match args.by {
        By::Laplacian => Transform::Laplacian,
        By::Wavelet => Transform::Wavelet,
        By::Guided => Transform::Guided,
    };
    let photo = stack.result(fuse_transform(&stack.colours(), how).map_err(blend_error)?);
    let inputs: Vec<_> =
        stack.files.iter().zip(&stack.photos).map(|(f, p)| (name_of(f), p.to_image8())).collect();
    let sources = inputs.iter().map(|(_, image)| image.clone()).collect();
    Work { title: "Fusion by a transform", inputs, sources, maps: Vec::new(), photo }
        .finish(&args.out, global)
}
