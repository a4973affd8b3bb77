//! The only calls that turn a client's path into a descriptor, all of them `openat2` beneath the
//! root. Everything else in `vfs` works on what they return.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::error::VfsError;
use super::path::VirtualPath;

/// No path component may lead out of the root, and none may be a link of /proc that jumps anywhere.
const CONFINED: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// How often a resolution is tried that the kernel gave up because the tree changed under it.
/// openat2(2): EAGAIN when a ".." in a link raced with a rename; "callers may retry".
const TRIES: usize = 64;

/// As many links are followed on the way to a root as the kernel would (MAXSYMLINKS in
/// include/linux/namei.h).
const MOST_LINKS: usize = 40;

/// Files and directories are made as open as the process's umask allows.
pub(super) const NEW_FILE: Mode = Mode::from_bits_retain(0o666);
pub(super) const NEW_DIRECTORY: Mode = Mode::from_bits_retain(0o777);

/// Of a root and of what lies on the way to it.
const ROOT: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens the directory at `path`, which the admin names and which may be reached by any links.
pub(super) fn root(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, ROOT, Mode::empty())
}

/// The same, but by no links except those that root or the daemon's own user made (EACCES).
pub(super) fn root_by_own_links(path: &Path) -> Result<OwnedFd, Errno> {
    let mut here = root(start(path))?;
    let mut ahead: Vec<OsString> = names_backwards(path).collect();
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        let no_links = ResolveFlags::NO_SYMLINKS;
        match openat2(&here, &name, ROOT, Mode::empty(), no_links) {
            Ok(next) => here = next,
            Err(Errno::LOOP) => {
                let this = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                // Owner and target of one and the same link, whatever becomes of its name.
                let link = openat(&here, &name, this, Mode::empty())?;
                let owner = fstat(&link)?.st_uid;
                if owner != 0 && owner != geteuid().as_raw() {
                    return Err(Errno::ACCESS);
                }
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = readlinkat(&link, c"", Vec::new())?.into_bytes();
                let target = PathBuf::from(OsString::from_vec(target));
                if target.is_absolute() {
                    here = root(start(&target))?;
                }
                ahead.extend(names_backwards(&target));
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(here)
}

fn start(path: &Path) -> &'static Path {
    Path::new(if path.is_absolute() { "/" } else { "." })
}

fn names_backwards(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().rev().filter_map(|part| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
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

/// The same, but a link is what is there, wherever it leads.
pub(super) fn node_itself(root: impl AsFd, path: &VirtualPath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    open_beneath(root, path.relative(), flags, Mode::empty())
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
    // Nonblocking was for the open, and the only status flag. Left on, it would leak into splice(2) on
    // this file.
    rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
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
