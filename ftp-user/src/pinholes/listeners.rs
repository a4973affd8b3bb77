//! Pinholes without the kernel half: one listening socket for each, its peer checked after the
//! accept. For trying Pinhole without root, and for tests; strangers see the port open.

use super::{AcceptError, OpenError, SessionId};
use crate::config::{Config, PortSet};
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The ports, and who has which.
#[derive(Debug)]
pub(super) struct Listeners {
    ports: PortSet,
    connect_timeout: Duration,
    port_timeout: Duration,
    client_prefix_v4: u8,
    client_prefix_v6: u8,
    held: Mutex<HashSet<(IpAddr, u16)>>,
    released: Notify,
}

impl Listeners {
    pub(super) fn new(config: &Config) -> Listeners {
        Listeners {
            ports: config.passive.ports.clone(),
            connect_timeout: config.passive.connect_timeout,
            port_timeout: config.passive.port_timeout,
            client_prefix_v4: config.enforce.client_prefix_v4,
            client_prefix_v6: config.enforce.client_prefix_v6,
            held: Mutex::default(),
            released: Notify::new(),
        }
    }

    pub(super) async fn open(
        self: Arc<Self>,
        session: SessionId,
        client: IpAddr,
        server: IpAddr,
        ports: Option<&PortSet>,
    ) -> Result<ListenerPort, OpenError> {
        let give_up = Instant::now() + self.port_timeout;
        loop {
            // Made before the look, so that a release in between is not missed.
            let released = self.released.notified();
            if let Some(port) = self.try_open(client, server, ports.unwrap_or(&self.ports))? {
                tracing::debug!(session, %client, %server, port = port.port(), "listening");
                return Ok(port);
            }
            if tokio::time::timeout_at(give_up, released).await.is_err() {
                return Err(OpenError::NoPort(self.port_timeout));
            }
        }
    }

    /// Walks the ports from a random one on, so that the next port cannot be guessed.
    fn try_open(
        self: &Arc<Self>,
        client: IpAddr,
        server: IpAddr,
        ports: &PortSet,
    ) -> Result<Option<ListenerPort>, OpenError> {
        let count = ports.len();
        let start = rand::random_range(0..count.max(1));
        for port in (0..count).filter_map(|n| ports.nth((start + n) % count)) {
            if !self.lock().insert((server, port)) {
                continue;
            }
            // From here on the port is given back by its drop.
            let claim = Claim {
                listeners: Arc::clone(self),
                key: (server, port),
                quiet: false,
            };
            match listen(server, port) {
                Ok(socket) => {
                    return Ok(Some(ListenerPort {
                        socket,
                        client,
                        deadline: Instant::now() + self.connect_timeout,
                        claim,
                    }));
                }
                // Somebody else's: another process listens there.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => claim.keep_quiet(),
                Err(source) => {
                    return Err(OpenError::Listen {
                        address: server,
                        port,
                        source,
                    });
                }
            }
        }
        Ok(None)
    }

