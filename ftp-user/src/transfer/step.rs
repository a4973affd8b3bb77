//! Steps: what a transfer does in one go before it makes room for others, on its session's worker or
//! on a blocking thread.

use super::connection::{DataConnection, Direction, Link};
use super::error::TransferError;
use super::monitor::Monitor;
use crate::disk::{self, Permit};
use crate::turns;
use std::time::{Duration, Instant};

/// What one step may take of the thread that it runs on.
#[derive(Clone, Copy)]
struct Limits {
    /// Most bytes in one attempt.
    most: usize,
    /// No other attempt after so many bytes, or so much time.
    bytes: u64,
    time: Duration,
    /// How long to wait for a client that has kept up so far.
    patience: Duration,
}

/// On the session's own worker: small files, and whatever a slow client takes at a time.
const WORKER: Limits = Limits {
    most: 64 << 10,
    bytes: 64 << 10,
    time: Duration::from_millis(1),
    patience: Duration::ZERO,
};
/// On a blocking thread. Transfers take turns: with more of them than threads, each waits a few of
/// these. The patience is shorter than a hop through the reactor is worth on a busy link; a client
/// that is slower than that is the reactor's to wait for.
const THREAD: Limits = Limits {
    most: usize::MAX,
    bytes: u64::MAX,
    time: Duration::from_millis(100),
    patience: Duration::from_millis(20),
};
/// A client that took so much in one step is worth a thread's patience again.
const QUICK: u64 = 1 << 20;

/// What one attempt to move bytes came to.
pub(super) enum Moved {
    /// So many bytes.
    Some(u64),
    /// None: the client is not ready.
    Blocked,
    /// There are no more.
    End,
}

/// A transfer, cut into attempts. Each may move some megabytes, and may wait for a disk.
pub(super) trait Job: Send + 'static {
    /// Which way the next bytes go: what to wait for when the client is not ready.
    fn direction(&self) -> Direction;
    /// Whether an attempt may take long although the disk does not: compression, encryption of more
    /// than a little, or a wait for whoever counts a quota.
    fn is_long(&self) -> bool;
    /// Whether an attempt computes more than its bytes are worth: it waits for its turn (`turns`).
    fn computes(&self) -> bool {
        false
    }
    /// Whether its drop may: an upload's closes a file, which may write.
    fn ends_long(&self) -> bool {
        self.is_long()
    }
    /// Moves `most` bytes at the most.
    fn attempt(&mut self, link: &Link, most: usize) -> Result<Moved, TransferError>;
}

enum Step {
    More,
    Blocked,
    /// A rate is to be kept.
    Ahead(Duration),
    End,
}

/// Runs a job to its end. Dropping the future ends it after the step that runs. One that fails and is
/// ends long is dropped on a blocking thread: an upload that is broken off may wait as it did before.
pub(super) async fn run<J: Job>(
    connection: &DataConnection,
    mut job: J,
) -> Result<J, TransferError> {
    let mut limits = THREAD;
    // What earlier transfers owe.
    let mut done = Step::Ahead(connection.link().paid(0));
    let error = loop {
        let waited = match done {
            Step::End => return Ok(job),
            Step::More => Ok(()),
            Step::Ahead(wait) => connection.pause(wait).await,
            Step::Blocked => connection.wait(job.direction()).await,
        };
        let mut stepped = match waited {
            Ok(()) if job.is_long() => Ok(Step::More),
            Ok(()) => step_here(&mut job, connection.link()),
            Err(error) => Err(error),
        };
        while let Ok(Step::More) = stepped {
            let link = connection.link().clone();
            let (mut turn, patience) = match job.computes() {
                // Whose turn it is does not wait for a client.
                true => (Some(turns::next().await), Duration::ZERO),
                false => (None, limits.patience),
            };
            let thread = match turns::during(&mut turn, thread_for(&link.monitor)).await {
                Ok(thread) => thread,
                Err(error) => {
                    stepped = Err(error);
                    break;
                }
            };
            let work = move || {
                let mut moved = 0;
                let limits = Limits { patience, ..limits };
                let done = step(&mut job, &link, limits, &mut moved);
                (job, moved, done)
            };
            let moved;
            let work = disk::on_a_thread(thread, work);
            (job, moved, stepped) = turns::during(&mut turn, work).await?;
            if let Ok(Step::Blocked) = stepped {
                limits.patience = match moved >= QUICK {
                    true => THREAD.patience,
                    false => Duration::ZERO,
                };
            }
        }
        match stepped {
            Ok(step) => done = step,
            Err(error) => break error,
        }
    };
    let end = disk::finish(job.ends_long(), move || drop(job));
    match error {
        // It would wait for the same.
        TransferError::Crowded(_) => drop(tokio::spawn(end)),
        _ => end.await?,
    }
    Err(error)
}

/// Waits for a blocking thread, or for an abort.
pub(crate) async fn thread_for(monitor: &Monitor) -> Result<Permit, TransferError> {
    tokio::select! {
        biased;
        () = monitor.aborted() => Err(TransferError::Aborted),
        permit = disk::permit() => Ok(permit?),
    }
}

/// A step on this worker, if there may be one now.
fn step_here<J: Job>(job: &mut J, link: &Link) -> Result<Step, TransferError> {
    match disk::enter() {
        Some(_visit) => step(job, link, WORKER, &mut 0),
        None => Ok(Step::More),
    }
}

/// Attempts within limits. Adds what was moved to `total`.
fn step<J: Job>(
    job: &mut J,
    link: &Link,
    limits: Limits,
    total: &mut u64,
) -> Result<Step, TransferError> {
    let started = Instant::now();
    loop {
        let moved = job.attempt(link, limits.most);
        // Asked after the attempt: a shut socket makes it look like an error, or like the end.
        if link.monitor.is_aborted() {
            return Err(TransferError::Aborted);
        }
        match moved? {
            Moved::End => return Ok(Step::End),
            Moved::Some(bytes) => {
                *total += bytes;
                let wait = link.paid(bytes);
                if !wait.is_zero() {
                    return Ok(Step::Ahead(wait));
                }
            }
            Moved::Blocked => {
                let ready = !limits.patience.is_zero()
                    && link
                        .is_ready(job.direction(), limits.patience)
                        .map_err(TransferError::Connection)?;
                if !ready {
                    return Ok(Step::Blocked);
                }
            }
        }
        if *total >= limits.bytes || started.elapsed() >= limits.time {
            return Ok(Step::More);
        }
    }
}

#[cfg(test)]
mod tests;
