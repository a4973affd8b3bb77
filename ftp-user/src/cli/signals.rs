//! Signals: the ones that end the program in good order, the one that has it read its settings
//! again, and the one that has another process take over.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::systemd;
use crate::stderr;

fn handle(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("cannot handle signals")
}

/// SIGTERM and SIGINT.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Handles them from now on.
    pub(super) fn new() -> anyhow::Result<Stop> {
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
        systemd::stopping();
        tokio::spawn(async move {
            let name = self.next().await;
            tracing::warn!("{name} again: ending at once");
            stderr::flush();
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

/// SIGHUP.
pub(super) struct Hangup(Signal);

impl Hangup {
    /// Handles it from now on; before, it ends the program.
    pub(super) fn new() -> anyhow::Result<Hangup> {
        Ok(Hangup(handle(SignalKind::hangup())?))
    }

    /// Resolves at the next one. Several that come while nobody looks are one.
    pub(super) async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// SIGUSR2.
pub(super) struct TakeOver(Signal);

impl TakeOver {
    /// Handles it from now on; before, it ends the program.
    pub(super) fn new() -> anyhow::Result<TakeOver> {
        Ok(TakeOver(handle(SignalKind::user_defined2())?))
    }

    /// Resolves at the next one. Several that come while nobody looks are one.
    pub(super) async fn next(&mut self) {
        self.0.recv().await;
    }
}
