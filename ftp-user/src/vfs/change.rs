//! Everything that changes a tree: writing, creating, removing, renaming. Names are changed through
//! a descriptor of their directory, so what is checked is what is changed.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, OFlags, SeekFrom, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::error::{ErrorKind, Explain as _};
use super::path::VirtualPath;
use super::{Vfs, VfsError, regular, resolve};

/// Where the first byte of an upload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// STOR: into an empty file, made if need be, emptied if it is there.
    Truncate,
    /// APPE: behind what is there; the file is made if need be.
    Append,
    /// REST n, STOR: over what is there from byte n on, which must not lie beyond the end. Bytes
    /// behind the upload's end stay: RFC 3659 section 5 leaves it open, and clients that send a
    /// file in pieces rely on it.
    At(u64),
}

/// How many names STOU tries; each has 64 random bits.
const UNIQUE_TRIES: usize = 8;

impl Vfs {
    /// Opens the regular file at `path` for writing, positioned for the first byte.
    pub fn open_write(&self, path: &VirtualPath, how: Write) -> Result<File, VfsError> {
        let action = "write";
        let flags = match how {
            Write::Truncate | Write::At(0) => OFlags::WRONLY | OFlags::CREATE,
            // Without O_APPEND: splice(2) refuses such files. Two writers at once are told apart
            // nowhere in FTP.
            Write::Append => OFlags::WRONLY | OFlags::CREATE,
            // A file that is not there has no byte n.
            Write::At(_) => OFlags::WRONLY,
        };
        path.last_name(action)
            .map_err(|_| VfsError::refused(action, path, ErrorKind::IsADirectory))?;
        let (file, size) = match self.open_regular(path, flags, action) {
            Err(missing)
                if missing.kind() == ErrorKind::NotFound && flags.contains(OFlags::CREATE) =>
            {
                let file = resolve::open(&self.root, path, flags).explain(action, path)?;
                // Somebody may have put something else there since.
                let size = regular(&file, path, action)?;
                (File::from(file), size)
            }
            opened => opened?,
        };
        match how {
            // O_TRUNC would have emptied it before we knew what it is.
            Write::Truncate if size > 0 => {
                rustix::fs::ftruncate(&file, 0).explain(action, path)?;
            }
            Write::Truncate | Write::At(0) => {}
            Write::Append => seek(&file, SeekFrom::End(0), path)?,
            Write::At(offset) if offset > size => {
                return Err(VfsError::refused(action, path, ErrorKind::Offset));
            }
            Write::At(offset) => seek(&file, SeekFrom::Start(offset), path)?,
        }
        Ok(file)
    }

    /// Makes a new file under a name of its own in `directory` (STOU) and tells the name.
    pub fn create_unique(&self, directory: &VirtualPath) -> Result<(VirtualPath, File), VfsError> {
        let action = "create a file in";
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let mut last = Errno::EXIST;
        for _ in 0..UNIQUE_TRIES {
            let name = format!("stou-{:016x}", rand::random::<u64>());
            let path = directory.child(name.as_bytes());
            let parent = resolve::parent(&self.root, &path).explain(action, directory)?;
            match openat(&parent, name.as_bytes(), flags, resolve::NEW_FILE) {
                Ok(file) => return Ok((path, File::from(file))),
                Err(errno @ (Errno::EXIST | Errno::INTR)) => last = errno,
                Err(errno) => return Err(errno).explain(action, directory),
            }
        }
        Err(last).explain(action, directory)
    }

    /// Removes a file, or a link itself.
    pub fn remove_file(&self, path: &VirtualPath) -> Result<(), VfsError> {
        self.change(path, "remove", |parent, name| {
            unlinkat(parent, name, AtFlags::empty())
        })
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, path: &VirtualPath) -> Result<(), VfsError> {
        self.change(path, "remove the directory", |parent, name| {
            match unlinkat(parent, name, AtFlags::REMOVEDIR) {
                // POSIX lets file systems choose between the two.
                Err(Errno::EXIST) => Err(Errno::NOTEMPTY),
                other => other,
            }
        })
    }

    /// Makes a directory.
    pub fn make_dir(&self, path: &VirtualPath) -> Result<(), VfsError> {
        let action = "make the directory";
        if path.file_name().is_none() {
            return Err(VfsError::refused(action, path, ErrorKind::Exists));
        }
        self.change(path, action, |parent, name| {
            mkdirat(parent, name, resolve::NEW_DIRECTORY)
        })
    }

    /// Renames `from` to `to`, replacing a file that is there, as rename(2) does. Links are renamed
    /// themselves.
    pub fn rename(&self, from: &VirtualPath, to: &VirtualPath) -> Result<(), VfsError> {
        let action = "rename";
        let old_name = from.last_name(action)?;
        let new_name = to.last_name(action)?;
        let old_parent = resolve::parent(&self.root, from).explain(action, from)?;
        let new_parent = resolve::parent(&self.root, to).explain("rename to", to)?;
        match renameat(&old_parent, old_name, &new_parent, new_name) {
            // Both directories are inside the root already: here it means two file systems.
            Err(errno @ Errno::XDEV) => Err(VfsError::Operation {
                action: "rename to",
                path: to.clone(),
                kind: ErrorKind::CrossDevice,
                errno: Some(errno),
            }),
            Err(errno @ Errno::NOENT) => Err(errno).explain(action, from),
            renamed => renamed.explain("rename to", to),
        }
    }

    fn change(
        &self,
        path: &VirtualPath,
        action: &'static str,
        call: impl FnOnce(&OwnedFd, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), VfsError> {
        let name = path.last_name(action)?;
        let parent = resolve::parent(&self.root, path).explain(action, path)?;
        call(&parent, name).explain(action, path)
    }
}

fn seek(file: &File, to: SeekFrom, path: &VirtualPath) -> Result<(), VfsError> {
    rustix::fs::seek(file, to).explain("write", path).map(drop)
}
