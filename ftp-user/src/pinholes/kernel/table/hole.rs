//! A pinhole as its session has it.

use std::{
    fmt,
    net::{IpAddr, TcpStream},
    pin::pin,
    sync::Arc,
};

use ftp_ebpf::abi::PinholeKey;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{Keeper, Table};
use crate::pinholes::AcceptError;

/// One waiting pinhole. Dropping it closes it.
pub(in crate::pinholes) struct Hole {
    pub(super) table: Arc<Table>,
    pub(super) key: PinholeKey,
    pub(super) id: u64,
    pub(super) deadline: Instant,
    pub(super) connection: oneshot::Receiver<TcpStream>,
}

impl fmt::Debug for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hole")
            .field("key", &self.key)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Hole {
    /// The port, host byte order.
    pub(in crate::pinholes) fn port(&self) -> u16 {
        u16::from_be(self.key.port_be)
    }

    /// The client's connection, or an error at the deadline.
    pub(in crate::pinholes) async fn accept(&mut self) -> Result<TcpStream, AcceptError> {
        let server = IpAddr::from(self.key.server);
        let acceptor = self.table.acceptor();
        if let Some(acceptor) = &acceptor {
            acceptor.deliver(&self.table, server, &self.connection);
        }
        let listen = async {
            if let Some(acceptor) = &acceptor {
                acceptor.listen(&self.table, server).await;
            }
        };
        let connection = timeout_at(self.deadline, &mut self.connection);
        match until(connection, listen).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(_)) | Err(_) => Err(AcceptError::Deadline(self.table.timing.connect)),
        }
    }
}

/// Waits for `wanted`, and does `work` meanwhile.
async fn until<T>(wanted: impl Future<Output = T>, work: impl Future<Output = ()>) -> T {
    let mut wanted = pin!(wanted);
    tokio::select! {
        biased;
        wanted = &mut wanted => return wanted,
        () = work => {}
    }
    wanted.await
}

impl Drop for Hole {
    fn drop(&mut self) {
        let mut inner = self.table.lock();
        let waited = match &inner.keeper {
            Keeper::Own { .. } => {
                let removed = inner.remove(&self.key, Some(self.id)).is_some();
                if removed {
                    inner.give_up(self.key);
                }
                removed
            }
            Keeper::Successor(successor) => successor.close(self.id),
        };
        let acceptor = inner.acceptor.clone();
        drop(inner);
        if waited {
            // Its connection may have come already: it is refused now, not by whoever accepts next.
            if let Some(acceptor) = acceptor {
                acceptor.deliver(&self.table, self.key.server.into(), &self.connection);
            }
            tracing::debug!(port = self.port(), "pinhole closed");
        }
    }
}
