//! Why nothing can be kept, and what the administrator can do about it.

use std::{io, path::PathBuf};

use super::super::super::ObjectError;

/// Why nothing can be kept.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// Something else, or nothing, is mounted there.
    #[error(
        "{} is no bpffs, which on_exit = \"closed\" needs: `mount -t bpf bpf {}`, or name \
         another with `bpffs` in [guard]",
        .0.display(), .0.display()
    )]
    NoBpffs(PathBuf),
    /// Two guards would work on the same tables.
    #[error(
        "a guard runs already in that network namespace (it holds {}): stop it first",
        .0.display()
    )]
    Taken(PathBuf),
    /// Somebody else can change it, or has put it there: a bpffs may be anybody's to write to.
    #[error(
        "{} is not a folder of this user's alone (mode 0700): somebody else may have made it; look what \
         it is, and take it away",
        .0.display()
    )]
    Strange(PathBuf),
    /// The bpffs is root's.
    #[error("cannot {what} {}, which takes root", path.display())]
    Denied {
        /// The call.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The bpffs refused.
    #[error("cannot {what} {}", path.display())]
    Files {
        /// The call.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused to pin a link.
    #[error("cannot pin a link at {}", path.display())]
    Link {
        /// Where.
        path: PathBuf,
        /// What was refused.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A map could not be pinned.
    #[error(transparent)]
    Object(#[from] ObjectError),
}
