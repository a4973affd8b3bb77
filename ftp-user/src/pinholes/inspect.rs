//! A running daemon's pinholes and counters, read from the kernel by whoever may: the daemon needs
//! no socket for it. Which programs are the daemon's tells `/proc/PID/fdinfo` (kernel/bpf/syscall.c,
//! `bpf_prog_show_fdinfo`), and which maps are theirs the kernel.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{
    maps::{Array, HashMap, IterableMap as _, Map, MapData, MapError, MapInfo, PerCpuArray},
    programs::{ProgramError, ProgramInfo, loaded_programs},
};
use ftp_ebpf::{
    abi::{Data, Pinhole, PinholeKey, Ports, control_count, map, policy, program},
    guard::Tally,
    reason::Reason,
};

use super::kernel::pinned_layouts;

/// One kernel half's tables: a daemon's, or those that a guard has left at work.
pub struct Tables {
    pinholes: HashMap<MapData, PinholeKey, Pinhole>,
    counters: PerCpuArray<MapData, u64>,
    guard: Option<GuardTables>,
}

/// What a guard has beside.
struct GuardTables {
    data_ports: HashMap<MapData, u64, Data>,
    tallies: PerCpuArray<MapData, u64>,
    control_count: Array<MapData, u32>,
    ports: Array<MapData, Ports>,
}

/// How many control connections a guard knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controls {
    /// Those that it has seen begin and not end.
    pub seen: u32,
    /// There may be others, which began before it.
    pub older: bool,
}

/// A port that is guarded because a server listens on it for data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The port.
    pub port: u16,
    /// What became of it, by the name of its [`Tally`].
    pub outcome: &'static str,
    /// Who may come; none where it is shut, or open to every client with a control connection.
    pub client: Option<IpAddr>,
    /// Its pinhole still waits: no connection has come by it.
    pub waits: bool,
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
        let held = programs_of(pid)?;
        let named = |name: &'static str| {
            let programs = held.iter();
            programs.filter(move |program| program.name_as_str() == Some(name))
        };
        named(program::XDP_ADMIT)
            .map(|lock| {
                let maps = Maps::of(lock)?;
                // The guard of that lock works on the same table.
                let mut guard = None;
                for candidate in named(program::GUARD_STATE) {
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
        pinned_layouts(bpffs)
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

    /// The ports that a guard shuts because a server listens on them, by number; `None` where there
    /// is no guard.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn listeners(&self) -> Result<Option<Vec<Listener>>, InspectError> {
        let Some(guard) = &self.guard else {
            return Ok(None);
        };
        let mut listeners = Vec::new();
        for found in guard.data_ports.iter() {
            let (_, data) = found.map_err(refused(map::DATA_PORTS))?;
            let tally = Tally::from_number(data.tally.into());
            let (tally, outcome) = tally.unwrap_or((Tally::NoControl, "unknown"));
            let waits = match self.pinholes.get(&data.key, 0) {
                Ok(row) => row.session == data.session,
                Err(MapError::KeyNotFound) => false,
                Err(source) => return Err(refused(map::PINHOLES)(source)),
            };
            listeners.push(Listener {
                port: data.port,
                outcome,
                client: (tally == Tally::Opened).then(|| data.key.client.into()),
                waits,
            });
        }
        listeners.sort_by_key(|listener| listener.port);
        Ok(Some(listeners))
    }

    /// Whether a guard drops nothing; `None` where there is no guard.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn is_dry_run(&self) -> Result<Option<bool>, InspectError> {
        let Some(guard) = &self.guard else {
            return Ok(None);
        };
        let ports = guard.ports.get(&0, 0).map_err(refused(map::PORTS))?;
        Ok(Some(ports.policy & policy::DRY_RUN != 0))
    }

    /// How many control connections the guard knows of; `None` where there is no guard.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn controls(&self) -> Result<Option<Controls>, InspectError> {
        let Some(guard) = &self.guard else {
            return Ok(None);
        };
        let count = |which| {
            let count = guard.control_count.get(&which, 0);
            count.map_err(refused(map::CONTROL_COUNT))
        };
        Ok(Some(Controls {
            seen: count(control_count::SEEN)?,
            older: count(control_count::OLDER)? != 0,
        }))
    }

    /// How many data ports had which outcome, over all CPUs, by the name of its [`Tally`]; `None`
    /// where there is no guard.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn tallies(&self) -> Result<Option<BTreeMap<&'static str, u64>>, InspectError> {
        let Some(guard) = &self.guard else {
            return Ok(None);
        };
        let mut tallies = BTreeMap::new();
        for (tally, name) in Tally::ALL {
            let values = guard.tallies.get(&(tally as u32), 0);
            let values = values.map_err(refused(map::TALLIES))?;
            tallies.insert(name, values.iter().sum());
        }
        Ok(Some(tallies))
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

