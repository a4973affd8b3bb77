//! One account's file tree: every path that a client names is resolved here, beneath the account's
//! root, by the kernel's own rule (`openat2` with `RESOLVE_BENEATH`), so that no `..`, no link and
//! no race with a link leads out. Work on a tree is done with its account's credentials: [`Tree::act`]
//! is the only way to a [`Vfs`]. No FTP, no async: the calls block, and `disk` says where they
//! are made, on an async worker or on a blocking thread.

mod attributes;
mod census;
mod change;
mod combine;
mod credentials;
mod entry;
mod error;
mod list;
mod path;
mod quota;
mod resolve;
mod roots;
mod upload;

pub use combine::{Combination, Combining};
pub use credentials::{Credentials, CredentialsError, Owner, own_umask, part_thread};
pub use entry::{Entry, Kind};
pub use error::{ErrorKind, VfsError};
pub use list::{Listing, Next};
pub use path::VirtualPath;
pub use quota::{Counter, Figure, Quota, QuotaLimits, Usage, lend};
pub use upload::{Rules, Upload, Write};

use std::fs::File;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, OFlags};

use credentials::Worn;
use error::Explain as _;
use rustix::io::Errno;

/// One account's file tree, and as whom it is used. Cheap to clone; clones share the root's
/// descriptor.
#[derive(Debug, Clone)]
pub struct Tree {
    vfs: Arc<Vfs>,
}

impl Tree {
    /// Opens the tree under `root`, which may itself be reached by links, and by directories that
    /// only the daemon or only the account's user may search. With credentials, all work in it is
    /// done with them; with rules, uploads keep to them, and where they have a quota, what is there
    /// is counted now.
    pub fn open(
        root: &Path,
        credentials: Option<Arc<Credentials>>,
        rules: Option<Arc<Rules>>,
    ) -> Result<Tree, VfsError> {
        let refused = |source| VfsError::Root {
            path: root.to_owned(),
            source,
        };
        let opened = open_root(root, &credentials)?.and_then(roots::share);
        let opened = opened.map_err(refused)?;
        let tree = Tree {
            vfs: Arc::new(Vfs {
                root: opened,
                credentials,
                rules,
            }),
        };
        // A kernel that cannot confine, or a root that cannot be searched, shows itself now and not
        // in the midst of things.
        tree.act(|vfs| resolve::usable(&vfs.root, root))?;
        if let Some((quota, _)) = &tree.vfs.rules().quota {
            quota.begin(&tree.vfs.root, &tree.vfs.credentials);
        }
        Ok(tree)
    }

    /// Whether what lies in it is counted; see [`Rules::count`].
    pub fn is_counted(&self) -> bool {
        self.vfs.rules().count()
    }

    /// Does work on the tree as its account.
    pub fn act<T>(&self, work: impl FnOnce(&Vfs) -> Result<T, VfsError>) -> Result<T, VfsError> {
        let worn = wear(&self.vfs.credentials).map_err(VfsError::Credentials)?;
        let done = work(&self.vfs);
        drop(worn);
        done
    }
}

/// Opens an account's root as its user, and where that one may not, as the daemon.
///
/// The user comes first because their home is often shut to everybody else, and to a daemon without
/// `CAP_DAC_OVERRIDE` too; and because whatever they can rearrange on the way leads them then only
/// where they may go by themselves. The daemon comes second, for a root behind directories of the
/// admin's. It may go where the user may not, so it follows no links that the user may have made:
/// one in their own home to somebody else's shut one would make that their root, and its mode is
/// made for those who can get there. With the daemon first, whose way it is would depend on what
/// the daemon may, and all links would be followed with its rights.
fn open_root(
    root: &Path,
    credentials: &Option<Arc<Credentials>>,
) -> Result<Result<OwnedFd, Errno>, VfsError> {
    let Some(credentials) = credentials.as_ref().filter(|worn| worn.owner.is_some()) else {
        return Ok(resolve::root(root));
    };
    let worn = credentials.wear().map_err(VfsError::Credentials)?;
    let opened = resolve::root(root);
    drop(worn);
    Ok(match opened {
        Err(Errno::ACCESS) => resolve::root_by_own_links(root),
        opened => opened,
    })
}

/// Puts an account's credentials on this thread, if it has any.
fn wear(credentials: &Option<Arc<Credentials>>) -> Result<Option<Worn>, Errno> {
    credentials
        .as_ref()
        .map(|credentials| credentials.wear())
        .transpose()
}

/// One account's file tree while a thread works on it with the account's credentials.
#[derive(Debug)]
pub struct Vfs {
    /// `O_PATH` descriptor: the tree stays this one even if the root's path is renamed.
    root: Arc<OwnedFd>,
    credentials: Option<Arc<Credentials>>,
    rules: Option<Arc<Rules>>,
}

impl Vfs {
    fn rules(&self) -> &Rules {
        Rules::of(&self.rules)
    }

