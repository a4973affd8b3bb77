//! COMB: parts that were uploaded one by one become one file, as GlobalSCAPE's and SFTPGo's servers
//! have it.

use super::transfer::Watched;
use super::{Answer, Session, outcome};
use crate::control::ControlError;
use crate::proto::{Code, Reply};
use crate::transfer::{Monitor, TransferError};
use crate::vfs::{Tree, VirtualPath};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Appends the parts to the target, in order, and removes them. If anything fails before all is
    /// appended, or on ABOR, nothing has changed.
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
        let progress = monitor.clone();
        let work = tokio::task::spawn_blocking(move || {
            tree.act(|vfs| {
                vfs.combine(&target, &parts, |bytes| {
                    progress.add(bytes);
                    !progress.is_aborted()
                })
            })
        });
        Ok(match self.watch(&monitor, work).await? {
            Watched::Done(Ok(Ok(bytes))) => Ok(Reply::new(
                Code::ActionOkay,
                format!("{bytes} bytes combined."),
            )),
            Watched::Done(Ok(Err(error))) => Err(outcome::of_vfs_error(&error)),
            Watched::Done(Err(error)) => {
                Err(outcome::of_transfer_error(&TransferError::Worker(error)))
            }
            Watched::Aborted => Ok(self.aborted().await?),
            Watched::Stopped => Err(outcome::shutting_down()),
        })
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
