//! How an upload ends: its file gets its name, or what it leaves is put away.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Mode, OFlags, Stat, fchmod, fstat, fsync, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::super::change::rename_new;
use super::super::quota::inode;
use super::super::{LOOK, resolve, wear};
use super::{Place, Rules, Upload};

/// Bytes that a close may have to write at once: of more it may be long, however quick the disk was
/// so far. NFS writes all of them then.
const LITTLE: u64 = 64 << 10;
/// How many names are tried for what an upload leaves.
const LEFT_TRIES: usize = 9;

impl Upload {
    /// Ends the upload in good order: the file is whole, and has its name.
    pub fn complete(mut self) -> io::Result<()> {
        let worn = wear(&self.credentials)?;
        if self.is_old {
            self.empty(0)?;
        }
        match self.rules().sync {
            true => fsync(&self.file)?,
            // A file system may only now find that it has no room (NFS, FUSE): each close(2) asks it,
            // and of the last one nobody hears.
            false if self.written > 0 => nix::unistd::close(self.file.try_clone()?)?,
            false => {}
        }
        if let Place::Beside {
            directory,
            temporary,
            mode,
        } = &self.place
        {
            if let Some(mode) = mode {
                fchmod(&self.file, *mode)?;
            }
            let name = self.path.file_name().unwrap_or_default();
            replace(self.rules(), directory, temporary, name)?;
            if self.rules().sync {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                fsync(openat(directory, c".", flags, Mode::empty())?)?;
            }
        }
        drop(worn);
        self.complete = true;
        Ok(())
    }

    /// Whether its end, by [`Upload::complete`] or a drop, may be long although the disk is not, or
    /// may wait: then it is no work for an async worker.
    pub fn ends_long(&self) -> bool {
        self.written > LITTLE
            || self.rules().sync
            || self.is_counted()
            || matches!(self.place, Place::Beside { .. })
    }

    fn break_off(&self) -> Result<(), Errno> {
        match &self.place {
            Place::Beside {
                directory,
                temporary,
                ..
            } => {
                let worn = wear(&self.credentials)?;
                let kept = !self.is_to_go() && self.keep(directory, temporary).is_ok();
                let done = match kept {
                    true => Ok(()),
                    false => self.remove(directory, temporary.as_bytes()),
                };
                drop(worn);
                done
            }
            Place::Made if self.is_to_go() => {
                let worn = wear(&self.credentials)?;
                let directory = resolve::parent(&self.root, &self.path)?;
                let removed = self.remove(&directory, self.path.file_name().unwrap_or_default());
                drop(worn);
                removed
            }
            Place::Made | Place::Among => Ok(()),
        }
    }

    /// Whether a file that the upload made is of no use: there is nothing in it to go on with, or that
    /// is not wanted.
    fn is_to_go(&self) -> bool {
        self.rules().remove_aborted || fstat(&self.file).is_ok_and(|stat| stat.st_size == 0)
    }

    /// Leaves the file under its name to be and ".part", or with a number before that: nothing that
    /// has such a name is replaced, whoever's it is.
    fn keep(&self, directory: &OwnedFd, temporary: &str) -> Result<(), Errno> {
        let name = self.path.file_name().unwrap_or_default();
        let mut last = Errno::EXIST;
        for number in 1..=LEFT_TRIES {
            let end = match number {
                1 => ".part".to_owned(),
                number => format!(".{number}.part"),
            };
            let left = [name, end.as_bytes()].concat();
            match rename_new(directory, temporary.as_bytes(), directory, &left) {
                Err(errno @ Errno::EXIST) => last = errno,
                done => return done,
            }
        }
        Err(last)
    }

    /// Removes the file under `name`, if it is this one.
    fn remove(&self, directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        let mut ledger = self.rules().ledger_if_known();
        let stat = statat(directory, name, LOOK)?;
        if inode(&stat) != self.inode {
            return Ok(());
        }
        unlinkat(directory, name, AtFlags::empty())?;
        if let Some(ledger) = &mut ledger {
            ledger.removed(&stat);
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.complete
            && let Err(errno) = self.break_off()
        {
            tracing::warn!(path = %self.path, %errno, "cannot put away what an upload left");
        }
        if let Some((quota, limits)) = &self.rules().quota
            && let Ok(mut ledger) = quota.ledger(*limits)
            && let Ok(stat) = fstat(&self.file)
        {
            ledger.end_writing(&stat);
        }
    }
}

/// Gives the file `from` the name `to`, whatever has it now.
fn replace(rules: &Rules, directory: &OwnedFd, from: &str, to: &[u8]) -> Result<(), Errno> {
    let mut ledger = rules.ledger()?;
    let replaced: Option<Stat> = statat(directory, to, LOOK).ok();
    renameat(directory, from, directory, to)?;
    if let (Some(ledger), Some(replaced)) = (&mut ledger, replaced) {
        ledger.removed(&replaced);
    }
    Ok(())
}
