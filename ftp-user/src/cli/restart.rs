//! SIGUSR2: another process takes over, which is this program anew. Who does what is `handover`'s.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::signals::TakeOver;
use super::{explain, systemd};
use crate::generation::Generations;
use crate::handover::Departure;

/// Hands over at a SIGUSR2, if this process is `alone`; refuses all others, and says why. Lets go of the
/// listeners once another process has them, or the other end of `stopping` is dropped.
pub(super) async fn at(
    mut signal: TakeOver,
    departure: Departure,
    generations: Arc<Generations>,
    alone: watch::Receiver<bool>,
    mut stopping: oneshot::Receiver<Infallible>,
) {
    let work = loop {
        tokio::select! {
            biased;
            Err(_) = &mut stopping => break None,
            () = signal.next() => {}
        }
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
            Ok(work) => break Some(work),
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
    // Whoever connects now is the other process's, or is told by the kernel that nobody listens.
    drop(departure);
    match work {
        Some(work) => {
            let refuse = refuse(signal, "another process has taken over already");
            tokio::join!(work, refuse);
        }
        None => refuse(signal, "this process is stopping").await,
    }
}

async fn refuse(mut signal: TakeOver, why: &str) {
    loop {
        signal.next().await;
        tracing::error!("SIGUSR2: restart refused: {why}");
    }
}

fn announce(pid: u32) {
    systemd::hand_over(pid);
    tracing::info!("process {pid} has taken over; sessions that are left go on here");
}
