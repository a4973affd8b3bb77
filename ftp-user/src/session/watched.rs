//! RFC 959 §4.1.1 QUIT and §4.1.3 ABOR, STAT: work, and the control connection listened to meanwhile.

use super::{Session, Stop};
use crate::control::ControlError;
use crate::proto::{Code, Command, Reply, parse};
use crate::transfer::Monitor;
use std::future::ready;
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// Work that was watched.
pub(super) struct Watched<T> {
    /// What came of it. Work that is told to end may be past the point where it can.
    pub(super) outcome: T,
    pub(super) end: Result<End, ControlError>,
}

/// Who had work end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nobody.
    Itself,
    /// The client, by ABOR.
    Abor,
    /// The server, which ends.
    Stop,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Waits for work and listens to the control connection meanwhile. ABOR and STAT are for now;
    /// other commands wait their turn. A lost control connection ends the work. Replies that are held
    /// leave as soon as the work has to wait.
    pub(super) async fn watch<T>(
        &mut self,
        monitor: &Monitor,
        work: impl Future<Output = T>,
    ) -> Watched<T> {
        let by_itself = |outcome| Watched {
            outcome,
            end: Ok(End::Itself),
        };
        let mut work = pin!(work);
        let mut stop = self.shared.stop.clone();
        let mut stopped = pin!(async move {
            let by = match stop.wait_for(|stop| *stop != Stop::No).await.as_deref() {
                Ok(&Stop::By(moment)) => moment,
                // The server is gone without a word, or (impossible) goes on.
                Ok(Stop::No) | Err(_) => tokio::time::Instant::now(),
            };
            tokio::time::sleep_until(by).await;
        });
        tokio::select! {
            biased;
            outcome = &mut work => return by_itself(outcome),
            () = ready(()) => {}
        }
        let mut has_more = true;
        let mut end = loop {
            if let Err(lost) = self.control.release().await {
                break Err(lost);
            }
            let line = tokio::select! {
                biased;
                outcome = &mut work => return by_itself(outcome),
                () = &mut stopped => break Ok(End::Stop),
                line = self.control.next_line(), if has_more => line,
            };
            let line = match line {
                Ok(line) => line,
                // It is as announced, and the client may still read.
                Err(ControlError::Closed) if self.waiting.has_quit() => {
                    has_more = false;
                    continue;
                }
                Err(lost) => break Err(lost),
            };
            match line.as_ref().map(|line| parse(line)) {
                Ok(Ok(Command::Abor)) => break Ok(End::Abor),
                Ok(Ok(Command::Stat)) => {
                    let status = self.stat(Some(monitor)).unwrap_or_else(|refusal| refusal);
                    self.control.hold(&status);
                }
                Ok(_) | Err(_) => {
                    // Not to listen any more would be to miss ABOR and the client's end.
                    if !self.waiting.keep(line) {
                        break Err(ControlError::Flooded);
                    }
                }
            }
        };
        match end {
            Ok(_) => monitor.abort(),
            Err(_) => monitor.cut(),
        }
        // Until its last step is over, the file and the socket are not ours to speak of.
        let outcome = work.await;
        if let Err(ControlError::Flooded) = end {
            let text = "Too many commands during a transfer.";
            let reply = Reply::new(Code::ServiceUnavailable, text);
            if let Err(lost) = self.control.send(&reply).await {
                end = Err(lost);
            }
        }
        Watched { outcome, end }
    }

    /// RFC 959 §4.1.3: a reply for the `work`, then 226 for the ABOR.
    pub(super) async fn after_abor(&mut self, work: &Reply) -> Result<Reply, ControlError> {
        self.control.send(work).await?;
        Ok(Reply::new(Code::TransferComplete, "ABOR done."))
    }
}
