//! From the client into a file: as it is (splice), or from ASCII.

use super::connection::{DataConnection, Direction, Link};
use super::error::TransferError;
use super::step::{Job, Moved, run};
use crate::proto::ascii::FromNetwork;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

/// The pipe between socket and file: as much as an unprivileged pipe may hold. With less, each
/// round moves less than its two system calls cost.
const PIPE: usize = 1 << 20;
/// For files that cannot be spliced into, and for ASCII.
const BUFFER: usize = 256 << 10;

/// How the bytes that come in are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// As they are (TYPE I).
    Image,
    /// CRLF becomes LF (TYPE A).
    Ascii,
}

/// Stores what the client sends, from the file's position on, until the client ends the connection.
/// What came in before a failure stays in the file.
pub async fn receive_file(
    connection: &DataConnection,
    file: File,
    how: Received,
) -> Result<(), TransferError> {
    let file = match how {
        Received::Image => match run(
            connection,
            SpliceFile {
                file,
                pipe: None,
                odd: false,
            },
        )
        .await?
        {
            SpliceFile { odd: false, .. } => return Ok(()),
            SpliceFile { file, .. } => file,
        },
        Received::Ascii => file,
    };
    let convert = (how == Received::Ascii).then(FromNetwork::default);
    let copy = CopyFile {
        file,
        buffer: Vec::new(),
        converted: Vec::new(),
        convert,
    };
    run(connection, copy).await.map(drop)
}

/// Socket → pipe → file: the bytes are copied once, by the file system, and never seen here.
struct SpliceFile {
    file: File,
    pipe: Option<(OwnedFd, OwnedFd)>,
    /// The file turned out to be of a kind that cannot be spliced into.
    odd: bool,
}

impl Job for SpliceFile {
    fn direction(&self) -> Direction {
        Direction::In
    }

    fn attempt(&mut self, link: &Link) -> Result<Moved, TransferError> {
        let (out, into) = match &mut self.pipe {
            Some(pipe) => pipe,
            none => none.insert(pipe().map_err(TransferError::Write)?),
        };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let taken = match splice(&link.socket, None, into, None, PIPE, flags) {
            Ok(0) => return Ok(Moved::End),
            Ok(taken) => taken,
            // The pipe is empty, so it is the client who is not ready.
            Err(Errno::AGAIN) => return Ok(Moved::Blocked),
            Err(Errno::INTR) => return Ok(Moved::Some(0)),
            Err(error) => return Err(TransferError::Connection(error.into())),
        };
        link.monitor.add(taken);
        let mut left = taken;
        while left > 0 {
            match splice(&out, None, &self.file, None, left, SpliceFlags::MOVE) {
                Ok(0) => return Err(TransferError::Write(io::ErrorKind::WriteZero.into())),
                Ok(stored) => left = left.saturating_sub(stored),
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) => {
                    drain(out, left, &mut self.file).map_err(TransferError::Write)?;
                    self.odd = true;
                    return Ok(Moved::End);
                }
                Err(error) => return Err(TransferError::Write(error.into())),
            }
        }
        Ok(Moved::Some(taken as u64))
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (out, into) = pipe_with(PipeFlags::CLOEXEC)?;
    // Refused beyond fs.pipe-user-pages-soft; then the default size has to do.
    let _ = fcntl_setpipe_size(&into, PIPE);
    Ok((out, into))
}

/// Copies what the pipe holds.
fn drain(pipe: &OwnedFd, bytes: usize, file: &mut File) -> io::Result<()> {
    let mut reader = File::from(pipe.try_clone()?).take(bytes as u64);
    io::copy(&mut reader, file).map(drop)
}

/// Socket → memory → file.
struct CopyFile {
    file: File,
    buffer: Vec<u8>,
    converted: Vec<u8>,
    convert: Option<FromNetwork>,
}

impl Job for CopyFile {
    fn direction(&self) -> Direction {
        Direction::In
    }

    fn attempt(&mut self, link: &Link) -> Result<Moved, TransferError> {
        self.buffer.resize(BUFFER, 0);
        let (taken, end) =
            match rustix::net::recv(&link.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((taken, _)) => (taken, taken == 0),
                Err(Errno::AGAIN) => return Ok(Moved::Blocked),
                Err(Errno::INTR) => return Ok(Moved::Some(0)),
                Err(error) => return Err(TransferError::Connection(error.into())),
            };
        link.monitor.add(taken);
        let bytes = self.buffer.get(..taken).unwrap_or_default();
        let bytes = match &mut self.convert {
            None => bytes,
            Some(convert) => {
                self.converted.clear();
                convert.convert(bytes, &mut self.converted);
                if end {
                    convert.finish(&mut self.converted);
                }
                &self.converted
            }
        };
        self.file.write_all(bytes).map_err(TransferError::Write)?;
        Ok(if end {
            Moved::End
        } else {
            Moved::Some(taken as u64)
        })
    }
}
