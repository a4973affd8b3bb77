//! The only calls that turn a client's path into a descriptor, all of them `openat2` beneath the
//! root. Everything else in `vfs` works on what they return.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use super::error::VfsError;
use super::path::VirtualPath;

/// No path component may lead out of the root, and none may be a link of /proc that jumps anywhere.
const CONFINED: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// How often a resolution is tried that the kernel gave up because the tree changed under it.
/// openat2(2): EAGAIN when a ".." in a link raced with a rename; "callers may retry".
const TRIES: usize = 64;

/// Files and directories are made as open as the process's umask allows.
pub(super) const NEW_FILE: Mode = Mode::from_bits_retain(0o666);
pub(super) const NEW_DIRECTORY: Mode = Mode::from_bits_retain(0o777);

/// Opens the directory at `path`, which the admin names and which may be reached by any links.
pub(super) fn root(path: &Path) -> Result<OwnedFd, VfsError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(|source| VfsError::Root {
        path: path.to_owned(),
        source,
    })
}

/// Whether paths beneath `root`, the directory at `path`, can be resolved.
pub(super) fn usable(root: impl AsFd, path: &Path) -> Result<(), VfsError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match open_beneath(root, b"./.", flags, Mode::empty()) {
        Ok(_) => Ok(()),
        Err(source @ (Errno::NOSYS | Errno::PERM)) => Err(VfsError::NoOpenat2 { source }),
        Err(source) => Err(VfsError::Root {
            path: path.to_owned(),
            source,
        }),
    }
}

/// A descriptor that names what is at `path`, links followed, without opening it.
pub(super) fn node(root: impl AsFd, path: &VirtualPath) -> Result<OwnedFd, Errno> {
    open_beneath(root, path.relative(), OFlags::PATH, Mode::empty())
}

/// The directory that holds `path`'s last name, for the `*at()` calls on that name.
pub(super) fn parent(root: impl AsFd, path: &VirtualPath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    open_beneath(root, path.parent().relative(), flags, Mode::empty())
}

/// Whether `path` is a directory with search permission.
pub(super) fn enterable(root: impl AsFd, path: &VirtualPath) -> Result<(), Errno> {
    // Resolving "." inside it takes the permission that entering it would take.
    let inside = [path.relative(), b"/."].concat();
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    open_beneath(root, &inside, flags, Mode::empty()).map(drop)
}

/// Opens the directory at `path` for reading its entries.
pub(super) fn readable_directory(root: impl AsFd, path: &VirtualPath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    open_beneath(root, path.relative(), flags, Mode::empty())
}

/// Opens what is at `path`, links followed. Never waits for anybody: not for the other end of a
/// FIFO, nor for the holder of a lease (EAGAIN).
pub(super) fn open(root: impl AsFd, path: &VirtualPath, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mode = if access.contains(OFlags::CREATE) {
        NEW_FILE
    } else {
        Mode::empty()
    };
    let file = open_beneath(root, path.relative(), flags, mode)?;
    // Nonblocking was for the open. Left on, it would leak into splice(2) on this file.
    let status = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, status - OFlags::NONBLOCK)?;
    Ok(file)
}

fn open_beneath(
    root: impl AsFd,
    relative: &[u8],
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let mut tries = TRIES;
    loop {
        let opened = openat2(&root, relative, flags | OFlags::CLOEXEC, mode, CONFINED);
        match opened {
            Err(Errno::AGAIN | Errno::INTR) if tries > 0 => tries -= 1,
            other => return other,
        }
    }
}
