//! Why a transfer did not come to its end.

use crate::disk::{Crowded, DiskError};
use std::io;
use std::time::Duration;

/// Why a transfer did not come to its end. The session turns it into a reply code.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// [`super::Monitor::abort`] was called.
    #[error("aborted")]
    Aborted,
    /// The client moved no byte for `timeouts.stall`.
    #[error("the client moved no byte for {}s", .0.as_secs())]
    Stalled(Duration),
    /// The data connection broke.
    #[error("data connection: {0}")]
    Connection(io::Error),
    /// The file could not be read.
    #[error("reading: {0}")]
    Read(io::Error),
    /// The file could not be written.
    #[error("writing: {0}")]
    Write(io::Error),
    /// The file lost bytes while it was sent.
    #[error("the file became shorter while it was sent")]
    Shrunk,
    /// The transfer was to start behind the last byte.
    #[error("the file ends before the byte to start at")]
    BeyondEnd,
    /// In MODE Z, what the client sent is no zlib stream, or not a whole one.
    #[error("the data is not one zlib stream: {0}")]
    Inflate(&'static str),
    /// TLS on the data connection failed.
    #[error("data connection: TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The data connection ended without TLS saying so (RFC 8446 §6.1): bytes may be missing.
    #[error("the data connection ended without a TLS close_notify")]
    Truncated,
    /// The data connection's TLS session is not the control connection's.
    #[error("the data connection did not resume the control connection's TLS session")]
    NotResumed,
    /// Too much waits for the file system already.
    #[error(transparent)]
    Crowded(#[from] Crowded),
    /// A worker thread ended without an answer.
    #[error("a transfer worker failed: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

impl From<DiskError> for TransferError {
    fn from(error: DiskError) -> TransferError {
        match error {
            DiskError::Crowded(crowded) => TransferError::Crowded(crowded),
            DiskError::Worker(error) => TransferError::Worker(error),
        }
    }
}
