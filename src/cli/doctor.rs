//! `opticus doctor`: what this machine offers, what of it is used, and whether it works.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::Serialize;

use super::machine::{self, Memory};
use super::{Global, output};
use crate::error::{Error, Result};

/// What `main.rs` installs.
const ALLOCATOR: &str = "mimalloc";

/// What `opticus doctor` may be told.
#[derive(clap::Args, Clone, Debug)]
pub struct DoctorArgs {}

/// What `opticus doctor --json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Diagnosis {
    /// Product version.
    pub version: String,
    /// "release" or "debug"; speed means nothing in the latter.
    pub build: &'static str,
    /// Operating system and processor kind, as `linux x86_64`.
    pub platform: String,
    /// The processor's own name.
    pub cpu: Option<String>,
    /// Vector instructions present.
    pub cpu_features: Vec<&'static str>,
    /// Vector instructions that the matrix product uses: avx512, avx2, neon or scalar.
    pub matrix_product: &'static str,
    /// Cores that the system lets this process use.
    pub cores: usize,
    /// Worker threads in use (`--threads`).
    pub threads: usize,
    /// Memory, where the system tells.
    pub memory: Option<Memory>,
    /// Devices compiled in, as `--device` names them.
    pub devices: Vec<String>,
    /// Memory allocator.
    pub allocator: &'static str,
    /// A convolution, timed.
    pub convolution: Convolution,
    /// Whether the current folder can be written, as runs go there by default.
    pub folder_writable: bool,
    /// What stands in the way; empty when all is well.
    pub warnings: Vec<String>,
}

/// A 3×3 convolution from 64 to 64 channels on 56×56, a batch of 8: the commonest layer of ResNet-18.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Convolution {
    /// Median of the runs, in milliseconds.
    pub median_ms: f64,
    /// Arithmetic in a second, in units of 10⁹; a multiplication and an addition count as two.
    pub gflops: f64,
    /// Greatest difference from the same sums done one by one in 64 bits.
    pub max_error: f64,
}

/// Looks the machine over and prints what it found.
pub fn run(_args: DoctorArgs, global: &Global) -> Result<()> {
    let diagnosis = diagnose(&super::device(&global.device)?)?;
    if global.json { output::json(&diagnosis) } else { output::line(&page(&diagnosis)) }
}

fn diagnose(device: &Device) -> Result<Diagnosis> {
    let cpu_features = machine::cpu_features();
    let matrix_product = machine::matrix_product(&cpu_features);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = machine::memory();
    let folder = probe_folder(Path::new("."));
    let convolution = time_convolution(device, Duration::from_secs(1))?;

    let mut warnings = Vec::new();
    if cfg!(debug_assertions) {
        warnings.push(
            "this is a debug build: its speed means nothing; build with `cargo build --release`".into(),
        );
    }
    if cfg!(target_arch = "x86_64") && matrix_product == "scalar" {
        warnings.push("the processor lacks AVX2 and FMA: training will be many times slower".into());
    }
    if let Err(error) = &folder {
        warnings.push(format!("the current folder cannot be written ({error}): pass an --out elsewhere"));
    }
    if memory.is_some_and(|memory| memory.available_mb < 1024) {
        warnings.push("less than 1 GiB of memory is free: use a small --batch-size".into());
    }
    if convolution.max_error > 1e-3 {
        warnings.push("a convolution gave wrong numbers: do not trust results of this machine".into());
    }
    Ok(Diagnosis {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cpu: machine::cpu_model(),
        cpu_features,
        matrix_product,
        cores,
        threads: rayon::current_num_threads(),
        memory,
        devices: vec!["cpu".to_owned()],
        allocator: ALLOCATOR,
        convolution,
        folder_writable: folder.is_ok(),
        warnings,
    })
}

/// Writes and removes a small file.
fn probe_folder(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".opticus-doctor-{}", std::process::id()));
    std::fs::write(&path, b"opticus doctor was here\n")?;
    std::fs::remove_file(&path)
}

