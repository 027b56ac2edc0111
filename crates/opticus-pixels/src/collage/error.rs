//! What can be wrong with a request for a sheet.

use crate::geometry::Size;

/// Why pictures cannot be put on one sheet.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CollageError {
    /// There is nothing to show.
    #[error("there is no picture. Give at least one")]
    NoPictures,
    /// A picture that is none.
    #[error(
        "picture {0} is empty, its samples do not fill it, or it is not grey, RGB or RGBA. Decode it again"
    )]
    BadPicture(usize),
    /// The sheet asks for more memory than allowed.
    #[error(
        "the sheet would have {megapixels:.1} megapixels, more than {max_megapixels}. Make it smaller or raise max_megapixels"
    )]
    TooLarge {
        /// What the sheet would have.
        megapixels: f64,
        /// What is allowed.
        max_megapixels: f64,
    },
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
    /// More pictures than cells.
    #[error("{pictures} pictures do not fit into {cells} cells. Add rows or columns")]
    Crowded {
        /// Pictures.
        pictures: usize,
        /// Cells.
        cells: u64,
    },
    /// Tiles of a puzzle that do not go together.
    #[error("tile {index} is {}x{} with {channels} channels, unlike the first. Cut all tiles from one picture", size.width, size.height)]
    OddTile {
        /// The tile.
        index: usize,
        /// Its extent.
        size: Size,
        /// Its channels.
        channels: usize,
    },
    /// Not as many tiles as places, or an order that is none.
    #[error(
        "{got} tiles cannot fill {columns} columns and {rows} rows, each place once. Give one tile for each place"
    )]
    Places {
        /// Tiles or entries given.
        got: usize,
        /// Columns.
        columns: u32,
        /// Rows.
        rows: u32,
    },
    /// Too few pictures for the limit on their repetition.
    #[error(
        "{pictures} pictures used at most {max_uses} times each cannot fill {cells} cells. Allow more uses, give more pictures or fewer columns"
    )]
    Repetition {
        /// Pictures.
        pictures: usize,
        /// Uses of each.
        max_uses: usize,
        /// Cells.
        cells: u64,
    },
}

/// A setting out of its range.
pub(super) fn setting(setting: &'static str, got: impl ToString, range: &'static str) -> CollageError {
    CollageError::Setting { setting, got: got.to_string(), range }
}
