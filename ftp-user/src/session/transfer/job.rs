//! What a transfer moves, and its way over the data connection.

use super::super::activity::Presence;
use super::super::list_lines::ListingLines;
use super::super::recursion::Cut;
use super::super::state::DeflateLevel;
use super::super::tls::{self, Secure};
use super::super::told::Whose;
use crate::disk;
use crate::proto::command::Mode;
use crate::transfer::{
    AsciiFile, DataConnection, Deflated, Produce, Rates, Received, TransferError, deflated_bytes,
    deflated_file, receive_file, send_bytes, send_file, send_produced,
};
use crate::vfs::Upload;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

/// What goes over the data connection.
pub(in crate::session) enum Job {
    Bytes(Vec<u8>),
    File(File, Range<u64>),
    Ascii(AsciiFile),
    Listing(ListingLines),
    /// Any of those, compressed.
    Deflated(Box<dyn Produce>),
    Receive(Upload, Received),
}

impl Job {
    /// For a recursive listing: tells of limits that are reached.
    pub(super) fn cut(&self) -> Option<Cut> {
        match self {
            Job::Listing(lines) => lines.cut(),
            Job::Bytes(_) | Job::File(..) | Job::Ascii(_) | Job::Deflated(_) | Job::Receive(..) => {
                None
            }
        }
    }

    /// Whether the client sends.
    pub(super) fn is_upload(&self) -> bool {
        match self {
            Job::Receive(..) => true,
            Job::Bytes(_) | Job::File(..) | Job::Ascii(_) | Job::Listing(_) | Job::Deflated(_) => {
                false
            }
        }
    }

    /// The rates of the session that it has to keep to.
    pub(super) fn rates(&self, presence: &Presence) -> Option<Arc<Rates>> {
        match self.is_upload() {
            true => presence.upload.clone(),
            false => presence.download.clone(),
        }
    }

    /// Drops what is not to be moved after all. To break off an upload that is counted may mean a wait
    /// for whoever counts.
    pub(super) async fn put_away(self, Whose { session, client }: Whose) {
        let long = match &self {
            Job::Receive(upload, _) => upload.ends_long(),
            Job::Bytes(_) | Job::File(..) | Job::Ascii(_) | Job::Listing(_) | Job::Deflated(_) => {
                false
            }
        };
        if let Err(error) = disk::finish(long, move || drop(self)).await {
            tracing::error!(session, %client, %error, "a transfer that did not begin could not be put away");
        }
    }

    /// What goes over the data connection in this mode. What is received is inflated where it is
    /// stored.
    pub(super) fn in_mode(self, mode: Mode, DeflateLevel(level): DeflateLevel) -> Job {
        match (mode, self) {
            (Mode::Stream, job) | (Mode::Deflate, job @ (Job::Deflated(_) | Job::Receive(..))) => {
                job
            }
            (Mode::Deflate, Job::Bytes(bytes)) => {
                Job::Deflated(Box::new(deflated_bytes(bytes, level)))
            }
            (Mode::Deflate, Job::File(file, range)) => {
                Job::Deflated(Box::new(deflated_file(file, range, level)))
            }
            (Mode::Deflate, Job::Ascii(file)) => {
                Job::Deflated(Box::new(Deflated::new(file, level)))
            }
            (Mode::Deflate, Job::Listing(lines)) => {
                Job::Deflated(Box::new(Deflated::new(lines, level)))
            }
        }
    }
}

/// Moves the bytes and closes the data connection, so that a reply comes after the close.
pub(super) async fn perform(
    connection: DataConnection,
    job: Job,
    secure: Option<Secure>,
    whose: Whose,
) -> Result<(), TransferError> {
    let moved = match secure {
        Some(secure) => match tls::begin(&connection, secure).await {
            Ok(tls) => tls::carry(&connection, job, tls).await,
            Err(error) => {
                job.put_away(whose).await;
                Err(error)
            }
        },
        None => carry(&connection, job).await,
    };
    match moved {
        Ok(()) => connection.finish(),
        Err(error) => {
            match error {
                // In stream mode the end of the connection is the end of the file (RFC 959 §3.4.1):
                // what is cut short must not look whole.
                TransferError::Stalled(_)
                | TransferError::Read(_)
                | TransferError::Shrunk
                | TransferError::BeyondEnd
                | TransferError::Inflate(_)
                | TransferError::Tls(_)
                | TransferError::Truncated
                | TransferError::NotResumed
                | TransferError::Crowded(_)
                | TransferError::Worker(_) => connection.reset(),
                TransferError::Aborted | TransferError::Connection(_) | TransferError::Write(_) => {
                    drop(connection);
                }
            }
            Err(error)
        }
    }
}

async fn carry(connection: &DataConnection, job: Job) -> Result<(), TransferError> {
    match job {
        Job::Bytes(bytes) => send_bytes(connection, &bytes).await,
        Job::File(file, range) => send_file(connection, file, range).await,
        Job::Ascii(file) => send_produced(connection, file).await,
        Job::Listing(lines) => send_produced(connection, lines).await,
        Job::Deflated(made) => send_produced(connection, made).await,
        Job::Receive(upload, how) => receive_file(connection, upload, how).await,
    }
}
