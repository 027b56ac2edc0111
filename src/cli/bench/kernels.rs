//! `opticus bench kernels`: each pass of the layers that matter, against what the machine can do.

use std::time::Duration;

use clap::Args;
use opticus_kernels::measure::{self, Work};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::{Global, output};
use crate::error::{Error, Result};

/// Which kernels.
#[derive(Args, Clone, Debug)]
pub struct KernelsArgs {
    /// Only the rows whose name contains this, such as `dcgan`, `norm` or `backward`.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Time spent on each row, in milliseconds.
    #[arg(long, default_value_t = 100, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub milliseconds: u32,
}

/// What `opticus bench kernels --json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KernelTable {
    /// Worker threads.
    pub threads: usize,
    /// Billions of floating-point operations a second that all threads reach in registers.
    pub peak_gflops: f64,
    /// One row a pass of a layer.
    pub rows: Vec<KernelRow>,
}

/// One pass of one layer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KernelRow {
    /// The network and the layer.
    pub layer: String,
    /// The pass.
    pub pass: String,
    /// Median time, in milliseconds.
    pub median_ms: f64,
    /// Shortest time.
    pub min_ms: f64,
    /// Billions of floating-point operations of the definition a second, at the median; none where memory is the
    /// limit.
    pub gflops: Option<f64>,
    /// Share of the peak; above one where an algorithm multiplies less than the definition.
    pub share_of_peak: Option<f64>,
    /// Billions of bytes of all tensors read or written, a second.
    pub gigabytes_per_second: f64,
}

/// Times what was asked for and prints it.
pub fn run(args: &KernelsArgs, global: &Global) -> Result<()> {
    let table = time(args)?;
    if global.json { output::json(&table) } else { output::line(&page(&table)) }
}

fn time(args: &KernelsArgs) -> Result<KernelTable> {
    let filter = args.filter.as_deref().unwrap_or_default();
    let mut wanted = Work::all();
    wanted.retain(|work| format!("{} {}", work.layer, work.pass).contains(filter));
    if wanted.is_empty() {
        return Err(Error::Config(format!(
            "--filter {filter:?} matches no kernel; run without it to see the names of all"
        )));
    }
    let peak = measure::peak();
    let least = Duration::from_millis(u64::from(args.milliseconds));
    let rows = wanted.iter().map(|work| row(work, least, peak)).collect();
    Ok(KernelTable { threads: rayon::current_num_threads(), peak_gflops: peak * 1e-9, rows })
}

fn row(work: &Work, least: Duration, peak: f64) -> KernelRow {
    let mut ready = work.ready();
    let [median, shortest] = measure::time(least, || ready.run()).map(|time| time.as_secs_f64());
    let rate = (ready.operations > 0.0).then_some(ready.operations / median);
    KernelRow {
        layer: work.layer.to_owned(),
        pass: work.pass.to_owned(),
        median_ms: median * 1e3,
        min_ms: shortest * 1e3,
        gflops: rate.map(|rate| rate * 1e-9),
        share_of_peak: rate.map(|rate| rate / peak),
        gigabytes_per_second: ready.bytes / median * 1e-9,
    }
}

/// The table for people.
fn page(table: &KernelTable) -> String {
    let mut text = format!(
        "{:<34} {:<16} {:>10} {:>10} {:>9} {:>7} {:>7}\n",
        "layer", "pass", "median ms", "min ms", "GFLOP/s", "of peak", "GB/s"
    );
    for row in &table.rows {
        let rate = row.gflops.map_or_else(String::new, |rate| format!("{rate:.0}"));
        let share = row.share_of_peak.map_or_else(String::new, |share| format!("{:.0} %", share * 100.0));
        text.push_str(&format!(
            "{:<34} {:<16} {:>10.3} {:>10.3} {rate:>9} {share:>7} {:>7.1}\n",
            row.layer, row.pass, row.median_ms, row.min_ms, row.gigabytes_per_second
        ));
    }
    text.push_str(&format!(
        "\n{} threads; the peak is {:.0} GFLOP/s, measured in registers; operations are the definition's",
        table.threads, table.peak_gflops
    ));
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn rows_are_chosen_by_their_names_and_rated_by_the_peak() {
        let args = KernelsArgs { filter: Some("mobilenet pw 960→160".to_owned()), milliseconds: 1 };
        let table = time(&args).unwrap();
        assert_eq!(table.rows.len(), 3);
        for row in &table.rows {
            let (rate, share) = (row.gflops.unwrap(), row.share_of_peak.unwrap());
            assert!(row.min_ms <= row.median_ms && row.gigabytes_per_second > 0.0);
            assert!((rate / table.peak_gflops - share).abs() < 1e-9);
            assert!(page(&table).contains(&row.pass));
        }
        let none = KernelsArgs { filter: Some("no such layer".to_owned()), milliseconds: 1 };
        assert_eq!(time(&none).unwrap_err().exit_status(), 2);
    }
}
