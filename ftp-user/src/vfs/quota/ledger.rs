//! What is counted, changed: room is asked for before a file grows, all else follows the disk.

use std::sync::MutexGuard;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::elsewhere::Turn;
use super::{Account, Figure, Figures, Inode, QuotaLimits, State};

/// What is counted, held for a change. Figures are changed behind the disk's, except for growth,
/// which is asked for before it happens.
#[derive(Debug)]
pub(in crate::vfs) struct Ledger<'a> {
    pub(super) state: MutexGuard<'a, State>,
    pub(super) limits: QuotaLimits,
    /// Where another process counts: it gets the figures back.
    pub(super) turn: Option<Turn<'a>>,
}

impl Drop for Ledger<'_> {
    fn drop(&mut self) {
        let figures = self.figures();
        if let Some(turn) = &mut self.turn {
            turn.put(figures);
        }
    }
}

impl Ledger<'_> {
    /// Whether one more file, directory or link may be made.
    pub(in crate::vfs) fn has_room(&self) -> Result<(), Errno> {
        let account = self.account()?;
        match self.limits.files {
            Some(most) if account.files >= most.get() => Err(Errno::DQUOT),
            Some(_) | None => Ok(()),
        }
    }

    /// Bytes that may still be stored.
    pub(in crate::vfs) fn bytes_left(&self) -> Result<u64, Errno> {
        let used = self.account()?.bytes;
        Ok(self
            .limits
            .bytes
            .map_or(u64::MAX, |most| most.get().saturating_sub(used)))
    }

    /// Bytes and files that there are and that there may be, each where it is limited.
    pub(in crate::vfs) fn kept(&self) -> Result<(Option<Figure>, Option<Figure>), Errno> {
        let account = self.account()?;
        let QuotaLimits { bytes, files } = self.limits;
        Ok((
            bytes.map(|most| (account.bytes, most.get())),
            files.map(|most| (account.files, most.get())),
        ))
    }

    pub(super) fn figures(&self) -> Figures {
        let (bytes, files) = self
            .account()
            .map_or((0, 0), |account| (account.bytes, account.files));
        Figures { bytes, files }
    }

    pub(super) fn set_figures(&mut self, Figures { bytes, files }: Figures) {
        self.with(|account| (account.bytes, account.files) = (bytes, files));
    }

    /// One was made.
    pub(in crate::vfs) fn made(&mut self) {
        self.with(|account| account.files = account.files.saturating_add(1));
    }

    /// One lost a name: `stat` is what it was before.
    pub(in crate::vfs) fn removed(&mut self, stat: &Stat) {
        self.with(|account| {
            account.files = account.files.saturating_sub(1);
            let last = stat.st_nlink <= 1;
            // One that is being written is settled when that ends.
            let writing = account.writing.contains_key(&inode(stat));
            if is_file(stat) && last && !writing {
                account.bytes = account.bytes.saturating_sub(size(stat));
            }
        });
    }

    /// A file is about to be written. Only one session at a time may, or two would count the same
    /// bytes: EBUSY.
    pub(in crate::vfs) fn begin_writing(&mut self, stat: &Stat) -> Result<(), Errno> {
        let State::Known(account) = &mut *self.state else {
            return Err(Errno::IO);
        };
        if account.writing.contains_key(&inode(stat)) {
            return Err(Errno::BUSY);
        }
        account.writing.insert(inode(stat), size(stat));
        Ok(())
    }

    /// Whether a file that is being written may have `end` bytes in place of those that are counted
    /// for it: EDQUOT. None at all it may always have.
    pub(in crate::vfs) fn may_become(&self, file: Inode, end: u64) -> Result<(), Errno> {
        let account = self.account()?;
        let counted = account.writing.get(&file).copied().unwrap_or_default();
        let others = account.bytes.saturating_sub(counted);
        match self.limits.bytes {
            Some(most) if end > 0 && others.saturating_add(end) > most.get() => Err(Errno::DQUOT),
            Some(_) | None => Ok(()),
        }
    }

    /// A file that is being written was emptied.
    pub(in crate::vfs) fn emptied(&mut self, file: Inode) {
        self.with(|account| {
            if let Some(counted) = account.writing.get_mut(&file) {
                account.bytes = account.bytes.saturating_sub(*counted);
                *counted = 0;
            }
        });
    }

    /// Counts a file that is being written up to `end`, if there is room: EDQUOT.
    pub(in crate::vfs) fn reserve(&mut self, file: Inode, end: u64) -> Result<(), Errno> {
        let left = self.bytes_left()?;
        let State::Known(account) = &mut *self.state else {
            return Err(Errno::IO);
        };
        let counted = account.writing.entry(file).or_default();
        let growth = end.saturating_sub(*counted);
        if growth > left {
            return Err(Errno::DQUOT);
        }
        *counted += growth;
        account.bytes = account.bytes.saturating_add(growth);
        Ok(())
    }

    /// A file is written no more: what is there now counts, or nothing if it has no name left.
    pub(in crate::vfs) fn end_writing(&mut self, stat: &Stat) {
        self.with(|account| {
            if let Some(counted) = account.writing.remove(&inode(stat)) {
                let now = if stat.st_nlink == 0 { 0 } else { size(stat) };
                account.bytes = account.bytes.saturating_sub(counted).saturating_add(now);
            }
        });
    }

    pub(super) fn account(&self) -> Result<&Account, Errno> {
        match &*self.state {
            State::Known(account) => Ok(account),
            State::Unknown | State::Counting => Err(Errno::IO),
        }
    }

    pub(super) fn with(&mut self, change: impl FnOnce(&mut Account)) {
        if let State::Known(account) = &mut *self.state {
            change(account);
        }
    }
}

pub(in crate::vfs) fn inode(stat: &Stat) -> Inode {
    (stat.st_dev, stat.st_ino)
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn size(stat: &Stat) -> u64 {
    match is_file(stat) {
        true => u64::try_from(stat.st_size).unwrap_or(0),
        false => 0,
    }
}
