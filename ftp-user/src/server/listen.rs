//! Sockets that listen for control connections: bound here, or given by somebody else.

use crate::config::Config;
use crate::session::Start;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: i32 = 1024;

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

/// A listening socket, and how its connections start.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: TcpListener,
    /// Where it listens; the kernel chose the port if the configuration did not.
    pub address: SocketAddr,
    /// How its connections start.
    pub start: Start,
}

impl Listener {
    /// Takes a socket that somebody else listens on for us.
    pub fn given(socket: TcpListener, start: Start) -> io::Result<Listener> {
        // tcp(7): only a listening socket says yes.
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            return Err(io::Error::other("the socket does not listen"));
        }
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Listener {
            socket,
            address,
            start,
        })
    }

    /// The same socket once more.
    pub fn try_clone(&self) -> io::Result<Listener> {
        Ok(Listener {
            socket: self.socket.try_clone()?,
            address: self.address,
            start: self.start,
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Listens on `listen` and then, for implicit TLS, on `tls.listen`. Where another process has a
/// socket there, that one is taken.
pub fn bind_all(config: &Config, mut others: Vec<Listener>) -> Result<Vec<Listener>, ServeError> {
    let clear = config.listen.iter().map(|&address| (address, Start::Clear));
    let implicit = config.tls.iter().flat_map(|tls| &tls.listen);
    let addresses = clear.chain(implicit.map(|&address| (address, Start::Tls)));
    let mut listeners = Vec::new();
    for (address, start) in addresses {
        let same = |other: &mut Listener| other.address == address && other.start == start;
        if let Some(taken) = others.extract_if(.., same).next() {
            listeners.push(taken);
            continue;
        }
        let bound = bind(address).and_then(|socket| Listener::given(socket, start));
        listeners.push(bound.map_err(|source| ServeError::Listen { address, source })?);
    }
    if listeners.is_empty() {
        return Err(ServeError::NoAddress);
    }
    Ok(listeners)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_says_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config {
            listen: vec![taken.local_addr().unwrap()],
            ..Config::default()
        };
        let error = bind_all(&config, Vec::new()).unwrap_err();
        assert!(error.to_string().contains("ss -ltnp"), "{error}");
    }
}
