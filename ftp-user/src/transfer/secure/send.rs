//! What is sent becomes records, as many at a time as the socket takes.

use super::super::connection::{DataConnection, Direction, Link};
use super::super::error::TransferError;
use super::super::produce::{FileBytes, PRODUCE_CHUNK, Produce, Ready};
use super::super::step::{Job, Moved, run};
use super::Secured;
use std::fs::File;
use std::ops::Range;

/// Sends what a producer makes, and says that this is all.
pub async fn send_secured(
    connection: &DataConnection,
    tls: Secured,
    producer: impl Produce,
) -> Result<(), TransferError> {
    let job = Send {
        tls,
        producer,
        more: true,
        plain: Vec::new(),
    };
    run(connection, job).await.map(drop)
}

/// Sends a file's bytes as they are.
pub async fn send_file_secured(
    connection: &DataConnection,
    tls: Secured,
    file: File,
    range: Range<u64>,
) -> Result<(), TransferError> {
    send_secured(connection, tls, FileBytes { file, range }).await
}

/// Sends bytes that are at hand.
pub async fn send_bytes_secured(
    connection: &DataConnection,
    tls: Secured,
    bytes: Vec<u8>,
) -> Result<(), TransferError> {
    send_secured(connection, tls, Ready(bytes)).await
}

struct Send<P> {
    tls: Secured,
    producer: P,
    more: bool,
    plain: Vec<u8>,
}

impl<P: Produce> Send<P> {
    /// Makes records of the next bytes; none, where the producer skips some.
    fn make(&mut self, link: &Link) -> Result<(), TransferError> {
        self.plain.clear();
        while self.more && self.plain.len() < PRODUCE_CHUNK / 2 {
            self.more = self.producer.produce(&mut self.plain)?;
            if self.plain.is_empty() {
                break;
            }
        }
        self.tls.encrypt(&self.plain)?;
        link.monitor.add(self.plain.len());
        match self.more {
            true => Ok(()),
            false => self.tls.end(),
        }
    }
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
        if self.tls.unsent() > 0 {
            return self.tls.write(link);
        }
        if !self.more {
            return Ok(Moved::End);
        }
        self.make(link)?;
        Ok(Moved::Some(0))
    }
}
