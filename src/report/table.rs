//! Tables of text and figures.

use std::fmt::Write;

use super::markup::{Markup, escape};
use super::number::{count, fixed, percent};

/// A column: its heading, and whether it holds figures (set right, sorted by value) or words.
#[derive(Clone, Debug)]
pub struct Column {
    heading: String,
    figures: bool,
}

impl Column {
    /// A column of words.
    pub fn words(heading: &str) -> Self {
        Self { heading: heading.to_owned(), figures: false }
    }

    /// A column of figures.
    pub fn figures(heading: &str) -> Self {
        Self { heading: heading.to_owned(), figures: true }
    }
}

/// What stands in one place of a table.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A whole number.
    Count(u64),
    /// A number with this many decimals.
    Number(f64, usize),
    /// A fraction of 1, in per cent with a bar behind it.
    Share(f64),
    /// Nothing to say.
    Empty,
}

impl Cell {
    /// Words.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn written(&self) -> String {
        match self {
            Self::Text(text) => escape(text),
            Self::Count(n) => count(*n),
            Self::Number(value, decimals) => fixed(*value, *decimals),
            Self::Share(share) => percent(*share, 1),
            Self::Empty => String::new(),
        }
    }

    /// What the page's script sorts figures by.
    fn key(&self) -> Option<f64> {
        match self {
            Self::Count(n) => Some(*n as f64),
            Self::Number(value, _) | Self::Share(value) => Some(*value).filter(|v| v.is_finite()),
            Self::Text(_) | Self::Empty => None,
        }
    }
}

/// A table whose first column names the rows. A reader can sort it by clicking on a heading.
#[derive(Clone, Debug, Default)]
pub struct Table {
    caption: String,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    totals: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table.
    pub fn new(caption: &str, columns: Vec<Column>) -> Self {
        Self { caption: caption.to_owned(), columns, ..Self::default() }
    }

    /// Adds a row; missing cells are empty, surplus ones are left out.
    #[must_use]
    pub fn row(mut self, cells: Vec<Cell>) -> Self {
        self.rows.push(cells);
        self
    }

    /// Adds a closing row (a mean, a sum) that sorting leaves at the end.
    #[must_use]
    pub fn total(mut self, cells: Vec<Cell>) -> Self {
        self.totals.push(cells);
        self
    }

    fn write_row(&self, out: &mut String, cells: &[Cell]) {
        out.push_str("<tr>");
        for (number, column) in self.columns.iter().enumerate() {
            let cell = cells.get(number).unwrap_or(&Cell::Empty);
            let written = cell.written();
            if number == 0 {
                let _ = write!(out, "<th scope=\"row\"><bdi>{written}</bdi></th>");
                continue;
            }
            let class = if column.figures { " class=\"figure\"" } else { "" };
            let key = cell.key().map(|key| format!(" data-key=\"{key}\"")).unwrap_or_default();
            if let Cell::Share(share) = cell {
                let width = if share.is_finite() { share.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
                let _ = write!(
                    out,
                    "<td class=\"figure share\"{key} style=\"--share:{width:.2}%\"><span>{written}</span></td>"
                );
            } else {
                let _ = write!(out, "<td{class}{key}>{written}</td>");
            }
        }
        out.push_str("</tr>\n");
    }
}

impl From<Table> for Markup {
    fn from(table: Table) -> Self {
        let mut out = String::from("<div class=\"scroll\" tabindex=\"0\"><table data-sortable>\n");
        if !table.caption.is_empty() {
            let _ = writeln!(out, "<caption>{}</caption>", escape(&table.caption));
        }
        out.push_str("<thead><tr>");
        for column in &table.columns {
            let class = if column.figures { " class=\"figure\"" } else { "" };
            let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", escape(&column.heading));
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for row in &table.rows {
            table.write_row(&mut out, row);
        }
        out.push_str("</tbody>\n");
        if !table.totals.is_empty() {
            out.push_str("<tfoot>\n");
            for row in &table.totals {
                table.write_row(&mut out, row);
            }
            out.push_str("</tfoot>\n");
        }
        out.push_str("</table></div>\n");
        Markup::written(out)
    }
}

/// Pairs of a name and a value, read line by line.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    facts: Vec<(String, String)>,
}

impl Facts {
    /// No facts yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; an empty value is left out.
    #[must_use]
    pub fn fact(mut self, name: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.facts.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

impl From<Facts> for Markup {
    fn from(facts: Facts) -> Self {
        let mut out = String::from("<dl class=\"facts\">\n");
        for (name, value) in &facts.facts {
            let _ =
                writeln!(out, "<div><dt>{}</dt><dd><bdi>{}</bdi></dd></div>", escape(name), escape(value));
        }
        out.push_str("</dl>\n");
        Self::written(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_as_many_cells_as_there_are_columns() {
        let table = Table::new("<c>", vec![Column::words("<h>"), Column::figures("n"), Column::figures("s")])
            .row(vec![Cell::text("<r>")])
            .row(vec![Cell::text("b"), Cell::Count(1234), Cell::Share(0.5), Cell::Count(9)])
            .total(vec![Cell::text("all"), Cell::Number(-0.25, 2), Cell::Share(f64::NAN)]);
        let html = Markup::from(table).as_str().to_owned();
        assert_eq!(html.matches("scope=\"row\"").count(), 3);
        assert_eq!(html.matches("<td").count(), 6);
        assert!(html.contains("data-key=\"1234\">1,234<") && html.contains("--share:50.00%"));
        assert!(html.contains("−0.25") && html.contains("<tfoot>"));
        assert!(
            !html.contains("<c>") && !html.contains("<h>") && !html.contains("<r>") && !html.contains("NaN")
        );
    }

    #[test]
    fn facts_without_a_value_are_left_out() {
        let html = Markup::from(Facts::new().fact("<a>", "<b>").fact("none", "")).as_str().to_owned();
        assert_eq!(html.matches("<dt>").count(), 1);
        assert!(html.contains("<dt>&lt;a&gt;</dt><dd><bdi>&lt;b&gt;</bdi></dd>"));
    }
}
