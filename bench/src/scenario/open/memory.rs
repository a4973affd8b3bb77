//! What openings take of the kernel's memory, as far as it says so.

use std::fs;

use anyhow::{Context as _, Result};

use super::CAPACITY;

/// Standing openings by which memory is measured.
pub(super) const BY: u32 = 10_000;

/// Bytes of the table of pinholes, as the kernel accounts for it: the only map of its capacity that grows.
pub(super) fn table_memory() -> Result<u64> {
    let mut total = None;
    for entry in fs::read_dir("/proc/self/fdinfo").context("cannot list descriptors")? {
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        if field("max_entries:") == Some(CAPACITY.into()) {
            total = Some(total.unwrap_or(0) + field("memlock:").unwrap_or(0));
        }
    }
    total.context("no descriptor is the table's")
}

pub(super) fn grown(before: u64, standing: u32) -> Result<Option<f64>> {
    let now = kernel_memory()?;
    Ok((standing == BY && now > before).then(|| (now - before) as f64 / f64::from(standing)))
}

/// Bytes that the kernel has taken for itself, as far as firewall rules are in it.
pub(super) fn kernel_memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    Ok(sum_of(&text, &["Slab:", "VmallocUsed:", "Percpu:"]) * 1024)
}

fn sum_of(meminfo: &str, names: &[&str]) -> u64 {
    let value = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    meminfo
        .lines()
        .filter(|line| names.iter().any(|name| line.starts_with(name)))
        .filter_map(value)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_summed_by_name() {
        let text = "MemTotal: 100 kB\nSlab: 30 kB\nVmallocUsed: 4 kB\nPercpu: 2 kB\n";
        assert_eq!(sum_of(text, &["Slab:", "Percpu:"]), 32);
    }
}
