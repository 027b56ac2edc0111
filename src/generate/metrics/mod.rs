//! How good made pictures are: distances between sets of features, and what a classifier makes of the pictures.
//!
//! Pure functions of numbers in `f64`; where the features come from is the caller's. The figures do not depend on the
//! number of threads, nor on the order of the pictures beyond rounding. No measure holds a matrix of pictures by
//! pictures.
//!
//! | measure | function | source |
//! |---|---|---|
//! | FID | [`frechet_distance`] | Heusel et al. 2017; pytorch-fid |
//! | KID | [`kernel_distance`], [`kernel_distance_of_all`] | Bińkowski et al. 2018; clean-fid |
//! | precision, recall | [`manifold_scores`] | Kynkäänniemi et al. 2019; prdc |
//! | density, coverage | [`manifold_scores`] | Naeem et al. 2020; prdc |
//! | inception score | [`inception_score`] | Salimans et al. 2016 |
//! | recognised classes | [`recognition`] | accuracy of a classifier on made pictures |
//! | retrieval | [`retrieval`] | R-precision, Xu et al. 2018 |
//! | what the network reads | [`inception_planes`] | Parmar et al. 2022; clean-fid |

mod features;
mod frechet;
mod inception_score;
mod kernel;
mod manifold;
mod picture;
mod recognition;
mod symmetric;

#[cfg(test)]
mod tests;

pub use features::Features;
pub use frechet::{Statistics, frechet_distance};
pub use inception_score::{InceptionScore, inception_score};
pub use kernel::{KernelDistance, KernelOptions, kernel_distance, kernel_distance_of_all};
pub use manifold::{ManifoldOptions, ManifoldScores, manifold_scores};
pub use picture::{INCEPTION_SIDE, Levels, inception_planes};
pub use recognition::{ClassRecognition, Recognition, Retrieval, recognition, retrieval};
