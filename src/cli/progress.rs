//! How a run looks while it runs: a bar on a terminal, plain lines elsewhere, all on standard error.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::Global;
use crate::train::{Evaluation, Fitted, Position, Progress, Silent};

/// Without a terminal, a line comes at least this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The watcher that fits: nothing with `-q`, a bar on a terminal, lines otherwise.
pub fn watcher(global: &Global) -> Box<dyn Progress> {
    if global.quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bar::new(ProgressBar::no_length(), global.verbose))
    } else {
        Box::new(Lines::new(std::io::stderr(), LINE_EVERY, global.verbose))
    }
}

/// A bar that fills once an epoch; each finished epoch leaves a line above it.
struct Bar {
    bar: ProgressBar,
    verbose: bool,
}

impl Bar {
    fn new(bar: ProgressBar, verbose: bool) -> Self {
        let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len}  {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ "));
        Self { bar, verbose }
    }

    fn show(&self, position: &Position, message: String) {
        self.bar.set_length(position.batches as u64);
        self.bar.set_prefix(epoch(position));
        self.bar.set_message(message);
        self.bar.set_position(position.batch as u64);
    }
}

impl Progress for Bar {
    fn start(&mut self, position: &Position) {
        self.show(position, "starting".to_owned());
    }

    fn step(&mut self, position: &Position) {
        self.show(position, format!("{}  {}", running(position), pace(position)));
    }

    fn evaluating(&mut self, position: &Position) {
        self.show(position, format!("{}  measuring", running(position)));
    }

    fn epoch(&mut self, position: &Position, evaluation: &Evaluation, best: bool) {
        self.bar.suspend(|| eprintln!("{}", summary(position, evaluation, best)));
    }

    fn checkpoint(&mut self, path: &Path) {
        if self.verbose {
            self.bar.suspend(|| eprintln!("checkpoint {}", path.display()));
        }
    }

    fn message(&mut self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    fn finish(&mut self, _fitted: &Fitted) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    /// A run that ends in an error leaves a clean line for it.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A line an epoch, and between them one from time to time.
struct Lines<W> {
    out: W,
    every: Duration,
    last: Instant,
    verbose: bool,
}

impl<W: Write> Lines<W> {
    fn new(out: W, every: Duration, verbose: bool) -> Self {
        Self { out, every, last: Instant::now(), verbose }
    }

    fn line(&mut self, text: &str) {
        // Nobody mends a closed standard error while a network learns.
        let _ = writeln!(self.out, "{text}");
    }
}

impl<W: Write> Progress for Lines<W> {
    fn step(&mut self, position: &Position) {
        if self.last.elapsed() >= self.every {
            self.last = Instant::now();
            let Position { batch, batches, .. } = position;
            let words = format!("batch {batch}/{batches}  {}  {}", running(position), pace(position));
            self.line(&format!("{}  {words}", epoch(position)));
        }
    }

    fn epoch(&mut self, position: &Position, evaluation: &Evaluation, best: bool) {
        self.last = Instant::now();
        self.line(&summary(position, evaluation, best));
    }

    fn checkpoint(&mut self, path: &Path) {
        if self.verbose {
            self.line(&format!("checkpoint {}", path.display()));
        }
    }

    fn message(&mut self, text: &str) {
        self.line(text);
    }
}

/// `epoch  3/20`, equally wide in every epoch.
fn epoch(position: &Position) -> String {
    let width = position.epochs.to_string().len();
    format!("epoch {:>width$}/{}", position.epoch, position.epochs)
}

/// `loss 0.2134  top1 0.9312`: means over the training pictures of this epoch so far.
fn running(position: &Position) -> String {
    let figure =
        position.figures.first().map_or_else(String::new, |(name, value)| format!("  {name} {value:.4}"));
    format!("loss {:.4}{figure}", position.loss)
}

/// `412/s  3m 05s left`.
fn pace(position: &Position) -> String {
    let left = position.seconds_left.map_or_else(String::new, |seconds| format!("  {} left", clock(seconds)));
    format!("{}{left}", rate(position.rate))
}

/// The line that an epoch leaves.
fn summary(position: &Position, evaluation: &Evaluation, best: bool) -> String {
    let figures: String =
        evaluation.figures.iter().map(|(name, value)| format!("  {name} {value:.4}")).collect();
    let mark = if best { "  best" } else { "" };
    format!("{}  {}{figures}  {}{mark}", epoch(position), running(position), rate(position.rate))
}

/// `412/s`, with a decimal where it says something.
fn rate(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}/s") } else { format!("{rate:.0}/s") }
}

/// `1h 02m`, `3m 05s` or `9s`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m {:02}s", seconds % 60),
        _ => format!("{hours}h {minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn position(epoch: u64, batch: usize) -> Position {
        Position {
            epoch,
            epochs: 20,
            batch,
            batches: 50,
            step: (epoch - 1) * 50 + batch as u64,
            steps: 1000,
            lr: 1e-3,
            loss: 0.25,
            figures: vec![("top1".into(), 0.5), ("other".into(), 9.0)],
            rate: 412.4,
            seconds_left: Some(185.0),
        }
    }

