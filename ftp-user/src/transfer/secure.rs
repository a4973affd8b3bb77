//! The same transfers inside TLS: what goes over the socket are records, made and read here.
//!
//! In pieces of many records, so that encryption runs in stretches and system calls are few.

use super::connection::{DataConnection, Direction, Link};
use super::error::TransferError;
use super::receive::complete;
use super::send::{PRODUCE_CHUNK, Produce};
use super::step::{Job, Moved, run};
use super::store::{Received, Store};
use crate::vfs::Upload;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::{ProtocolVersion, ServerConnection};
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;

/// Plain bytes that become records at one time, and encrypted ones that are taken from the socket.
const CHUNK: usize = 256 << 10;

/// Completes the handshake of a data connection.
pub async fn handshake(
    connection: &DataConnection,
    tls: Box<ServerConnection>,
) -> Result<Box<ServerConnection>, TransferError> {
    Ok(run(connection, Handshake { tls }).await?.tls)
}

/// Sends what a producer makes, and says that this is all.
pub async fn send_secured(
    connection: &DataConnection,
    mut tls: Box<ServerConnection>,
    producer: impl Produce,
) -> Result<(), TransferError> {
    // What waits for the socket is bounded by what is made between two writes.
    tls.set_buffer_limit(None);
    let job = Send {
        tls,
        producer,
        more: true,
        plain: Vec::new(),
        closed: false,
    };
    run(connection, job).await.map(drop)
}

/// Sends a file's bytes as they are.
pub async fn send_file_secured(
    connection: &DataConnection,
    tls: Box<ServerConnection>,
    file: File,
    range: Range<u64>,
) -> Result<(), TransferError> {
    send_secured(connection, tls, FileBytes { file, range }).await
}

/// Sends bytes that are at hand.
pub async fn send_bytes_secured(
    connection: &DataConnection,
    tls: Box<ServerConnection>,
    bytes: Vec<u8>,
) -> Result<(), TransferError> {
    send_secured(connection, tls, Ready(bytes)).await
}

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

/// What one write to the socket, or one read from it, came to.
fn moved(done: io::Result<usize>) -> Result<Moved, TransferError> {
    match done {
        Ok(bytes) => Ok(Moved::Some(bytes as u64)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Moved::Blocked),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Moved::Some(0)),
        Err(error) => Err(TransferError::Connection(error)),
    }
}

/// Ends a connection on an error of TLS; the client is told by an alert if it listens.
fn failed(tls: &mut ServerConnection, link: &Link, error: rustls::Error) -> TransferError {
    // The error is the news; the alert is a courtesy.
    let _ = tls.write_tls(&mut &*link.socket);
    TransferError::Tls(error)
}

struct Handshake {
    tls: Box<ServerConnection>,
}

impl Job for Handshake {
    fn direction(&self) -> Direction {
        match self.tls.wants_write() {
            true => Direction::Out,
            false => Direction::In,
        }
    }

    fn is_long(&self) -> bool {
        false
    }

    fn attempt(&mut self, link: &Link, _most: usize) -> Result<Moved, TransferError> {
        // What TLS 1.3 has to say after a handshake are tickets, and they can wait: see `Receive`.
        let is_over = !self.tls.is_handshaking();
        if is_over && self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            return Ok(Moved::End);
        }
        if self.tls.wants_write() {
            return moved(self.tls.write_tls(&mut &*link.socket));
        }
        if is_over {
            return Ok(Moved::End);
        }
        match moved(self.tls.read_tls(&mut &*link.socket))? {
            Moved::Some(0) => Err(TransferError::Connection(
                io::ErrorKind::UnexpectedEof.into(),
            )),
            read => match self.tls.process_new_packets() {
                Ok(_) => Ok(read),
                Err(error) => Err(failed(&mut self.tls, link, error)),
            },
        }
    }
}

struct Send<P> {
    tls: Box<ServerConnection>,
    producer: P,
    more: bool,
    plain: Vec<u8>,
    closed: bool,
}

impl<P: Produce> Job for Send<P> {
    fn direction(&self) -> Direction {
        Direction::Out
    }

    fn is_long(&self) -> bool {
        self.producer.is_long()
    }

    // What is produced in one go is little, or computes.
    fn attempt(&mut self, link: &Link, _most: usize) -> Result<Moved, TransferError> {
        if self.tls.wants_write() {
            return moved(self.tls.write_tls(&mut &*link.socket));
        }
        if self.closed {
            return Ok(Moved::End);
        }
        self.plain.clear();
        while self.more && self.plain.len() < PRODUCE_CHUNK / 2 {
            self.more = self.producer.produce(&mut self.plain)?;
            if self.plain.is_empty() && self.more {
                // A producer that skips: the step looks at its time and at aborts.
                return Ok(Moved::Some(0));
            }
        }
        let made = self.tls.writer().write_all(&self.plain);
        made.map_err(TransferError::Connection)?;
        link.monitor.add(self.plain.len());
        if !self.more {
            self.tls.send_close_notify();
            self.closed = true;
        }
        Ok(Moved::Some(0))
    }
}

pub(super) struct FileBytes {
    pub(super) file: File,
    pub(super) range: Range<u64>,
}

impl Produce for FileBytes {
    fn produce(&mut self, out: &mut Vec<u8>) -> Result<bool, TransferError> {
        let left = self.range.end.saturating_sub(self.range.start);
        let count = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        if count == 0 {
            return Ok(false);
        }
        let start = out.len();
        out.reserve_exact(count);
        match rustix::io::pread(&self.file, spare_capacity(out), self.range.start) {
            Ok(0) => return Err(TransferError::Shrunk),
            Ok(read) => {
                // A buffer may have more room than was asked for, and the file may have grown.
                out.truncate(start + read.min(count));
                self.range.start += read.min(count) as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(TransferError::Read(error.into())),
        }
        Ok(self.range.start < self.range.end)
    }

    // It makes large pieces of what is to be encrypted or compressed.
    fn is_long(&self) -> bool {
        true
    }
}

pub(super) struct Ready(pub(super) Vec<u8>);

impl Produce for Ready {
    fn produce(&mut self, out: &mut Vec<u8>) -> Result<bool, TransferError> {
        out.append(&mut self.0);
        Ok(false)
    }
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
