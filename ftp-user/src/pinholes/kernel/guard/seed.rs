//! What was there before the guard: sessions whose process already listens for data. Found in
//! `/proc`, because nobody has seen them begin.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use ftp_ebpf::{
    abi::{Claim, ClientMask, Data, DataPort, Pinhole, PinholeKey},
    guard::{self, Control, Listener, Tally},
};

use super::{
    super::{
        ObjectError,
        proc_net::{self, Process, State, TcpSocket},
    },
    census::Census,
    ledger::Ledger,
};
use crate::config::PortSet;

/// Opens pinholes for the data ports of sessions that are older than the guard, as far as their
/// process has one client only, and says which ports those are. `known` are the ports whose
/// listeners an earlier guard has seen.
pub(super) fn seed(
    ledger: &mut Ledger,
    census: &Census,
    control_ports: &PortSet,
    mask: &ClientMask,
    known: &HashSet<u16>,
) -> Result<HashSet<u16>, ObjectError> {
    let mut written = Vec::new();
    for found in waiting(&census.sockets, &census.holders, control_ports) {
        if known.contains(&found.listener.port()) {
            continue;
        }
        let data = found.data(mask);
        // A server may go on listening until the end of the transfer. If there is one already, the
        // kernel half saw it meanwhile.
        if !found.taken && !ledger.insert_row(&data.key, &found.row())? {
            continue;
        }
        ledger.insert_seed(&found.place(), &data)?;
        written.push((found, data));
    }
    // From here on the kernel half takes away what is over. What closed, and who came, before that was
    // written, shows now.
    let sockets = proc_net::sockets();
    let mut opened = HashSet::new();
    for (found, data) in written {
        let (client, port, pid) = (found.client, found.listener.port(), found.pid);
        let became = match found.now(&sockets) {
            Now::Waits => "opened",
            Now::Come => {
                ledger.remove_row(&data.key, data.session);
                "its client has come, shut for others"
            }
            Now::Gone => {
                ledger.remove_seed(&found.place(), &data);
                continue;
            }
        };
        opened.insert(port);
        tracing::info!(%client, port, pid, "a data port from before: {became}");
    }
    Ok(opened)
}

#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    listener: SocketAddr,
    client: IpAddr,
    server: IpAddr,
    pid: u32,
    /// Of the listener.
    inode: u64,
    /// Its connection has come.
    taken: bool,
}

/// What has become of one.
#[derive(Debug, PartialEq, Eq)]
enum Now {
    Waits,
    /// Its connection has come.
    Come,
    /// Its listener has closed.
    Gone,
}

impl Waiting {
    fn key(&self, mask: &ClientMask) -> PinholeKey {
        let control = Control {
            client: self.client.into(),
            server: self.server.into(),
        };
        let listener = Listener {
            address: self.listener.ip().into(),
            port: self.listener.port(),
        };
        guard::key(&control, &listener, mask.apply(control.client))
    }

    fn data(&self, mask: &ClientMask) -> Data {
        Data {
            key: self.key(mask),
            port: self.listener.port(),
            tally: Tally::Opened as u16,
            session: self.session(),
        }
    }

    /// As the kernel half has it: the upper half is the process.
    fn session(&self) -> u64 {
        u64::from(self.pid) << 32
    }

    fn row(&self) -> Pinhole {
        Pinhole {
            session: self.session(),
            deadline_ns: u64::MAX,
            claim: Claim::FREE,
        }
    }

    fn place(&self) -> DataPort {
        DataPort {
            address: self.listener.ip().into(),
            port: self.listener.port().into(),
        }
    }

    fn now(&self, sockets: &[TcpSocket]) -> Now {
        let listens =
            |socket: &TcpSocket| socket.state == State::Listening && socket.inode == self.inode;
        if !sockets.iter().any(listens) {
            Now::Gone
        } else if come(sockets).contains(&(self.listener.port(), self.client)) {
            Now::Come
        } else {
            Now::Waits
        }
    }
}

fn waiting(
    sockets: &[TcpSocket],
    holders: &HashMap<u64, Vec<Process>>,
    control_ports: &PortSet,
) -> Vec<Waiting> {
    let mut clients: HashMap<u32, HashSet<(IpAddr, IpAddr)>> = HashMap::new();
    let mut listeners: Vec<(u32, u64, SocketAddr)> = Vec::new();
    for socket in sockets {
        let is_control = control_ports.contains(socket.local.port());
        for holder in holders.get(&socket.inode).into_iter().flatten() {
            match socket.state {
                State::Connected if is_control => {
                    let ends = (socket.remote.ip(), socket.local.ip());
                    clients.entry(holder.pid).or_default().insert(ends);
                }
                State::Listening if !is_control => {
                    listeners.push((holder.pid, socket.inode, socket.local));
                }
                State::Connected | State::Listening => {}
            }
        }
    }
    let come = come(sockets);
    listeners
        .into_iter()
        .filter_map(|(pid, inode, listener)| {
            let mut ends = clients.get(&pid)?.iter();
            match (ends.next(), ends.next()) {
                (Some(&(client, server)), None) => Some(Waiting {
                    listener,
                    client,
                    server,
                    pid,
                    inode,
                    taken: come.contains(&(listener.port(), client)),
                }),
                _ => None,
            }
        })
        .collect()
}

/// Which clients have a connection to which port.
fn come(sockets: &[TcpSocket]) -> HashSet<(u16, IpAddr)> {
    sockets
        .iter()
        .filter(|socket| socket.state == State::Connected)
        .map(|socket| (socket.local.port(), socket.remote.ip()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_while_it_is_written_is_seen_after_it() {
        let socket = |local: &str, remote: &str, state, inode| TcpSocket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            state,
            inode,
        };
        let found = Waiting {
            listener: "0.0.0.0:30000".parse().unwrap(),
            client: "10.0.0.9".parse().unwrap(),
            server: "10.0.0.1".parse().unwrap(),
            pid: 100,
            inode: 2,
            taken: false,
        };
        let listens = |inode| socket("0.0.0.0:30000", "0.0.0.0:0", State::Listening, inode);
        let connected = |client| socket("10.0.0.1:30000", client, State::Connected, 7);
        assert_eq!(found.now(&[listens(2)]), Now::Waits);
        assert_eq!(
            found.now(&[listens(2), connected("10.0.0.8:5")]),
            Now::Waits
        );
        assert_eq!(found.now(&[listens(2), connected("10.0.0.9:5")]), Now::Come);
        assert_eq!(found.now(&[connected("10.0.0.9:5")]), Now::Gone);
        assert_eq!(found.now(&[listens(3)]), Now::Gone, "another's");
    }

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
