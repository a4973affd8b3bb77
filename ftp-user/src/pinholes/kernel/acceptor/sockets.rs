//! The listening sockets: found a port for, and registered with the kernel half.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use aya::maps::{Array, MapData, MapError, SockMap};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::PortSet;

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Ports that the kernel may offer for the listener before one is picked for it.
const OFFERS: u32 = 16;
/// Ports below need a capability (net.ipv4.ip_unprivileged_port_start).
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum AcceptorError {
    /// The kernel refused the socket.
    #[error("cannot listen on {address} for passive data connections")]
    Listen {
        /// Loopback, any port.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Every other port is taken, or there is none.
    #[error(
        "no port is free outside of the passive ports {ports} for the internal listener: leave \
         one out of them"
    )]
    NoPort {
        /// As configured.
        ports: PortSet,
    },
    /// The socket could not be given to the kernel half.
    #[error("cannot register the internal listener with the kernel half")]
    Register(#[source] Box<MapError>),
}

/// What the kernel half knows of the listeners, IPv4's first.
pub(in super::super) struct Doors {
    /// Where it hands connections to.
    pub(in super::super) sockets: SockMap<MapData>,
    /// Where nobody else may connect, in network byte order.
    pub(in super::super) ports: Array<MapData, u16>,
}

impl Doors {
    fn register(&mut self, index: u32, listener: &TcpListener, port: u16) -> Result<(), MapError> {
        self.ports.set(index, port.to_be(), 0)?;
        self.sockets.set(index, listener, 0)
    }
}

/// Registers a listener for each protocol: those that are inherited, else new ones. IPv6 may be
/// missing on a host without it.
pub(in super::super) fn listen(
    doors: &mut Doors,
    guarded: &PortSet,
    inherited: Vec<TcpListener>,
) -> Result<Vec<TcpListener>, AcceptorError> {
    let mut listeners = Vec::with_capacity(2);
    let mut inherited: HashMap<bool, TcpListener> = inherited
        .into_iter()
        .filter_map(|listener| Some((listener.local_addr().ok()?.is_ipv6(), listener)))
        .collect();
    for (index, loopback) in [
        (0, IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (1, IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ] {
        let address = SocketAddr::new(loopback, 0);
        let listener = match inherited.remove(&loopback.is_ipv6()) {
            Some(listener) => Ok(listener),
            None => bind(address, guarded),
        };
        match listener {
            Ok(listener) => {
                let local = listener.local_addr();
                let port = local
                    .map_err(|source| AcceptorError::Listen { address, source })?
                    .port();
                doors
                    .register(index, &listener, port)
                    .map_err(|error| AcceptorError::Register(Box::new(error)))?;
                listeners.push(listener);
            }
            Err(AcceptorError::Listen { source, .. })
                if loopback.is_ipv6()
                    && matches!(
                        source.raw_os_error(),
                        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)
                    ) =>
            {
                tracing::info!("no IPv6 on this host: passive data connections over IPv4 only");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(listeners)
}

/// Binds to a port that is not guarded: one that the kernel offers, or, where it offers only
/// guarded ones, the highest that is free.
fn bind(address: SocketAddr, guarded: &PortSet) -> Result<TcpListener, AcceptorError> {
    let refused = |source| AcceptorError::Listen { address, source };
    for _ in 0..OFFERS {
        let listener = listener(address).map_err(refused)?;
        let port = listener.local_addr().map_err(refused)?.port();
        if !guarded.contains(port) {
            return Ok(listener);
        }
    }
    let unguarded = (FIRST_UNPRIVILEGED..=u16::MAX)
        .rev()
        .filter(|port| !guarded.contains(*port));
    for port in unguarded {
        match listener(SocketAddr::new(address.ip(), port)) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(refused(error)),
        }
    }
    Err(AcceptorError::NoPort {
        ports: guarded.clone(),
    })
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_beside_any_guarded_ones() {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        for guarded in ["30000-50000", "1024-65000"] {
            let guarded: PortSet = guarded.parse().unwrap();
            let listener = bind(loopback, &guarded).unwrap();
            assert!(!guarded.contains(listener.local_addr().unwrap().port()));
        }
        let none = bind(loopback, &"1-65535".parse().unwrap());
        assert!(matches!(none, Err(AcceptorError::NoPort { .. })));
    }
}
