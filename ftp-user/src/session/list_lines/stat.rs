//! A listing as a reply: STAT with a path.

use super::read::{Found, Source};
use super::{Lines, STEP};
use crate::proto::{Code, Reply};
use crate::vfs::{Vfs, VfsError};

/// Lines of a STAT with a path. They go over the control connection, which has better to do.
const MOST: usize = 1000;

/// The lines of a STAT while they are gathered.
#[derive(Debug)]
pub(in crate::session) struct StatLines {
    code: Code,
    lines: Lines,
    gathered: Vec<Vec<u8>>,
    more: bool,
}

impl StatLines {
    pub(in crate::session) fn new(lines: Lines) -> StatLines {
        StatLines {
            code: match lines.source {
                Source::One(_) => Code::FileStatus,
                Source::Directory(..) | Source::Nothing => Code::DirectoryStatus,
            },
            lines,
            gathered: Vec::new(),
            more: false,
        }
    }

    /// Gathers some of them, and says whether these are all that the reply has.
    pub(in crate::session) fn gather_some(&mut self, vfs: &Vfs) -> Result<bool, VfsError> {
        self.gather(vfs, STEP)
    }

    /// Gathers the rest, which may take long although the disk does not.
    pub(in crate::session) fn gather_all(&mut self, vfs: &Vfs) -> Result<(), VfsError> {
        self.gather(vfs, usize::MAX).map(drop)
    }

    /// The reply that has them.
    pub(in crate::session) fn into_reply(self) -> Reply {
        let last = match self.more {
            true => "Cut short; LIST shows all.",
            false => "End of status.",
        };
        let reply = Reply::new(self.code, last).with_line(&b"Status:"[..]);
        self.gathered.into_iter().fold(reply, Reply::with_line)
    }

    fn gather(&mut self, vfs: &Vfs, mut names: usize) -> Result<bool, VfsError> {
        loop {
            let entry = match self.lines.next(vfs, &mut names)? {
                Found::One(entry) => entry,
                Found::NotYet => return Ok(false),
                Found::End => return Ok(true),
            };
            if self.gathered.len() == MOST {
                self.more = true;
                return Ok(true);
            }
            let mut line = Vec::new();
            self.lines.format.write_in_reply(entry, &mut line);
            self.gathered.push(line);
        }
    }
}
