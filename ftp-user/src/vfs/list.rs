//! Reading a directory as a stream: one kernel buffer of names in memory, at most one statx for each entry,
//! however many entries there are.

use std::ffi::CStr;

use rustix::fs::{Dir, DirEntry};
use rustix::io::Errno;

use super::entry::Entry;
use super::error::{Explain as _, VfsError};
use super::path::VirtualPath;
use super::upload::is_unfinished;
use super::{Vfs, resolve};

const ACTION: &str = "list";

/// A directory that is being read. It may be left and gone on with.
#[derive(Debug)]
pub struct Listing {
    path: VirtualPath,
    directory: Dir,
}

impl Listing {
    pub(super) fn open(vfs: &Vfs, path: &VirtualPath) -> Result<Listing, VfsError> {
        let descriptor = resolve::readable_directory(&vfs.root, path).explain(ACTION, path)?;
        let directory = Dir::new(descriptor).explain(ACTION, path)?;
        Ok(Listing {
            path: path.clone(),
            directory,
        })
    }

    /// Reads the next name, and `looks` at what has it if the name is `wanted`. May block on the disk.
    /// "." and ".." are left out; the order is the kernel's.
    pub fn next(
        &mut self,
        vfs: &Vfs,
        looks: bool,
        wanted: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Next<Entry>, VfsError> {
        match self.read(vfs)? {
            None => Ok(Next::End),
            Some(found) if !wanted(found.file_name().to_bytes()) => Ok(Next::Passed),
            Some(found) if looks => self.look(found.file_name()),
            Some(found) => Ok(Next::Found(Entry::of_nothing_but(found.file_name()))),
        }
    }

    /// Looks at what has the `name`: a link itself, or whoever empties the folders that are listed would
    /// empty those that links lead to.
    fn look(&self, name: &CStr) -> Result<Next<Entry>, VfsError> {
        let directory = self.directory.fd().explain(ACTION, &self.path)?;
        Ok(match Entry::of_name(directory, name) {
            Ok(entry) => Next::Found(entry),
            // Removed since the kernel named it.
            Err(Errno::NOENT) => Next::Passed,
            // Another user's FUSE mount, a broken one, a directory that one may read and not search:
            // none of it says anything about the others.
            Err(errno) => {
                tracing::debug!(directory = %self.path, ?name, %errno, "cannot look at an entry");
                Next::Found(Entry::of_nothing_but(name))
            }
        })
    }

    fn read(&mut self, vfs: &Vfs) -> Result<Option<DirEntry>, VfsError> {
        loop {
            match self.directory.read() {
                None => return Ok(None),
                Some(Ok(entry)) => {
                    let name = entry.file_name();
                    let is_hidden = match name.to_bytes() {
                        b"." | b".." => true,
                        // It has no name yet, as far as clients are concerned.
                        _ if vfs.rules().atomic => self
                            .directory
                            .fd()
                            .is_ok_and(|directory| is_unfinished(directory, name)),
                        _ => false,
                    };
                    if !is_hidden {
                        return Ok(Some(entry));
                    }
                }
                Some(Err(errno)) => return Err(errno).explain(ACTION, &self.path),
            }
        }
    }
}

/// What reading one more name of a directory came to.
#[derive(Debug)]
pub enum Next<T> {
    /// One that is wanted.
    Found(T),
    /// Nothing: the name was not wanted, or is gone.
    Passed,
    /// There are no more.
    End,
}

impl<T> Next<T> {
    /// The same with what is made of what was found.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Next<U> {
        match self {
            Next::Found(found) => Next::Found(make(found)),
            Next::Passed => Next::Passed,
            Next::End => Next::End,
        }
    }
}
