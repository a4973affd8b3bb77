//! What went wrong, as replies. The kind of error decides the code; details go to the log.

use crate::disk::Crowded;
use crate::proto::{Code, Reply};
use crate::transfer::TransferError;
use crate::vfs::{ErrorKind, VfsError};
use rustix::io::Errno;
use std::io;

pub(super) fn not_logged_in() -> Reply {
    Reply::new(Code::NotLoggedIn, "Please log in with USER and PASS.")
}

pub(super) fn denied() -> Reply {
    Reply::new(Code::FileUnavailable, "Your account may not do that.")
}

pub(super) fn shutting_down() -> Reply {
    Reply::new(Code::ServiceUnavailable, "The server is shutting down.")
}

pub(super) fn aborted() -> Reply {
    Reply::new(Code::TransferAborted, "Transfer aborted.")
}

/// A recursive listing that is not whole: an error would have clients throw it away.
pub(super) fn cut_short() -> Reply {
    Reply::new(
        Code::TransferComplete,
        "Listing cut short: this server limits what -R lists.",
    )
}

/// Nothing has been done.
pub(super) fn crowded() -> Reply {
    Reply::new(
        Code::LocalError,
        "The file system does not answer in time; try again later.",
    )
}

/// RFC 1123 §4.1.3.4.
pub(super) fn beyond_end() -> Reply {
    Reply::new(Code::InvalidRestart, "That is beyond the end of the file.")
}

pub(super) fn of_vfs_error(error: &VfsError) -> Reply {
    let (code, text) = match error.kind() {
        ErrorKind::NotFound => (Code::FileUnavailable, "No such file or directory."),
        ErrorKind::NotADirectory => (Code::FileUnavailable, "Not a directory."),
        ErrorKind::IsADirectory => (Code::FileUnavailable, "Is a directory."),
        ErrorKind::NotRegular => (Code::FileUnavailable, "Not a regular file."),
        ErrorKind::CrossDevice => (Code::FileUnavailable, "Cannot rename across file systems."),
        ErrorKind::Busy => (Code::FileBusy, "File is busy; try again later."),
        ErrorKind::Denied => (Code::FileUnavailable, "Permission denied."),
        ErrorKind::OutsideRoot => (Code::FileUnavailable, "Leads out of your directory tree."),
        ErrorKind::Exists => (Code::FileUnavailable, "Exists already."),
        ErrorKind::NotEmpty => (Code::FileUnavailable, "Directory is not empty."),
        ErrorKind::NoSpace => (Code::InsufficientStorage, "No space left."),
        ErrorKind::TooLarge => (Code::StorageExceeded, "File too large."),
        ErrorKind::Quota => (Code::StorageExceeded, "Quota exceeded."),
        ErrorKind::BadName => (Code::NameNotAllowed, "Name not allowed."),
        ErrorKind::Offset => return beyond_end(),
        ErrorKind::Io => (Code::LocalError, "Local error while using the file system."),
    };
    Reply::new(code, text)
}

pub(super) fn of_transfer_error(error: &TransferError) -> Reply {
    match error {
        TransferError::Aborted => aborted(),
        TransferError::Stalled(_) => Reply::new(
            Code::TransferAborted,
            "Data connection stalled; transfer aborted.",
        ),
        TransferError::Connection(_) => Reply::new(
            Code::TransferAborted,
            "Data connection broke; transfer aborted.",
        ),
        TransferError::Read(_) => Reply::new(Code::LocalError, "Local error while reading."),
        TransferError::Shrunk => Reply::new(
            Code::LocalError,
            "The file became shorter while it was read.",
        ),
        TransferError::BeyondEnd => beyond_end(),
        TransferError::Write(error) => of_write_error(error),
        TransferError::Inflate(_) => Reply::new(
            Code::TransferAborted,
            "Not one whole zlib stream; transfer aborted.",
        ),
        TransferError::Tls(_) => Reply::new(
            Code::TransferAborted,
            "TLS failed on the data connection; transfer aborted.",
        ),
        TransferError::Truncated => Reply::new(
            Code::TransferAborted,
            "Data connection ended without TLS close_notify; the file may be incomplete.",
        ),
        TransferError::NotResumed => Reply::new(
            Code::NOT_THIS_SESSION,
            "The data connection must resume the TLS session of the control connection.",
        ),
        TransferError::Crowded(Crowded) => crowded(),
        TransferError::Worker(_) => Reply::new(Code::LocalError, "Internal error."),
    }
}

fn of_write_error(error: &io::Error) -> Reply {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => Reply::new(Code::InsufficientStorage, "No space left."),
        Some(Errno::DQUOT) => Reply::new(Code::StorageExceeded, "Quota exceeded."),
        Some(Errno::FBIG) => Reply::new(Code::StorageExceeded, "File too large."),
        _ => Reply::new(Code::LocalError, "Local error while writing."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_not_a_broken_one() {
        let code = |errno: Errno| of_transfer_error(&TransferError::Write(errno.into())).code();
        assert_eq!(code(Errno::NOSPC), Code::InsufficientStorage);
        assert_eq!(code(Errno::DQUOT), Code::StorageExceeded);
        assert_eq!(code(Errno::FBIG), Code::StorageExceeded);
        assert_eq!(code(Errno::IO), Code::LocalError);
    }
}
