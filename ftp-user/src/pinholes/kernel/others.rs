//! Other programs' listeners on guarded ports: they become unreachable, so they are named.

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::config::PortSet;

/// A listening socket that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// Name and number of a process that holds it, as far as `/proc` tells.
    pub(super) process: Option<(String, u32)>,
}

/// Every listener on a guarded port, in this network namespace.
pub(super) fn listeners(guarded: &PortSet) -> Vec<Listener> {
    let mut sockets = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // A kernel without IPv6 has no second table.
        let Ok(text) = fs::read_to_string(table) else {
            continue;
        };
        sockets.extend(text.lines().skip(1).filter_map(parse));
    }
    sockets.retain(|(_, port, _)| guarded.contains(*port));
    if sockets.is_empty() {
        return Vec::new();
    }
    let holders = holders();
    sockets
        .into_iter()
        .map(|(address, port, inode)| Listener {
            address,
            port,
            process: holders.get(&inode).cloned(),
        })
        .collect()
}

/// Address, port and inode of a line of `/proc/net/tcp`, if that socket listens
/// (Documentation/networking/proc_net_tcp.rst).
fn parse(line: &str) -> Option<(IpAddr, u16, u64)> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    if state != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    Some((
        parse_address(address)?,
        u16::from_str_radix(port, 16).ok()?,
        inode,
    ))
}

/// The kernel prints each 32-bit word of an address as it lies in memory.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut octets = [0; 16];
            for (at, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(octets).to_canonical())
        }
        _ => None,
    }
}

/// Which process holds which socket. Processes come and go meanwhile; what cannot be read is
/// left out.
fn holders() -> HashMap<u64, (String, u32)> {
    let mut holders = HashMap::new();
    let Ok(processes) = fs::read_dir("/proc") else {
        return holders;
    };
    for process in processes.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(inodes) = sockets_of(&process.path().join("fd")) else {
            continue;
        };
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        for inode in inodes {
            holders
                .entry(inode)
                .or_insert_with(|| (name.trim().to_owned(), pid));
        }
    }
    holders
}

fn sockets_of(descriptors: &std::path::Path) -> io::Result<Vec<u64>> {
    let mut inodes = Vec::new();
    for descriptor in fs::read_dir(descriptors)?.flatten() {
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_with_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = listeners(&port.to_string().parse().unwrap());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].address, found[0].port),
            (Ipv4Addr::LOCALHOST.into(), port)
        );
        assert_eq!(found[0].process.as_ref().unwrap().1, std::process::id());
    }

    #[test]
    fn lines_of_other_states_and_shapes_are_left_out() {
        let listening = "   0: 00000000:0015 00000000:0000 0A 00000000:00000000 00:00000000 \
                         00000000     0        0 4711 1 0000000000000000 100 0 0 10 0";
        assert_eq!(
            parse(listening),
            Some((Ipv4Addr::UNSPECIFIED.into(), 21, 4711))
        );
        assert_eq!(parse(&listening.replace(" 0A ", " 01 ")), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("0: zz:0015 00000000:0000 0A 0 0 0 0 0 1"), None);
    }
}
