//! `opticus fuse features`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::{Global, device};
use super::result::{OutArgs, Work};
use super::stack::StackArgs;
use crate::error::Result;
use crate::files::name_of;
use crate::fuse::{Fuser, Rule};

/// Options of `fuse features`.
#[derive(Args, Debug)]
pub struct FeaturesArgs {
    #[command(flatten)]
    pub stack: StackArgs,
    #[command(flatten)]
    pub out: OutArgs,
    /// A model of `opticus fuse train`; by default the one that comes with the program.
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// How features are merged.
    #[arg(long, value_name = "RULE", default_value = "max")]
    pub rule: MergeRule,
}

/// How features are merged.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum MergeRule {
    /// The strongest evidence anywhere: details of infrared and visible, of focus, of exposures.
    Max,
    /// All alike: the calmest picture.
    Mean,
    /// Weighted by the activity around a pixel.
    L1Attention,
}

/// Runs `fuse features`.
pub fn run(args: &FeaturesArgs, global: &Global) -> Result<()> {
    args.out.format()?;
    let device = device(&global.device)?;
    let fuser = match &args.model {
        Some(path) => Fuser::load(path, &device)?,
        None => Fuser::builtin(&device)?,
    };
    let stack = args.stack.read(2)?;
    let rule = match args.rule {
        MergeRule::Max => Rule::Max,
        MergeRule::Mean => Rule::Mean,
        MergeRule::L1Attention => Rule::L1Attention,
    };
    let photo = stack.result(fuser.fuse(&stack.colours(), rule)?);
    let inputs: Vec<_> =
        stack.files.iter().zip(&stack.photos).map(|(f, p)| (name_of(f), p.to_image8())).collect();
    let sources = inputs.iter().map(|(_, image)| image.clone()).collect();
    Work { title: "Fusion by learnt features", inputs, sources, maps: Vec::new(), photo }
        .finish(&args.out, global)
}
