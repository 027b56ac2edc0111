//! What can be wrong with pictures that are to become one.

use crate::geometry::Size;

/// Why pictures cannot be blended. Pictures count from 1.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BlendError {
    /// No picture at all.
    #[error("no picture was given")]
    None,
    /// One picture where several are needed.
    #[error("{needed} pictures are needed, {given} given")]
    Few {
        /// How many at least.
        needed: usize,
        /// How many there are.
        given: usize,
    },
    /// Another size than the first picture's.
    #[error(
        "picture {number} is {}x{}, the first {}x{}; bring them to one size (--resize), or onto each other (--align)",
        size.width, size.height, first.width, first.height
    )]
    Sizes {
        /// Which picture.
        number: usize,
        /// Its size.
        size: Size,
        /// That of the first.
        first: Size,
    },
    /// Other channels than the first picture's.
    #[error("picture {number} has {channels} channels, the first {first}; convert grey pictures to colour")]
    Channels {
        /// Which picture.
        number: usize,
        /// Its channels.
        channels: usize,
        /// Those of the first.
        first: usize,
    },
    /// A picture without pixels.
    #[error("picture {number} has no pixels, or its data does not fit its size")]
    Empty {
        /// Which picture.
        number: usize,
    },
    /// A mask that does not fit, or leaves nothing to do.
    #[error("{0}")]
    Mask(String),
    /// An option out of range.
    #[error("{0}")]
    Option(String),
}
