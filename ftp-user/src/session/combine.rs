//! COMB: parts that were uploaded one by one become one file, as GlobalSCAPE's and SFTPGo's servers
//! have it.

use super::told::Change;
use super::watched::{End, Watched};
use super::{Answer, Session, outcome};
use crate::control::ControlError;
use crate::disk::{self, DiskError};
use crate::proto::{Code, Reply};
use crate::transfer::Monitor;
use crate::vfs::{Combination, Combining, Tree, VfsError, VirtualPath};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long one step may hold its thread.
const STEP: Duration = Duration::from_millis(100);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Appends the parts to the target, in order, and removes them. If anything fails before all is
    /// appended, or ABOR comes before that, nothing has changed.
    pub(super) async fn comb(
        &mut self,
        target: &[u8],
        parts: &[Vec<u8>],
    ) -> Result<Answer, ControlError> {
        let (tree, target, parts) = match self.names(target, parts) {
            Ok(names) => names,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let monitor = Monitor::default();
        let work = combine(tree, target.clone(), parts.clone(), monitor.clone());
        let Watched { outcome, end } = self.watch(&monitor, work).await;
        let done = match outcome {
            Ok(Ok(bytes)) => {
                self.changed("COMB", &target, &Change::Parts(&parts));
                let text = format!("{bytes} bytes combined.");
                Ok(Reply::new(Code::ActionOkay, text))
            }
            Ok(Err(error)) => Err(outcome::of_vfs_error(&error)),
            Err(error) => Err(outcome::of_transfer_error(&error.into())),
        };
        match (end?, done) {
            (End::Itself, answer) | (End::Stop, answer @ Ok(_)) => Ok(answer),
            (End::Stop, Err(_)) => Ok(Err(outcome::shutting_down())),
            (End::Abor, Ok(done)) => self.after_abor(&done).await.map(Ok),
            (End::Abor, Err(_)) => self.after_abor(&outcome::aborted()).await.map(Ok),
        }
    }

    fn names(
        &self,
        target: &[u8],
        parts: &[Vec<u8>],
    ) -> Result<(Tree, VirtualPath, Vec<VirtualPath>), Reply> {
        let tree = self.user()?.tree.clone();
        let parts: Result<_, _> = parts.iter().map(|part| self.path(part)).collect();
        Ok((tree, self.path(target)?, parts?))
    }
}

/// Combines on blocking threads, in steps. Counts bytes in `monitor` and ends when that is aborted.
async fn combine(
    tree: Tree,
    target: VirtualPath,
    parts: Vec<VirtualPath>,
    monitor: Monitor,
) -> Result<Result<u64, VfsError>, DiskError> {
    let mut stepped = disk::run(true, move || {
        let begun = Combination::begin(&tree, target, parts);
        begun.map(|combination| Combining::More(Box::new(combination)))
    })
    .await?;
    loop {
        let combination = match stepped {
            Ok(Combining::More(combination)) => combination,
            Ok(Combining::Done(bytes)) => return Ok(Ok(bytes)),
            Err(error) => return Ok(Err(error)),
        };
        let progress = monitor.clone();
        // What has begun is to come to its end, or to be undone, on a thread.
        stepped = disk::finish(true, move || {
            combination.step(STEP, |bytes| {
                progress.add(bytes);
                !progress.is_aborted()
            })
        })
        .await?;
    }
}
