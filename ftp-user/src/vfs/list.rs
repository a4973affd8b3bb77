//! Reading a directory as a stream: one kernel buffer of names in memory, one statx for each entry,
//! however many entries there are.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::Dir;
use rustix::io::Errno;

use super::entry::{Entry, Kind};
use super::error::{Explain as _, VfsError};
use super::path::VirtualPath;
use super::resolve;

const ACTION: &str = "list";

/// The entries of one directory. Each call of `next` may block on the disk.
///
/// An entry that disappears while the listing runs is left out. After an error it ends.
#[derive(Debug)]
pub struct Listing {
    /// Links are resolved from the root: beneath the directory, one with ".." would be refused.
    root: Arc<OwnedFd>,
    path: VirtualPath,
    directory: Dir,
}

impl Listing {
    pub(super) fn open(root: Arc<OwnedFd>, path: &VirtualPath) -> Result<Listing, VfsError> {
        let descriptor = resolve::readable_directory(&root, path).explain(ACTION, path)?;
        let directory = Dir::new(descriptor).explain(ACTION, path)?;
        Ok(Listing {
            root,
            path: path.clone(),
            directory,
        })
    }

    /// Looks at the entry `name`; a link is shown as what it leads to, if that is inside the root.
    fn look(&self, name: &CStr) -> Result<Entry, Errno> {
        let entry = Entry::of_name(self.directory.fd()?, name)?;
        if entry.kind != Kind::Symlink {
            return Ok(entry);
        }
        let target = resolve::node(&self.root, &self.path.child(&entry.name))
            .and_then(|node| Entry::of_descriptor(node, entry.name.clone()));
        Ok(target.unwrap_or(entry))
    }
}

impl Iterator for Listing {
    type Item = Result<Entry, VfsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let looked = match self.directory.read()? {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => continue,
                Ok(entry) => self.look(entry.file_name()),
                Err(errno) => Err(errno),
            };
            match looked {
                // Removed since the kernel named it.
                Err(Errno::NOENT) => {}
                looked => return Some(looked.explain(ACTION, &self.path)),
            }
        }
    }
}
