//! Facts about the machine and the contestants that a reader needs to judge a figure.

use std::{collections::BTreeMap, fmt, fs, process::Command};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::scenario::Bench;

/// What stands beside the results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    kernel: String,
    architecture: String,
    cpu: String,
    cores: usize,
    memory_mib: u64,
    congestion_control: String,
    /// How our own server attaches where a subject's name says nothing else.
    attach: String,
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
            congestion_control: "reno".to_owned(),
            attach: "auto (tcx on loopback and veth)".to_owned(),
            versions: versions.chain(tools()).collect(),
            quick: bench.quick(),
        })
    }
}

/// What other subjects are made of; what is not there is not named.
fn tools() -> impl Iterator<Item = (String, String)> {
    ["iptables", "nft"].into_iter().filter_map(|tool| {
        let output = Command::new(tool).arg("--version").output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        // "iptables v1.8.9 (nf_tables)", "nftables v1.0.6 (Lester Gooch #5)"
        let (_, version) = said.split_once(' ')?;
        Some((tool.to_owned(), version.trim().to_owned()))
    })
}

#[cfg(test)]
impl Machine {
    pub(crate) fn for_tests() -> Self {
        Self {
            kernel: "6.18".to_owned(),
            architecture: "x86_64".to_owned(),
            cpu: "a CPU".to_owned(),
            cores: 2,
            memory_mib: 1024,
            congestion_control: "reno".to_owned(),
            attach: "auto".to_owned(),
            versions: BTreeMap::new(),
            quick: false,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} cores, {} MiB, Linux {} {}, {}, pinhole attached with {}",
            self.cpu,
            self.cores,
            self.memory_mib,
            self.kernel,
            self.architecture,
            self.congestion_control,
            self.attach
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
