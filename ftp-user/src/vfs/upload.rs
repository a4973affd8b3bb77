//! Files while they are written: where their bytes go, as whom they are stored, how many there may
//! be, and what becomes of a file whose upload does not come to its end.

mod end;
mod open;

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, Stat, flock, ftruncate, openat, statat};
use rustix::io::Errno;

use super::path::VirtualPath;
use super::quota::{Inode, Ledger, Quota, QuotaLimits};
use super::{Credentials, LOOK, wear};

/// Where the first byte of an upload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// STOR: into an empty file, made if need be. One that is there is emptied when the first byte
    /// is stored, or at the end of an upload without any.
    Truncate,
    /// APPE: behind what is there; the file is made if need be.
    Append,
    /// REST n, STOR: over what is there from byte n on, which must not lie beyond the end. Bytes
    /// behind the upload's end stay: RFC 3659 section 5 leaves it open, and clients that send a
    /// file in pieces rely on it.
    At(u64),
}

/// What an account's uploads have to keep to.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The largest file, in bytes.
    pub file_size: Option<NonZeroU64>,
    /// What may be beneath the root, and what is.
    pub quota: Option<(Arc<Quota>, QuotaLimits)>,
    /// Whether a file takes its name only when it is whole: STOR and STOU write under another name
    /// in the same directory, which listings leave out. APPE and REST change what is there, and a
    /// symbolic link's target is written in its place.
    pub atomic: bool,
    /// Whether a file is on the disk before its upload is reported complete.
    pub sync: bool,
    /// Whether a file that an upload made is removed when the upload breaks off. An empty one is in any
    /// case.
    pub remove_aborted: bool,
}

/// Those of an account that has none.
static NO_RULES: Rules = Rules {
    file_size: None,
    quota: None,
    atomic: false,
    sync: false,
    remove_aborted: false,
};

impl Rules {
    /// Whether they rule nothing.
    pub fn are_none(&self) -> bool {
        let Rules {
            file_size,
            quota,
            atomic,
            sync,
            remove_aborted,
        } = self;
        file_size.is_none() && quota.is_none() && !atomic && !sync && !remove_aborted
    }

    /// Whether there is a quota, so that work that keeps to it may have to wait: for a count of the
    /// whole tree, or for another process that counts.
    pub fn count(&self) -> bool {
        self.quota.is_some()
    }

    pub(super) fn of(rules: &Option<Arc<Rules>>) -> &Rules {
        rules.as_deref().unwrap_or(&NO_RULES)
    }

    pub(super) fn ledger(&self) -> Result<Option<Ledger<'_>>, Errno> {
        let quota = self.quota.as_ref();
        quota
            .map(|(quota, limits)| quota.ledger(*limits))
            .transpose()
    }

    /// The same for what only makes room, and is allowed where nobody knows how much there is: else
    /// what keeps it from being counted could not be removed. Figures that come out too high are
    /// counted again.
    pub(super) fn ledger_if_known(&self) -> Option<Ledger<'_>> {
        self.ledger().unwrap_or_default()
    }
}

/// A file that is being written. Dropping it without [`Upload::complete`] breaks the upload off.
#[derive(Debug)]
pub struct Upload {
    file: File,
    /// Where the next byte goes.
    at: u64,
    /// How many have been stored.
    written: u64,
    /// What was in the file before is still there, and goes before the first byte is stored.
    is_old: bool,
    inode: Inode,
    path: VirtualPath,
    place: Place,
    complete: bool,
    root: Arc<OwnedFd>,
    credentials: Option<Arc<Credentials>>,
    rules: Option<Arc<Rules>>,
}

/// What the file's name has to do with the bytes.
#[derive(Debug)]
enum Place {
    /// The bytes go into a file that was there before.
    Among,
    /// The bytes go into a file that was made for them.
    Made,
    /// The bytes are in a file of another name; then it takes this one, and the mode of the file
    /// that has it now.
    Beside {
        directory: OwnedFd,
        temporary: String,
        mode: Option<Mode>,
    },
}

const ACTION: &str = "write";
const TEMPORARY: (&[u8], &[u8]) = (b".pinhole-", b".part");

/// Whether that name in a directory is an upload's whose file has not got its own yet: then it is locked,
/// for as long as the upload's process lives. What a crash leaves is a file like any other, and so is
/// one that a client calls so.
pub(super) fn is_unfinished(directory: BorrowedFd<'_>, name: &CStr) -> bool {
    if !is_temporary(name.to_bytes()) {
        return false;
    }
    let is_file = |stat: Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    // To open anything else may have an effect, or wait.
    if !statat(directory, name, LOOK).is_ok_and(is_file) {
        return false;
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |access| openat(directory, name, access | flags, Mode::empty());
    // By the account's umask it may be readable to nobody, or writable.
    let file = open(OFlags::RDONLY).or_else(|_| open(OFlags::WRONLY));
    let shared = FlockOperation::NonBlockingLockShared;
    file.is_ok_and(|file| flock(file, shared) == Err(Errno::WOULDBLOCK))
}

fn is_temporary(name: &[u8]) -> bool {
    let digits = name
        .strip_prefix(TEMPORARY.0)
        .and_then(|rest| rest.strip_suffix(TEMPORARY.1));
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

impl Upload {
    /// Lets `write` store the next `count` bytes, all of them, if there may be so many: EFBIG beyond
    /// the largest file, EDQUOT beyond the quota.
    pub fn store<T>(
        &mut self,
        count: usize,
        write: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        let end = self.at.saturating_add(count as u64);
        if self.rules().file_size.is_some_and(|most| end > most.get()) {
            return Err(Errno::FBIG.into());
        }
        let worn = wear(&self.credentials)?;
        // Nothing is no reason yet: there may be more to come, or an error.
        if self.is_old && count > 0 {
            self.empty(end)?;
        }
        if let Some(mut ledger) = self.rules().ledger()? {
            ledger.reserve(self.inode, end)?;
        }
        let stored = write(&mut self.file)?;
        drop(worn);
        self.at = end;
        self.written = self.written.saturating_add(count as u64);
        Ok(stored)
    }

    /// Empties the file that was there, for one of which there are `end` bytes by now, if there may be
    /// so many. O_TRUNC would have emptied it before anybody knew whether anything comes.
    fn empty(&mut self, end: u64) -> Result<(), Errno> {
        let mut ledger = Rules::of(&self.rules).ledger()?;
        if let Some(ledger) = &ledger {
            ledger.may_become(self.inode, end)?;
        }
        ftruncate(&self.file, 0)?;
        if let Some(ledger) = &mut ledger {
            ledger.emptied(self.inode);
        }
        self.is_old = false;
        Ok(())
    }

    fn rules(&self) -> &Rules {
        Rules::of(&self.rules)
    }

    /// Whether what it stores is counted; see [`Rules::count`].
    pub fn is_counted(&self) -> bool {
        self.rules().count()
    }
}

#[cfg(test)]
impl Upload {
    /// Into a file of any kind, which no tree would open.
    pub(crate) fn into_file(file: File) -> Upload {
        Upload {
            at: 0,
            written: 0,
            is_old: false,
            inode: (0, 0),
            path: VirtualPath::root(),
            place: Place::Among,
            complete: false,
            root: Arc::new(file.try_clone().unwrap().into()),
            file,
            credentials: None,
            rules: None,
        }
    }
}

#[cfg(test)]
mod tests;
