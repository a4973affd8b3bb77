//! Several files become one (COMB), step by step: nobody's thread is held for the whole of it, and of
//! the parts, however many, one is open at a time.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::{Duration, Instant};

use rustix::fs::{fstat, ftruncate};
use rustix::io::Errno;

use super::error::{ErrorKind, Explain as _};
use super::path::VirtualPath;
use super::quota::{Inode, inode};
use super::{Tree, Upload, Vfs, VfsError, Write};

/// Bytes copied before anybody is asked whether to go on.
const CHUNK: u64 = 8 << 20;
const ACTION: &str = "combine into";

/// Parts that are appended to a target, in order, and then removed. Dropped before all is appended, it
/// leaves the target as it was; the parts are as they were unless it was their removal that failed.
#[derive(Debug)]
pub struct Combination {
    tree: Tree,
    target: VirtualPath,
    /// How long the target was, if it was there.
    existed: Option<u64>,
    /// The target, until all is appended.
    into: Option<Upload>,
    parts: Vec<(VirtualPath, Inode)>,
    /// The part whose turn it is, to be appended or to be removed.
    turn: usize,
    /// That part, and how much of it is left.
    from: Option<(File, u64)>,
    copied: u64,
}

/// How far one is after a step.
#[derive(Debug)]
pub enum Combining {
    /// There is more to do.
    More(Box<Combination>),
    /// So many bytes have been appended.
    Done(u64),
}

impl Combination {
    /// Looks whether it can be done, and makes the target if need be.
    pub fn begin(
        tree: &Tree,
        target: VirtualPath,
        parts: Vec<VirtualPath>,
    ) -> Result<Combination, VfsError> {
        tree.act(|vfs| {
            let mut known = Vec::with_capacity(parts.len());
            for part in parts {
                let (_, _, same) = open(vfs, &part)?;
                if known.iter().any(|&(_, other)| other == same) {
                    return Err(VfsError::refused(ACTION, &part, ErrorKind::Exists));
                }
                known.push((part, same));
            }
            let existed = match open(vfs, &target) {
                Ok((_, size, same)) => {
                    if known.iter().any(|&(_, part)| part == same) {
                        return Err(VfsError::refused(ACTION, &target, ErrorKind::Exists));
                    }
                    Some(size)
                }
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let into = vfs.open_write(&target, Write::Append)?;
            Ok(Combination {
                tree: tree.clone(),
                target,
                existed,
                into: Some(into),
                parts: known,
                turn: 0,
                from: None,
                copied: 0,
            })
        })
    }

    /// Goes on for about so long. `go_on` is told of bytes copied and may say no, which is an error.
    pub fn step(
        mut self,
        time: Duration,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<Combining, VfsError> {
        let begun = Instant::now();
        let tree = self.tree.clone();
        let over = tree.act(|vfs| {
            loop {
                match self.advance(vfs, &mut go_on)? {
                    false if begun.elapsed() < time => {}
                    over => return Ok(over),
                }
            }
        })?;
        Ok(match over {
            true => Combining::Done(self.copied),
            false => Combining::More(Box::new(self)),
        })
    }

    /// Does the next thing. Says whether that was the last.
    fn advance(
        &mut self,
        vfs: &Vfs,
        go_on: &mut impl FnMut(usize) -> bool,
    ) -> Result<bool, VfsError> {
        match (self.parts.get(self.turn), self.into.take()) {
            (Some((part, same)), Some(mut into)) => {
                let appended = append(vfs, part, *same, &mut self.from, &mut into, &self.target);
                self.into = Some(into);
                let count = appended?;
                self.copied += count;
                if self.from.is_none() {
                    self.turn += 1;
                }
                match go_on(usize::try_from(count).unwrap_or(usize::MAX)) {
                    true => Ok(false),
                    false => failed(Errno::CANCELED.into(), &self.target),
                }
            }
            (None, Some(into)) => {
                into.complete()
                    .or_else(|error| failed(error, &self.target))?;
                self.turn = 0;
                Ok(false)
            }
            (Some((part, _)), None) => {
                vfs.remove_file(part)?;
                self.turn += 1;
                Ok(false)
            }
            (None, None) => Ok(true),
        }
    }
}

impl Drop for Combination {
    /// Makes the target as it was: so long, or not there.
    fn drop(&mut self) {
        let Some(mut into) = self.into.take() else {
            return;
        };
        let undone = match self.existed {
            Some(size) => into
                .store(0, |file| Ok(ftruncate(file, size)?))
                .or_else(|error| failed(error, &self.target)),
            None => {
                drop(into);
                self.tree.act(|vfs| vfs.remove_file(&self.target))
            }
        };
        if let Err(error) = undone {
            tracing::error!(target = %self.target, %error, "a failed COMB could not be undone");
        }
    }
}

/// Appends the next bytes of a part and tells how many; `from` is what is left of it then.
fn append(
    vfs: &Vfs,
    part: &VirtualPath,
    same: Inode,
    from: &mut Option<(File, u64)>,
    into: &mut Upload,
    target: &VirtualPath,
) -> Result<u64, VfsError> {
    let (mut file, left) = match from.take() {
        Some(opened) => opened,
        None => {
            let (file, size, found) = open(vfs, part)?;
            if found != same {
                // Another one has taken its name, which may be the target itself.
                return failed(Errno::STALE.into(), part);
            }
            (file, size)
        }
    };
    let count = left.min(CHUNK);
    // In the kernel, by copy_file_range(2), where the file systems allow.
    let copy = |to: &mut File| match io::copy(&mut (&mut file).take(count), to)? {
        copied if copied == count => Ok(()),
        // It became shorter meanwhile.
        _ => Err(Errno::STALE.into()),
    };
    into.store(usize::try_from(count).unwrap_or(usize::MAX), copy)
        .or_else(|error| failed(error, target))?;
    *from = Some((file, left - count)).filter(|&(_, left)| left > 0);
    Ok(count)
}

/// A file, its size, and what it is whatever it is called.
fn open(vfs: &Vfs, path: &VirtualPath) -> Result<(File, u64, Inode), VfsError> {
    let (file, size) = vfs.open_read(path)?;
    let same = inode(&fstat(&file).explain(ACTION, path)?);
    Ok((file, size, same))
}

fn failed<T>(error: io::Error, path: &VirtualPath) -> Result<T, VfsError> {
    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
    Err(errno).explain(ACTION, path)
}

#[cfg(test)]
mod tests;
