//! Self-contained HTML pages: text, key figures, plots, tables, pictures.
//!
//! A [`Page`] is a list of [`Section`]s, a section a list of blocks; whatever turns into [`Markup`] is a block.
//! Everything that comes from outside (class names, file names) is escaped where it enters [`Markup`], and the page
//! forbids by its own content policy to load anything or to run any script but the page's. Colours follow the
//! reader's light or dark scheme; it reads on a telephone, on paper, and to a screen reader.
//!
//! ```
//! use opticus::report::{LinePlot, Page, Section, Series, Tile};
//!
//! let loss = Series::new("loss", vec![(1.0, 0.9), (2.0, 0.4), (3.0, 0.3)]);
//! let page = Page::new("A run")
//!     .tile(Tile::new("Top-1", "98.2%"))
//!     .section(Section::new("Learning").push(LinePlot::new("Loss").x_label("epoch").series(loss)));
//! assert!(page.render().starts_with("<!doctype html>"));
//! ```

mod bars;
mod calibration;
mod gallery;
mod markup;
mod matrix;
mod number;
mod page;
mod plot;
mod scale;
mod table;

pub use bars::{Bar, BarChart};
pub use calibration::{ReliabilityBin, ReliabilityDiagram};
pub use gallery::{Card, Gallery, Guess, Picture, Verdict};
pub use markup::{Markup, escape};
pub use matrix::ConfusionMatrix;
pub use number::{count, duration, fixed, percent};
pub use page::{Page, Section, Tile, columns};
pub use plot::{LinePlot, Series};
pub use scale::Scale;
pub use table::{Cell, Column, Facts, Table};
