//! What is sent becomes records, as many at a time as the socket takes.

use super::super::connection::{DataConnection, Direction, Link};
use super::super::error::TransferError;
use super::super::produce::{FileBytes, PRODUCE_CHUNK, Produce, Ready};
use super::super::step::{Job, Moved, run};
use super::moved;
use rustls::ServerConnection;
use std::fs::File;
use std::io::Write;
use std::ops::Range;

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
