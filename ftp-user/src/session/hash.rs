//! HASH of draft-bryan-ftpext-hash-02; XCRC XMD5 XSHA1 XSHA256 XSHA512, as other servers have them.

use super::state::Pending;
use super::watched::{End, Watched};
use super::{Answer, Session, outcome};
use crate::control::ControlError;
use crate::digest;
use crate::proto::command::{Algorithm, Reading};
use crate::proto::{Code, Reply};
use crate::transfer::Monitor;
use crate::vfs::{ErrorKind, Vfs};
use std::fs::File;
use std::ops::Range;
use tokio::io::{AsyncRead, AsyncWrite};

/// A file, and which of its bytes are hashed.
type Portion = (File, Range<u64>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// HASH. The reply names the algorithm, the bytes, the hash and the path as it was given.
    pub(super) async fn hash(&mut self, argument: Vec<u8>) -> Result<Answer, ControlError> {
        let range = match std::mem::take(&mut self.pending) {
            Pending::Range(first, last) => Some((first, Some(last.saturating_add(1)))),
            Pending::Nothing | Pending::Rename(_) | Pending::Restart(_) => None,
        };
        let algorithm = self.parameters.hash;
        let (file, range) = match self.portion(&argument, range).await {
            Ok(portion) => portion,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // Both ends are inside (§3 of the draft); of no bytes, the first is the last as well.
        let (first, last) = (range.start, range.end.saturating_sub(1).max(range.start));
        let answer = self.compute(algorithm, (file, range)).await?;
        Ok(answer.map(|hash| {
            let mut text = format!("{} {first}-{last} {hash} ", algorithm.name()).into_bytes();
            text.extend_from_slice(&argument);
            Reply::bytes(Code::FileStatus, text)
        }))
    }

    /// XCRC and its kin: the hash alone, in capitals, as the first of them had it.
    pub(super) async fn digest(
        &mut self,
        algorithm: Algorithm,
        reading: Reading,
        longer: Vec<Reading>,
    ) -> Result<Answer, ControlError> {
        let portion = match self.meant(reading, longer).await {
            Ok(Reading { path, range }) => self.portion(&path, range).await,
            Err(refusal) => Err(refusal),
        };
        let portion = match portion {
            Ok(portion) => portion,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let answer = self.compute(algorithm, portion).await?;
        Ok(answer.map(|hash| Reply::new(Code::ActionOkay, hash.to_ascii_uppercase())))
    }

    /// The first of the longer ones whose name is there, or else `reading`.
    async fn meant(&self, reading: Reading, longer: Vec<Reading>) -> Result<Reading, Reply> {
        for longer in longer {
            let path = self.path(&longer.path)?;
            let look = move |vfs: &Vfs| Ok(vfs.metadata(&path).is_ok());
            if self.on_disk(look).await? {
                return Ok(longer);
            }
        }
        Ok(reading)
    }

    /// Opens a file, and fits the range to it: its end may lie beyond the file's, its start may not.
    async fn portion(
        &self,
        argument: &[u8],
        range: Option<(u64, Option<u64>)>,
    ) -> Result<Portion, Reply> {
        let path = self.path(argument)?;
        let (file, size) = self
            .on_disk(move |vfs| match vfs.open_read(&path) {
                // "The hash of a directory is not defined": 553 (§3.5).
                Err(error) if error.kind() == ErrorKind::IsADirectory => Ok(None),
                opened => opened.map(Some),
            })
            .await?
            .ok_or_else(|| Reply::new(Code::NameNotAllowed, "Is a directory."))?;
        let (start, end) = range.unwrap_or((0, None));
        if end.is_some_and(|end| start > end) {
            let text = "The range ends before it starts.";
            return Err(Reply::new(Code::ArgumentError, text));
        }
        let end = end.unwrap_or(size).min(size);
        if start > end {
            return Err(outcome::beyond_end());
        }
        Ok((file, start..end))
    }

    /// Hashes while the control connection is listened to, as in a transfer.
    async fn compute(
        &mut self,
        algorithm: Algorithm,
        (file, range): Portion,
    ) -> Result<Result<String, Reply>, ControlError> {
        let monitor = Monitor::default();
        let work = digest::of_file(file, range, algorithm, monitor.clone());
        let Watched { outcome, end } = self.watch(&monitor, work).await;
        match end? {
            End::Itself => Ok(outcome.map_err(|error| outcome::of_transfer_error(&error))),
            End::Abor => self.after_abor(&outcome::aborted()).await.map(Err),
            End::Stop => Ok(Err(outcome::shutting_down())),
        }
    }
}
