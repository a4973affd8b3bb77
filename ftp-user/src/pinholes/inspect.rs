//! A running daemon's pinholes and counters, read from the kernel by whoever may: the daemon needs
//! no socket for it. Which maps are the daemon's tells `/proc/PID/fdinfo` (kernel/bpf/syscall.c,
//! `bpf_map_show_fdinfo`).

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use aya::maps::{HashMap, Map, MapData, MapError, MapInfo, PerCpuArray};
use ftp_ebpf::{
    abi::{Pinhole, PinholeKey, map},
    reason::Reason,
};

/// A daemon's tables.
pub struct Tables {
    pinholes: HashMap<MapData, PinholeKey, Pinhole>,
    counters: PerCpuArray<MapData, u64>,
}

/// A pinhole that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who may come, masked by the configured prefix.
    pub client: IpAddr,
    /// The local address to come to.
    pub server: IpAddr,
    /// The local port to come to.
    pub port: u16,
    /// The session that negotiated it.
    pub session: u64,
    /// The source port that has taken it.
    pub claimed_by: Option<u16>,
    /// How long it goes on waiting; zero when it is over.
    pub remaining: Duration,
}

/// Why a daemon's tables could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Gone, or somebody else's.
    #[error("cannot read {path}: {source}")]
    Process {
        /// Its descriptors.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It is no Pinhole daemon, or runs without enforcement.
    #[error("process {pid} has no eBPF map `{map}`: is it a Pinhole daemon that enforces?")]
    NoMap {
        /// The process.
        pid: u32,
        /// The map.
        map: &'static str,
    },
    /// The kernel did not give the map away: needs root, or `CAP_BPF` and `CAP_SYS_ADMIN`.
    #[error("cannot read the eBPF map `{map}`: {source}")]
    Map {
        /// The map.
        map: &'static str,
        /// aya's account.
        source: Box<MapError>,
    },
}

impl Tables {
    /// The tables of the daemon with that number.
    ///
    /// # Errors
    ///
    /// There is no such daemon, or not enough privilege.
    pub fn of_process(pid: u32) -> Result<Self, InspectError> {
        let maps = maps_of(pid)?;
        let explain = |map| {
            move |source| InspectError::Map {
                map,
                source: Box::new(source),
            }
        };
        let open = |map: &'static str| {
            let info = maps.iter().find(|info| info.name_as_str() == Some(map));
            let info = info.ok_or(InspectError::NoMap { pid, map })?;
            MapData::from_id(info.id()).map_err(explain(map))
        };
        let pinholes = Map::HashMap(open(map::PINHOLES)?);
        let counters = Map::PerCpuArray(open(map::COUNTERS)?);
        Ok(Self {
            pinholes: pinholes.try_into().map_err(explain(map::PINHOLES))?,
            counters: counters.try_into().map_err(explain(map::COUNTERS))?,
        })
    }

    /// Every pinhole that waits. Those that open or close meanwhile may be missing or listed.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn pinholes(&self) -> Result<Vec<Row>, InspectError> {
        let now = super::kernel::monotonic_ns();
        let mut rows = Vec::new();
        for row in self.pinholes.iter() {
            let (key, pinhole) = row.map_err(|source| InspectError::Map {
                map: map::PINHOLES,
                source: Box::new(source),
            })?;
            let claimed_by = u16::from_be(pinhole.claim.client_port_be());
            rows.push(Row {
                client: key.client.into(),
                server: key.server.into(),
                port: u16::from_be(key.port_be),
                session: pinhole.session,
                claimed_by: (claimed_by != 0).then_some(claimed_by),
                remaining: Duration::from_nanos(pinhole.deadline_ns.saturating_sub(now)),
            });
        }
        Ok(rows)
    }

    /// How many packets had which outcome, over all CPUs, by [`Reason::name`].
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn counters(&self) -> Result<BTreeMap<&'static str, u64>, InspectError> {
        Reason::ALL
            .iter()
            .map(|reason| {
                let values = self.counters.get(&(*reason as u32), 0).map_err(|source| {
                    InspectError::Map {
                        map: map::COUNTERS,
                        source: Box::new(source),
                    }
                })?;
                Ok((reason.name(), values.iter().sum()))
            })
            .collect()
    }
}

/// The maps that a process holds.
fn maps_of(pid: u32) -> Result<Vec<MapInfo>, InspectError> {
    let path = Path::new("/proc").join(pid.to_string()).join("fdinfo");
    let entries = fs::read_dir(&path).map_err(|source| InspectError::Process {
        path: path.clone(),
        source,
    })?;
    Ok(entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|info| {
            let id = info.lines().find_map(|line| line.strip_prefix("map_id:"))?;
            MapInfo::from_id(id.trim().parse().ok()?).ok()
        })
        .collect())
}
