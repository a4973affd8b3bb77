//! Threads for what a login takes its time for, a hash or PAM. Their own, and not the async runtime's:
//! work with files, which may hang, takes all of those, and nobody's login is to wait behind it.
//!
//! Each lasts for one piece of work: to make one takes a thousandth of the time of that. Nobody waits for
//! them at the process's end.

use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

/// So many threads at one time, and no more.
#[derive(Debug)]
pub(super) struct Threads {
    name: &'static str,
    turns: Arc<Semaphore>,
}

impl Threads {
    /// At most so many, which `name` is shown for by ps(1).
    pub(super) fn new(name: &'static str, most: usize) -> Threads {
        Threads {
            name,
            turns: Arc::new(Semaphore::new(most)),
        }
    }

    /// Does work when its turn comes. `None`: it failed, and the log says how.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
        let (tell, told) = oneshot::channel();
        let thread = std::thread::Builder::new().name(self.name.to_owned());
        let started = thread.spawn(move || {
            let done = work();
            // Here and not in the caller, who may be gone by now while the work goes on.
            drop(turn);
            let _ = tell.send(done);
        });
        let name = self.name;
        if let Err(error) = started {
            tracing::error!(%error, "cannot start a {name} thread");
            return None;
        }
        let done = told.await;
        if done.is_err() {
            tracing::error!("a {name} thread failed");
        }
        done.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::poll;
    use std::pin::pin;
    use std::sync::mpsc;

    #[tokio::test]
    async fn no_more_at_once_than_there_may_be() {
        let threads = Threads::new("test", 2);
        let gates = [(); 3].map(|()| mpsc::channel::<()>());
        let [(first, one), (second, two), (third, three)] = gates;
        let mut one = pin!(threads.run(move || one.recv().is_ok()));
        let mut two = pin!(threads.run(move || two.recv().is_ok()));
        let mut three = pin!(threads.run(move || three.recv().is_ok()));
        assert!(poll!(one.as_mut()).is_pending());
        assert!(poll!(two.as_mut()).is_pending());
        // What the third needs is there, but its turn has not come.
        third.send(()).unwrap();
        assert_eq!(threads.turns.available_permits(), 0);
        assert!(poll!(three.as_mut()).is_pending());
        first.send(()).unwrap();
        assert_eq!(one.await, Some(true));
        assert_eq!(three.await, Some(true));
        second.send(()).unwrap();
        assert_eq!(two.await, Some(true));
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_turn_back() {
        let threads = Threads::new("test", 1);
        assert_eq!(threads.run(|| panic!("as it should")).await, None::<()>);
        assert_eq!(threads.run(|| 7).await, Some(7));
    }
}
