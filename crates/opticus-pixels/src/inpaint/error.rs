//! What can be wrong with a request to restore.

use crate::geometry::Size;

/// Why a picture cannot be restored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InpaintError {
    /// Not grey or RGB, with or without alpha.
    #[error("the picture has {0} channels. Give 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha)")]
    Channels(usize),
    /// The samples do not fill the picture.
    #[error("the picture of {}x{} has {got} samples instead of {want}. Give channels x height x width of them", size.width, size.height)]
    Samples {
        /// The picture's extent.
        size: Size,
        /// Samples that its extent and channels ask for.
        want: u64,
        /// Samples that it has.
        got: usize,
    },
    /// The mask is of another size than the picture.
    #[error("the mask has {got} pixels, the picture {}x{} has {}. Draw the mask on this picture", size.width, size.height, size.area())]
    Mask {
        /// The picture's extent.
        size: Size,
        /// Pixels of the mask.
        got: usize,
    },
    /// Nothing is left to restore from.
    #[error("the mask covers the whole picture. Leave at least one pixel that is to be kept")]
    NothingKnown,
    /// A kept sample is infinite or not a number.
    #[error(
        "channel {channel} is not a number at ({x}, {y}). Mask that pixel too, or repair the picture's source"
    )]
    NotFinite {
        /// The channel.
        channel: usize,
        /// Column.
        x: u32,
        /// Row.
        y: u32,
    },
    /// More pixels than are numbered here.
    #[error("the picture of {}x{} is too large. Restore a part of at most 268,435,456 pixels around the damage", .0.width, .0.height)]
    TooLarge(Size),
    /// A setting out of its range.
    #[error("{setting} is {got}; it must be {range}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What was given.
        got: String,
        /// What is allowed.
        range: &'static str,
    },
    /// No window of the picture is whole.
    #[error(
        "no {0}x{0} window of the picture is free of the mask, so there is nothing to copy. Choose a smaller patch, or a method of diffusion"
    )]
    NoSource(usize),
}
