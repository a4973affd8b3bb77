//! Other Pinholes on the same interfaces. A packet has to pass the locks of all, and each knows only its
//! own sessions' pinholes: where two shut the same port, no data connection comes in by it.

use std::{
    collections::HashSet, fs, os::fd::AsFd as _, os::unix::fs::MetadataExt as _, path::Path,
};

use aya::{
    maps::MapData,
    programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs},
};
use ftp_ebpf::abi::{map, policy, program};

use super::{
    PORTS,
    attach::{Approach, select},
    explain::is_denied,
    host::{self, Link},
    shared_ports::{Set, SharedPorts},
};
use crate::{
    config::{Config, PortSet},
    pinholes::{
        inspect::{Maps, Programs, processes, program_id},
        proc,
    },
};

/// Another Pinhole that shuts some of the same ports.
#[derive(Debug, thiserror::Error)]
#[error(
    "{who} in this network namespace shuts ports {ports} on {interface}, which are in {option} here: \
     each would drop the data connections that the other admits, and none would come in by these \
     ports. Give each Pinhole ports of its own, or stop that one first"
)]
pub struct Neighbour {
    who: String,
    /// It has a process that was found.
    lives: bool,
    /// Of a guard, or of a server.
    pub(super) guards: bool,
    ports: PortSet,
    interface: String,
    option: &'static str,
}

impl Neighbour {
    /// What a guard that has ended leaves is the next one's to take over.
    pub(super) fn is_left_behind(&self) -> bool {
        self.guards && !self.lives
    }
}

/// Those of which this process holds neither the locks' programs nor their links, which the process
/// before may have handed over. `option` is how ports are named where the administrator sets them.
/// Where the kernel does not say what is attached, and another Pinhole runs, that is warned of, unless
/// this process takes over from it.
pub(super) fn find<'a>(
    links: impl Iterator<Item = &'a Link>,
    ports: &PortSet,
    option: &'static str,
    takes_over: bool,
) -> Vec<Neighbour> {
    let ours: HashSet<u32> = proc::fdinfo(Path::new("/proc/self/fdinfo"))
        .into_iter()
        .flatten()
        .filter_map(|(_, info)| program_id(&info))
        .collect();
    let mut found = Vec::new();
    for link in links {
        match locks_on(link) {
            Some(locks) => found.extend(
                locks
                    .into_iter()
                    .filter(|lock| !ours.contains(&lock.id()))
                    .filter_map(|lock| describe(&lock, link, ports, option)),
            ),
            None if takes_over => {}
            None => {
                warn_of_the_unknown(link, option);
                break;
            }
        }
    }
    found
}

/// For a server that locks nothing itself: others' locks shut its ports all the same. A guard's are for
/// such servers.
pub(in crate::pinholes) async fn find_server(config: &Config) -> Option<Neighbour> {
    // To be had without any privilege. Where it fails, nothing is lost but this look.
    let links = host::links().await.ok()?;
    let approach = Approach::to(&config.listen);
    let links = select(&links, &config.enforce.interfaces, approach);
    let found = find(links, &config.passive.ports, PORTS, false);
    found.into_iter().find(|neighbour| !neighbour.guards)
}

/// The locks, whoever's, that are attached to an interface; `None` where that cannot be known.
fn locks_on(link: &Link) -> Option<Vec<ProgramInfo>> {
    let mut locks = match SchedClassifier::query_tcx(&link.name, TcAttachType::Ingress) {
        Ok((_, programs)) => programs,
        Err(error) if is_denied(&error) => return None,
        // There is no tcx before Linux 6.6; or the interface has just gone.
        Err(_) => Vec::new(),
    };
    if let Some(id) = link.xdp_program {
        let find = |found: Result<ProgramInfo, _>| match found {
            Ok(program) => (program.id() == id).then_some(Some(program)),
            Err(error) => is_denied(&error).then_some(None),
        };
        // One that is not found any more has gone.
        if let Some(program) = loaded_programs().find_map(find) {
            locks.push(program?);
        }
    }
    const LOCKS: [&str; 3] = [
        program::XDP_ADMIT,
        program::TCX_ADMIT,
        program::TCX_ADMIT_IP,
    ];
    locks.retain(|lock| lock.name_as_str().is_some_and(|name| LOCKS.contains(&name)));
    Some(locks)
}

/// What is in the way, if anything is.
fn describe(
    lock: &ProgramInfo,
    on: &Link,
    ports: &PortSet,
    option: &'static str,
) -> Option<Neighbour> {
    let maps = Maps::of(lock).ok()?;
    let theirs = MapData::from_id(maps.id(map::PORTS)?).ok()?;
    let theirs = SharedPorts::map(theirs.fd().as_fd()).ok()?;
    if theirs.policy() & policy::DRY_RUN != 0 {
        return None;
    }
    let ports = ports.only(|port| theirs.has(Set::Guarded, port))?;
    let table = maps.id(map::PINHOLES);
    let is_its_guard = |other: &ProgramInfo| {
        other.name_as_str() == Some(program::GUARD_STATE)
            && Maps::of(other).is_ok_and(|maps| maps.id(map::PINHOLES) == table)
    };
    let guards = loaded_programs()
        .flatten()
        .any(|other| is_its_guard(&other));
    let holds = |pid: &u32| {
        let held = Programs::of(*pid);
        held.is_ok_and(|held| held.has(lock.id()))
    };
    let pid = processes().unwrap_or_default().into_iter().find(holds);
    let who = match (guards, pid) {
        (false, Some(pid)) => format!("another `pinhole serve` (pid {pid})"),
        (false, None) => "another `pinhole serve`".to_owned(),
        (true, Some(pid)) => format!("a `pinhole guard` (pid {pid})"),
        (true, None) => {
            "what a guard has left (`pinhole guard --release` takes it away)".to_owned()
        }
    };
    Some(Neighbour {
        who,
        lives: pid.is_some(),
        guards,
        ports,
        interface: on.name.clone(),
        option,
    })
}

/// Only a process with `CAP_SYS_ADMIN` may look at programs that are not its own
/// (kernel/bpf/syscall.c, `bpf_prog_get_fd_by_id`).
fn warn_of_the_unknown(link: &Link, option: &str) {
    let own = std::process::id();
    let elsewhere = |pid: u32| {
        let namespace = |process: &str| fs::metadata(format!("/proc/{process}/ns/net"));
        match (namespace(&pid.to_string()), namespace("thread-self")) {
            (Ok(theirs), Ok(own)) => theirs.ino() != own.ino(),
            // Somebody else's: it may be here.
            _ => false,
        }
    };
    let mut others = processes().unwrap_or_default().into_iter();
    if let Some(pid) = others.find(|&pid| pid != own && !elsewhere(pid)) {
        tracing::warn!(
            "pinhole (pid {pid}) runs as well, and which ports are shut on {} cannot be known without \
             CAP_SYS_ADMIN: if that one shuts ports of {option}, no data connection comes in by them, \
             here or there; give each Pinhole ports of its own",
            link.name
        );
    }
}
