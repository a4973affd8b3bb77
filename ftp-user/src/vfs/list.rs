//! Reading a directory as a stream: one kernel buffer of names in memory, one statx for each entry,
//! however many entries there are.

use std::ffi::CStr;

use rustix::fs::Dir;
use rustix::io::Errno;

use super::entry::{Entry, Kind};
use super::error::{Explain as _, VfsError};
use super::path::VirtualPath;
use super::upload::is_temporary;
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

    /// The entries from here on, without "." and "..", in the kernel's order. Each may block on the
    /// disk. One that disappears meanwhile is left out; after an error they end.
    pub fn entries<'a>(&'a mut self, vfs: &'a Vfs) -> Entries<'a> {
        Entries { listing: self, vfs }
    }
}

/// The entries of one directory.
#[derive(Debug)]
pub struct Entries<'a> {
    listing: &'a mut Listing,
    /// Links are resolved from the root: beneath the directory, one with ".." would be refused.
    vfs: &'a Vfs,
}

impl Entries<'_> {
    /// Looks at the entry `name`; a link is shown as what it leads to, if that is inside the root.
    fn look(&self, name: &CStr) -> Result<Entry, Errno> {
        let entry = Entry::of_name(self.listing.directory.fd()?, name)?;
        if entry.kind != Kind::Symlink {
            return Ok(entry);
        }
        let target = resolve::node(&self.vfs.root, &self.listing.path.child(&entry.name))
            .and_then(|node| Entry::of_descriptor(node, entry.name.clone()));
        Ok(target.map_or(entry, |target| Entry {
            through_link: true,
            ..target
        }))
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, VfsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let atomic = self.vfs.rules().atomic;
        loop {
            let looked = match self.listing.directory.read()? {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => continue,
                // It has no name yet, as far as clients are concerned.
                Ok(entry) if atomic && is_temporary(entry.file_name().to_bytes()) => continue,
                Ok(entry) => self.look(entry.file_name()),
                Err(errno) => Err(errno),
            };
            match looked {
                // Removed since the kernel named it.
                Err(Errno::NOENT) => {}
                looked => return Some(looked.explain(ACTION, &self.listing.path)),
            }
        }
    }
}
