//! Why pictures cannot become a panorama.

/// What is wrong. Pictures count from 0 here and from 1 in messages.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PanoramaError {
    /// Too few pictures.
    #[error("a panorama needs at least 2 pictures, {0} given")]
    Few(usize),
    /// A picture in which nothing can be found again.
    #[error(
        "picture {}: {found} points that could be found again, at least {needed} are needed; it is too small, too dark, \
         blurred or without texture", number + 1
    )]
    Plain {
        /// Which picture.
        number: usize,
        /// Points found.
        found: usize,
        /// Points needed.
        needed: usize,
    },
    /// No chain of overlapping pictures joins all; this pair came nearest to being a link.
    #[error(
        "pictures {} and {} do not match: too few matches, {agreeing} of {matches} agree, {needed} needed",
        first + 1, second + 1
    )]
    Unmatched {
        /// One picture.
        first: usize,
        /// The other.
        second: usize,
        /// Matches that agree on how the camera turned.
        agreeing: usize,
        /// All matches.
        matches: usize,
        /// How many would have to agree.
        needed: usize,
        /// The matches in pixels of both pictures, from their top left corners, and whether each agrees.
        lines: Vec<([f64; 2], [f64; 2], bool)>,
    },
    /// The pictures show the same.
    #[error("pictures {} and {} show the same: there is nothing to join", first + 1, second + 1)]
    Same {
        /// One picture.
        first: usize,
        /// The other.
        second: usize,
    },
    /// A plane cannot show what lies beside or behind.
    #[error("the pictures span {degrees:.0} degrees, too many for a plane; choose a cylinder or a sphere")]
    Wide {
        /// Field of view across or down, whichever is larger.
        degrees: f64,
    },
    /// More pixels than allowed.
    #[error(
        "the panorama would have {width}x{height} pixels; {most} in all is the most. Use smaller pictures"
    )]
    Large {
        /// Pixels across.
        width: u64,
        /// Pixels down.
        height: u64,
        /// Most in all.
        most: u64,
    },
}
