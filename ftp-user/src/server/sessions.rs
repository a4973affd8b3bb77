//! The sessions that run: begun, or turned away; waited for at the end, or cut.

use super::accept::Arrival;
use super::admission::Admission;
use crate::control::ControlSocket;
use crate::pinholes::SessionId;
use crate::proto::{Code, Reply};
use crate::session::{self, Shared, Start};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long sessions get to say 421 once their transfers are over.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often the log tells how many transfers are still waited for at the end.
const DRAIN_REPORT: Duration = Duration::from_secs(5);

/// The sessions that run.
pub(super) struct Sessions {
    pub(super) running: JoinSet<()>,
    pub(super) next_id: SessionId,
    pub(super) admission: Arc<Admission>,
    pub(super) shared: Arc<Shared>,
}

impl Sessions {
    pub(super) fn begin(&mut self, (stream, ends, way): Arrival) {
        let id = self.next_id;
        self.next_id += 1;
        let limits = &self.shared.newest.get().config.limits;
        match self.admission.admit(ends.client.ip(), limits) {
            Ok(ticket) => {
                let shared = Arc::clone(&self.shared);
                self.running.spawn(async move {
                    session::run(ControlSocket(stream), id, ends, way, shared).await;
                    drop(ticket);
                });
            }
            Err(reason) => {
                tracing::warn!(client = %ends.client.ip(), reason, "session refused");
                self.running.spawn(turn_away(stream, way.start, reason));
            }
        }
    }

    pub(super) async fn all_ended(&mut self) {
        while let Some(ended) = self.running.join_next().await {
            report(ended);
        }
    }

    /// Waits until they have ended, and cuts those that have not soon after `by`.
    pub(super) async fn drain(&mut self, by: Instant) {
        let all_ended = async {
            let mut reports = tokio::time::interval(DRAIN_REPORT);
            // The first is at once.
            reports.tick().await;
            loop {
                tokio::select! {
                    ended = self.running.join_next() => match ended {
                        Some(ended) => report(ended),
                        None => break,
                    },
                    _ = reports.tick() => {
                        let seconds = by.saturating_duration_since(Instant::now()).as_secs();
                        let sessions = self.running.len();
                        tracing::info!(sessions, seconds, "waiting for transfers to end");
                    }
                }
            }
        };
        if tokio::time::timeout_at(by + FAREWELL, all_ended)
            .await
            .is_err()
        {
            let sessions = self.running.len();
            tracing::warn!(sessions, "cutting sessions that do not end");
            self.running.shutdown().await;
        }
    }
}

pub(super) fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a session failed");
    }
}

async fn turn_away(mut stream: TcpStream, start: Start, reason: &'static str) {
    match start {
        Start::Clear => {}
        // There is nothing to say outside of TLS that the client could read, and a handshake is more
        // than who is one too many should cost.
        Start::Tls => return,
    }
    let mut bytes = Vec::new();
    Reply::new(Code::ServiceUnavailable, reason).encode(&mut bytes);
    // It is a courtesy; a client that does not take it is closed like any other.
    let _ = tokio::time::timeout(FAREWELL, stream.write_all(&bytes)).await;
}
