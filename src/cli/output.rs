//! What goes where: results to standard output, words for people to standard error.

use std::io::Write;

use serde::Serialize;

use crate::error::{Error, Result};

/// Prints one JSON document.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::Input(format!("cannot write the result as JSON: {e}")))?;
    line(&text)
}

/// Prints one line of result. A closed pipe (`| head`) is the reader's choice, not an error.
pub fn line(text: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|e| Error::io("write to", "standard output", e)),
    }
}

/// Prints a failure as one paragraph.
pub fn error(error: &Error) {
    eprintln!("error: {error}");
}