    fn evaluation() -> Evaluation {
        Evaluation { score: 0.9, figures: vec![("val_loss", 0.125), ("val_top1", 0.9)] }
    }

    #[test]
    fn times_are_short() {
        assert_eq!(clock(9.4), "9s");
        assert_eq!(clock(59.6), "1m 00s");
        assert_eq!(clock(185.0), "3m 05s");
        assert_eq!(clock(3720.0), "1h 02m");
        assert_eq!(clock(-1.0), "0s");
        assert_eq!([rate(0.25), rate(412.4)], ["0.2/s", "412/s"]);
        let unknown = Position { seconds_left: None, ..position(1, 1) };
        assert_eq!(pace(&unknown), "412/s");
    }

    #[test]
    fn lines_come_once_an_epoch_and_from_time_to_time() {
        let mut rare = Lines::new(Vec::new(), Duration::from_secs(3600), false);
        rare.step(&position(1, 1));
        rare.step(&position(1, 50));
        rare.epoch(&position(1, 50), &evaluation(), true);
        rare.checkpoint(Path::new("a"));
        assert_eq!(
            String::from_utf8(rare.out).unwrap(),
            "epoch  1/20  loss 0.2500  top1 0.5000  val_loss 0.1250  val_top1 0.9000  412/s  best\n"
        );

        let mut chatty = Lines::new(Vec::new(), Duration::ZERO, true);
        chatty.step(&position(2, 7));
        chatty.message("early stop");
        chatty.checkpoint(Path::new("checkpoint"));
        assert_eq!(
            String::from_utf8(chatty.out).unwrap(),
            "epoch  2/20  batch 7/50  loss 0.2500  top1 0.5000  412/s  3m 05s left\nearly stop\ncheckpoint \
             checkpoint\n"
        );
    }

    #[test]
    fn the_bar_follows_the_batches() {
        let mut bar = Bar::new(ProgressBar::hidden(), false);
        bar.start(&position(2, 6));
        assert_eq!((bar.bar.position(), bar.bar.message()), (6, "starting".to_owned()));
        bar.step(&position(2, 7));
        assert_eq!((bar.bar.position(), bar.bar.length()), (7, Some(50)));
        assert_eq!(bar.bar.prefix(), "epoch  2/20");
        assert_eq!(bar.bar.message(), "loss 0.2500  top1 0.5000  412/s  3m 05s left");
        bar.evaluating(&position(2, 50));
        assert_eq!(bar.bar.message(), "loss 0.2500  top1 0.5000  measuring");
        let handle = bar.bar.clone();
        drop(bar);
        assert!(handle.is_finished());
    }
}
