//! Signals that end the program in good order.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Handles them from now on.
    pub(super) fn new() -> anyhow::Result<Stop> {
        let handle = |kind| signal(kind).context("cannot handle signals");
        Ok(Stop {
            terminate: handle(SignalKind::terminate())?,
            interrupt: handle(SignalKind::interrupt())?,
        })
    }

    /// Resolves when the process is told to stop. Whoever tells it twice does not want to wait for
    /// transfers.
    pub(super) async fn told(mut self) {
        let name = self.next().await;
        tracing::info!("{name}: stopping");
        tokio::spawn(async move {
            let name = self.next().await;
            tracing::warn!("{name} again: ending at once");
            // Sockets, programs and maps are the process's own and go with it.
            std::process::exit(1);
        });
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
