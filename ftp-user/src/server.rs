//! Listening sockets, admission of control connections, and the end of it all.
//!
//! What a control connection says is `session`'s.

mod admission;

use crate::auth::Failures;
use crate::config::Config;
use crate::control::ControlSocket;
use crate::generation::Newest;
use crate::pinholes::{Pinholes, SessionId};
use crate::proto::{Code, Reply};
pub use crate::session::Start;
use crate::session::{self, Activity, Ends, Shared, Stop};
use admission::Admission;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: i32 = 1024;
/// How long to leave the kernel alone that cannot give us another descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(200);
/// How long sessions get to say 421 once their transfers are over.
const FAREWELL: Duration = Duration::from_secs(5);
/// A client whose host vanished is noticed after this long without traffic.
const KEEPALIVE: Duration = Duration::from_secs(120);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", hint(.source))]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing to listen on.
    #[error("there is no address to listen on; name one in `listen` or with --listen")]
    NoAddress,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE, or choose another with --listen"
        }
        io::ErrorKind::AddrInUse => "; another server has it (`ss -ltnp` says which)",
        io::ErrorKind::AddrNotAvailable => "; no interface has this address",
        _ => "",
    }
}

/// Serves on `listeners` until `stop` resolves, then ends every session with 421. Transfers may go
/// on for `timeouts.drain`. Logs `ready` once it accepts.
pub async fn serve(
    listeners: Vec<Listener>,
    newest: Newest,
    pinholes: Pinholes,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (stop_sessions, stopping) = watch::channel(Stop::No);
    let admission = Arc::new(Admission::default());
    let shared = Arc::new(Shared {
        newest,
        activity: Activity::default(),
        failures: Failures::default(),
        pinholes,
        stop: stopping,
    });

    let (accepted, mut arrivals) = mpsc::channel(64);
    let mut acceptors = JoinSet::new();
    for Listener {
        socket,
        address,
        start,
    } in listeners
    {
        let socket = TcpListener::from_std(socket)
            .map_err(|source| ServeError::Listen { address, source })?;
        acceptors.spawn(accept(socket, start, accepted.clone()));
    }
    drop(accepted);
    tracing::info!("ready");

    let mut sessions = JoinSet::new();
    let mut next_id: SessionId = 1;
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(ended) = sessions.join_next() => report(ended),
            Some((stream, ends, start)) = arrivals.recv() => {
                let id = next_id;
                next_id += 1;
                let limits = &shared.newest.get().config.limits;
                match admission.admit(ends.client.ip(), limits) {
                    Ok(ticket) => {
                        let shared = Arc::clone(&shared);
                        sessions.spawn(async move {
                            session::run(ControlSocket(stream), id, ends, start, shared).await;
                            drop(ticket);
                        });
                    }
                    Err(why) => {
                        tracing::warn!(client = %ends.client.ip(), why, "session refused");
                        sessions.spawn(turn_away(stream, why));
                    }
                }
            }
        }
    }

    // Nobody new, then everybody out.
    acceptors.shutdown().await;
    drop(arrivals);
    let drain = shared.newest.get().config.timeouts.drain;
    tracing::info!(sessions = sessions.len(), "stopping");
    let by = Instant::now() + drain;
    stop_sessions.send_replace(Stop::By(by));
    let all_ended = async {
        while let Some(ended) = sessions.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout_at(by + FAREWELL, all_ended)
        .await
        .is_err()
    {
        tracing::warn!(
            sessions = sessions.len(),
            "cutting sessions that do not end"
        );
        sessions.shutdown().await;
    }
    Ok(())
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a session failed");
    }
}

/// A listening socket, and how its connections start.
#[derive(Debug)]
pub struct Listener {
    socket: std::net::TcpListener,
    /// Where it listens; the kernel chose the port if the configuration did not.
    pub address: SocketAddr,
    /// How its connections start.
    pub start: Start,
}

