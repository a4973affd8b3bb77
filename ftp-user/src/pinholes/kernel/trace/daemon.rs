//! What is to be known of the daemon that is followed: its process, its network namespaces, its maps.

use std::{
    collections::BTreeSet,
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use aya::maps::{Array, Map, MapData};
use ftp_ebpf::abi::{Ports, map};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{super::object::ObjectError, TraceError};
use crate::pinholes::{inspect::Maps, proc};

/// As the guard calls the threads that are inside a network namespace.
const GUARD_THREAD: &str = "guard";

pub(super) fn open_process(pid: u32) -> Result<OwnedFd, TraceError> {
    let found = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let found = found.ok_or(TraceError::NoDaemon(pid))?;
    pidfd_open(found, PidfdFlags::empty()).map_err(|error| TraceError::Process {
        path: Path::new("/proc").join(pid.to_string()),
        source: error.into(),
    })
}

pub(super) fn open(pid: u32, maps: &Maps, map: &'static str) -> Result<MapData, TraceError> {
    let id = maps.id(map).ok_or(TraceError::NoDaemon(pid))?;
    MapData::from_id(id).map_err(|source| TraceError::Map {
        pid,
        map,
        source: Box::new(source),
    })
}

/// A set of ports as the kernel half has it.
pub(super) fn words(data: MapData) -> Result<Vec<u64>, ObjectError> {
    let refused = ObjectError::of_map(map::CONTROL_PORTS);
    let set: Array<MapData, u64> = Map::Array(data).try_into().map_err(refused)?;
    (0..Ports::WORDS as u32)
        .map(|index| set.get(&index, 0).map_err(refused))
        .collect()
}

/// The descriptor by which a process has a map (kernel/bpf/syscall.c, `bpf_map_show_fdinfo`).
pub(super) fn descriptor(pid: u32, map: u32) -> Result<u32, TraceError> {
    let path = Path::new("/proc").join(pid.to_string()).join("fdinfo");
    let wanted = format!("map_id:\t{map}");
    let mut descriptors =
        proc::fdinfo(&path).map_err(|source| TraceError::Process { path, source })?;
    let has = |(_, info): &(u32, String)| info.lines().any(|line| line == wanted);
    let found = descriptors.find(has);
    found.map_or(Err(TraceError::NoDaemon(pid)), |(number, _)| Ok(number))
}

/// The network namespaces that a daemon is in, by their inode numbers.
pub(super) fn namespaces(pid: u32, guard: bool) -> Result<BTreeSet<u32>, TraceError> {
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
