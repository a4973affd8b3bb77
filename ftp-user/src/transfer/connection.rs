//! A connected data socket, how it is waited for, and how it ends.

use super::error::TransferError;
use super::monitor::Monitor;
use super::rates::Rates;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::Shutdown;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Out,
    In,
}

/// The socket of a data connection, shared by the task that waits and the thread that works.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) socket: Arc<TcpStream>,
    pub(super) monitor: Monitor,
    rates: Option<Arc<Rates>>,
}

impl Link {
    /// How many bytes to move in one attempt, if it could be `most`.
    pub(super) fn portion(&self, most: usize) -> usize {
        self.rates
            .as_ref()
            .map_or(most, |rates| rates.portion(most))
    }

    /// How long to wait now that `bytes` have moved; zero where no rate is to be kept.
    pub(super) fn paid(&self, bytes: u64) -> Duration {
        self.rates
            .as_ref()
            .map_or(Duration::ZERO, |rates| rates.take(bytes))
    }

    /// Is the socket ready within `patience`? An error or the other end's close is readiness.
    pub(super) fn is_ready(&self, direction: Direction, patience: Duration) -> io::Result<bool> {
        let flags = match direction {
            Direction::Out => PollFlags::OUT,
            Direction::In => PollFlags::IN,
        };
        let patience = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        match poll(&mut [PollFd::new(&self.socket, flags)], Some(&patience)) {
            Ok(ready) => Ok(ready > 0),
            // The caller looks again.
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// A connected data socket.
#[derive(Debug)]
pub struct DataConnection {
    link: Link,
    stall: Duration,
}

impl DataConnection {
    /// Takes over a connected socket, nonblocking, registered with no reactor. What goes over it
    /// keeps to `rates`.
    pub fn new(
        socket: TcpStream,
        monitor: Monitor,
        stall: Duration,
        rates: Option<Arc<Rates>>,
    ) -> DataConnection {
        let socket = Arc::new(socket);
        monitor.attach(&socket);
        DataConnection {
            link: Link {
                socket,
                monitor,
                rates,
            },
            stall,
        }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Waits until the socket is ready, the client has stalled for too long, or an abort.
    ///
    /// The reactor knows the socket only meanwhile: events of a transfer in full swing would wake
    /// it for nothing.
    pub(super) async fn wait(&self, direction: Direction) -> Result<(), TransferError> {
        let interest = match direction {
            Direction::Out => Interest::WRITABLE,
            Direction::In => Interest::READABLE,
        };
        let ready = async {
            let socket = Arc::clone(&self.link.socket);
            // SAFETY: its descriptor is open for as long as it lives, and the same all the while.
            let registered = unsafe { AsyncFd::register_with_interest(socket, interest) }?;
            // Registered just now, it tells of how things are: nobody has to look again.
            registered.ready(interest).await.map(drop)
        };
        tokio::select! {
            biased;
            () = self.link.monitor.aborted() => Err(TransferError::Aborted),
            ready = tokio::time::timeout(self.stall, ready) => match ready {
                Ok(ready) => ready.map_err(TransferError::Connection),
                Err(_) => Err(TransferError::Stalled(self.stall)),
            },
        }
    }

    /// Waits until the rates are kept that [`Link::paid`] spoke of, or for an abort.
    pub(super) async fn pause(&self, wait: Duration) -> Result<(), TransferError> {
        if wait.is_zero() {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = self.link.monitor.aborted() => Err(TransferError::Aborted),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// Ends the connection in good order: all bytes, then FIN. When this returns, the socket is
    /// closed.
    pub fn finish(self) -> Result<(), TransferError> {
        match rustix::net::shutdown(&self.link.socket, Shutdown::Write) {
            Ok(()) => Ok(()),
            // The client closed first, having all it wants.
            Err(Errno::NOTCONN) => Ok(()),
            Err(error) => Err(TransferError::Connection(error.into())),
        }
    }

    /// Ends the connection at once: what the client has not taken is thrown away, and the client
    /// sees a reset instead of what looks like the end of a file.
    pub fn reset(self) {
        // If it fails, the close is an ordinary one.
        let _ = rustix::net::sockopt::set_socket_linger(&self.link.socket, Some(Duration::ZERO));
    }
}
