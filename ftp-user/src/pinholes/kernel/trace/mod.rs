//! `pinhole trace`: follows the data connections of a running daemon in the kernel, by programs of
//! its own, which are there for as long as it runs. The daemon knows nothing of it.

mod tap;
mod timeline;

use std::{
    collections::BTreeSet,
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use aya::{
    Pod,
    maps::{Array, Map, MapData, MapError, RingBuf},
    programs::ProgramError,
};
use ftp_ebpf::abi::{Opening, Ports, Transfer, map, program};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

pub use self::timeline::{End, Moment, Timeline};
use self::{tap::Tap, timeline::Seen};
use super::{
    layout::{self, LayoutError},
    object::{GuardSettings, Object, ObjectError, TraceSettings, TracedServer},
};
use crate::pinholes::inspect::{InspectError, Maps, programs_of};

/// As the guard calls the threads that are inside a network namespace.
const GUARD_THREAD: &str = "guard";

/// Follows one daemon. Dropping it detaches everything.
pub struct Tracer {
    /// Tells when the daemon ends.
    daemon: OwnedFd,
    watches: Vec<Watch>,
    taps: Vec<Tap>,
    seen: Seen,
    guard: bool,
}

/// The programs of one network namespace.
struct Watch {
    steps: RingBuf<MapData>,
    lost: Array<MapData, u64>,
    _object: Object,
}

/// Why a daemon cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It is no Pinhole daemon, or runs without enforcement.
    #[error("process {0} is no Pinhole daemon that enforces, so there are no pinholes to follow")]
    NoDaemon(u32),
    /// The daemon's programs or maps could not be found.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The kernel's structures are not known.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The kernel refused our programs.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A tracepoint is not there.
    #[error(
        "cannot watch the tracepoint {event}: `pinhole trace` needs tracefs at /sys/kernel/tracing, \
         a kernel with CONFIG_FTRACE_SYSCALLS, and Linux 6.3"
    )]
    Tracepoint {
        /// Its category and name.
        event: String,
        /// aya's account.
        source: Box<ProgramError>,
    },
    /// The daemon's table or its events could not be opened.
    #[error("cannot read the eBPF map `{map}` of process {pid}")]
    Map {
        /// The process.
        pid: u32,
        /// The map.
        map: &'static str,
        /// aya's account.
        source: Box<MapError>,
    },
    /// The daemon's events could not be mapped into memory.
    #[error("cannot map the events of process {pid} into memory")]
    Events {
        /// The process.
        pid: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Its files in `/proc` are gone, and with them, most likely, the process.
    #[error("cannot read {}", path.display())]
    Process {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Tracer {
    /// Begins to follow what that daemon's sessions negotiate from now on.
    ///
    /// # Errors
    ///
    /// It is no daemon, or the kernel does not let us.
    pub fn attach(pid: u32) -> Result<Self, TraceError> {
        let daemon = open_process(pid)?;
        let held = programs_of(pid)?;
        let named = |name: &'static str| {
            let programs = held.iter();
            programs.filter(move |program| program.name_as_str() == Some(name))
        };
        let mut taps = Vec::new();
        for lock in named(program::XDP_ADMIT) {
            let events = open(pid, &Maps::of(lock)?, map::EVENTS)?;
            taps.push(Tap::open(&events).map_err(|source| TraceError::Events { pid, source })?);
        }
        let guard = named(program::GUARD_STATE).next();
        let server = match (guard, named(program::STEER).next()) {
            (Some(_), _) => None,
            (None, Some(steer)) => {
                let id = Maps::of(steer)?.id(map::PINHOLES);
                Some(TracedServer {
                    pid,
                    table: descriptor(pid, id.ok_or(TraceError::NoDaemon(pid))?)?,
                })
            }
            (None, None) => return Err(TraceError::NoDaemon(pid)),
        };
        let control = match guard {
            Some(guard) => Some(open(pid, &Maps::of(guard)?, map::CONTROL_PORTS)?),
            None => None,
        };
        let control = control.map(words).transpose()?;
        let layout = layout::of_running_kernel()?;
        let mut watches = Vec::new();
        for namespace in namespaces(pid, guard.is_some())? {
            let kernel = GuardSettings { layout, namespace };
            watches.push(Watch::start(
                &TraceSettings { kernel, server },
                control.as_deref(),
            )?);
        }
        Ok(Self {
            daemon,
            watches,
            taps,
            seen: Seen::default(),
            guard: guard.is_some(),
        })
    }

    /// Whether the daemon is a guard, for servers that others wrote.
    pub fn is_guard(&self) -> bool {
        self.guard
    }

    /// Whether the daemon has ended, after which nothing is negotiated any more.
    pub fn has_daemon_ended(&self) -> bool {
        let mut ended = [PollFd::new(&self.daemon, PollFlags::IN)];
        // An error is none of the daemon's.
        poll(&mut ended, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// The data connections that have ended since it was last called, which has to be now and then:
    /// the kernel keeps some thousands.
    pub fn ended(&mut self) -> Vec<Timeline> {
        let mut transfers = Vec::new();
        for watch in &mut self.watches {
            while let Some(bytes) = watch.steps.next() {
                if let Some(opening) = read::<Opening>(&bytes) {
                    self.seen.opened(opening);
                } else if let Some(transfer) = read::<Transfer>(&bytes) {
                    transfers.push(transfer);
                }
            }
        }
        // After them: how a connection began was told before its end.
        for tap in &mut self.taps {
            while let Some(event) = tap.next() {
                self.seen.heard(&event);
            }
        }
        let ended = transfers.iter();
        ended
            .filter_map(|transfer| self.seen.ended(transfer))
            .collect()
    }

    /// How much could not be followed: there were too many at once.
    pub fn lost(&self) -> u64 {
        let lost = self.watches.iter().map(|watch| watch.lost.get(&0, 0));
        let missed: u64 = self.taps.iter().map(Tap::missed).sum();
        lost.flatten().sum::<u64>() + missed
    }
}

impl Watch {
    fn start(settings: &TraceSettings, control: Option<&[u64]>) -> Result<Self, TraceError> {
        let mut object = Object::load_trace(settings)?;
        if let Some(words) = control {
            let mut ports = object.control_ports()?;
            for (index, word) in words.iter().enumerate().filter(|(_, word)| **word != 0) {
                let set = ports.set(index as u32, word, 0);
                set.map_err(|source| ObjectError::Map {
                    map: map::CONTROL_PORTS,
                    source: Box::new(source),
                })?;
            }
        }
        let own = program::TRACE_SERVER.iter();
        let own = own.filter(|_| settings.server.is_some());
        for (name, category, event) in program::TRACE.iter().chain(own) {
            let attached = object.tracepoint(name)?.attach(category, event);
            attached.map_err(|source| TraceError::Tracepoint {
                event: format!("{category}:{event}"),
                source: Box::new(source),
            })?;
        }
        Ok(Self {
            steps: object.steps()?,
            lost: object.lost()?,
            _object: object,
        })
    }
}

fn open_process(pid: u32) -> Result<OwnedFd, TraceError> {
    let found = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let found = found.ok_or(TraceError::NoDaemon(pid))?;
    pidfd_open(found, PidfdFlags::empty()).map_err(|error| TraceError::Process {
        path: Path::new("/proc").join(pid.to_string()),
        source: error.into(),
    })
}

/// A record, if it is as long as that.
fn read<T: Pod>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: as long as a T (checked), whose every bit pattern is a value.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

fn open(pid: u32, maps: &Maps, map: &'static str) -> Result<MapData, TraceError> {
    let id = maps.id(map).ok_or(TraceError::NoDaemon(pid))?;
    MapData::from_id(id).map_err(|source| TraceError::Map {
        pid,
        map,
        source: Box::new(source),
    })
}

/// A set of ports as the kernel half has it.
fn words(data: MapData) -> Result<Vec<u64>, ObjectError> {
    let refused = |source| ObjectError::Map {
        map: map::CONTROL_PORTS,
        source: Box::new(source),
    };
    let set: Array<MapData, u64> = Map::Array(data).try_into().map_err(refused)?;
    (0..Ports::WORDS as u32)
        .map(|index| set.get(&index, 0).map_err(refused))
        .collect()
}

/// The descriptor by which a process has a map (kernel/bpf/syscall.c, `bpf_map_show_fdinfo`).
fn descriptor(pid: u32, map: u32) -> Result<u32, TraceError> {
    let path = Path::new("/proc").join(pid.to_string()).join("fdinfo");
    let wanted = format!("map_id:\t{map}");
    for entry in entries(&path)? {
        let info = fs::read_to_string(&entry);
        let found = info.is_ok_and(|info| info.lines().any(|line| line == wanted));
        let number = entry
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if let (true, Some(number)) = (found, number) {
            return Ok(number);
        }
    }
    Err(TraceError::NoDaemon(pid))
}

/// The network namespaces that a daemon is in, by their inode numbers.
fn namespaces(pid: u32, guard: bool) -> Result<BTreeSet<u32>, TraceError> {
    let process = Path::new("/proc").join(pid.to_string());
    let mut folders = vec![process.clone()];
    if guard {
        folders = entries(&process.join("task"))?;
        folders.retain(|task| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == GUARD_THREAD)
        });
    }
    let mut found = BTreeSet::new();
    for folder in folders {
        let path = folder.join("ns/net");
        match fs::metadata(&path) {
            // Inode numbers of namespaces have 32 bits (include/linux/ns_common.h).
            Ok(namespace) => found.insert(u32::try_from(namespace.ino()).unwrap_or(u32::MAX)),
            Err(source) => return Err(TraceError::Process { path, source }),
        };
    }
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, TraceError> {
    let refused = |source| TraceError::Process {
        path: folder.to_owned(),
        source,
    };
    let entries = fs::read_dir(folder).map_err(refused)?;
    entries
        .map(|entry| Ok(entry.map_err(refused)?.path()))
        .collect()
}
