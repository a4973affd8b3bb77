//! A running daemon's pinholes and counters, read from the kernel by whoever may: the daemon needs
//! no socket for it.

mod guard;
mod process;

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{
    maps::{HashMap, IterableMap as _, Map, MapData, MapError, PerCpuArray},
    programs::ProgramError,
};
use ftp_ebpf::{
    abi::{Pinhole, PinholeKey, map, program},
    reason::Reason,
};

use self::guard::GuardTables;
pub(in crate::pinholes) use self::process::{Maps, Programs, program_id};
pub use self::{
    guard::{Controls, Listener},
    process::{announce, processes},
};
use super::kernel::pinned_layouts;

/// One kernel half's tables: a daemon's, or those that a guard has left at work.
pub struct Tables {
    pinholes: HashMap<MapData, PinholeKey, Pinhole>,
    counters: PerCpuArray<MapData, u64>,
    guard: Option<GuardTables>,
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
    /// Gone, most likely.
    #[error("cannot read {path}: {source}")]
    Process {
        /// Its descriptors.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Somebody else's.
    #[error("cannot read {path}, which takes root: {source}")]
    Denied {
        /// Descriptors of a process, or a bpffs.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It is no Pinhole daemon, or runs without enforcement.
    #[error(
        "process {pid} has no eBPF map `{map}`: is it a Pinhole daemon that enforces, and of this \
         version?"
    )]
    NoMap {
        /// The process.
        pid: u32,
        /// The map.
        map: &'static str,
    },
    /// The kernel did not say which maps a program works on.
    #[error("cannot find the maps of an eBPF program: {source}")]
    Program {
        /// aya's account.
        source: Box<ProgramError>,
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
    /// The tables of the daemon with that number; of a guard of several network namespaces, the
    /// first's.
    ///
    /// # Errors
    ///
    /// There is no such daemon, or not enough privilege.
    pub fn of_process(pid: u32) -> Result<Self, InspectError> {
        let mut all = Self::all_of_process(pid)?;
        match all.is_empty() {
            false => Ok(all.swap_remove(0)),
            true => Err(InspectError::NoMap {
                pid,
                map: map::PINHOLES,
            }),
        }
    }

    /// All of them: a guard has one for each network namespace.
    ///
    /// # Errors
    ///
    /// As for [`Tables::of_process`]; none at all is no error.
    pub fn all_of_process(pid: u32) -> Result<Vec<Self>, InspectError> {
        let held = Programs::of(pid)?;
        held.named(program::XDP_ADMIT)
            .map(|lock| {
                let maps = Maps::of(lock)?;
                // The guard of that lock works on the same table.
                let mut guard = None;
                for candidate in held.named(program::GUARD_STATE) {
                    let candidate = Maps::of(candidate)?;
                    if candidate.id(map::PINHOLES) == maps.id(map::PINHOLES) {
                        guard = Some(candidate);
                    }
                }
                let open = |maps: &Maps, map: &'static str| {
                    let id = maps.id(map).ok_or(InspectError::NoMap { pid, map })?;
                    MapData::from_id(id).map_err(refused(map))
                };
                let guard = match &guard {
                    Some(guard) => Some(GuardTables::open(|map| open(guard, map))?),
                    None => None,
                };
                Self::new(
                    open(&maps, map::PINHOLES)?,
                    open(&maps, map::COUNTERS)?,
                    guard,
                )
            })
            .collect()
    }

    /// Those that guards have left at work in a bpffs, or that running ones would leave, each with
    /// its folder; an error for those of another version, or without enough privilege.
    pub fn pinned(bpffs: &Path) -> Vec<(PathBuf, Result<Self, InspectError>)> {
        let open = |folder: &Path| {
            let open =
                |map: &'static str| MapData::from_pin(folder.join(map)).map_err(refused(map));
            let guard = GuardTables::open(open)?;
            Self::new(open(map::PINHOLES)?, open(map::COUNTERS)?, Some(guard))
        };
        let layouts = match pinned_layouts(bpffs) {
            Ok(layouts) => layouts,
            Err(source) => return vec![(bpffs.to_owned(), Err(unreadable(bpffs)(source)))],
        };
        layouts
            .into_iter()
            .map(|folder| {
                let tables = open(&folder);
                (folder, tables)
            })
            .collect()
    }

    fn new(
        pinholes: MapData,
        counters: MapData,
        guard: Option<GuardTables>,
    ) -> Result<Self, InspectError> {
        Ok(Self {
            pinholes: Map::HashMap(pinholes)
                .try_into()
                .map_err(refused(map::PINHOLES))?,
            counters: Map::PerCpuArray(counters)
                .try_into()
                .map_err(refused(map::COUNTERS))?,
            guard,
        })
    }

    /// The number of the table in the kernel: the same for whoever has it open.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn id(&self) -> Result<u32, InspectError> {
        let info = self.pinholes.map().info();
        Ok(info.map_err(refused(map::PINHOLES))?.id())
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

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> InspectError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::PermissionDenied => InspectError::Denied { path, source },
        _ => InspectError::Process { path, source },
    }
}

fn refused(map: &'static str) -> impl Fn(MapError) -> InspectError {
    move |source| InspectError::Map {
        map,
        source: Box::new(source),
    }
}
