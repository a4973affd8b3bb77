//! Steps: what a transfer does on a blocking thread before it makes room for others.

use super::connection::{DataConnection, Direction, Link};
use super::error::TransferError;
use std::time::{Duration, Instant};

/// How long one step may hold its thread. Transfers take turns: with more of them than threads,
/// each waits a few of these.
const STEP: Duration = Duration::from_millis(100);
/// How long a thread waits for a client that has kept up so far. Shorter than a hop through the
/// reactor is worth on a busy link; a client that is slower than that is the reactor's to wait for.
const PATIENCE: Duration = Duration::from_millis(20);
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
    fn attempt(&mut self, link: &Link) -> Result<Moved, TransferError>;
}

enum Step {
    More,
    Blocked,
    /// A rate is to be kept.
    Ahead(Duration),
    End,
}

/// Runs a job to its end. Dropping the future ends it after the step that runs.
pub(super) async fn run<J: Job>(
    connection: &DataConnection,
    mut job: J,
) -> Result<J, TransferError> {
    let mut patience = PATIENCE;
    // What earlier transfers owe.
    connection.pause(connection.link().paid(0)).await?;
    loop {
        let link = connection.link().clone();
        let work = move || {
            let step = step(&mut job, &link, &mut patience);
            (job, patience, step)
        };
        let step;
        (job, patience, step) = tokio::task::spawn_blocking(work).await?;
        match step? {
            Step::End => return Ok(job),
            Step::More => {}
            Step::Ahead(wait) => connection.pause(wait).await?,
            Step::Blocked => connection.wait(job.direction()).await?,
        }
    }
}

fn step<J: Job>(job: &mut J, link: &Link, patience: &mut Duration) -> Result<Step, TransferError> {
    let started = Instant::now();
    let mut total = 0;
    loop {
        let moved = job.attempt(link);
        // Asked after the attempt: a shut socket makes it look like an error, or like the end.
        if link.monitor.is_aborted() {
            return Err(TransferError::Aborted);
        }
        match moved? {
            Moved::End => return Ok(Step::End),
            Moved::Some(bytes) => {
                total += bytes;
                let wait = link.paid(bytes);
                if !wait.is_zero() {
                    return Ok(Step::Ahead(wait));
                }
            }
            Moved::Blocked => {
                if total >= QUICK {
                    *patience = PATIENCE;
                }
                let ready = !patience.is_zero()
                    && link
                        .is_ready(job.direction(), *patience)
                        .map_err(TransferError::Connection)?;
                if !ready {
                    *patience = Duration::ZERO;
                    return Ok(Step::Blocked);
                }
            }
        }
        if started.elapsed() >= STEP {
            return Ok(Step::More);
        }
    }
}
