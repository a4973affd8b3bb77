//! What is received are records, up to the client's close_notify.

use super::super::connection::{DataConnection, Direction, Link};
use super::super::error::TransferError;
use super::super::receive::complete;
use super::super::step::{Job, Moved, run};
use super::super::store::{Received, Store};
use super::Secured;
use crate::vfs::Upload;

/// Stores what the client sends until it says that this was all, and completes the upload. A
/// connection that just ends is [`TransferError::Truncated`]: anybody on the way can end one.
pub async fn receive_secured(
    connection: &DataConnection,
    tls: Secured,
    upload: Upload,
    how: Received,
) -> Result<(), TransferError> {
    let job = Receive {
        tls,
        store: Store::new(upload, how),
        done: false,
    };
    complete(run(connection, job).await?.store.into_upload()).await
}

/// Says nothing before the client has said all. A client that only writes (Go's crypto/tls: rclone)
/// would close with our tickets unread, upon which its kernel resets the connection and throws away
/// what it has not yet sent (RFC 2525 §2.17).
struct Receive {
    tls: Secured,
    store: Store,
    /// Everything is stored; what is left is to say that this was all.
    done: bool,
}

impl Job for Receive {
    fn direction(&self) -> Direction {
        match self.done {
            true => Direction::Out,
            false => Direction::In,
        }
    }

    fn is_long(&self) -> bool {
        self.store.is_long()
    }

    fn computes(&self) -> bool {
        self.store.computes()
    }

    fn ends_long(&self) -> bool {
        self.store.ends_long()
    }

    fn attempt(&mut self, link: &Link, most: usize) -> Result<Moved, TransferError> {
        if self.done {
            if self.tls.unsent() == 0 {
                return Ok(Moved::End);
            }
            return match self.tls.write(link) {
                // The file is whole: the client has said so, and need not wait for our answer.
                Err(_) => Ok(Moved::End),
                written => written,
            };
        }
        let mut read = Moved::Some(0);
        // What came along with the end of the handshake is here already.
        if self.tls.plain.is_empty() && !self.tls.has_ended() {
            let most = link.portion(self.store.appetite().min(most));
            read = self.tls.read(link, most)?;
            match read {
                Moved::Some(_) => {}
                Moved::Blocked => return Ok(read),
                Moved::End => return Err(TransferError::Truncated),
            }
        }
        link.monitor.add(self.tls.plain.len());
        self.store.take(&self.tls.plain)?;
        self.tls.plain.clear();
        if self.tls.has_ended() {
            self.store.finish()?;
            self.tls.end()?;
            self.done = true;
        }
        Ok(read)
    }
}
