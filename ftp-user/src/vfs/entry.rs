//! What a listing tells about one file, read with one statx, and one readlink more if it is a link.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, makedev, readlinkat, statx};
use rustix::io::Errno;

/// One file, directory or other thing in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in its directory, byte for byte; "/" for the root.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// What a symbolic link says, as it says it; empty for all else.
    pub target: Box<[u8]>,
    /// Its size in bytes.
    pub size: u64,
    /// When its content last changed.
    pub modified: SystemTime,
    /// Permission bits, with set-id and sticky (0o7777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links to it.
    pub nlink: u64,
    /// The device it lies on; with `ino` it says whether two names are one file.
    pub dev: u64,
    /// Its number on that device.
    pub ino: u64,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link, wherever it leads.
    Symlink,
    /// A FIFO, socket or device: shown, never opened.
    Other,
    /// Nobody can tell: there is the name, and it could not be looked at. All else is made up.
    Unknown,
}

impl Entry {
    /// What `descriptor` is open on, which may be a link itself.
    pub(super) fn of_descriptor(descriptor: impl AsFd, name: Vec<u8>) -> Result<Entry, Errno> {
        Entry::look(descriptor, c"", AtFlags::EMPTY_PATH, name)
    }

    /// The entry `name` of the open `directory`, not followed if it is a link.
    pub(super) fn of_name(directory: impl AsFd, name: &CStr) -> Result<Entry, Errno> {
        Entry::look(directory, name, super::LOOK, name.to_bytes().to_vec())
    }

    /// An entry that has a name and could not be looked at.
    pub(super) fn of_nothing_but(name: &CStr) -> Entry {
        Entry {
            name: name.to_bytes().to_vec(),
            kind: Kind::Unknown,
            target: Box::default(),
            size: 0,
            modified: UNIX_EPOCH,
            mode: 0,
            uid: 0,
            gid: 0,
            nlink: 0,
            dev: 0,
            ino: 0,
        }
    }

    fn look(at: impl AsFd, path: &CStr, flags: AtFlags, name: Vec<u8>) -> Result<Entry, Errno> {
        let wanted = StatxFlags::BASIC_STATS.difference(StatxFlags::ATIME | StatxFlags::BLOCKS);
        let seen = statx(&at, path, flags, wanted)?;
        let mode = u32::from(seen.stx_mode);
        let kind = Kind::of_mode(mode);
        let target = match kind {
            // It may be something else by now: then it is a link that says nothing.
            Kind::Symlink => readlinkat(at, path, Vec::new())
                .map(|target| target.into_bytes().into_boxed_slice())
                .unwrap_or_default(),
            Kind::File | Kind::Dir | Kind::Other | Kind::Unknown => Box::default(),
        };
        Ok(Entry {
            name,
            kind,
            target,
            size: seen.stx_size,
            modified: modified(&seen),
            mode: mode & 0o7777,
            uid: seen.stx_uid,
            gid: seen.stx_gid,
            nlink: u64::from(seen.stx_nlink),
            dev: makedev(seen.stx_dev_major, seen.stx_dev_minor),
            ino: seen.stx_ino,
        })
    }
}

impl Kind {
    fn of_mode(mode: u32) -> Kind {
        match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Dir,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        }
    }
}

/// A file's time may lie before 1970, or be nonsense that no clock holds (then 1970).
fn modified(seen: &Statx) -> SystemTime {
    let seconds = Duration::from_secs(seen.stx_mtime.tv_sec.unsigned_abs());
    let whole = if seen.stx_mtime.tv_sec < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    let fraction = Duration::from_nanos(u64::from(seen.stx_mtime.tv_nsec));
    whole
        .and_then(|whole| whole.checked_add(fraction))
        .unwrap_or(UNIX_EPOCH)
}
