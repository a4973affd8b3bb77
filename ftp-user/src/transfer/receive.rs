//! From the client into a file: as it is (splice), or by way of `store`.

use super::connection::{DataConnection, Direction, Link};
use super::error::TransferError;
use super::step::{Job, Moved, run};
use super::store::{Received, Store};
use crate::disk;
use crate::vfs::Upload;
use rustix::buffer::{Buffer, spare_capacity};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

/// The pipe between socket and file: as much as an unprivileged pipe may hold. With less, each
/// round moves less than its two system calls cost.
const PIPE: usize = 1 << 20;
/// A pipe that holds less is of no use: copying moves more at a time.
const LEAST_PIPE: usize = 64 << 10;

/// Stores what the client sends until the client ends the connection, and completes the upload.
/// After a failure it is broken off.
pub async fn receive_file(
    connection: &DataConnection,
    upload: Upload,
    how: Received,
) -> Result<(), TransferError> {
    let upload = if how == Received::AS_THEY_ARE {
        let splice = SpliceFile {
            upload,
            pipe: None,
            copied: false,
        };
        match run(connection, splice).await? {
            SpliceFile {
                copied: false,
                upload,
                ..
            } => return complete(upload).await,
            SpliceFile { upload, .. } => upload,
        }
    } else {
        upload
    };
    let copy = CopyFile {
        store: Store::new(upload, how),
        buffer: Vec::new(),
    };
    complete(run(connection, copy).await?.store.into_upload()).await
}

/// Gives a file that is whole its name, where it has not got it yet, and closes it: file work, too.
pub(super) async fn complete(upload: Upload) -> Result<(), TransferError> {
    let done = disk::finish(upload.ends_long(), || upload.complete()).await?;
    done.map_err(TransferError::Write)
}

/// Socket → pipe → file: the bytes are copied once, by the file system, and never seen here.
struct SpliceFile {
    upload: Upload,
    pipe: Option<(OwnedFd, OwnedFd)>,
    /// What is left has to be copied: the file is of a kind that cannot be spliced into, or there
    /// is no pipe that is worth it.
    copied: bool,
}

impl Job for SpliceFile {
    fn direction(&self) -> Direction {
        Direction::In
    }

    fn is_long(&self) -> bool {
        self.upload.is_counted()
    }

    fn ends_long(&self) -> bool {
        self.upload.ends_long()
    }

    fn attempt(&mut self, link: &Link, most: usize) -> Result<Moved, TransferError> {
        if most < PIPE && self.pipe.is_none() {
            return self.copy(link, most);
        }
        let (out, into) = match &mut self.pipe {
            Some(pipe) => pipe,
            none => match pipe().map_err(TransferError::Write)? {
                Some(pipe) => none.insert(pipe),
                None => {
                    self.copied = true;
                    return Ok(Moved::End);
                }
            },
        };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let most = link.portion(PIPE.min(most));
        let taken = match splice(&link.socket, None, into, None, most, flags) {
            Ok(0) => return Ok(Moved::End),
            Ok(taken) => taken,
            // The pipe is empty, so it is the client who is not ready.
            Err(Errno::AGAIN) => return Ok(Moved::Blocked),
            Err(Errno::INTR) => return Ok(Moved::Some(0)),
            Err(error) => return Err(TransferError::Connection(error.into())),
        };
        link.monitor.add(taken);
        let stored = self.upload.store(taken, |file| empty(out, file, taken));
        self.copied = stored.map_err(TransferError::Write)?;
        Ok(match self.copied {
            true => Moved::End,
            false => Moved::Some(taken as u64),
        })
    }
}

impl SpliceFile {
    /// Without the pipe, which is not worth its while for what there may be.
    fn copy(&mut self, link: &Link, most: usize) -> Result<Moved, TransferError> {
        let mut bytes = Vec::with_capacity(link.portion(most));
        let moved = take(link, spare_capacity(&mut bytes))?;
        if !bytes.is_empty() {
            let stored = self
                .upload
                .store(bytes.len(), |file| file.write_all(&bytes));
            stored.map_err(TransferError::Write)?;
        }
        Ok(moved)
    }
}

/// Takes bytes from the client. The end of the connection is theirs.
fn take(link: &Link, into: impl Buffer<u8>) -> Result<Moved, TransferError> {
    match recv(&link.socket, into, RecvFlags::empty()) {
        Ok((_, 0)) => Ok(Moved::End),
        Ok((_, taken)) => {
            link.monitor.add(taken);
            Ok(Moved::Some(taken as u64))
        }
        Err(Errno::AGAIN) => Ok(Moved::Blocked),
        Err(Errno::INTR) => Ok(Moved::Some(0)),
        Err(error) => Err(TransferError::Connection(error.into())),
    }
}

/// Moves what the pipe holds into the file. Says whether it had to be copied because the file is of
/// a kind that cannot be spliced into.
fn empty(pipe: &OwnedFd, file: &mut File, bytes: usize) -> io::Result<bool> {
    let mut left = bytes;
    while left > 0 {
        match splice(pipe, None, &*file, None, left, SpliceFlags::MOVE) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(stored) => left = left.saturating_sub(stored),
            Err(Errno::INTR) => {}
            Err(Errno::INVAL) => return drain(pipe, left, file).map(|()| true),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// `None`: only one that is too small. Beyond fs.pipe-user-pages-soft the kernel enlarges none, and
/// those that are made then hold two pages (fs/pipe.c, `alloc_pipe_info`).
fn pipe() -> io::Result<Option<(OwnedFd, OwnedFd)>> {
    let (out, into) = pipe_with(PipeFlags::CLOEXEC)?;
    let holds = fcntl_setpipe_size(&into, PIPE).or_else(|_| fcntl_getpipe_size(&into))?;
    Ok((holds >= LEAST_PIPE).then_some((out, into)))
}

/// Copies what the pipe holds.
fn drain(pipe: &OwnedFd, bytes: usize, file: &mut File) -> io::Result<()> {
    let mut reader = File::from(pipe.try_clone()?).take(bytes as u64);
    io::copy(&mut reader, file).map(drop)
}

/// Socket → memory → file.
struct CopyFile {
    store: Store,
    buffer: Vec<u8>,
}

impl Job for CopyFile {
    fn direction(&self) -> Direction {
        Direction::In
    }

    fn is_long(&self) -> bool {
        self.store.is_long()
    }

    fn computes(&self) -> bool {
        self.store.computes()
    }

    fn ends_long(&self) -> bool {
        self.store.ends_long()
    }

    fn attempt(&mut self, link: &Link, most: usize) -> Result<Moved, TransferError> {
        let most = self.store.appetite().min(most);
        self.buffer.resize(link.portion(most), 0);
        let moved = take(link, &mut self.buffer[..])?;
        match moved {
            Moved::End => self.store.finish()?,
            Moved::Some(taken) => {
                let taken = self.buffer.get(..taken as usize).unwrap_or_default();
                self.store.take(taken)?;
            }
            Moved::Blocked => {}
        }
        Ok(moved)
    }
}

#[cfg(test)]
mod tests;
