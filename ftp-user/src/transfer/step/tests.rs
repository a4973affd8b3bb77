//! Turns, and where a job is dropped.

use super::super::testing::pair;
use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, ThreadId};

/// Fails after one step, and tells by which thread it is dropped.
struct Failing {
    attempted: bool,
    dropped: Sender<ThreadId>,
}

impl Job for Failing {
    fn direction(&self) -> Direction {
        Direction::In
    }

    fn is_long(&self) -> bool {
        true
    }

    fn attempt(&mut self, _: &Link, _: usize) -> Result<Moved, TransferError> {
        match std::mem::replace(&mut self.attempted, true) {
            true => Err(TransferError::Truncated),
            false => Ok(Moved::Some(0)),
        }
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.dropped.send(thread::current().id()).unwrap();
    }
}

/// Computes for a while, and counts how many do at once.
struct Computing {
    attempts: u32,
    now: &'static AtomicUsize,
    most: &'static AtomicUsize,
}

impl Job for Computing {
    fn direction(&self) -> Direction {
        Direction::Out
    }

    fn is_long(&self) -> bool {
        true
    }

    fn computes(&self) -> bool {
        true
    }

    fn attempt(&mut self, _: &Link, _: usize) -> Result<Moved, TransferError> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(5));
        self.now.fetch_sub(1, Ordering::SeqCst);
        self.attempts -= 1;
        Ok(match self.attempts {
            0 => Moved::End,
            _ => Moved::Some(0),
        })
    }
}

#[tokio::test]
async fn no_more_compute_at_once_than_there_are_cores() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let cores = thread::available_parallelism().unwrap().get();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..3 * cores {
        let (connection, _client) = pair(&Monitor::default());
        all.spawn(async move {
            let job = Computing {
                attempts: 5,
                now: &NOW,
                most: &MOST,
            };
            run(&connection, job).await.map(drop)
        });
    }
    for done in all.join_all().await {
        done.unwrap();
    }
    let most = MOST.load(Ordering::SeqCst);
    assert!((1..=cores).contains(&most), "{most} at once on {cores}");
}

#[tokio::test]
async fn what_fails_and_is_long_is_dropped_on_a_thread() {
    let (connection, _client) = pair(&Monitor::default());
    let (dropped, by) = channel();
    let job = Failing {
        attempted: false,
        dropped,
    };
    let failed = run(&connection, job).await;
    assert!(matches!(failed, Err(TransferError::Truncated)));
    assert_ne!(by.recv().unwrap(), thread::current().id());
}
