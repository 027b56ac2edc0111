//! Parts of a data set.

use clap::ValueEnum;

/// Which part of a data set to measure on.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Part {
    /// The training part.
    Train,
    /// The validation part, the data set's own or `--val-split`'s.
    Val,
    /// The test part.
    Test,
    /// Every picture.
    All,
}
