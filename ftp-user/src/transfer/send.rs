//! To the client: a file as it is (sendfile), a file as ASCII, or bytes made on the way (listings).

use super::connection::{DataConnection, Direction, Link};
use super::error::TransferError;
use super::produce::{PRODUCE_CHUNK, Produce};
use super::step::{Job, Moved, run};
use rustix::io::Errno;
use rustix::net::SendFlags;
use std::fs::File;
use std::ops::Range;

/// Most bytes for one sendfile(2): some milliseconds' worth, so that a step sees its time.
const SENDFILE_CHUNK: u64 = 8 << 20;

/// A file of this many bytes is worth a system call more, to be sent in whole segments.
const CORKED: u64 = 1 << 20;

/// Sends a file's bytes as they are.
pub async fn send_file(
    connection: &DataConnection,
    file: File,
    range: Range<u64>,
) -> Result<(), TransferError> {
    if range.end.saturating_sub(range.start) >= CORKED {
        cork(connection.link());
    }
    run(connection, SendFile { file, range }).await.map(drop)
}

/// Has the socket keep what does not fill a segment until more comes, or the end, or 200 ms have
/// passed (tcp(7), TCP_CORK). sendfile(2) hands over 64 KiB at a time, which is a full segment and a
/// small one each time otherwise: a quarter of all segments, on a link that takes large ones.
fn cork(link: &Link) {
    // Without it, the same bytes arrive a little later.
    let _ = rustix::net::sockopt::set_tcp_cork(&link.socket, true);
}

/// Sends bytes that are at hand.
pub async fn send_bytes(
    connection: &DataConnection,
    mut bytes: &[u8],
) -> Result<(), TransferError> {
    let link = connection.link();
    connection.pause(link.paid(0)).await?;
    while !bytes.is_empty() {
        match send(link, bytes, Then::End) {
            Ok(Some(sent)) => {
                bytes = bytes.get(sent..).unwrap_or_default();
                connection.pause(link.paid(sent as u64)).await?;
            }
            Ok(None) => connection.wait(Direction::Out).await?,
            Err(_) if link.monitor.is_aborted() => return Err(TransferError::Aborted),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends what a producer makes.
pub async fn send_produced(
    connection: &DataConnection,
    producer: impl Produce,
) -> Result<(), TransferError> {
    run(
        connection,
        SendProduced {
            producer,
            more: true,
            buffer: Vec::new(),
            sent: 0,
        },
    )
    .await
    .map(drop)
}

/// What follows the bytes of a send(2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Others.
    More,
    /// The end of the connection, at once.
    End,
}

/// One send(2); `None` if the client is not ready.
fn send(link: &Link, bytes: &[u8], then: Then) -> Result<Option<usize>, TransferError> {
    let portion = link.portion(bytes.len());
    let flags = match then {
        // The FIN goes with the last segment: one packet less, and the client wakes once.
        Then::End if portion == bytes.len() => SendFlags::NOSIGNAL | SendFlags::MORE,
        Then::End | Then::More => SendFlags::NOSIGNAL,
    };
    let bytes = bytes.get(..portion).unwrap_or(bytes);
    match rustix::net::send(&link.socket, bytes, flags) {
        Ok(sent) => {
            link.monitor.add(sent);
            Ok(Some(sent))
        }
        Err(Errno::AGAIN) => Ok(None),
        Err(Errno::INTR) => Ok(Some(0)),
        Err(error) => Err(TransferError::Connection(error.into())),
    }
}

struct SendFile {
    file: File,
    range: Range<u64>,
}

impl Job for SendFile {
    fn direction(&self) -> Direction {
        Direction::Out
    }

    fn is_long(&self) -> bool {
        false
    }

    fn attempt(&mut self, link: &Link, most: usize) -> Result<Moved, TransferError> {
        let left = self.range.end.saturating_sub(self.range.start);
        if left == 0 {
            return Ok(Moved::End);
        }
        let count = usize::try_from(left.min(SENDFILE_CHUNK)).unwrap_or(usize::MAX);
        let count = link.portion(count.min(most));
        let offset = &mut self.range.start;
        match rustix::fs::sendfile(&link.socket, &self.file, Some(offset), count) {
            Ok(0) => Err(TransferError::Shrunk),
            Ok(sent) => {
                link.monitor.add(sent);
                Ok(Moved::Some(sent as u64))
            }
            Err(Errno::AGAIN) => Ok(Moved::Blocked),
            Err(Errno::INTR) => Ok(Moved::Some(0)),
            // sendfile(2) does not say whose error it is; a disk's is one of these.
            Err(error @ (Errno::IO | Errno::NOMEM | Errno::OVERFLOW | Errno::STALE)) => {
                Err(TransferError::Read(error.into()))
            }
            Err(error) => Err(TransferError::Connection(error.into())),
        }
    }
}

struct SendProduced<P> {
    producer: P,
    more: bool,
    buffer: Vec<u8>,
    sent: usize,
}

impl<P: Produce> Job for SendProduced<P> {
    fn direction(&self) -> Direction {
        Direction::Out
    }

    fn is_long(&self) -> bool {
        self.producer.is_long()
    }

    fn computes(&self) -> bool {
        self.producer.computes()
    }

    // What is produced in one go is little.
    fn attempt(&mut self, link: &Link, _most: usize) -> Result<Moved, TransferError> {
        if self.sent == self.buffer.len() {
            self.buffer.clear();
            self.sent = 0;
            while self.more && self.buffer.len() < PRODUCE_CHUNK / 2 {
                let before = self.buffer.len();
                self.more = self.producer.produce(&mut self.buffer)?;
                if self.buffer.len() == before {
                    // A producer that skips: the step looks at its time and at aborts.
                    break;
                }
            }
            if self.buffer.is_empty() && self.more {
                return Ok(Moved::Some(0));
            }
            if self.buffer.is_empty() {
                return Ok(Moved::End);
            }
        }
        let bytes = self.buffer.get(self.sent..).unwrap_or_default();
        let then = match self.more {
            true => Then::More,
            false => Then::End,
        };
        Ok(match send(link, bytes, then)? {
            Some(sent) => {
                self.sent += sent;
                Moved::Some(sent as u64)
            }
            None => Moved::Blocked,
        })
    }
}
