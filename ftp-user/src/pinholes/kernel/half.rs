//! What goes when another process takes over: the programs, where they are attached, and who accepts.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::{sync::watch, task::JoinSet};

use super::{
    acceptor::Acceptor,
    attach::Mode,
    host::Link,
    locks::{Locks, Nothing},
    object::Object,
};

/// What goes when another process takes over.
pub(super) struct Half {
    pub(super) acceptor: Arc<Acceptor>,
    /// Logging, housekeeping; end with this.
    _tasks: JoinSet<()>,
    /// Detached when dropped, after the tasks.
    programs: Arc<Mutex<Programs>>,
}

impl Half {
    /// From what is in place, and the tasks that belong to it; `changes` tells what the interfaces
    /// become.
    pub(super) fn new(
        object: Object,
        locks: Locks,
        acceptor: Arc<Acceptor>,
        mut tasks: JoinSet<()>,
        changes: watch::Receiver<Vec<Link>>,
    ) -> Self {
        let programs = Arc::new(Mutex::new(Programs {
            object,
            locks,
            leaving: false,
            missed: None,
        }));
        tasks.spawn(follow(Arc::downgrade(&programs), changes));
        Self {
            acceptor,
            _tasks: tasks,
            programs,
        }
    }

    /// Adds no lock from here on; copies of the links of those that there are.
    pub(super) fn leave(&self) -> io::Result<Vec<(u32, Mode, OwnedFd)>> {
        let mut programs = lock(&self.programs);
        programs.leaving = true;
        let attached = programs.locks.attached();
        let copies = attached.map(|lock| {
            let link = lock.link.as_fd().try_clone_to_owned()?;
            Ok((lock.index, lock.mode, link))
        });
        copies.collect()
    }

    /// Puts our programs back, where another process has put its own.
    pub(super) fn stay(&self) {
        let mut programs = lock(&self.programs);
        let Programs {
            object,
            locks,
            leaving,
            missed,
        } = &mut *programs;
        *leaving = false;
        for attached in locks.attached() {
            if let Err(error) = attached.put_back(object) {
                tracing::error!(
                    error = &error as &(dyn std::error::Error + 'static),
                    "a lock cannot be put back"
                );
            }
        }
        if let Some(links) = missed.take() {
            locks.follow(object, &links, &Nothing);
        }
    }
}

/// Every program, and where they are attached.
struct Programs {
    object: Object,
    locks: Locks,
    /// Another process is taking the locks: none is added.
    leaving: bool,
    /// What the interfaces have become meanwhile.
    missed: Option<Vec<Link>>,
}

fn lock(programs: &Mutex<Programs>) -> MutexGuard<'_, Programs> {
    programs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks the interfaces that come up later. Until then a data connection by one of them needs its
/// pinhole all the same, because `steer` does; a second one may get as far as the socket.
async fn follow(programs: Weak<Mutex<Programs>>, mut changes: watch::Receiver<Vec<Link>>) {
    while changes.changed().await.is_ok() {
        let links = changes.borrow_and_update().clone();
        let Some(programs) = programs.upgrade() else {
            return;
        };
        let mut programs = lock(&programs);
        let Programs {
            object,
            locks,
            leaving,
            missed,
        } = &mut *programs;
        match leaving {
            true => *missed = Some(links),
            false => locks.follow(object, &links, &Nothing),
        }
    }
}
