//! What is sent becomes records, as many at a time as the socket takes.

use super::super::connection::{DataConnection, Direction, Link};
use super::super::error::TransferError;
use super::super::produce::{FileBytes, PRODUCE_CHUNK, Produce, Ready};
use super::super::step::{Job, Moved, run};
use super::Secured;
use std::fs::File;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Bytes of records that are sent together: a client that is faster than we are sleeps and is woken
/// for each. With the file's bytes of one of them they stay in a core's cache ...
const BATCH: usize = 512 << 10;
/// ... and what takes longer than that to make is sent at once.
const SOON: Duration = Duration::from_millis(1);

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
            let before = self.plain.len();
            self.more = self.producer.produce(&mut self.plain)?;
            if self.plain.len() == before {
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

    fn computes(&self) -> bool {
        self.producer.computes()
    }

    fn attempt(&mut self, link: &Link, most: usize) -> Result<Moved, TransferError> {
        if self.tls.unsent() > 0 {
            return self.tls.write(link);
        }
        if !self.more {
            return Ok(Moved::End);
        }
        let started = Instant::now();
        while self.more && self.tls.unsent() < most.min(BATCH) && started.elapsed() < SOON {
            self.make(link)?;
        }
        Ok(Moved::Some(0))
    }
}
