//! LIST -R and NLST -R: which directories come behind the first, and when it is enough. How a listing
//! looks is not known here.

use crate::config::Limits;
use crate::vfs::{Entry, Kind, Listing, Vfs, VfsError, VirtualPath};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A listing that goes on with the directories that it shows, each before the next one beside it. What
/// it shows of the first directory is what it would show without; limits are for what is below.
#[derive(Debug)]
pub(super) struct Recursion {
    /// The first directory.
    base: VirtualPath,
    /// What headings call it.
    label: Vec<u8>,
    /// From there to the directory that is being listed, name by name.
    at: Vec<Vec<u8>>,
    /// Directories that it has shown, in the same order.
    found: Vec<Vec<u8>>,
    /// Directories still to be listed, the next one at the end, each with how many names lead from the
    /// first directory to its parent. A whole path for each would be megabytes.
    pending: Vec<(usize, Vec<u8>)>,
    /// Entries that may still be read.
    left: usize,
    most: Most,
    cut: Cut,
}

/// How far a listing goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// Entries of the directories below the first, and directories to remember of the first.
    entries: usize,
    /// Directories, one in the other, below the first.
    depth: usize,
}

impl Most {
    /// `None`: the admin wants none of it.
    pub(super) fn of(limits: &Limits) -> Option<Most> {
        let (entries, depth) = (limits.recursive_entries, limits.recursive_depth);
        (entries > 0 && depth > 0).then_some(Most { entries, depth })
    }
}

/// Whether a listing has come to a limit.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut(Arc<AtomicBool>);

impl Cut {
    /// So far.
    pub(super) fn is_short(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Recursion {
    /// Of `base`, which headings call `label`.
    pub(super) fn new(base: VirtualPath, label: &[u8], most: Most) -> Recursion {
        Recursion {
            base,
            label: label.to_vec(),
            at: Vec::new(),
            found: Vec::new(),
            pending: Vec::new(),
            left: most.entries,
            most,
            cut: Cut::default(),
        }
    }

    /// Tells of limits that are reached.
    pub(super) fn cut(&self) -> Cut {
        self.cut.clone()
    }

    /// A name has been read; may it count? If not, all is over.
    pub(super) fn admits_one(&mut self) -> bool {
        if self.at.is_empty() {
            return true;
        }
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                self.found.clear();
                self.pending.clear();
                self.cut.set();
                return false;
            }
        }
        true
    }

    /// An entry is shown. Its turn comes, if it is a directory; a link may lead anywhere in the tree,
    /// also to where it lies.
    pub(super) fn shown(&mut self, entry: &Entry) {
        if entry.kind != Kind::Dir {
            return;
        }
        if self.at.len() < self.most.depth && self.found.len() < self.most.entries {
            self.found.push(entry.name.clone());
        } else {
            self.cut.set();
        }
    }

    /// The next directory that is still there and that can be read. Others are passed over, as by `ls`,
    /// which complains as well.
    pub(super) fn next(&mut self, vfs: &Vfs) -> Option<Listing> {
        let depth = self.at.len();
        let found = self.found.drain(..).rev();
        self.pending.extend(found.map(|name| (depth, name)));
        while let Some((depth, name)) = self.pending.pop() {
            self.at.truncate(depth);
            self.at.push(name);
            match self.path().and_then(|path| vfs.list(&path)) {
                Ok(listing) => return Some(listing),
                Err(error) => tracing::debug!(%error, "passed over by a recursive listing"),
            }
        }
        None
    }

    /// What stands above the entries of the directory that is being listed, but for the colon.
    pub(super) fn heading(&self) -> Vec<u8> {
        let mut heading = self.label.clone();
        for name in &self.at {
            if heading.last().is_some_and(|&last| last != b'/') {
                heading.push(b'/');
            }
            heading.extend_from_slice(name);
        }
        heading
    }

    fn path(&self) -> Result<VirtualPath, VfsError> {
        let mut names = self.at.iter();
        names.try_fold(self.base.clone(), |path, name| path.join(name))
    }
}
