//! How far long work is: a bar on a terminal, a line from time to time elsewhere, all on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::super::Global;

/// Without a terminal, a line comes this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Counts up to a known number.
pub struct Counter {
    bar: Option<ProgressBar>,
    lines: bool,
    last: Instant,
    done: u64,
    of: u64,
    what: &'static str,
}

impl Counter {
    /// A counter of `what`, "pictures" for instance.
    pub fn new(global: &Global, of: u64, what: &'static str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (terminal && !global.quiet).then(|| {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}  {eta} left");
            let bar = ProgressBar::new(of);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ "));
            bar.set_message(what);
            bar
        });
        Self { bar, lines: !terminal && !global.quiet, last: Instant::now(), done: 0, of, what }
    }

    /// So many of so many are done.
    pub fn set(&mut self, done: u64, of: u64) {
        (self.done, self.of) = (done, of);
        if let Some(bar) = &self.bar {
            bar.set_length(of);
            bar.set_position(done);
        } else if self.lines && self.last.elapsed() >= LINE_EVERY {
            self.last = Instant::now();
            eprintln!("{done}/{of} {}", self.what);
        }
    }

    /// So many more are done.
    pub fn add(&mut self, more: u64) {
        self.set(self.done + more, self.of);
    }
}

impl Drop for Counter {
    /// Work that ends in an error leaves a clean line for it.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
