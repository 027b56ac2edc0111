//! Facts about the machine, read without asking any native library.

use serde::Serialize;

/// Memory in mebibytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Memory {
    /// What the machine, or the container, has.
    pub total_mb: u64,
    /// What may still be taken without swapping.
    pub available_mb: u64,
}

/// The processor's own name for itself, where the system tells.
pub fn cpu_model() -> Option<String> {
    let name = if cfg!(target_os = "linux") {
        let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("model name") || line.starts_with("Model"))?;
        line.split_once(':')?.1.to_owned()
    } else if cfg!(target_os = "macos") {
        let mut sysctl = std::process::Command::new("sysctl");
        let out = sysctl.args(["-n", "machdep.cpu.brand_string"]).output().ok()?;
        String::from_utf8_lossy(&out.stdout).into_owned()
    } else {
        std::env::var("PROCESSOR_IDENTIFIER").ok()?
    };
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    (!name.is_empty()).then_some(name)
}

/// The vector instructions that the processor has and that matter here, narrowest first.
#[cfg(target_arch = "x86_64")]
pub fn cpu_features() -> Vec<&'static str> {
    use std::arch::is_x86_feature_detected as has;
    let known = [
        ("sse4.2", has!("sse4.2")),
        ("avx", has!("avx")),
        ("avx2", has!("avx2")),
        ("fma", has!("fma")),
        ("f16c", has!("f16c")),
        ("avx512f", has!("avx512f")),
        ("avx512bw", has!("avx512bw")),
        ("avx512cd", has!("avx512cd")),
        ("avx512dq", has!("avx512dq")),
        ("avx512vl", has!("avx512vl")),
        ("avx512vnni", has!("avx512vnni")),
        ("avx512bf16", has!("avx512bf16")),
    ];
    known.iter().filter(|(_, present)| *present).map(|(name, _)| *name).collect()
}

/// The vector instructions that the processor has and that matter here, narrowest first.
#[cfg(target_arch = "aarch64")]
pub fn cpu_features() -> Vec<&'static str> {
    use std::arch::is_aarch64_feature_detected as has;
    let known =
        [("neon", has!("neon")), ("fp16", has!("fp16")), ("dotprod", has!("dotprod")), ("sve", has!("sve"))];
    known.iter().filter(|(_, present)| *present).map(|(name, _)| *name).collect()
}

/// The vector instructions that the processor has and that matter here: none known for this kind of processor.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn cpu_features() -> Vec<&'static str> {
    Vec::new()
}

/// Which vector instructions the engine's matrix product runs on: it asks for these sets as a whole.
pub fn matrix_product(features: &[&str]) -> &'static str {
    let all = |wanted: &[&str]| wanted.iter().all(|name| features.contains(name));
    if all(&["fma", "avx2", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]) {
        "avx512"
    } else if all(&["fma", "avx2"]) {
        "avx2"
    } else if all(&["neon"]) {
        "neon"
    } else {
        "scalar"
    }
}

/// Total and available memory; none where the system does not tell by a file.
pub fn memory() -> Option<Memory> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let machine = Memory {
        total_mb: kilobytes(&text, "MemTotal:")? / 1024,
        available_mb: kilobytes(&text, "MemAvailable:")? / 1024,
    };
    // A container may have less than its machine.
    let bytes = |path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limit = bytes("/sys/fs/cgroup/memory.max").map(|bytes| bytes >> 20);
    let used = bytes("/sys/fs/cgroup/memory.current").map_or(0, |bytes| bytes >> 20);
    Some(limit.map_or(machine, |limit| Memory {
        total_mb: machine.total_mb.min(limit),
        available_mb: machine.available_mb.min(limit.saturating_sub(used)),
    }))
}

/// The most memory this process has held so far, in mebibytes; none where the system does not tell by a file.
pub fn peak_memory_mb() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    kilobytes(&text, "VmHWM:").map(|kb| kb as f64 / 1024.0)
}

/// The number after `key` in a `/proc` table whose unit is the kibibyte.
fn kilobytes(table: &str, key: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_table_row_is_read_by_its_whole_key() {
        let table = "MemTotal:       24683668 kB\nMemFree: 1 kB\nMemAvailable:   23489640 kB\n";
        assert_eq!(kilobytes(table, "MemTotal:"), Some(24_683_668));
        assert_eq!(kilobytes(table, "MemAvailable:"), Some(23_489_640));
        assert_eq!(kilobytes(table, "VmHWM:"), None);
        assert_eq!(kilobytes("VmHWM: many kB", "VmHWM:"), None);
    }

    #[test]
    fn the_matrix_product_needs_every_part_of_a_set() {
        let avx2 = ["avx2", "fma"];
        let v4 = ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"];
        assert_eq!(matrix_product(&[]), "scalar");
        assert_eq!(matrix_product(&["avx2"]), "scalar");
        assert_eq!(matrix_product(&avx2), "avx2");
        assert_eq!(matrix_product(&[&avx2[..], &v4[..4]].concat()), "avx2");
        assert_eq!(matrix_product(&[&avx2[..], &v4[..]].concat()), "avx512");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn peak_memory_counts_what_was_held_and_let_go() {
        let before = peak_memory_mb().unwrap();
        let held = vec![1u8; 256 << 20];
        assert_eq!(std::hint::black_box(&held)[held.len() - 1], 1);
        drop(held);
        assert!(peak_memory_mb().unwrap() >= before.max(256.0));
    }
}
