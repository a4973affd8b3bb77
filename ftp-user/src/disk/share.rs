//! How many blocking threads the work on one tree of files may have: a file system that does not answer
//! keeps whatever works on it for as long as it likes, and the threads are everybody's.
//!
//! On which tree a task works it says once ([`work_beneath`]); one that has not said is not held off.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Blocking threads, for everybody.
pub const THREADS: usize = 512;
/// How many of them one tree may have while at least half are free.
const SHARE: u32 = 64;
/// How long work waits for one of its tree's. A disk that is only slow is done with something by then.
const PATIENCE: Duration = Duration::from_secs(30);

/// Threads at work on files.
static BUSY: AtomicUsize = AtomicUsize::new(0);
/// By root, of trees that somebody uses.
static SHARES: LazyLock<Mutex<HashMap<PathBuf, Weak<Semaphore>>>> = LazyLock::new(Mutex::default);

tokio::task_local! {
    static SHARE_OF_TASK: RefCell<Option<Arc<Semaphore>>>;
}

/// One tree's work has waited for its tree's threads for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all threads that this tree's files may have are busy: does its file system answer?")]
pub struct Crowded;

/// A blocking thread that may be used. To be dropped there, when the work is done: until then the
/// thread is gone, whoever still waits for it.
#[derive(Debug)]
#[must_use = "the thread is another's at once otherwise"]
pub struct Permit {
    _share: Option<OwnedSemaphorePermit>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        BUSY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs a task that may say on which tree it works.
pub fn scope<F: Future>(task: F) -> impl Future<Output = F::Output> {
    SHARE_OF_TASK.scope(RefCell::default(), task)
}

/// From here on this task works on the tree with that root.
pub fn work_beneath(root: &Path) {
    // What is no session has no tree.
    let _ = SHARE_OF_TASK.try_with(|share| share.replace(Some(of(root))));
}

/// Waits until this task's tree may have one more thread.
pub async fn permit() -> Result<Permit, Crowded> {
    let share = current();
    if share.is_none() {
        return Ok(admit(None).await);
    }
    let admitted = tokio::time::timeout(PATIENCE, admit(share)).await;
    admitted.map_err(|_| Crowded)
}

/// What the work on this task's tree shares.
pub(super) fn current() -> Option<Arc<Semaphore>> {
    let current = SHARE_OF_TASK.try_with(|share| share.borrow().clone());
    current.ok().flatten()
}

/// Waits until a tree may have one more thread, for as long as that takes.
pub(super) async fn admit(share: Option<Arc<Semaphore>>) -> Permit {
    let _share = match share {
        // Nobody closes it.
        Some(share) => share
            .acquire_many_owned(price(BUSY.load(Ordering::Relaxed)))
            .await
            .ok(),
        None => None,
    };
    BUSY.fetch_add(1, Ordering::Relaxed);
    Permit { _share }
}

/// How much of its tree's share a thread costs: more, the fewer are left. However many trees hang, so
/// there are threads for another: of 512, four trees take half, and the rest is enough for forty more.
fn price(busy: usize) -> u32 {
    match THREADS.saturating_sub(busy) {
        free if free > THREADS / 2 => 1,
        free if free > THREADS / 4 => 4,
        _ => 16,
    }
}

fn of(root: &Path) -> Arc<Semaphore> {
    // A map is whole after every operation on it.
    let mut shares = SHARES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(share) = shares.get(root).and_then(Weak::upgrade) {
        return share;
    }
    shares.retain(|_, share| share.strong_count() > 0);
    let share = Arc::new(Semaphore::new(SHARE as usize));
    shares.insert(root.to_owned(), Arc::downgrade(&share));
    share
}

#[cfg(test)]
mod tests {
    use super::super::{finish, run};
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_tree_that_hangs_leaves_threads_to_the_others() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        // One more than one tree may have.
        let threads = SHARE as usize + 1;
        let runtime = runtime.enable_all().max_blocking_threads(threads).build();
        let runtime = runtime.unwrap();
        let (begun, hang) = mpsc::channel();
        let hold = Arc::new(Mutex::new(()));
        let held = hold.lock().unwrap();
        for _ in 0..2 * threads {
            let (begun, hold) = (begun.clone(), Arc::clone(&hold));
            runtime.spawn(scope(async move {
                work_beneath(Path::new("/hangs"));
                run(true, move || {
                    begun.send(()).unwrap();
                    drop(hold.lock());
                })
                .await
            }));
        }
        for _ in 0..SHARE {
            hang.recv().unwrap();
        }
        let other = scope(async {
            work_beneath(Path::new("/answers"));
            tokio::time::timeout(Duration::from_secs(20), run(true, || 1)).await
        });
        let answered = runtime.block_on(other);
        let more = hang.try_recv();
        drop(held);
        assert_eq!(answered.unwrap().unwrap(), 1);
        assert!(more.is_err(), "more than its share");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_and_an_end_waits_on() {
        scope(async {
            work_beneath(Path::new("/crowded"));
            let mut all = Vec::new();
            for _ in 0..SHARE {
                all.push(permit().await.unwrap());
            }
            assert_eq!(permit().await.unwrap_err(), Crowded);
            let end = tokio::spawn(finish(true, || 2));
            tokio::time::sleep(2 * PATIENCE).await;
            assert!(!end.is_finished());
            // Another task, which has not said where it works, or works elsewhere.
            let elsewhere = tokio::spawn(permit()).await.unwrap();
            drop((all.pop(), elsewhere));
            assert_eq!(end.await.unwrap().unwrap(), 2);
        })
        .await;
    }

    #[test]
    fn a_share_is_one_for_all_that_use_the_tree() {
        let (one, other) = (of(Path::new("/one")), of(Path::new("/other")));
        assert!(Arc::ptr_eq(&one, &of(Path::new("/one"))));
        assert!(!Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn it_takes_many_trees_to_take_all_threads() {
        let (mut busy, mut trees) = (0, 0);
        while busy < THREADS {
            let mut left = SHARE;
            while busy < THREADS && left >= price(busy) {
                left -= price(busy);
                busy += 1;
            }
            trees += 1;
        }
        assert!(trees > 40, "{trees}");
    }
}
