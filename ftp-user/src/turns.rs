//! Turns at computing: what keeps a core busy without any client having to keep up with it (hashes,
//! compression, reading a file to its middle) goes in short steps, no more of them at one time than there
//! are cores. More would finish no sooner, and would starve everything else.

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longer than any step computes: one that is not over by then waits for a disk, and needs no core.
const LONGEST: Duration = Duration::from_secs(1);

static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(cores))
});

/// One step's turn, over when it is dropped.
#[must_use = "it is over at once otherwise"]
pub struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Waits for a turn, in the order of those who ask.
pub async fn next() -> Turn {
    // Nobody closes it.
    let _permit = Arc::clone(&TURNS).acquire_owned().await.ok();
    Turn { _permit }
}

/// Waits for what is done in a turn, which others have if it takes too long: a disk that hangs would
/// keep it for ever.
pub async fn during<T>(turn: &mut Option<Turn>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if turn.is_some()
        && let Ok(done) = tokio::time::timeout(LONGEST, &mut work).await
    {
        return done;
    }
    *turn = None;
    work.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_hangs_keeps_no_turn() {
        let turns = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&turns).acquire_owned().await.unwrap();
        let mut turn = Some(Turn {
            _permit: Some(permit),
        });
        let hung =
            tokio::spawn(async move { during(&mut turn, std::future::pending::<()>()).await });
        let next = tokio::time::timeout(2 * LONGEST, turns.acquire()).await;
        assert!(next.is_ok() && !hung.is_finished());
    }
}
