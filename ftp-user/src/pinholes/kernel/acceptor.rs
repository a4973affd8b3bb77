//! The sockets that all passive data connections arrive at, one for each protocol, bound to
//! loopback; the kernel half hands them connections to any negotiated address and port.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use aya::maps::{MapData, SockMap};
use ftp_ebpf::abi::Tuple;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::JoinSet,
};

use super::table::Table;
use crate::config::PortSet;

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Ports that the kernel may offer for the listener before one is picked for it.
const OFFERS: u32 = 16;
/// Ports below need a capability (net.ipv4.ip_unprivileged_port_start).
const FIRST_UNPRIVILEGED: u16 = 1024;
/// Pause after a failed accept (no descriptors, no memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    Register(#[source] Box<aya::maps::MapError>),
}

/// The sockets, and what accepts from them.
pub(super) struct Acceptors {
    sockets: Vec<Arc<TcpListener>>,
    tasks: JoinSet<()>,
}

impl Acceptors {
    /// Accepts nothing yet: the kernel keeps what comes.
    pub(super) fn new(sockets: Vec<TcpListener>) -> Self {
        Self {
            sockets: sockets.into_iter().map(Arc::new).collect(),
            tasks: JoinSet::new(),
        }
    }

    /// Accepts until it is stopped, or dropped.
    pub(super) fn start(&mut self, table: &Arc<Table>) {
        for socket in &self.sockets {
            let (socket, table) = (Arc::clone(socket), Arc::clone(table));
            self.tasks.spawn(async move {
                if let Err(error) = accept(socket, table).await {
                    tracing::error!(%error, "passive data connections are no longer accepted");
                }
            });
        }
    }

    /// What has been accepted has been delivered when this returns.
    pub(super) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    /// The sockets: another process may accept from them.
    pub(super) fn sockets(&self) -> &[Arc<TcpListener>] {
        &self.sockets
    }
}

/// Registers a listener for each protocol: those that are inherited, else new ones. IPv6 may be
/// missing on a host without it.
pub(super) fn listen(
    sockets: &mut SockMap<MapData>,
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
                sockets
                    .set(index, &listener, 0)
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

async fn accept(listener: Arc<TcpListener>, table: Arc<Table>) -> io::Result<()> {
    // SAFETY: a TcpListener owns one open descriptor for as long as it lives.
    let listener = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }?;
    loop {
        let mut ready = listener.readable().await?;
        match ready.try_io(|listener| listener.get_ref().accept()) {
            Ok(Ok((connection, peer))) => deliver(&table, connection, peer),
            Ok(Err(error)) if is_of_one_connection(&error) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot accept a data connection; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Err(_not_ready) => {}
        }
    }
}

fn deliver(table: &Table, connection: TcpStream, peer: SocketAddr) {
    let local = match connection
        .set_nonblocking(true)
        .and_then(|()| connection.local_addr())
    {
        Ok(local) => local,
        Err(error) => {
            tracing::debug!(%peer, %error, "a data connection broke before it was accepted");
            return;
        }
    };
    let tuple = Tuple {
        client: peer.ip().into(),
        server: local.ip().into(),
        client_port_be: peer.port().to_be(),
        server_port_be: local.port().to_be(),
    };
    if let Err(connection) = table.deliver(&tuple, connection) {
        tracing::debug!(%peer, %local, "refused a data connection that no session waits for");
        // Reset rather than closed: the client learns at once that this is no data connection.
        let _ = SockRef::from(&connection).set_linger(Some(Duration::ZERO));
    }
}

/// Errors of accept(2) that concern only the connection that was next (accept(2), "Error
/// handling").
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EPROTO
                | libc::EPERM
                | libc::EINTR
                | libc::ENETDOWN
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
        )
    )
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
