//! What the kernel counts, and which sockets listen.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use crate::namespace::NetNs;

/// A counter of the namespace's TCP, by its name in /proc/net/netstat's `TcpExt` lines
/// (`TCPSynRetrans`, `SyncookiesRecv`, …).
pub fn tcp_ext(namespace: &NetNs, name: &str) -> Result<u64> {
    let text = namespace
        .run(|| std::fs::read_to_string("/proc/thread-self/net/netstat"))?
        .context("cannot read netstat")?;
    find_counter(&text, "TcpExt:", name)
        .with_context(|| format!("no counter TcpExt {name} in netstat"))
}

/// Addresses that listen for TCP connections, as `ss -ltn` shows them to an admin.
pub fn listeners(namespace: &NetNs) -> Result<Vec<SocketAddr>> {
    let shown = namespace.tool("ss", &["-ltnH"], "")?;
    let text = String::from_utf8(shown.stdout).context("ss speaks UTF-8")?;
    text.lines()
        .map(|line| {
            let local = line.split_whitespace().nth(3).unwrap_or_default();
            parse_local(local).with_context(|| format!("cannot read ss's line {line:?}"))
        })
        .collect()
}

fn parse_local(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    // "*" is a dual-stack wildcard; an interface may follow the address: "127.0.0.1%lo".
    let address = address.split('%').next()?;
    let address = match address {
        "*" => "[::]",
        other => other,
    };
    format!("{address}:{port}").parse().ok()
}

fn find_counter(netstat: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|word| word == name)?;
    values.split_whitespace().nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let text = "TcpExt: A B\nTcpExt: 1 22\nIpExt: B\nIpExt: 3\n";
        assert_eq!(find_counter(text, "TcpExt:", "B"), Some(22));
        assert_eq!(find_counter(text, "IpExt:", "B"), Some(3));
        assert_eq!(find_counter(text, "TcpExt:", "C"), None);
    }

    #[test]
    fn local_addresses_of_ss_are_read() {
        let read = |text: &str| parse_local(text).map(|address| address.to_string());
        assert_eq!(read("*:21").as_deref(), Some("[::]:21"));
        assert_eq!(read("0.0.0.0:21").as_deref(), Some("0.0.0.0:21"));
        assert_eq!(read("127.0.0.1%lo:80").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(read("[::1]:80").as_deref(), Some("[::1]:80"));
    }
}
