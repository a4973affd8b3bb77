//! A file is opened for an upload: in its place, beside it to become it, or under a name of its own.
//! Quotas are asked before anything is made.

use std::fs::File;
use std::sync::Arc;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, SeekFrom, flock, fstat, openat, statat};
use rustix::io::Errno;

use super::super::error::{ErrorKind, Explain as _};
use super::super::path::VirtualPath;
use super::super::quota::{Ledger, inode};
use super::super::{LOOK, Vfs, VfsError, regular, resolve};
use super::{ACTION, Place, TEMPORARY, Upload, Write};

/// How many names STOU tries; each has 64 random bits.
const UNIQUE_TRIES: usize = 8;

/// A new file, and nothing else of that name.
const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

impl Vfs {
    /// Opens the regular file at `path` for an upload.
    pub fn open_write(&self, path: &VirtualPath, how: Write) -> Result<Upload, VfsError> {
        path.last_name(ACTION)
            .map_err(|_| VfsError::refused(ACTION, path, ErrorKind::IsADirectory))?;
        if self.rules().atomic
            && how == Write::Truncate
            && let Some(upload) = self.open_beside(path)?
        {
            return Ok(upload);
        }
        self.open_in_place(path, how)
    }

    /// Makes a new file under a name of its own in `directory` (STOU) and tells the name.
    pub fn create_unique(
        &self,
        directory: &VirtualPath,
    ) -> Result<(VirtualPath, Upload), VfsError> {
        let action = "create a file in";
        let mut last = Errno::EXIST;
        for _ in 0..UNIQUE_TRIES {
            let name = format!("stou-{:016x}", rand::random::<u64>());
            let path = directory.child(name.as_bytes());
            if self.rules().atomic
                && let Some(upload) = self.open_beside(&path)?
            {
                return Ok((path, upload));
            }
            let ledger = self.room(&path)?;
            let parent = resolve::parent(&self.root, &path).explain(action, directory)?;
            match openat(&parent, name.as_bytes(), NEW, resolve::NEW_FILE) {
                Ok(file) => {
                    let upload = self.upload(file.into(), &path, Place::Made, ledger, true)?;
                    return Ok((path, upload));
                }
                Err(errno @ (Errno::EXIST | Errno::INTR)) => last = errno,
                Err(errno) => return Err(errno).explain(action, directory),
            }
        }
        Err(last).explain(action, directory)
    }

    fn open_in_place(&self, path: &VirtualPath, how: Write) -> Result<Upload, VfsError> {
        let flags = match how {
            // Without O_APPEND: splice(2) refuses such files. Two writers at once are told apart
            // nowhere in FTP.
            Write::Truncate | Write::Append | Write::At(0) => OFlags::WRONLY | OFlags::CREATE,
            // A file that is not there has no byte n.
            Write::At(_) => OFlags::WRONLY,
        };
        let mut ledger = self.rules().ledger().explain(ACTION, path)?;
        let (mut place, mut is_new) = (Place::Among, false);
        let (file, size) = match self.open_regular(path, flags - OFlags::CREATE, ACTION) {
            Err(missing)
                if missing.kind() == ErrorKind::NotFound && flags.contains(OFlags::CREATE) =>
            {
                if let Some(ledger) = &ledger {
                    ledger.has_room().explain(ACTION, path)?;
                }
                is_new = true;
                match resolve::open(&self.root, path, flags | OFlags::EXCL) {
                    Ok(file) => {
                        if how == Write::Truncate {
                            place = Place::Made;
                        }
                        (File::from(file), 0)
                    }
                    // A link that leads to where nothing is, or somebody was quicker.
                    Err(Errno::EXIST) => {
                        let file = resolve::open(&self.root, path, flags).explain(ACTION, path)?;
                        let size = regular(&file, path, ACTION)?;
                        (File::from(file), size)
                    }
                    Err(errno) => return Err(errno).explain(ACTION, path),
                }
            }
            opened => opened?,
        };
        let start = match how {
            Write::Truncate | Write::At(0) => 0,
            Write::Append => size,
            Write::At(offset) if offset > size => {
                return Err(VfsError::refused(ACTION, path, ErrorKind::Offset));
            }
            Write::At(offset) => offset,
        };
        let is_old = how == Write::Truncate && matches!(place, Place::Among);
        let mut upload = self.upload(file, path, place, ledger.take(), is_new)?;
        upload.is_old = is_old;
        if start > 0 {
            rustix::fs::seek(&upload.file, SeekFrom::Start(start)).explain(ACTION, path)?;
            upload.at = start;
        }
        Ok(upload)
    }

    /// Opens a file beside `path`, to become it. `None` where a link is in the way: what it leads to
    /// is written in its place.
    fn open_beside(&self, path: &VirtualPath) -> Result<Option<Upload>, VfsError> {
        let name = path.last_name(ACTION)?;
        let directory = resolve::parent(&self.root, path).explain(ACTION, path)?;
        match statat(&directory, name, LOOK) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                return Ok(None);
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).explain(ACTION, path),
        }
        // Who may not write to the file may not replace it either.
        let mode = match self.open_regular(path, OFlags::WRONLY, ACTION) {
            Ok((file, _)) => {
                let mode = fstat(&file).explain(ACTION, path)?.st_mode;
                Some(Mode::from_raw_mode(mode & 0o777))
            }
            Err(missing) if missing.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let ledger = self.room(path)?;
        let (before, after) = TEMPORARY;
        let (before, after) = (
            String::from_utf8_lossy(before),
            String::from_utf8_lossy(after),
        );
        let temporary = format!("{before}{:016x}{after}", rand::random::<u64>());
        let file = openat(&directory, &temporary, NEW, resolve::NEW_FILE).explain(ACTION, path)?;
        // Where the file system has no locks, or somebody else was quicker, it is listed meanwhile.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        let place = Place::Beside {
            directory,
            temporary,
            mode,
        };
        self.upload(file.into(), path, place, ledger, true)
            .map(Some)
    }

    /// The ledger, if there is a quota, with room for one more file.
    fn room(&self, path: &VirtualPath) -> Result<Option<Ledger<'_>>, VfsError> {
        let ledger = self.rules().ledger().explain(ACTION, path)?;
        if let Some(ledger) = &ledger {
            ledger.has_room().explain(ACTION, path)?;
        }
        Ok(ledger)
    }

    fn upload(
        &self,
        file: File,
        path: &VirtualPath,
        place: Place,
        ledger: Option<Ledger<'_>>,
        made: bool,
    ) -> Result<Upload, VfsError> {
        let stat = fstat(&file).explain(ACTION, path)?;
        if let Some(mut ledger) = ledger {
            if made {
                ledger.made();
            }
            ledger.begin_writing(&stat).explain(ACTION, path)?;
        }
        Ok(Upload {
            file,
            at: 0,
            written: 0,
            is_old: false,
            inode: inode(&stat),
            path: path.clone(),
            place,
            complete: false,
            root: Arc::clone(&self.root),
            credentials: self.credentials.clone(),
            rules: self.rules.clone(),
        })
    }
}
