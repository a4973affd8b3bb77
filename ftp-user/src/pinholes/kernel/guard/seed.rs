//! What was there before the guard: sessions whose process already listens for data. Found in
//! `/proc`, because nobody has seen them begin.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
};

use aya::maps::{self, MapData, MapError};
use ftp_ebpf::abi::{Claim, ClientMask, DataPort, Pinhole, PinholeKey, map};

use super::{
    super::{
        Object, ObjectError, Set, SharedPorts,
        proc_net::{Process, State, TcpSocket},
    },
    census::Census,
};
use crate::config::PortSet;

/// Opens pinholes for the data ports of sessions that are older than the guard, as far as their
/// process has one client only, and says which ports those are. `known` are the ports whose
/// listeners an earlier guard has seen.
pub(super) fn seed(
    object: &mut Object,
    pinholes: &mut maps::HashMap<MapData, PinholeKey, Pinhole>,
    ports: &SharedPorts,
    census: &Census,
    control_ports: &PortSet,
    mask: &ClientMask,
    known: &HashSet<u16>,
) -> Result<HashSet<u16>, ObjectError> {
    let mut seeded = object.seeded()?;
    let mut opened = HashSet::new();
    for found in waiting(&census.sockets, &census.holders, control_ports) {
        let Waiting {
            listener,
            client,
            server,
            pid,
            taken,
        } = found;
        if known.contains(&listener.port()) {
            continue;
        }
        let everywhere = listener.ip().is_unspecified();
        let key = PinholeKey {
            client: mask.apply(client.into()),
            server: if everywhere { server } else { listener.ip() }.into(),
            port_be: listener.port().to_be(),
            zero: 0,
        };
        let row = Pinhole {
            session: u64::from(pid) << 32,
            deadline_ns: u64::MAX,
            claim: Claim::FREE,
        };
        // A server may go on listening until the end of the transfer.
        if !taken {
            match pinholes.insert(key, row, 1) {
                Ok(()) => {}
                // The kernel half saw it meanwhile.
                Err(MapError::SyscallError(error))
                    if error.io_error.kind() == io::ErrorKind::AlreadyExists =>
                {
                    continue;
                }
                Err(source) => {
                    return Err(ObjectError::Map {
                        map: map::PINHOLES,
                        source: Box::new(source),
                    });
                }
            }
        }
        let place = DataPort {
            address: listener.ip().into(),
            port: listener.port().into(),
        };
        seeded
            .insert(place, key, 0)
            .map_err(|source| ObjectError::Map {
                map: map::SEEDED,
                source: Box::new(source),
            })?;
        ports.set(Set::Guarded, listener.port(), true);
        ports.set(Set::Waiting, listener.port(), true);
        opened.insert(listener.port());
        let became = if taken {
            "its client has come, shut for others"
        } else {
            "opened"
        };
        tracing::info!(%client, port = listener.port(), pid, "a data port from before: {became}");
    }
    Ok(opened)
}

#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    listener: SocketAddr,
    client: IpAddr,
    server: IpAddr,
    pid: u32,
    /// Its connection has come.
    taken: bool,
}

fn waiting(
    sockets: &[TcpSocket],
    holders: &HashMap<u64, Vec<Process>>,
    control_ports: &PortSet,
) -> Vec<Waiting> {
    let mut clients: HashMap<u32, HashSet<(IpAddr, IpAddr)>> = HashMap::new();
    let mut listeners: Vec<(u32, SocketAddr)> = Vec::new();
    for socket in sockets {
        let is_control = control_ports.contains(socket.local.port());
        for holder in holders.get(&socket.inode).into_iter().flatten() {
            match socket.state {
                State::Connected if is_control => {
                    let ends = (socket.remote.ip(), socket.local.ip());
                    clients.entry(holder.pid).or_default().insert(ends);
                }
                State::Listening if !is_control => listeners.push((holder.pid, socket.local)),
                State::Connected | State::Listening => {}
            }
        }
    }
    let come: HashSet<(u16, IpAddr)> = sockets
        .iter()
        .filter(|socket| socket.state == State::Connected)
        .map(|socket| (socket.local.port(), socket.remote.ip()))
        .collect();
    listeners
        .into_iter()
        .filter_map(|(pid, listener)| {
            let mut ends = clients.get(&pid)?.iter();
            match (ends.next(), ends.next()) {
                (Some(&(client, server)), None) => Some(Waiting {
                    listener,
                    client,
                    server,
                    pid,
                    taken: come.contains(&(listener.port(), client)),
                }),
                _ => None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_with_one_client_has_data_ports_that_are_known() {
        let socket = |local: &str, remote: &str, state, inode| TcpSocket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            state,
            inode,
        };
        let sockets = [
            socket("10.0.0.1:21", "10.0.0.9:5", State::Connected, 1),
            socket("0.0.0.0:30000", "0.0.0.0:0", State::Listening, 2),
            socket("10.0.0.1:21", "10.0.0.9:6", State::Connected, 3),
            socket("10.0.0.1:21", "10.0.0.8:6", State::Connected, 4),
            socket("0.0.0.0:30001", "0.0.0.0:0", State::Listening, 5),
            socket("0.0.0.0:21", "0.0.0.0:0", State::Listening, 6),
            socket("0.0.0.0:80", "0.0.0.0:0", State::Listening, 7),
            socket("10.0.0.1:21", "10.0.0.7:5", State::Connected, 8),
            socket("0.0.0.0:30002", "0.0.0.0:0", State::Listening, 9),
            socket("10.0.0.1:30002", "10.0.0.7:6", State::Connected, 10),
        ];
        let held = [
            (1, 100),
            (2, 100),
            (3, 200),
            (4, 200),
            (5, 200),
            (6, 100),
            (7, 300),
            (8, 400),
            (9, 400),
            (10, 400),
        ];
        let holders = held
            .into_iter()
            .map(|(inode, pid)| {
                let name = String::new();
                (inode, vec![Process { pid, name }])
            })
            .collect();
        let found = waiting(&sockets, &holders, &"21".parse().unwrap());
        let known: Vec<_> = found
            .iter()
            .map(|one| (one.pid, one.listener.port(), one.taken))
            .collect();
        assert_eq!(known, [(100, 30000, false), (400, 30002, true)]);
        assert_eq!(found[0].client.to_string(), "10.0.0.9");
    }
}