impl GuardTables {
    fn open(
        open: impl Fn(&'static str) -> Result<MapData, InspectError>,
    ) -> Result<Self, InspectError> {
        Ok(Self {
            data_ports: Map::HashMap(open(map::DATA_PORTS)?)
                .try_into()
                .map_err(refused(map::DATA_PORTS))?,
            tallies: Map::PerCpuArray(open(map::TALLIES)?)
                .try_into()
                .map_err(refused(map::TALLIES))?,
            control_count: Map::Array(open(map::CONTROL_COUNT)?)
                .try_into()
                .map_err(refused(map::CONTROL_COUNT))?,
            ports: Map::Array(open(map::PORTS)?)
                .try_into()
                .map_err(refused(map::PORTS))?,
        })
    }
}

fn refused(map: &'static str) -> impl Fn(MapError) -> InspectError {
    move |source| InspectError::Map {
        map,
        source: Box::new(source),
    }
}

/// The maps that a program works on: name (the kernel keeps 15 bytes of it) and number.
pub(in crate::pinholes) struct Maps(Vec<(String, u32)>);

impl Maps {
    pub(in crate::pinholes) fn of(program: &ProgramInfo) -> Result<Self, InspectError> {
        let ids = program.map_ids().map_err(|source| InspectError::Program {
            source: Box::new(source),
        })?;
        let named = ids.unwrap_or_default().into_iter().filter_map(|id| {
            let info = MapInfo::from_id(id).ok()?;
            Some((info.name_as_str()?.to_owned(), id))
        });
        Ok(Self(named.collect()))
    }

    pub(in crate::pinholes) fn id(&self, map: &str) -> Option<u32> {
        let mut maps = self.0.iter();
        maps.find_map(|(name, id)| (name == map).then_some(*id))
    }
}

/// Every process of this program's name, whatever it does.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn processes() -> Result<Vec<u32>, InspectError> {
    /// As `/proc/PID/comm` has it.
    const PROGRAM: &str = "pinhole";
    let path = Path::new("/proc");
    let refused = |source| InspectError::Process {
        path: path.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.trim() == PROGRAM {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The programs that a process holds.
pub(in crate::pinholes) fn programs_of(pid: u32) -> Result<Vec<ProgramInfo>, InspectError> {
    let path = Path::new("/proc").join(pid.to_string()).join("fdinfo");
    let entries = fs::read_dir(&path).map_err(|source| InspectError::Process {
        path: path.clone(),
        source,
    })?;
    let held: HashSet<u32> = entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter(|info| !info.contains("link_id:"))
        .filter_map(|info| {
            let id = info
                .lines()
                .find_map(|line| line.strip_prefix("prog_id:"))?;
            id.trim().parse().ok()
        })
        .collect();
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let loaded = loaded_programs().filter_map(Result::ok);
    Ok(loaded
        .filter(|program| held.contains(&program.id()))
        .collect())
}
