//! The same transfers inside TLS: what goes over the socket are records, made and read here.
//!
//! In pieces of many records, so that encryption runs in stretches and system calls are few.

mod receive;
mod send;

pub use self::receive::receive_secured;
pub use self::send::{send_bytes_secured, send_file_secured, send_secured};
use super::connection::{DataConnection, Direction, Link};
use super::error::TransferError;
use super::step::{Job, Moved, run};
use rustls::{ProtocolVersion, ServerConnection};
use std::io;

/// Completes the handshake of a data connection.
pub async fn handshake(
    connection: &DataConnection,
    tls: Box<ServerConnection>,
) -> Result<Box<ServerConnection>, TransferError> {
    Ok(run(connection, Handshake { tls }).await?.tls)
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
