//! What is received are records, up to the client's close_notify.

use super::super::connection::{DataConnection, Direction, Link};
use super::super::error::TransferError;
use super::super::receive::complete;
use super::super::step::{Job, Moved, run};
use super::super::store::{Received, Store};
use super::{failed, moved};
use crate::vfs::Upload;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::ServerConnection;
use std::io::Read;

/// Stores what the client sends until it says that this was all, and completes the upload. A
/// connection that just ends is [`TransferError::Truncated`]: anybody on the way can end one.
pub async fn receive_secured(
    connection: &DataConnection,
    tls: Box<ServerConnection>,
    upload: Upload,
    how: Received,
) -> Result<(), TransferError> {
    let job = Receive {
        tls,
        store: Store::new(upload, how),
        records: Vec::new(),
        plain: Vec::new(),
        closed: false,
    };
    complete(run(connection, job).await?.store.into_upload()).await
}

/// Says nothing before the client has said all. A client that only writes (Go's crypto/tls: rclone)
/// would close with our tickets unread, upon which its kernel resets the connection and throws away
/// what it has not yet sent (RFC 2525 §2.17).
struct Receive {
    tls: Box<ServerConnection>,
    store: Store,
    records: Vec<u8>,
    plain: Vec<u8>,
    /// The client has said that this was all; what is left is to say the same.
    closed: bool,
}

impl Receive {
    /// Takes out what is decrypted.
    fn decrypt(&mut self, link: &Link) -> Result<(), TransferError> {
        let state = match self.tls.process_new_packets() {
            Ok(state) => state,
            Err(error) => return Err(failed(&mut self.tls, link, error)),
        };
        let start = self.plain.len();
        self.plain
            .resize(start + state.plaintext_bytes_to_read(), 0);
        let into = self.plain.get_mut(start..).unwrap_or_default();
        if !into.is_empty() {
            let read = self.tls.reader().read_exact(into);
            read.map_err(TransferError::Connection)?;
        }
        self.closed |= state.peer_has_closed();
        Ok(())
    }

    fn store(&mut self, link: &Link) -> Result<(), TransferError> {
        link.monitor.add(self.plain.len());
        self.store.take(&self.plain)?;
        self.plain.clear();
        if self.closed {
            self.store.finish()?;
        }
        Ok(())
    }
}

impl Job for Receive {
    fn direction(&self) -> Direction {
        match self.closed {
            true => Direction::Out,
            false => Direction::In,
        }
    }

    fn is_long(&self) -> bool {
        self.store.is_long()
    }

    fn attempt(&mut self, link: &Link, most: usize) -> Result<Moved, TransferError> {
        if self.closed {
            if !self.tls.wants_write() {
                return Ok(Moved::End);
            }
            return match moved(self.tls.write_tls(&mut &*link.socket)) {
                // The file is whole: the client has said so, and need not wait for our answer.
                Err(_) => Ok(Moved::End),
                written => written,
            };
        }
        // The handshake may have read on: what came with the client's last message is here.
        self.decrypt(link)?;
        let mut taken = 0;
        if !self.closed {
            let most = link.portion(self.store.appetite().min(most));
            self.records.resize(most, 0);
            taken = match rustix::net::recv(&link.socket, &mut self.records[..], RecvFlags::empty())
            {
                Ok((0, _)) => return Err(TransferError::Truncated),
                Ok((taken, _)) => taken,
                Err(Errno::AGAIN) if self.plain.is_empty() => return Ok(Moved::Blocked),
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(error) => return Err(TransferError::Connection(error.into())),
            };
            let mut at = 0;
            while at < taken && !self.closed {
                let mut rest = self.records.get(at..taken).unwrap_or_default();
                at += self
                    .tls
                    .read_tls(&mut rest)
                    .map_err(TransferError::Connection)?;
                self.decrypt(link)?;
            }
        }
        self.store(link)?;
        if self.closed {
            self.tls.send_close_notify();
        }
        Ok(Moved::Some(taken as u64))
    }
}
