//! The same transfers inside TLS: what goes over the socket are records, made and read here.
//!
//! In pieces of many records, so that encryption runs in stretches and system calls are few.

mod buffer;
mod receive;
mod secured;
mod send;
#[cfg(test)]
mod tests;

pub use self::receive::receive_secured;
pub use self::secured::Secured;
pub use self::send::{send_bytes_secured, send_file_secured, send_secured};
use super::connection::{DataConnection, Direction, Link};
use super::error::TransferError;
use super::step::{Job, Moved, run};
use rustls::ProtocolVersion;
use rustls::server::UnbufferedServerConnection;
use std::io;

/// What a handshake takes in at a time, with what may follow it.
const PIECE: usize = 16 << 10;

/// Shakes hands on a data connection.
pub async fn handshake(
    connection: &DataConnection,
    tls: Box<UnbufferedServerConnection>,
) -> Result<Secured, TransferError> {
    let tls = Secured::new(tls);
    Ok(run(connection, Handshake { tls }).await?.tls)
}

struct Handshake {
    tls: Secured,
}

impl Job for Handshake {
    fn direction(&self) -> Direction {
        match self.tls.unsent() {
            0 => Direction::In,
            _ => Direction::Out,
        }
    }

    fn is_long(&self) -> bool {
        false
    }

    fn attempt(&mut self, link: &Link, _most: usize) -> Result<Moved, TransferError> {
        // What TLS 1.3 has to say after a handshake are tickets, and they can wait: see `Receive`.
        let is_over = !self.tls.is_handshaking();
        if is_over && self.tls.version() == Some(ProtocolVersion::TLSv1_3) {
            return Ok(Moved::End);
        }
        if self.tls.unsent() > 0 {
            return self.tls.write(link);
        }
        if is_over {
            return Ok(Moved::End);
        }
        match self.tls.read(link, PIECE)? {
            Moved::End => Err(TransferError::Connection(
                io::ErrorKind::UnexpectedEof.into(),
            )),
            read => Ok(read),
        }
    }
}
