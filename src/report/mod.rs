//! HTML pages, plots and tables.
