//! SIGUSR2: another process takes over, which is this program anew. Who does what is `handover`'s.

use std::sync::Arc;

use tokio::sync::watch;

use super::signals::TakeOver;
use super::{explain, systemd};
use crate::generation::Generations;
use crate::handover::Departure;

/// Hands over at a SIGUSR2, if this process is `alone`; refuses all others, and says why.
pub(super) async fn at(
    mut signal: TakeOver,
    departure: Departure,
    generations: Arc<Generations>,
    alone: watch::Receiver<bool>,
) {
    let work = loop {
        signal.next().await;
        if !*alone.borrow() {
            tracing::error!(
                "SIGUSR2: restart refused: sessions still run in the process before; try again when \
                 they have ended, or end it"
            );
            systemd::status("restart refused: sessions still run in the process before");
            continue;
        }
        tracing::info!("SIGUSR2: starting another process, which is to take over");
        let config = Arc::clone(&generations.newest().config);
        match departure.hand_over(&config, announce).await {
            Ok(work) => break work,
            Err(error) => {
                let why = explain(&error.into());
                for line in why.lines() {
                    tracing::error!("restart refused: {line}");
                }
                tracing::error!("this process goes on");
                let first = why.lines().next().unwrap_or_default();
                systemd::status(&format!("restart refused: {first}"));
            }
        }
    };
    // The listeners are the other process's alone.
    drop(departure);
    let refuse = async {
        loop {
            signal.next().await;
            tracing::error!("SIGUSR2: restart refused: another process has taken over already");
        }
    };
    tokio::join!(work, refuse);
}

fn announce(pid: u32) {
    systemd::hand_over(pid);
    tracing::info!("process {pid} has taken over; sessions that are left go on here");
}
