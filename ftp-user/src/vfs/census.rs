//! Counting what lies beneath a directory: one walk, no link followed.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::LOOK;

/// Levels of directories that are walked, each an open descriptor. Deeper trees are made by nobody
/// but those who want to hide something in them.
const DEEPEST: usize = 512;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Census {
    /// Apparent sizes of regular files, one with several names once.
    pub(super) bytes: u64,
    /// Names, of whatever kind.
    pub(super) files: u64,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum CensusError {
    #[error("{}: {source}", name.display())]
    Directory { name: PathBuf, source: Errno },
    #[error("there are directories more than {DEEPEST} levels deep: remove them")]
    TooDeep,
}

impl CensusError {
    /// Whether others might have been let in where we were not.
    pub(super) fn is_denial(&self) -> bool {
        matches!(
            self,
            CensusError::Directory {
                source: Errno::ACCESS,
                ..
            }
        )
    }
}

/// Counts what is beneath `root`.
pub(super) fn take(root: &OwnedFd) -> Result<Census, CensusError> {
    let mut census = Census::default();
    let mut several_names = HashSet::new();
    let mut path = vec![(open(root, c"."), PathBuf::from("/"))];
    while let Some((directory, name)) = path.last_mut() {
        let failed = |source| CensusError::Directory {
            name: name.clone(),
            source,
        };
        let directory = directory.as_mut().map_err(|errno| failed(*errno))?;
        let Some(entry) = directory.read() else {
            path.pop();
            continue;
        };
        let entry = entry.map_err(failed)?;
        let entry = entry.file_name();
        if matches!(entry.to_bytes(), b"." | b"..") {
            continue;
        }
        let here = directory.fd().map_err(failed)?;
        let stat = match statat(here, entry, LOOK) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        census.files += 1;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let first = stat.st_nlink <= 1 || several_names.insert((stat.st_dev, stat.st_ino));
                let size = if first { stat.st_size } else { 0 };
                census.bytes += u64::try_from(size).unwrap_or(0);
            }
            FileType::Directory => match open(here, entry) {
                // It went, or became something else.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                below => {
                    let below = (below, name.join(OsStr::from_bytes(entry.to_bytes())));
                    if path.len() >= DEEPEST {
                        return Err(CensusError::TooDeep);
                    }
                    path.push(below);
                }
            },
            _ => {}
        }
    }
    Ok(census)
}

fn open(at: impl AsFd, name: &CStr) -> Result<Dir, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty()).and_then(Dir::new)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn counts_what_is_there_and_nothing_outside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(dir.path().join("outside"), [0; 1000]).unwrap();
        fs::write(root.join("one"), [0; 10]).unwrap();
        fs::write(root.join("a/b/two"), [0; 100]).unwrap();
        fs::hard_link(root.join("one"), root.join("a/again")).unwrap();
        symlink("..", root.join("a/up")).unwrap();
        symlink("../outside", root.join("out")).unwrap();
        fs::File::create(root.join("holes"))
            .unwrap()
            .set_len(5000)
            .unwrap();
        let root = fs::File::open(&root).unwrap().into();
        // a, b, one, two, again, up, out, holes
        assert_eq!(
            take(&root).unwrap(),
            Census {
                bytes: 5110,
                files: 8
            }
        );
    }

    #[test]
    fn gives_up_on_a_tree_without_a_bottom() {
        let dir = tempfile::tempdir().unwrap();
        let root: OwnedFd = fs::File::open(dir.path()).unwrap().into();
        let mut here = root.try_clone().unwrap();
        for _ in 0..DEEPEST {
            rustix::fs::mkdirat(&here, c"d", Mode::RWXU).unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            here = openat(&here, c"d", flags, Mode::empty()).unwrap();
        }
        assert!(matches!(take(&root), Err(CensusError::TooDeep)));
    }
}
