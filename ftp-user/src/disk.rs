//! Where work with files is done: right on the async worker whose session wants it, as long as that
//! is no gamble, else on a blocking thread. Knows nothing of files.
//!
//! What is in memory takes a few microseconds; the way to a blocking thread and back takes more than
//! that, and two wake-ups. What is not in memory takes as long as it takes, and would keep all
//! sessions of its worker waiting. So:
//!
//! * One worker stays free of such work, always: whatever disk hangs, somebody can take the others'
//!   tasks over. That somebody may sleep, and the worker that hangs may be the one that would hear of
//!   what wakes it: tokio leaves what comes in to whichever worker was the last to look. So a thread
//!   of its own wakes a worker now and then while there is such work ([`rescue`]).
//! * Once such work has put a worker to sleep, nobody tries for a while. That it took long does not
//!   say so: others may have had the processor.
//!
//! What hangs on blocking threads leaves others to who works elsewhere: [`share`].

mod share;

pub use share::{Crowded, Permit, THREADS, permit, scope, work_beneath};

use nix::sys::resource::{UsageWho, getrusage};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};

/// A worker that sleeps for less is not missed: a lock, not a disk.
const SLOW: Duration = Duration::from_millis(2);
/// How long nobody tries then.
const REST: Duration = Duration::from_secs(1);
/// How often a worker is woken while there is work that may hang.
const TICK: Duration = Duration::from_millis(10);

/// All workers of this process.
static WORKERS: LazyLock<Workers> = LazyLock::new(Workers::default);

/// Why work was not done.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It waited for too long, and has not begun.
    #[error(transparent)]
    Crowded(#[from] Crowded),
    /// It panicked.
    #[error("a file worker failed: {0}")]
    Worker(#[from] JoinError),
}

/// Does `work` here or on a blocking thread, whichever is right at the moment. What is `long` by its
/// nature is no work for a worker.
pub async fn run<T: Send + 'static>(
    long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DiskError> {
    if !long && let Some(_visit) = enter() {
        return Ok(work());
    }
    let permit = permit().await?;
    Ok(on_a_thread(permit, work).await?)
}

/// The same for what has to be done in the end however long it waits, as closing a file. Whoever does
/// not want to wait with it may spawn it.
pub fn finish<T: Send + 'static>(
    long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, JoinError>> + Send + 'static {
    let share = share::current();
    async move {
        if !long && let Some(_visit) = enter() {
            return Ok(work());
        }
        on_a_thread(share::admit(share).await, work).await
    }
}

/// Begins `work` on a blocking thread.
pub fn on_a_thread<T: Send + 'static>(
    permit: Permit,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    })
}

/// Leave to work with files on this thread until the visit is dropped, which is not to outlive the
/// poll that it was made in. `None`: not now.
pub fn enter() -> Option<Visit<'static>> {
    WORKERS.enter(Handle::try_current().ok()?.metrics().num_workers())
}

/// Has somebody listen on, from now on, when work on a worker of this runtime hangs. Once for a process.
pub fn rescue(runtime: Handle) -> io::Result<()> {
    let thread = thread::Builder::new().name("disk-watch".to_owned());
    thread.spawn(move || WORKERS.watch(&runtime)).map(drop)
}

#[derive(Debug)]
struct Workers {
    /// How many are at it.
    visits: AtomicUsize,
    /// Whether `watcher` looks at that, or is about to.
    watched: AtomicBool,
    watcher: OnceLock<Thread>,
    /// Microseconds from `epoch` until when nobody tries.
    resting: AtomicU64,
    epoch: Instant,
}

impl Default for Workers {
    fn default() -> Workers {
        Workers {
            visits: AtomicUsize::new(0),
            watched: AtomicBool::new(false),
            watcher: OnceLock::new(),
            resting: AtomicU64::new(0),
            epoch: Instant::now(),
        }
    }
}

impl Workers {
    fn enter(&self, workers: usize) -> Option<Visit<'_>> {
        let started = Instant::now();
        if self.micros(started) < self.resting.load(Ordering::Relaxed) {
            return None;
        }
        // Before the look at `watched`, in one order for all: see `watch`.
        let entered = self
            .visits
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, |visits| {
                (visits + 1 < workers).then_some(visits + 1)
            });
        entered.ok()?;
        if !self.watched.load(Ordering::SeqCst)
            && !self.watched.swap(true, Ordering::SeqCst)
            && let Some(watcher) = self.watcher.get()
        {
            watcher.unpark();
        }
        Some(Visit {
            workers: self,
            started,
            sleeps: sleeps(),
        })
    }

    /// Wakes a worker every [`TICK`] while anybody is at it: it finds what waits, and then listens.
    /// Sleeps while nobody is.
    fn watch(&self, runtime: &Handle) -> ! {
        // Before the first look at `watched`: whoever comes earlier is seen there, and later wakes us.
        let _ = self.watcher.set(thread::current());
        loop {
            while !self.watched.load(Ordering::SeqCst) {
                thread::park();
            }
            thread::sleep(TICK);
            if self.visits.load(Ordering::SeqCst) > 0 {
                runtime.spawn(async {});
                continue;
            }
            self.watched.store(false, Ordering::SeqCst);
            // Whoever came in between believes that they are watched.
            if self.visits.load(Ordering::SeqCst) > 0 {
                self.watched.store(true, Ordering::SeqCst);
            }
        }
    }

    fn micros(&self, moment: Instant) -> u64 {
        let micros = moment.saturating_duration_since(self.epoch).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX)
    }
}

/// One piece of work on an async worker.
#[derive(Debug)]
#[must_use = "it is over at once otherwise"]
pub struct Visit<'a> {
    workers: &'a Workers,
    started: Instant,
    /// How often this thread had slept before.
    sleeps: Option<i64>,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.workers.visits.fetch_sub(1, Ordering::SeqCst);
        let now = Instant::now();
        if now.saturating_duration_since(self.started) > SLOW && sleeps() != self.sleeps {
            let until = self.workers.micros(now + REST);
            self.workers.resting.fetch_max(until, Ordering::Relaxed);
        }
    }
}

/// How often this thread has given the processor away because it had to wait.
fn sleeps() -> Option<i64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
    Some(usage.voluntary_context_switches())
}

#[cfg(test)]
mod tests;
