//! The TCP sockets of this network namespace and the processes that hold them, as `/proc` lists
//! them (Documentation/networking/proc_net_tcp.rst).

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::pinholes::proc;

/// State of a socket, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Listening,
    /// Established, or closed by the other end only.
    Connected,
}

/// A TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TcpSocket {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) state: State,
    pub(super) inode: u64,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// Every TCP socket that listens or is connected, in the network namespace of this thread.
pub(super) fn sockets() -> Vec<TcpSocket> {
    ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
        .into_iter()
        // A kernel without IPv6 has no second table.
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|text| text.lines().skip(1).filter_map(parse).collect::<Vec<_>>())
        .collect()
}

/// Which processes hold which socket, by inode. Processes come and go meanwhile; what cannot be
/// read is left out.
pub(super) fn holders() -> HashMap<u64, Vec<Process>> {
    let mut holders: HashMap<u64, Vec<Process>> = HashMap::new();
    for pid in proc::pids().into_iter().flatten() {
        let Ok(inodes) = sockets_of_process(pid) else {
            continue;
        };
        let name = proc::name(pid);
        for inode in inodes {
            let process = Process {
                pid,
                name: name.clone(),
            };
            holders.entry(inode).or_default().push(process);
        }
    }
    holders
}

/// The sockets among a process's descriptors, by inode.
pub(super) fn sockets_of_process(pid: u32) -> io::Result<Vec<u64>> {
    let mut inodes = Vec::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        let Ok(target) = fs::read_link(descriptor.path()) else {
            continue;
        };
        let inode = target
            .to_str()
            .and_then(|target| target.strip_prefix("socket:["))
            .and_then(|target| target.strip_suffix(']'))
            .and_then(|inode| inode.parse::<u64>().ok());
        inodes.extend(inode);
    }
    Ok(inodes)
}

fn parse(line: &str) -> Option<TcpSocket> {
    let mut fields = line.split_ascii_whitespace();
    let local = parse_address(fields.nth(1)?)?;
    let remote = parse_address(fields.next()?)?;
    // include/net/tcp_states.h
    let state = match fields.next()? {
        "0A" => State::Listening,
        "01" | "08" => State::Connected,
        _ => return None,
    };
    let inode = fields.nth(5)?.parse().ok()?;
    Some(TcpSocket {
        local,
        remote,
        state,
        inode,
    })
}

/// The kernel prints each 32-bit word of an address as it lies in memory.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (hex, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let address = match hex.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (at, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sockets_are_found_with_their_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (sockets, holders) = (sockets(), holders());
        let find = |local: SocketAddr, state| {
            sockets
                .iter()
                .find(|socket| socket.local == local && socket.state == state)
                .unwrap()
        };
        let listening = find(listener.local_addr().unwrap(), State::Listening);
        let connected = find(client.local_addr().unwrap(), State::Connected);
        assert_eq!(connected.remote, listener.local_addr().unwrap());
        for socket in [listening, connected] {
            let pids: Vec<_> = holders[&socket.inode]
                .iter()
                .map(|holder| holder.pid)
                .collect();
            assert!(pids.contains(&std::process::id()), "{pids:?}");
        }
    }

    #[test]
    fn lines_of_other_states_and_shapes_are_left_out() {
        let listening = "   0: 00000000:0015 00000000:0000 0A 00000000:00000000 00:00000000 \
                         00000000     0        0 4711 1 0000000000000000 100 0 0 10 0";
        let socket = parse(listening).unwrap();
        assert_eq!(
            (socket.local, socket.inode),
            ("0.0.0.0:21".parse().unwrap(), 4711)
        );
        assert_eq!(parse(&listening.replace(" 0A ", " 06 ")), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("0: zz:0015 00000000:0000 0A 0 0 0 0 0 1"), None);
    }
}
