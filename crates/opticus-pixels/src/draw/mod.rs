//! Drawing on pictures: boxes with labels, text, heat maps, contact sheets.

mod boxes;
mod canvas;
mod heat;
mod label;
mod matches;
mod palette;
mod sheet;
mod text;

pub use boxes::{BoxDrawing, MOST_BOXES, Mark, draw_boxes};
pub use heat::{overlay_heat, turbo};
pub use matches::matches;
pub use palette::{class_color, readable_on};
pub use sheet::contact_sheet;
pub use text::{TextStyle, draw_text, text_width};
