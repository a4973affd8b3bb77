//! Facts about the machine and the contestants that a reader needs to judge a figure.

use std::{collections::BTreeMap, fmt, fs};

use anyhow::Result;
use serde::Serialize;

use crate::scenario::Bench;

/// What stands beside the results.
#[derive(Serialize)]
pub(crate) struct Machine {
    kernel: String,
    architecture: String,
    cpu: String,
    cores: usize,
    memory_mib: u64,
    congestion_control: &'static str,
    versions: BTreeMap<String, String>,
    quick: bool,
}

impl Machine {
    pub(crate) fn look(bench: &Bench) -> Result<Self> {
        let uname = rustix::system::uname();
        let after_colon = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_default();
            line.split_once(':')
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let memory = after_colon("/proc/meminfo", "MemTotal");
        let memory_kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let versions = bench
            .servers()
            .map(|server| (server.name().to_owned(), server.version().to_owned()));
        Ok(Self {
            kernel: uname.release().to_string_lossy().into_owned(),
            architecture: uname.machine().to_string_lossy().into_owned(),
            cpu: after_colon("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism()?.get(),
            memory_mib: memory_kib / 1024,
            // Set on every namespace that the scenarios make, whatever the machine's own is.
            congestion_control: "reno",
            versions: versions.collect(),
            quick: bench.quick(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} cores, {} MiB, Linux {} {}, {}",
            self.cpu,
            self.cores,
            self.memory_mib,
            self.kernel,
            self.architecture,
            self.congestion_control
        )?;
        for (name, version) in &self.versions {
            write!(f, ", {name} {version}")?;
        }
        if self.quick {
            write!(f, "\n--quick: too few rounds to publish")?;
        }
        Ok(())
    }
}
