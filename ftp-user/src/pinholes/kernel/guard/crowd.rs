//! Servers that serve many clients in one process (pyftpdlib). Which of them a data port is for
//! tells only what the process read last; watching that costs every TCP receive on the host
//! something, and so it is watched only while there is such a server.
//!
//! The sign is a process that listens on a control port and keeps a control connection for itself. A
//! server that forks gives each away at once: its parent is suspected at most for a moment. Watching
//! begins with the first client, and is needed from the second on.

mod looks;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    path::Path,
    time::Duration,
};

use aya::programs::links::FdLink;
use ftp_ebpf::abi::program;
use tokio::time::Instant;

use self::looks::Looks;
use super::{
    super::{
        Object,
        proc_net::{self, Process, State, TcpSocket},
    },
    census::Census,
    pins::Pins,
    tracepoint,
};
use crate::config::PortSet;

/// Who keeps a connection for so long is suspected to serve it itself.
const SUSPICIOUS: Duration = Duration::from_millis(15);
/// Who keeps it for so long does.
const CERTAIN: Duration = Duration::from_millis(200);
/// How often all processes are searched for servers, at most.
const SEARCH: Duration = Duration::from_secs(1);
/// And at least, while connections come: another server may have been started.
const SEARCH_ANEW: Duration = Duration::from_secs(60);
/// Its listener and a connection.
const FEWEST_SOCKETS: usize = 2;

/// Watches reads while it must.
pub(super) struct Crowd {
    control_ports: PortSet,
    /// Processes that serve their clients themselves, until they end.
    certain: HashSet<u32>,
    /// Processes that have kept a control connection for a moment: the tracepoint is attached for
    /// them, too, but only until they give it away.
    suspects: HashSet<u32>,
    /// Since when which process keeps which control connection, by inode.
    kept: HashMap<(u32, u64), Instant>,
    link: Option<FdLink>,
    /// Kernels before 6.3 have no such tracepoint.
    impossible: bool,
    /// Processes that listen on a control port, with the port.
    servers: HashSet<(u32, u16)>,
    /// Connections come to a port whose server is not known.
    unknown: bool,
    searched: Instant,
    looks: Looks,
}

impl Crowd {
    /// From what is there now.
    pub(super) fn new(control_ports: &PortSet, census: &Census) -> Self {
        let now = Instant::now();
        let mut crowd = Self {
            control_ports: control_ports.clone(),
            certain: crowded(&census.sockets, &census.holders, control_ports),
            suspects: HashSet::new(),
            kept: HashMap::new(),
            link: None,
            impossible: false,
            servers: servers(census, control_ports),
            unknown: false,
            searched: now,
            looks: Looks::new(now),
        };
        // For the connections that are there.
        crowd.looks.arrived(now);
        crowd
    }

    /// A control connection has come to this port.
    pub(super) fn arrived(&mut self, port: u16) {
        if self.certain.is_empty() && !self.impossible {
            self.unknown |= !self.servers.iter().any(|(_, known)| *known == port);
            self.looks.arrived(Instant::now());
        }
    }

    /// The kernel half has met a process with several clients.
    pub(super) fn met(&mut self, pid: u32) {
        self.certain.insert(pid);
    }

    /// Whether reads are watched.
    pub(super) fn is_watched(&self) -> bool {
        self.link.is_some()
    }

    /// When to look next; call [`Crowd::look`] then.
    pub(super) fn due(&self) -> Option<Instant> {
        self.looks.due
    }

