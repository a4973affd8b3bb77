//! The users file on the disk: read as a whole, and rewritten as a whole, under a lock, by renaming
//! a finished file over the old one. A reader sees the old or the new, never half.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::super::{AuthError, Hash, Password};
use super::{ReadUsers, User, Users, check_name};
use crate::config::{Unreadable, read_text};

/// What a rewritten file keeps of the old one's mode: hashes are not for everybody.
const MOST_MODE: u32 = 0o640;

/// Where a users file is.
#[derive(Debug, Clone)]
pub struct UsersFile {
    path: PathBuf,
}

impl UsersFile {
    /// The users file at `path`, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> UsersFile {
        UsersFile { path: path.into() }
    }

    /// Reads all users.
    pub fn load(&self) -> Result<Users, AuthError> {
        self.read().map(ReadUsers::into_users)
    }

    /// The same, so that one can point at where each stands.
    pub fn read(&self) -> Result<ReadUsers, AuthError> {
        let text = read_text(&self.path).map_err(|unreadable| match unreadable {
            Unreadable::Io(source) => self.failed("read", source),
            Unreadable::Text(problem) => AuthError::Invalid(vec![problem]),
        })?;
        ReadUsers::parse(&self.path, text)
    }

    /// Adds a user, making the file and its folder if need be.
    pub fn add(&self, user: User) -> Result<(), AuthError> {
        self.make_folder()?;
        self.edit(|users| users.add(user))
    }

    /// Gives a user another password.
    pub fn set_password(&self, name: &str, password: &Password) -> Result<(), AuthError> {
        let hash = Hash::new(password)?;
        self.change(name, |user| user.hash = hash)
    }

    /// Changes a user, whose name stays.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut User)) -> Result<(), AuthError> {
        self.edit(|users| self.known(name, users.change(name, change)))
    }

    /// Removes a user.
    pub fn remove(&self, name: &str) -> Result<(), AuthError> {
        self.edit(|users| self.known(name, users.remove(name)))
    }

    /// The user `name` as it is now; that there is none is said before anybody is asked for a
    /// password in vain.
    pub fn get(&self, name: &str) -> Result<User, AuthError> {
        let users = self.load()?;
        let found = users.iter().find(|user| user.name == name);
        found.cloned().ok_or_else(|| self.unknown(name))
    }

    /// Says that `name` is taken or not possible, before anybody is asked for a password in vain.
    pub fn must_not_have(&self, name: &str) -> Result<(), AuthError> {
        check_name(name)?;
        let users = self.load_or_none()?;
        match users.iter().any(|user| user.name == name) {
            true => Err(AuthError::Exists(name.to_owned())),
            false => Ok(()),
        }
    }

    fn known(&self, name: &str, known: bool) -> Result<(), AuthError> {
        known.then_some(()).ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> AuthError {
        AuthError::Unknown {
            name: name.to_owned(),
            path: self.path.clone(),
        }
    }

    /// Reads, changes and rewrites the file while nobody else does.
    fn edit(
        &self,
        change: impl FnOnce(&mut Users) -> Result<(), AuthError>,
    ) -> Result<(), AuthError> {
        // Through a link, the file behind it is rewritten, and the link stays.
        let target = match fs::canonicalize(&self.path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.path.clone(),
            Err(error) => return Err(self.failed("find", error)),
        };
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let lock = File::open(folder).map_err(|error| self.failed("lock the folder of", error))?;
        self.lock(&lock)?;
        let mut users = self.load_or_none()?;
        change(&mut users)?;
        self.replace(&target, folder, &lock, &users)
    }

    fn load_or_none(&self) -> Result<Users, AuthError> {
        match self.load() {
            Err(AuthError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Users::default())
            }
            loaded => loaded,
        }
    }

    /// Locks the folder: the file itself is replaced by every edit, and a lock on it with it.
    fn lock(&self, folder: &File) -> Result<(), AuthError> {
        match rustix::fs::flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                tracing::info!("waiting for another `pinhole user` to finish");
                rustix::io::retry_on_intr(|| {
                    rustix::fs::flock(folder, FlockOperation::LockExclusive)
                })
            }
            locked => locked,
        }
        .map_err(|errno| self.failed("lock the folder of", errno.into()))
    }

    fn replace(
        &self,
        target: &Path,
        folder: &Path,
        lock: &File,
        users: &Users,
    ) -> Result<(), AuthError> {
        let failed = |error| self.failed("write", error);
        let text = users
            .to_text()
            .map_err(|error| failed(io::Error::other(error)))?;
        // Made with mode 0600, in the same folder, so that it can be renamed over the old one.
        let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        if let Ok(old) = fs::metadata(target) {
            // The daemon may read the file as another user than root, or by its group.
            std::os::unix::fs::fchown(new.as_file(), Some(old.uid()), Some(old.gid()))
                .map_err(failed)?;
            let mode = fs::Permissions::from_mode(old.mode() & MOST_MODE);
            new.as_file().set_permissions(mode).map_err(failed)?;
        }
        new.write_all(text.as_bytes()).map_err(failed)?;
        new.as_file().sync_all().map_err(failed)?;
        new.persist(target).map_err(|error| failed(error.error))?;
        lock.sync_all().map_err(failed)
    }

    fn make_folder(&self) -> Result<(), AuthError> {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(folder)
                .map_err(|error| self.failed("make the folder of", error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> AuthError {
        AuthError::File {
            path: self.path.clone(),
            action,
            source,
        }
    }
}
