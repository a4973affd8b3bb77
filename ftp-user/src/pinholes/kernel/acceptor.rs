//! Where passive data connections arrive: one listening socket for each protocol, bound to loopback;
//! the kernel half hands them connections to any negotiated address and port.
//!
//! Nobody sits there. A session that wants its connection accepts, and hands whatever it finds before
//! its own to whom it belongs; so a connection that is there before the command that wants it wakes
//! nobody. Where a session has to wait, one of all that do listens for all of them.

mod sockets;

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use ftp_ebpf::abi::Tuple;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::SockRef;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Mutex, oneshot, watch},
};

use super::table::Table;
pub use sockets::AcceptorError;
pub(super) use sockets::{Doors, listen};

/// Pause after a failed accept (no descriptors, no memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The sockets, and whose turn it is to accept from them.
pub(super) struct Acceptor {
    doors: Vec<Door>,
    /// Held while one connection is accepted and delivered.
    turn: watch::Sender<Turn>,
}

struct Door {
    socket: Arc<TcpListener>,
    is_ipv6: bool,
    /// Who holds it waits for connections, for everybody.
    listening: Mutex<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Not known yet, or about to change: the kernel keeps what comes.
    Nobodys,
    Ours,
    /// Another process accepts from now on.
    Theirs,
}

impl Acceptor {
    /// Accepts nothing yet.
    pub(super) fn new(sockets: Vec<TcpListener>) -> Arc<Self> {
        let door = |socket: TcpListener| Door {
            is_ipv6: socket.local_addr().is_ok_and(|local| local.is_ipv6()),
            socket: Arc::new(socket),
            listening: Mutex::new(()),
        };
        Arc::new(Self {
            doors: sockets.into_iter().map(door).collect(),
            turn: watch::Sender::new(Turn::Nobodys),
        })
    }

    /// Accepts from here on.
    pub(super) fn start(&self) {
        self.turn.send_replace(Turn::Ours);
    }

    /// Accepts no more, until it is started again. What has been accepted has been delivered when this
    /// returns.
    pub(super) fn stop(&self) {
        self.turn.send_replace(Turn::Nobodys);
    }

    /// Accepts never again.
    pub(super) fn end(&self) {
        self.turn.send_replace(Turn::Theirs);
    }

    /// The sockets: another process may accept from them.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &TcpListener> {
        self.doors.iter().map(|door| &*door.socket)
    }

    /// Hands over what has come so far, or no more than it takes for `wanted` to have come.
    pub(super) fn deliver(
        &self,
        table: &Table,
        server: IpAddr,
        wanted: &oneshot::Receiver<TcpStream>,
    ) {
        if let Some(door) = self.door(server) {
            // An error is told by whoever waits, who meets it too.
            while wanted.is_empty() && matches!(self.accept_one(table, door), Ok(true)) {}
        }
    }

    /// Hands over everything that has come so far, and refuses what nobody waits for.
    pub(super) fn deliver_all(&self, table: &Table) {
        for door in &self.doors {
            while matches!(self.accept_one(table, door), Ok(true)) {}
        }
    }

    /// Waits for connections to `server`'s socket and hands them over, for as long as this process
    /// accepts any.
    pub(super) async fn listen(&self, table: &Table, server: IpAddr) {
        let Some(door) = self.door(server) else {
            return;
        };
        let _one_for_all = door.listening.lock().await;
        let mut turn = self.turn.subscribe();
        while let Ok(now) = turn
            .wait_for(|turn| *turn != Turn::Nobodys)
            .await
            .map(|now| *now)
        {
            if now == Turn::Theirs {
                return;
            }
            tokio::select! {
                _ = turn.changed() => {}
                Err(error) = self.accept(table, door) => {
                    tracing::warn!(%error, "cannot accept a data connection; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Accepts until that fails.
    async fn accept(&self, table: &Table, door: &Door) -> io::Result<()> {
        let socket = Arc::clone(&door.socket);
        // SAFETY: a TcpListener owns one open descriptor for as long as it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        loop {
            let mut ready = socket.readable().await?;
            if !self.accept_one(table, door)? {
                ready.clear_ready();
            }
        }
    }

    /// Whether there was one.
    fn accept_one(&self, table: &Table, door: &Door) -> io::Result<bool> {
        let turn = self.turn.borrow();
        if *turn != Turn::Ours {
            return Ok(false);
        }
        loop {
            match acceptfrom_with(&door.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok((connection, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    deliver(table, connection.into(), peer);
                    return Ok(true);
                }
                Err(error) => match error.into() {
                    error if is_of_one_connection(&error) => {}
                    error if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    error => return Err(error),
                },
            }
        }
    }

    fn door(&self, server: IpAddr) -> Option<&Door> {
        let is_ipv6 = server.is_ipv6();
        self.doors.iter().find(|door| door.is_ipv6 == is_ipv6)
    }
}

fn deliver(table: &Table, connection: TcpStream, peer: Option<SocketAddr>) {
    let (Some(peer), Ok(local)) = (peer, connection.local_addr()) else {
        tracing::debug!(?peer, "a data connection broke before it was accepted");
        return;
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
