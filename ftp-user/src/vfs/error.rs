//! What can go wrong in a file tree: a kind for the reply code, words for people, the errno kept.
//! Messages name virtual paths only, so that they may be shown to a client.

use std::path::PathBuf;

use rustix::io::Errno;

use super::path::VirtualPath;

/// An operation on a file tree that failed.
#[derive(Debug, thiserror::Error)]
pub enum VfsError {
    /// The directory that was to become a root is not usable as one. For the admin's eyes.
    #[error(
        "the directory {} cannot be served: {source}; it must exist, and the account's uid, or \
         this process where it has none, must be allowed to enter it",
        path.display()
    )]
    Root {
        /// The path on this host.
        path: PathBuf,
        /// What the kernel said.
        source: Errno,
    },

    /// The kernel cannot confine paths. For the admin's eyes.
    #[error(
        "this kernel has no openat2(2), or a seccomp filter hides it; without it paths cannot be \
         kept inside their root: run Linux 5.6 or newer, or let the filter pass openat2"
    )]
    NoOpenat2 {
        /// What the kernel said: ENOSYS, or EPERM from a filter.
        source: Errno,
    },

    /// The account's user cannot be taken on. For the admin's eyes.
    #[error("cannot take on the account's user: {0}; is CAP_SETUID or CAP_SETGID missing?")]
    Credentials(#[source] Errno),

    /// The client's text cannot be a path.
    #[error("not a usable name: {problem}")]
    BadName {
        /// What is wrong with it.
        problem: &'static str,
    },

    /// An operation on a path failed or was refused.
    #[error("cannot {action} {path}: {kind}")]
    Operation {
        /// A verb: "read", "list", ...
        action: &'static str,
        /// The path as the client knows it.
        path: VirtualPath,
        /// Decides the reply.
        kind: ErrorKind,
        /// What the kernel said, unless we refused before asking.
        #[source]
        errno: Option<Errno>,
    },
}

/// What kind of failure it was: decides the reply code. `Display` is a phrase fit for a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ErrorKind {
    /// There is no such file or directory.
    #[error("no such file or directory")]
    NotFound,
    /// A directory was wanted, or needed on the way.
    #[error("not a directory")]
    NotADirectory,
    /// A file was wanted.
    #[error("is a directory")]
    IsADirectory,
    /// Neither file nor directory: a FIFO, socket or device, which are not served.
    #[error("not a regular file")]
    NotRegular,
    /// The file system says no: mode bits, read-only, immutable.
    #[error("permission denied")]
    Denied,
    /// A link leads out of the account's root.
    #[error("leads out of the root directory")]
    OutsideRoot,
    /// The name is taken.
    #[error("already exists")]
    Exists,
    /// The directory has entries.
    #[error("directory not empty")]
    NotEmpty,
    /// The file system is full.
    #[error("no space left on the file system")]
    NoSpace,
    /// The largest file size is reached.
    #[error("larger than a file may be")]
    TooLarge,
    /// The user's quota is reached.
    #[error("over the quota")]
    Quota,
    /// NUL in it, too long, or not possible on this file system.
    #[error("not a usable name")]
    BadName,
    /// The offset lies beyond the end of the file.
    #[error("the restart offset lies beyond the end of the file")]
    Offset,
    /// A rename would have to copy between file systems.
    #[error("lies on another file system")]
    CrossDevice,
    /// In use now; another try may succeed.
    #[error("busy, try again later")]
    Busy,
    /// Anything else: see the errno.
    #[error("input or output error")]
    Io,
}

impl VfsError {
    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        match self {
            VfsError::Root { source, .. } => kind_of(*source),
            VfsError::NoOpenat2 { .. } | VfsError::Credentials(_) => ErrorKind::Io,
            VfsError::BadName { .. } => ErrorKind::BadName,
            VfsError::Operation { kind, .. } => *kind,
        }
    }

    /// A refusal of our own, without an errno.
    pub(super) fn refused(action: &'static str, path: &VirtualPath, kind: ErrorKind) -> VfsError {
        VfsError::Operation {
            action,
            path: path.clone(),
            kind,
            errno: None,
        }
    }
}

/// Gives an errno its operation and path.
pub(super) trait Explain<T> {
    fn explain(self, action: &'static str, path: &VirtualPath) -> Result<T, VfsError>;
}

impl<T> Explain<T> for Result<T, Errno> {
    fn explain(self, action: &'static str, path: &VirtualPath) -> Result<T, VfsError> {
        self.map_err(|errno| VfsError::Operation {
            action,
            path: path.clone(),
            kind: kind_of(errno),
            errno: Some(errno),
        })
    }
}

fn kind_of(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NOENT => ErrorKind::NotFound,
        // A loop of links leads nowhere, as a dangling one does.
        Errno::LOOP => ErrorKind::NotFound,
        Errno::NOTDIR => ErrorKind::NotADirectory,
        Errno::ISDIR => ErrorKind::IsADirectory,
        // Opening a FIFO without a reader, a socket, or a device without a driver.
        Errno::NXIO | Errno::NODEV | Errno::OPNOTSUPP => ErrorKind::NotRegular,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => ErrorKind::Denied,
        // openat2's answer to a path that would leave the root. A rename between file systems has
        // the same errno and is told apart where renames are made.
        Errno::XDEV => ErrorKind::OutsideRoot,
        Errno::EXIST => ErrorKind::Exists,
        Errno::NOTEMPTY => ErrorKind::NotEmpty,
        Errno::NOSPC => ErrorKind::NoSpace,
        Errno::DQUOT => ErrorKind::Quota,
        Errno::FBIG => ErrorKind::TooLarge,
        Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => ErrorKind::BadName,
        Errno::BUSY | Errno::TXTBSY | Errno::AGAIN => ErrorKind::Busy,
        _ => ErrorKind::Io,
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn the_errno_is_kept_as_the_source() {
        let failed: Result<(), Errno> = Err(Errno::NOSPC);
        let Err(error) = failed.explain("write", &VirtualPath::root()) else {
            unreachable!("an Err stays an Err")
        };
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert_eq!(
            error.to_string(),
            "cannot write /: no space left on the file system"
        );
        let source = error.source().and_then(|source| source.downcast_ref());
        assert_eq!(source, Some(&Errno::NOSPC));
    }
}
