//! Turns at computing: what keeps a core busy without any client having to keep up with it (hashes,
//! compression, reading a file to its middle) goes in short steps, no more of them at one time than there
//! are cores. More would finish no sooner, and would starve everything else.

use std::sync::{Arc, LazyLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