    /// What is at `path`, following links as long as they stay inside the root.
    pub fn metadata(&self, path: &VirtualPath) -> Result<Entry, VfsError> {
        let action = "look at";
        let node = resolve::node(&self.root, path).explain(action, path)?;
        let name = path.file_name().unwrap_or(b"/").to_vec();
        Entry::of_descriptor(&node, name).explain(action, path)
    }

    /// What has the name at `path`, as a listing of its directory shows it: a link itself.
    pub fn link_metadata(&self, path: &VirtualPath) -> Result<Entry, VfsError> {
        let action = "look at";
        let node = resolve::node_itself(&self.root, path).explain(action, path)?;
        let name = path.file_name().unwrap_or(b"/").to_vec();
        Entry::of_descriptor(&node, name).explain(action, path)
    }

    /// Says whether `path` is a directory that one may enter (CWD).
    pub fn directory(&self, path: &VirtualPath) -> Result<(), VfsError> {
        resolve::enterable(&self.root, path).explain("enter", path)
    }

    /// Opens the directory at `path` to read its entries.
    pub fn list(&self, path: &VirtualPath) -> Result<Listing, VfsError> {
        Listing::open(self, path)
    }

    /// Opens the regular file at `path` for reading, and tells its size in bytes.
    pub fn open_read(&self, path: &VirtualPath) -> Result<(File, u64), VfsError> {
        self.open_regular(path, OFlags::RDONLY, "read")
    }

    /// Bytes that the file system of `path` has left for unprivileged writers, or that the quota
    /// has left, whichever is less.
    pub fn free_space(&self, path: &VirtualPath) -> Result<u64, VfsError> {
        let action = "measure the free space at";
        let free = self.disk_space(path)?;
        Ok(match self.rules().ledger().explain(action, path)? {
            Some(ledger) => free.min(ledger.bytes_left().explain(action, path)?),
            None => free,
        })
    }

    /// Whether a file of `bytes` could be stored at all, whatever it replaces: not one beyond the
    /// largest file or the whole quota, nor one beyond what the file system of `path` has left. Tells
    /// what [`Vfs::free_space`] does.
    pub fn may_hold(&self, path: &VirtualPath, bytes: u64) -> Result<u64, VfsError> {
        let refuse = |errno| Err(errno).explain("store so much at", path);
        let Rules {
            file_size, quota, ..
        } = self.rules();
        if file_size.is_some_and(|most| bytes > most.get()) {
            return refuse(Errno::FBIG);
        }
        let most = quota.as_ref().and_then(|(_, limits)| limits.bytes);
        if most.is_some_and(|most| bytes > most.get()) {
            return refuse(Errno::DQUOT);
        }
        if bytes > self.disk_space(path)? {
            return refuse(Errno::NOSPC);
        }
        self.free_space(path)
    }

    /// What the account keeps and may keep.
    pub fn usage(&self) -> Result<Usage, VfsError> {
        let rules = self.rules();
        let ledger = rules.ledger().explain("count", &VirtualPath::root())?;
        let (bytes, files) = match &ledger {
            Some(ledger) => ledger.kept().explain("count", &VirtualPath::root())?,
            None => (None, None),
        };
        Ok(Usage {
            bytes,
            files,
            file_size: rules.file_size.map(NonZeroU64::get),
        })
    }

    fn disk_space(&self, path: &VirtualPath) -> Result<u64, VfsError> {
        let action = "measure the free space at";
        let node = resolve::node(&self.root, path).explain(action, path)?;
        let figures = rustix::fs::fstatvfs(&node).explain(action, path)?;
        Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
    }

    /// Opens what is already there, if it is a regular file, and tells its size.
    ///
    /// Looking comes before opening because opening alone can already act: it starts a tape drive,
    /// arms a watchdog, wakes or waits for the other end of a FIFO. Looking comes again after
    /// opening because the name may have changed hands in between.
    fn open_regular(
        &self,
        path: &VirtualPath,
        access: OFlags,
        action: &'static str,
    ) -> Result<(File, u64), VfsError> {
        let node = resolve::node(&self.root, path).explain(action, path)?;
        regular(&node, path, action)?;
        drop(node);
        let file = resolve::open(&self.root, path, access).explain(action, path)?;
        let size = regular(&file, path, action)?;
        Ok((File::from(file), size))
    }
}

/// The size of what `descriptor` is open on, which must be a regular file.
fn regular(
    descriptor: &OwnedFd,
    path: &VirtualPath,
    action: &'static str,
) -> Result<u64, VfsError> {
    let stat = rustix::fs::fstat(descriptor).explain(action, path)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(u64::try_from(stat.st_size).unwrap_or(0)),
        FileType::Directory => Err(VfsError::refused(action, path, ErrorKind::IsADirectory)),
        _ => Err(VfsError::refused(action, path, ErrorKind::NotRegular)),
    }
}

/// Flags of every look at an entry that must not follow it.
const LOOK: AtFlags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT);

#[cfg(test)]
mod tests;
