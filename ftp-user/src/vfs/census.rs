//! Counting what lies beneath a directory: one walk, no link followed.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use rustix::process::Uid;

use super::LOOK;

/// Levels of directories that are walked, each an open descriptor. Deeper trees are made by nobody
/// but those who want to hide something in them.
const DEEPEST: usize = 512;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Census {
    /// Apparent sizes of regular files, one with several names once.
    pub(super) bytes: u64,
    /// Names, of whatever kind.
    pub(super) files: u64,
    /// Of these, names of what could not be looked at or into; nothing in it is counted.
    pub(super) closed: u64,
    /// The first of them, and why.
    pub(super) first_closed: Option<(PathBuf, Errno)>,
}

impl Census {
    fn pass_over(&mut self, name: PathBuf, errno: Errno) {
        self.closed += 1;
        self.first_closed.get_or_insert((name, errno));
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum CensusError {
    #[error("{}: {source}", name.display())]
    Directory { name: PathBuf, source: Errno },
    #[error("there are directories more than {DEEPEST} levels deep: remove them")]
    TooDeep,
}

/// A directory that is being read.
struct Level {
    directory: Dir,
    name: PathBuf,
    stat: Stat,
}

impl Level {
    /// Whether what is in it cannot be looked at because of what it is: others may not search it.
    fn is_closed(&self) -> bool {
        let Ok(here) = self.directory.fd() else {
            return false;
        };
        matches!(statat(here, c".", LOOK), Err(Errno::ACCESS))
    }
}

/// Counts what is beneath `root`, for an account that makes files as `user`.
///
/// What others close to us, by permissions or by a mount of their own, counts as the name that it
/// has. Not so where `user` has closed it, who could hide anything there: then there is no result.
pub(super) fn take(root: &OwnedFd, user: Uid) -> Result<Census, CensusError> {
    let mut census = Census::default();
    let mut several_names = HashSet::new();
    let failed = |name: &PathBuf| {
        let name = name.clone();
        move |source| CensusError::Directory { name, source }
    };
    let name = PathBuf::from("/");
    let directory = open(root, c".").map_err(failed(&name))?;
    let stat = fstat(root).map_err(failed(&name))?;
    let device = stat.st_dev;
    let is_others = |stat: &Stat| stat.st_uid != user.as_raw() || stat.st_dev != device;
    let mut path = vec![Level {
        directory,
        name,
        stat,
    }];
    loop {
        let depth = path.len();
        let Some(level) = path.last_mut() else {
            return Ok(census);
        };
        let entry = match level.directory.read() {
            Some(Ok(entry)) => entry,
            None => {
                path.pop();
                continue;
            }
            // A mount that broke.
            Some(Err(errno)) if level.stat.st_dev != device => {
                census.pass_over(level.name.clone(), errno);
                path.pop();
                continue;
            }
            Some(Err(errno)) => return Err(failed(&level.name)(errno)),
        };
        let entry = entry.file_name();
        if matches!(entry.to_bytes(), b"." | b"..") {
            continue;
        }
        let here = level.directory.fd().map_err(failed(&level.name))?;
        let name = || level.name.join(OsStr::from_bytes(entry.to_bytes()));
        let stat = match statat(here, entry, LOOK) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) if is_others(&level.stat) || !level.is_closed() => {
                census.files += 1;
                census.pass_over(name(), errno);
                continue;
            }
            Err(errno) => return Err(failed(&level.name)(errno)),
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
                Err(errno @ Errno::ACCESS) if is_others(&stat) => census.pass_over(name(), errno),
                Err(errno) => return Err(failed(&name())(errno)),
                Ok(_) if depth >= DEEPEST => return Err(CensusError::TooDeep),
                Ok(directory) => {
                    let name = name();
                    path.push(Level {
                        directory,
                        name,
                        stat,
                    });
                }
            },
            _ => {}
        }
    }
}

fn open(at: impl AsFd, name: &CStr) -> Result<Dir, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty()).and_then(Dir::new)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use rustix::process::{Gid, geteuid};

    use super::*;
    use crate::vfs::{Credentials, Owner};

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
            take(&root, geteuid()).unwrap(),
            Census {
                bytes: 5110,
                files: 8,
                ..Census::default()
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
        assert!(matches!(take(&root, geteuid()), Err(CensusError::TooDeep)));
    }

    #[test]
    fn what_others_have_closed_counts_as_a_name_and_what_the_user_has_as_an_error() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root may become somebody else");
            return;
        }
        let user = Uid::from_raw(12_345);
        let owner = Owner {
            uid: user,
            gid: Gid::from_raw(12_346),
            groups: Vec::new(),
        };
        let credentials = Credentials {
            owner: Some(owner),
            umask: None,
        };
        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str, mode| {
            let path = dir.path().join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        fs::write(dir.path().join("mine"), [0; 10]).unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/inside"), [0; 100]).unwrap();
        mode(".", 0o755);
        let root = fs::File::open(dir.path()).unwrap().into();
        let count = || {
            let worn = credentials.wear().unwrap();
            let taken = take(&root, user);
            drop(worn);
            taken
        };
        assert_eq!(count().unwrap().bytes, 110);
        // Not to be read; to be read, and not searched.
        let cases = [(0o700, 2, "/d", 0o300), (0o744, 3, "/d/inside", 0o400)];
        for (closed, files, name, by_user) in cases {
            mode("d", closed);
            chown(dir.path().join("d"), Some(0), None).unwrap();
            let expected = Census {
                bytes: 10,
                files,
                closed: 1,
                first_closed: Some((name.into(), Errno::ACCESS)),
            };
            assert_eq!(count().unwrap(), expected);
            // Whoever could open it again can hide in it.
            chown(dir.path().join("d"), Some(12_345), None).unwrap();
            mode("d", by_user);
            let refused = count().unwrap_err();
            assert!(refused.to_string().starts_with("/d: "), "{refused}");
            mode("d", 0o755);
        }
    }
}
