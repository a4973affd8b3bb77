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

use nix::sys::resource::{UsageWho, getrusage};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinError;

/// A worker that sleeps for less is not missed: a lock, not a disk.
const SLOW: Duration = Duration::from_millis(2);
/// How long nobody tries then.
const REST: Duration = Duration::from_secs(1);
/// How often a worker is woken while there is work that may hang.
const TICK: Duration = Duration::from_millis(10);

/// All workers of this process.
static WORKERS: LazyLock<Workers> = LazyLock::new(Workers::default);

/// Does `work` here or on a blocking thread, whichever is right at the moment. What is `long` by its
/// nature is no work for a worker.
pub async fn run<T: Send + 'static>(
    long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if !long && let Some(_visit) = enter() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
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
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// A socket's end for a task of this runtime, and the other.
    fn pair() -> (tokio::net::UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        (tokio::net::UnixStream::from_std(ours).unwrap(), theirs)
    }

    #[test]
    fn work_that_hangs_holds_up_nobody_else() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(3).enable_all().build().unwrap();
        rescue(runtime.handle().clone()).unwrap();
        let inside = runtime.enter();
        let (begun, hangs) = mpsc::channel();
        let (go_on, told) = mpsc::channel::<()>();
        let (mut from, mut to) = pair();
        runtime.spawn(async move {
            // What a worker does that has just been woken by a socket.
            from.read_u8().await.unwrap();
            let work = move || {
                begun.send(()).unwrap();
                told.recv()
            };
            run(false, work).await.unwrap().unwrap_err();
        });
        let (mut asked, mut ask) = pair();
        runtime.spawn(async move {
            let byte = asked.read_u8().await.unwrap();
            asked.write_u8(byte).await.unwrap();
        });
        to.write_all(b"x").unwrap();
        hangs.recv().unwrap();
        ask.write_all(b"y").unwrap();
        let answered = ask.read_exact(&mut [0]);
        drop((go_on, inside));
        answered.unwrap();
    }

    #[test]
    fn one_worker_stays_free() {
        let workers = Workers::default();
        let first = workers.enter(3).unwrap();
        let second = workers.enter(3).unwrap();
        assert!(workers.enter(3).is_none());
        drop(first);
        let third = workers.enter(3).unwrap();
        drop((second, third));
        assert!(workers.enter(1).is_none());
        assert!(workers.enter(2).is_some());
    }

    #[test]
    fn after_work_that_slept_nobody_tries_for_a_while() {
        let mut workers = Workers::default();
        let visit = workers.enter(2).unwrap();
        thread::sleep(2 * SLOW);
        drop(visit);
        assert!(workers.enter(2).is_none());
        // As if the time had passed.
        workers.epoch = workers.epoch.checked_sub(REST + SLOW).unwrap();
        assert!(workers.enter(2).is_some());
    }

    #[test]
    fn work_that_only_took_long_changes_nothing() {
        let workers = Workers::default();
        let visit = workers.enter(2).unwrap();
        let started = Instant::now();
        while started.elapsed() < 2 * SLOW {
            std::hint::spin_loop();
        }
        drop(visit);
        assert!(workers.enter(2).is_some());
    }

    #[test]
    fn whichever_thread_it_is_the_work_is_done() {
        let one = tokio::runtime::Builder::new_current_thread();
        let mut two = tokio::runtime::Builder::new_multi_thread();
        two.worker_threads(2);
        for mut runtime in [one, two] {
            let runtime = runtime.build().unwrap();
            let (worker, done_by) = runtime
                .block_on(async {
                    tokio::spawn(async {
                        let by = run(false, || thread::current().id()).await;
                        (thread::current().id(), by.unwrap())
                    })
                    .await
                })
                .unwrap();
            let alone = runtime.metrics().num_workers() == 1;
            assert_eq!(worker != done_by, alone);
        }
    }
}