/// Numbers in -1..1 without a pattern that a convolution could hide an error in.
fn noise(count: usize, mut state: u32) -> Vec<f32> {
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn time_convolution(device: &Device, budget: Duration) -> Result<Convolution> {
    const BATCH: usize = 8;
    const CHANNELS: usize = 64;
    const SIDE: usize = 56;
    let pictures = noise(BATCH * CHANNELS * SIDE * SIDE, 1);
    let kernels = noise(CHANNELS * CHANNELS * 9, 2);
    let x = Tensor::<1>::from_floats(pictures.as_slice(), device).reshape([BATCH, CHANNELS, SIDE, SIDE]);
    let w = Tensor::<1>::from_floats(kernels.as_slice(), device).reshape([CHANNELS, CHANNELS, 3, 3]);
    let convolve = || -> Result<Tensor<4>> {
        let y = conv2d(x.clone(), w.clone(), None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
        device.sync().map_err(|e| Error::Device(format!("the device failed on a convolution: {e:?}")))?;
        Ok(y)
    };
    let y: Vec<f32> = convolve()?.into_data().iter().collect();

    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < 3 || start.elapsed() < budget {
        let before = Instant::now();
        convolve()?;
        times.push(before.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let median_ms = times[times.len() / 2];

    // One place of every output channel of every picture, summed the long way: corners, edges and the inside in turn.
    let mut max_error = 0.0_f64;
    for n in 0..BATCH {
        for out in 0..CHANNELS {
            let place = (n * CHANNELS + out) * 997 % (SIDE * SIDE);
            let (row, column) = (place / SIDE, place % SIDE);
            let mut sum = 0.0_f64;
            for c in 0..CHANNELS {
                for tap in 0..9 {
                    let (i, j) = (row + tap / 3, column + tap % 3);
                    if (1..=SIDE).contains(&i) && (1..=SIDE).contains(&j) {
                        let pixel = pictures[((n * CHANNELS + c) * SIDE + i - 1) * SIDE + j - 1];
                        sum += f64::from(pixel) * f64::from(kernels[(out * CHANNELS + c) * 9 + tap]);
                    }
                }
            }
            let got = f64::from(y[(n * CHANNELS + out) * SIDE * SIDE + place]);
            max_error = max_error.max((got - sum).abs());
        }
    }
    let flops = 2.0 * (BATCH * CHANNELS * CHANNELS * 9 * SIDE * SIDE) as f64;
    Ok(Convolution { median_ms, gflops: flops / median_ms / 1e6, max_error })
}

/// The diagnosis for people.
fn page(diagnosis: &Diagnosis) -> String {
    let d = diagnosis;
    let memory = d.memory.map_or_else(
        || "not told by the system".to_owned(),
        |m| format!("{:.1} GiB, {:.1} GiB free", m.total_mb as f64 / 1024.0, m.available_mb as f64 / 1024.0),
    );
    let rows = [
        ("version", format!("{} ({} build)", d.version, d.build)),
        ("platform", d.platform.clone()),
        ("processor", d.cpu.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("instructions", d.cpu_features.join(" ")),
        ("matrix product", d.matrix_product.to_owned()),
        ("threads", format!("{} of {} cores", d.threads, d.cores)),
        ("memory", memory),
        ("devices", d.devices.join(", ")),
        ("allocator", d.allocator.to_owned()),
        ("convolution", format!("{:.2} ms, {:.0} GFLOP/s", d.convolution.median_ms, d.convolution.gflops)),
        ("current folder", if d.folder_writable { "writable".to_owned() } else { "not writable".to_owned() }),
    ];
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:<15} {value}\n")).collect();
    if d.warnings.is_empty() {
        text.push_str("\nall is well");
    } else {
        text.push('\n');
        text.push_str(&d.warnings.iter().map(|w| format!("warning: {w}")).collect::<Vec<_>>().join("\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_convolution_is_right_and_takes_time() {
        let found = time_convolution(&Device::flex(), Duration::ZERO).unwrap();
        assert!(found.max_error < 1e-3, "{found:?}");
        assert!(found.median_ms > 0.0 && found.gflops.is_finite(), "{found:?}");
    }

    #[test]
    fn a_missing_folder_is_not_writable_and_a_probe_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        probe_folder(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(probe_folder(&folder.path().join("missing")).is_err());
    }

    #[test]
    fn warnings_close_the_page() {
        let mut diagnosis = diagnose(&Device::flex()).unwrap();
        diagnosis.warnings = vec!["mind the gap".to_owned()];
        let text = page(&diagnosis);
        assert!(text.ends_with("\nwarning: mind the gap"), "{text}");
        assert!(text.contains(env!("CARGO_PKG_VERSION")));
    }
}
