//! RFC 959 §4.1.3 RETR, RFC 3659 §5 REST.

use super::state::Pending;
use super::transfer::{Job, Transfer};
use super::{Answer, Session, outcome};
use crate::control::ControlError;
use crate::proto::command::TypeCode;
use crate::proto::{Code, Reply};
use crate::transfer::AsciiFile;
use crate::vfs::{Vfs, VfsError, VirtualPath};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use tokio::io::{AsyncRead, AsyncWrite};

/// Files up to this size are read while they are opened: one visit to a blocking thread in all.
const SMALL: u64 = 64 << 10;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) fn rest(&mut self, offset: u64) -> Answer {
        self.pending = Pending::Restart(offset);
        Ok(Reply::new(
            Code::ActionPending,
            format!("Restarting at {offset}."),
        ))
    }

    /// Where the transfer starts: REST is taken by the first command that can use it.
    pub(super) fn take_restart(&mut self) -> u64 {
        match std::mem::take(&mut self.pending) {
            Pending::Restart(offset) => offset,
            Pending::Nothing | Pending::Rename(_) => 0,
        }
    }

    pub(super) async fn retr(&mut self, argument: &[u8]) -> Result<Answer, ControlError> {
        let offset = self.take_restart();
        let transfer = match self.open_for_reading(argument, offset).await {
            Ok(transfer) => transfer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.transfer(transfer).await.map(Ok)
    }

    async fn open_for_reading(&mut self, argument: &[u8], offset: u64) -> Result<Transfer, Reply> {
        let path = self.path(argument)?;
        self.has_data_connection()?;
        let type_code = self.parameters.type_code;
        let (job, size) = self
            .on_disk({
                let path = path.clone();
                move |vfs| Ok(open(vfs, &path, offset, type_code))
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

/// The job, and the bytes that it will send (of the file's own, in ASCII).
fn open(
    vfs: &Vfs,
    path: &VirtualPath,
    offset: u64,
    type_code: TypeCode,
) -> Result<(Job, u64), Reply> {
    let refuse = |error: VfsError| outcome::of_vfs_error(&error);
    let failed = |error: io::Error| {
        tracing::warn!(%path, %error, "cannot read");
        Reply::new(Code::LocalError, "Local error while reading.")
    };
    let (mut file, size) = vfs.open_read(path).map_err(refuse)?;
    match type_code {
        TypeCode::Image => {
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
        TypeCode::Ascii if offset > size.saturating_mul(2) => Err(outcome::beyond_end()),
        TypeCode::Ascii => Ok((Job::Ascii(AsciiFile::new(file, offset)), size)),
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
