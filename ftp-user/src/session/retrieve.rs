//! RFC 959 §4.1.3 RETR, RFC 3659 §5 REST, RANG of draft-bryan-ftp-range-08.

use super::state::Pending;
use super::told::{Whose, shown};
use super::transfer::{Job, Transfer};
use super::{Answer, Session, outcome};
use crate::control::ControlError;
use crate::proto::command::{ByteRange, TypeCode};
use crate::proto::{Code, Reply};
use crate::transfer::AsciiFile;
use crate::vfs::{Vfs, VfsError, VirtualPath};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use tokio::io::{AsyncRead, AsyncWrite};

/// Files up to this size are read while they are opened: one visit to the disk in all.
const SMALL: u64 = 64 << 10;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) fn rest(&mut self, offset: u64) -> Answer {
        self.pending = Pending::Restart(offset);
        Ok(Reply::new(
            Code::ActionPending,
            format!("Restarting at {offset}."),
        ))
    }

    /// RANG (draft-bryan-ftp-range-08 §3), as REST but with an end.
    pub(super) fn rang(&mut self, range: ByteRange) -> Answer {
        self.pending = Pending::Nothing;
        match range {
            ByteRange::All => Ok(Reply::new(Code::ActionPending, "All bytes.")),
            ByteRange::Inclusive(first, last) => {
                self.pending = Pending::Range(first, last);
                let text = format!("Bytes {first} to {last}.");
                Ok(Reply::new(Code::ActionPending, text))
            }
            ByteRange::Backwards => Err(Reply::new(
                Code::ArgumentError,
                "The range ends before it starts; all bytes.",
            )),
        }
    }

    /// Which bytes the transfer sends: REST and RANG are taken by the first command that can use
    /// them.
    fn take_portion(&mut self) -> Portion {
        match std::mem::take(&mut self.pending) {
            Pending::Restart(offset) => Portion::From(offset),
            Pending::Range(first, last) => Portion::Range(first, last.saturating_add(1)),
            Pending::Nothing | Pending::Rename(_) => Portion::From(0),
        }
    }

    pub(super) async fn retr(&mut self, argument: &[u8]) -> Result<Answer, ControlError> {
        let portion = self.take_portion();
        let transfer = match self.open_for_reading(argument, portion).await {
            Ok(transfer) => transfer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.transfer(transfer).await.map(Ok)
    }

    async fn open_for_reading(
        &mut self,
        argument: &[u8],
        portion: Portion,
    ) -> Result<Transfer, Reply> {
        let path = self.path(argument)?;
        self.has_data_connection()?;
        let type_code = self.parameters.type_code;
        if let (Portion::Range(..), TypeCode::Ascii) = (portion, type_code) {
            // Which bytes of a file those are, only the whole conversion knows (§5 of the draft).
            return Err(Reply::new(
                Code::PageTypeUnknown,
                "RANG works in TYPE I only.",
            ));
        }
        let (job, size) = self
            .on_disk({
                let (path, whose) = (path.clone(), self.whose());
                move |vfs| Ok(open(vfs, &path, portion, type_code, whose))
            })
            .await??;
        let mode = match type_code {
            TypeCode::Ascii => "ASCII",
            TypeCode::Image => "BINARY",
        };
        Ok(Transfer {
            verb: "RETR",
            path,
            job,
            opening: format!("Opening {mode} mode data connection ({size} bytes)."),
        })
    }
}

/// Which bytes of a file are wanted.
#[derive(Debug, Clone, Copy)]
enum Portion {
    /// From this one on; it must not lie beyond the end.
    From(u64),
    /// From the first one up to, but without, the second, as far as there are any.
    Range(u64, u64),
}

/// The job, and the bytes that it will send (of the file's own, in ASCII).
fn open(
    vfs: &Vfs,
    path: &VirtualPath,
    portion: Portion,
    type_code: TypeCode,
    Whose { session, client }: Whose,
) -> Result<(Job, u64), Reply> {
    let refuse = |error: VfsError| outcome::of_vfs_error(&error);
    let failed = |error: io::Error| {
        tracing::warn!(session, %client, path = &*shown(path), %error, "cannot read");
        Reply::new(Code::LocalError, "Local error while reading.")
    };
    let (mut file, size) = vfs.open_read(path).map_err(refuse)?;
    match (type_code, portion) {
        (TypeCode::Image, _) => {
            let (offset, size) = match portion {
                Portion::From(offset) => (offset, size),
                // Beyond the end there are no bytes to send (draft-bryan-ftp-range-08 §4.3).
                Portion::Range(first, end) => (first.min(size), end.min(size)),
            };
            let left = size.checked_sub(offset).ok_or_else(outcome::beyond_end)?;
            let job = if left <= SMALL {
                Job::Bytes(read(&mut file, offset, left).map_err(failed)?)
            } else {
                Job::File(file, offset..size)
            };
            Ok((job, left))
        }
        // REST counts bytes of the data stream (RFC 3659 §5.2), which line ends make longer than
        // the file. Where it lies beyond the end shows at the latest while skipping.
        (TypeCode::Ascii, Portion::From(offset) | Portion::Range(offset, _)) => {
            if offset > size.saturating_mul(2) {
                return Err(outcome::beyond_end());
            }
            Ok((Job::Ascii(AsciiFile::new(file, offset)), size))
        }
    }
}

fn read(file: &mut File, offset: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))?;
    }
    file.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}
