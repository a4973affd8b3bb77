//! From a listening socket to a connection that a session can begin on.

use super::{Listener, ServeError};
use crate::session::{Ends, Start, Way};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// How long to leave the kernel alone that cannot give us another descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(200);

/// A client whose host vanished is noticed after this long without traffic.
const KEEPALIVE: Duration = Duration::from_secs(120);

pub(super) type Arrival = (TcpStream, Ends, Way);

/// Accepts on all listeners until what comes first is dropped.
pub(super) fn accept_all(
    listeners: Vec<Listener>,
) -> Result<(watch::Sender<()>, mpsc::Receiver<Arrival>), ServeError> {
    let (open, until) = watch::channel(());
    let (accepted, arrivals) = mpsc::channel(64);
    for (listener, number) in listeners.into_iter().zip(0..) {
        let Listener {
            socket,
            address,
            start,
        } = listener;
        let way = Way {
            listener: number,
            start,
        };
        let socket = TcpListener::from_std(socket)
            .map_err(|source| ServeError::Listen { address, source })?;
        match start {
            Start::Clear => tracing::info!("listening on {address}"),
            Start::Tls => tracing::info!("listening on {address} with implicit TLS"),
        }
        tokio::spawn(accept(socket, way, accepted.clone(), until.clone()));
    }
    Ok((open, arrivals))
}

/// Whoever has been accepted is handed on, also at the end.
async fn accept(
    listener: TcpListener,
    way: Way,
    arrivals: mpsc::Sender<Arrival>,
    mut until: watch::Receiver<()>,
) {
    let mut complained = false;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = until.changed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                complained = false;
                match prepare(&stream, peer) {
                    Ok(ends) => {
                        if arrivals.send((stream, ends, way)).await.is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;

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