impl Listener {
    /// Takes a socket that somebody else listens on for us.
    pub fn given(socket: std::net::TcpListener, start: Start) -> io::Result<Listener> {
        // tcp(7): only a listening socket says yes.
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            return Err(io::Error::other("the socket does not listen"));
        }
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let with = match start {
            Start::Clear => "",
            Start::Tls => " with implicit TLS",
        };
        tracing::info!("listening on {address}{with}");
        Ok(Listener {
            socket,
            address,
            start,
        })
    }
}

/// Binds `listen` and then, for implicit TLS, `tls.listen`. Logs `listening on ADDR` for each.
pub fn bind_all(config: &Config) -> Result<Vec<Listener>, ServeError> {
    let clear = config.listen.iter().map(|&address| (address, Start::Clear));
    let implicit = config.tls.iter().flat_map(|tls| &tls.listen);
    let addresses = clear.chain(implicit.map(|&address| (address, Start::Tls)));
    let mut listeners = Vec::new();
    for (address, start) in addresses {
        let bound = bind(address).and_then(|socket| Listener::given(socket, start));
        listeners.push(bound.map_err(|source| ServeError::Listen { address, source })?);
    }
    if listeners.is_empty() {
        return Err(ServeError::NoAddress);
    }
    Ok(listeners)
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` serves IPv4 as well, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn accept(
    listener: TcpListener,
    start: Start,
    arrivals: mpsc::Sender<(TcpStream, Ends, Start)>,
) {
    let mut complained = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                complained = false;
                match prepare(&stream, peer) {
                    Ok(ends) => {
                        if arrivals.send((stream, ends, start)).await.is_err() {
                            return;
                        }
                    }
                    // It ended before we looked at it.
                    Err(error) => tracing::debug!(%peer, %error, "lost before its first reply"),
                }
            }
            // accept(2): the connection ended, or the network told of an error of its own.
            Err(error) if !is_ours(&error) => tracing::debug!(%error, "accept"),
            Err(error) => {
                if !complained {
                    tracing::error!(%error, "cannot accept connections; will go on trying");
                }
                complained = true;
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Is this a shortage of ours, which trying again at once would not end?
fn is_ours(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::INVAL)
    )
}

fn prepare(stream: &TcpStream, peer: SocketAddr) -> io::Result<Ends> {
    // Replies are small and each is waited for.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // The urgent byte of a Telnet Synch stays in its place in the line (RFC 854, RFC 959 §4.1.3).
    socket.set_out_of_band_inline(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    Ok(Ends {
        client: unmapped(peer),
        server: unmapped(stream.local_addr()?),
    })
}

/// An IPv4 client of a dual-stack listener is an IPv4 client.
fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, address.port())),
        // As it is: it may name an interface.
        IpAddr::V6(_) => address,
    }
}

async fn turn_away(mut stream: TcpStream, why: &'static str) {
    let mut bytes = Vec::new();
    Reply::new(Code::ServiceUnavailable, why).encode(&mut bytes);
    // It is a courtesy; a client that does not take it is closed like any other.
    let _ = tokio::time::timeout(FAREWELL, stream.write_all(&bytes)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_says_what_to_do() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config {
            listen: vec![taken.local_addr().unwrap()],
            ..Config::default()
        };
        let error = bind_all(&config).unwrap_err();
        assert!(error.to_string().contains("ss -ltnp"), "{error}");
    }

    #[test]
    fn mapped_addresses_are_unmapped() {
        let mapped = "[::ffff:192.0.2.1]:21".parse().unwrap();
        assert_eq!(unmapped(mapped), "192.0.2.1:21".parse().unwrap());
        let link_local = SocketAddr::V6(std::net::SocketAddrV6::new(
            "fe80::1".parse().unwrap(),
            21,
            0,
            3,
        ));
        assert_eq!(unmapped(link_local), link_local);
    }
}