    fn is_client(&self, client: IpAddr, peer: IpAddr) -> bool {
        fn same(a: u128, b: u128, width: u32, prefix: u8) -> bool {
            let ignored = width.saturating_sub(prefix.into());
            // A shift by the whole width leaves nothing to compare.
            a.checked_shr(ignored).unwrap_or(0) == b.checked_shr(ignored).unwrap_or(0)
        }
        match (client, peer) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(
                a.to_bits().into(),
                b.to_bits().into(),
                32,
                self.client_prefix_v4,
            ),
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                same(a.to_bits(), b.to_bits(), 128, self.client_prefix_v6)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(IpAddr, u16)>> {
        // A set of ports is whole after every operation on it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(server: IpAddr, port: u16) -> io::Result<TcpListener> {
    // A link-local address cannot be bound without its interface, which the address alone does
    // not tell.
    let server = match server {
        IpAddr::V6(address) if address.is_unicast_link_local() => Ipv6Addr::UNSPECIFIED.into(),
        other => other,
    };
    // std sets SO_REUSEADDR: a port may still be in TIME_WAIT from the last transfer.
    let socket = std::net::TcpListener::bind(SocketAddr::new(server, port))?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// A port taken out of the set, until dropped.
#[derive(Debug)]
struct Claim {
    listeners: Arc<Listeners>,
    key: (IpAddr, u16),
    /// Those who wait are not to be woken by its end.
    quiet: bool,
}

impl Claim {
    /// Gives the port back without waking those who wait: it was never theirs to have.
    fn keep_quiet(mut self) {
        self.quiet = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Once: from here on it may be another session's.
        self.listeners.lock().remove(&self.key);
        if !self.quiet {
            self.listeners.released.notify_waiters();
        }
    }
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct ListenerPort {
    // Dropped, and so closed, before the claim gives its port back.
    socket: TcpListener,
    client: IpAddr,
    deadline: Instant,
    claim: Claim,
}

impl ListenerPort {
    pub(super) fn port(&self) -> u16 {
        self.claim.key.1
    }

    pub(super) async fn accept(&mut self) -> Result<TcpStream, AcceptError> {
        let listeners = &self.claim.listeners;
        loop {
            let accepted = tokio::time::timeout_at(self.deadline, self.socket.accept()).await;
            let (stream, peer) =
                accepted.map_err(|_| AcceptError::Deadline(listeners.connect_timeout))??;
            let peer = peer.ip().to_canonical();
            if listeners.is_client(self.client, peer) {
                return Ok(stream.into_std()?);
            }
            tracing::warn!(client = %self.client, %peer, port = self.port(),
                "data connection from a stranger refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// A free port, as one-port set.
    fn one_port() -> Config {
        let probe = std::net::TcpListener::bind((HOME, 0)).unwrap();
        let mut config = Config::default();
        config.passive.ports = probe
            .local_addr()
            .unwrap()
            .port()
            .to_string()
            .parse()
            .unwrap();
        config.passive.port_timeout = Duration::from_millis(20);
        config
    }

    #[tokio::test]
    async fn a_port_is_held_until_dropped() {
        let listeners = Arc::new(Listeners::new(&one_port()));
        let first = Arc::clone(&listeners)
            .open(1, HOME, HOME, None)
            .await
            .unwrap();
        let second = Arc::clone(&listeners).open(2, HOME, HOME, None).await;
        assert!(matches!(second, Err(OpenError::NoPort(_))));
        let port = first.port();
        drop(first);
        assert_eq!(
            listeners.open(3, HOME, HOME, None).await.unwrap().port(),
            port
        );
    }

    #[tokio::test]
    async fn a_stranger_is_turned_away_and_the_client_still_gets_in() {
        let listeners = Arc::new(Listeners::new(&one_port()));
        let mut port = listeners
            .open(1, "127.0.0.2".parse().unwrap(), HOME, None)
            .await
            .unwrap();
        let to = SocketAddr::new(HOME, port.port());
        let mut stranger = TcpStream::connect(to).unwrap();
        let from_client = tokio::net::TcpSocket::new_v4().unwrap();
        from_client.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let client = from_client.connect(to).await.unwrap();
        let got = port.accept().await.unwrap();
        assert_eq!(got.peer_addr().unwrap(), client.local_addr().unwrap());
        let seen = stranger.read(&mut [0; 1]);
        assert!(matches!(seen, Ok(0)) || seen.is_err(), "{seen:?}");
    }

    #[tokio::test]
    async fn the_deadline_counts_from_the_opening() {
        let mut config = one_port();
        config.passive.connect_timeout = Duration::from_millis(20);
        let mut port = Arc::new(Listeners::new(&config))
            .open(1, HOME, HOME, None)
            .await
            .unwrap();
        assert!(matches!(port.accept().await, Err(AcceptError::Deadline(_))));
    }

    #[test]
    fn prefixes_widen_who_is_the_client() {
        let mut listeners = Listeners::new(&one_port());
        let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.200".parse().unwrap());
        assert!(!listeners.is_client(a, b));
        listeners.client_prefix_v4 = 24;
        assert!(listeners.is_client(a, b));
        assert!(!listeners.is_client(a, "192.0.3.1".parse().unwrap()));
        listeners.client_prefix_v6 = 0;
        assert!(listeners.is_client("::1".parse().unwrap(), "fe80::".parse().unwrap()));
    }
}