    /// Looks at the servers' descriptors.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        self.looks.looked(now);
        let mut sockets = None;
        let mut gone = self.unknown;
        let mut kept = HashMap::new();
        self.suspects.clear();
        let pids: HashSet<u32> = self.servers.iter().map(|(pid, _)| *pid).collect();
        for pid in pids {
            let Ok(held) = proc_net::sockets_of_process(pid) else {
                gone = true;
                continue;
            };
            if held.len() < FEWEST_SOCKETS {
                continue;
            }
            let sockets = sockets.get_or_insert_with(proc_net::sockets);
            let held: HashSet<u64> = held.into_iter().collect();
            let held = || sockets.iter().filter(|socket| held.contains(&socket.inode));
            if clients(held(), &self.control_ports).len() > 1 {
                self.certain.insert(pid);
            }
            for socket in held().filter(|socket| is_control(socket, &self.control_ports)) {
                let key = (pid, socket.inode);
                let since = *self.kept.get(&key).unwrap_or(&now);
                kept.insert(key, since);
                match now.duration_since(since) {
                    long if long >= CERTAIN => drop(self.certain.insert(pid)),
                    long if long >= SUSPICIOUS => drop(self.suspects.insert(pid)),
                    _ => {}
                }
            }
        }
        self.kept = kept;
        let searched = now.duration_since(self.searched);
        if searched >= SEARCH_ANEW || (gone && searched >= SEARCH) {
            self.search();
        }
    }

    /// Looks at all processes.
    fn search(&mut self) {
        self.searched = Instant::now();
        let census = Census::take();
        self.servers = servers(&census, &self.control_ports);
        self.unknown = false;
        let found = crowded(&census.sockets, &census.holders, &self.control_ports);
        self.certain.extend(found);
    }

    /// Attaches or detaches, as there are such servers or not; `pins` keep it when the daemon ends.
    pub(super) fn settle(&mut self, object: &mut Object, pins: Option<&Pins>) {
        let before = self.certain.len();
        self.certain
            .retain(|pid| Path::new("/proc").join(pid.to_string()).exists());
        if self.certain.len() < before {
            // While it was there, nobody else was looked for.
            self.search();
        }
        let pids: HashSet<u32> = self.certain.union(&self.suspects).copied().collect();
        if pids.is_empty() {
            if self.link.take().is_some() {
                if let Some(pins) = pins {
                    pins.remove(Pins::READS);
                }
                tracing::info!("no process serves its clients itself: reads are not watched");
            }
            return;
        }
        if self.link.is_some() || self.impossible {
            return;
        }
        let attached = tracepoint::attach(object, program::GUARD_READ, "sock_recv_length");
        match attached.and_then(|link| Pins::keep(pins, link, Pins::READS)) {
            Ok(link) => {
                self.link = Some(link);
                let pids: Vec<_> = pids.iter().map(u32::to_string).collect();
                tracing::info!(
                    "process {} serves its clients itself: which one it read from last is \
                     watched from now on",
                    pids.join(", ")
                );
            }
            Err(error) => {
                self.impossible = true;
                tracing::warn!(
                    "{error}; this tracepoint came with Linux 6.3. Without it, a server that \
                     serves several clients in one process keeps its data ports shut"
                );
            }
        }
    }
}

/// The clients of the control connections among these sockets, each with the address it talks to.
fn clients<'a>(
    sockets: impl Iterator<Item = &'a TcpSocket>,
    control_ports: &PortSet,
) -> HashSet<(IpAddr, IpAddr)> {
    sockets
        .filter(|socket| is_control(socket, control_ports))
        .map(|socket| (socket.remote.ip(), socket.local.ip()))
        .collect()
}

fn is_control(socket: &TcpSocket, control_ports: &PortSet) -> bool {
    socket.state == State::Connected && control_ports.contains(socket.local.port())
}

fn crowded(
    sockets: &[TcpSocket],
    holders: &HashMap<u64, Vec<Process>>,
    control_ports: &PortSet,
) -> HashSet<u32> {
    let mut held: HashMap<u32, Vec<&TcpSocket>> = HashMap::new();
    for socket in sockets {
        for holder in holders.get(&socket.inode).into_iter().flatten() {
            held.entry(holder.pid).or_default().push(socket);
        }
    }
    held.into_iter()
        .filter(|(_, sockets)| clients(sockets.iter().copied(), control_ports).len() > 1)
        .map(|(pid, _)| pid)
        .collect()
}

fn servers(census: &Census, control_ports: &PortSet) -> HashSet<(u32, u16)> {
    census
        .listening_on(control_ports)
        .flat_map(|socket| {
            let holders = census.holders.get(&socket.inode).into_iter().flatten();
            holders.map(|holder| (holder.pid, socket.local.port()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clients_in_one_process_are_a_crowd() {
        let control = |remote: &str, inode| TcpSocket {
            local: "10.0.0.1:21".parse().unwrap(),
            remote: remote.parse().unwrap(),
            state: State::Connected,
            inode,
        };
        let sockets = [
            control("10.0.0.8:1", 1),
            control("10.0.0.8:2", 2),
            control("10.0.0.9:1", 3),
        ];
        let held_by = |pids: [u32; 3]| {
            let process = |pid| Process {
                pid,
                name: String::new(),
            };
            let holders = (1_u64..).zip(pids.map(|pid| vec![process(pid)])).collect();
            crowded(&sockets, &holders, &"21".parse().unwrap())
        };
        assert_eq!(held_by([5, 5, 6]), HashSet::new(), "one client each");
        assert_eq!(held_by([5, 6, 6]), HashSet::from([6]));
    }
}
