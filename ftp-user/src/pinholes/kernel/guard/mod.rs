//! The guard: pinholes for FTP servers that know nothing of them. The kernel half watches their
//! sockets and keeps the table; this half tells it what to look for, locks the interfaces, adds
//! what was there before, and sees to what changes.

mod approach;
mod census;
mod crowd;
mod dnat;
mod ledger;
mod misses;
mod namespace;
mod older;
mod peers;
mod pins;
mod ports;
mod seed;
mod self_test;
mod start;
mod tracepoint;

use std::{net::SocketAddr, path::Path, time::Duration};

use aya::programs::links::FdLink;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use self::{crowd::Crowd, ledger::Ledger, misses::Misses, older::Older, peers::Peers, pins::Pins};
pub use self::{
    namespace::{NamespaceError, enter, name_of},
    pins::{PinsError, pinned_layouts},
    self_test::SelfTestError,
};
use super::{
    Locked, Object, StartError,
    attach::{Approach, Attached, Mode},
    bpf_link::BpfLink,
    events::Heard,
    host::Link,
    locks::{Keep, Locks},
    proc_net::State,
};
use crate::config::{self, Enforce, PortSet};

/// How often is looked for what no event tells.
const TICK: Duration = Duration::from_secs(1);
/// Events that may wait; those that find no room are looked for at the next tick.
const EVENTS: usize = 1024;

/// What to guard, and how.
#[derive(Clone, Debug)]
pub struct GuardOptions {
    /// What is the guard's own.
    pub guard: config::Guard,
    /// The locks: interfaces, attach mode, mark, client prefixes.
    pub enforce: Enforce,
}

/// A running guard of one network namespace. Dropping it detaches and frees everything, but what
/// `on_exit` keeps.
pub struct Guard {
    locks: Locks,
    control_ports: PortSet,
    /// Where control connections come in.
    approach: watch::Sender<Approach>,
    /// What the interfaces are like, after each change.
    links: watch::Receiver<Vec<Link>>,
    _watch: FdLink,
    crowd: Crowd,
    older: Older,
    peers: Option<Peers>,
    pins: Option<Pins>,
    heard: mpsc::Receiver<Heard>,
    _tasks: JoinSet<()>,
    ledger: Ledger,
    misses: Misses,
    /// It has been said that there are misses.
    complained: bool,
    object: Object,
}

impl Guard {
    /// Sees to what changes, for as long as it is polled.
    pub async fn run(&mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(heard) = self.heard.recv() => match heard {
                    Heard::Arrived { client, port } => {
                        self.crowd.arrived(port);
                        if let Some(peers) = &mut self.peers {
                            peers.arrived(client);
                        }
                    }
                    Heard::Listening(at) => self.widen(at),
                    Heard::Foreign(port) => self.leave_alone(port),
                    Heard::Several(pid) => {
                        self.crowd.met(pid);
                        self.crowd.settle(&mut self.object, self.pins.as_ref());
                    }
                },
                Ok(()) = self.links.changed() => {
                    let links = self.links.borrow_and_update().clone();
                    let keep = Kept {
                        found: None,
                        kept: self.pins.as_ref(),
                    };
                    self.locks.follow(&mut self.object, &links, &keep);
                }
                () = at(self.crowd.due()) => {
                    self.crowd.look();
                    self.crowd.settle(&mut self.object, self.pins.as_ref());
                }
                _ = tick.tick() => {
                    self.crowd.settle(&mut self.object, self.pins.as_ref());
                    self.catch_up();
                    self.older.look_again();
                    if let Some(peers) = &mut self.peers {
                        peers.look_again();
                    }
                }
            }
        }
    }

    /// Control connections may come there from now on. What is locked stays so when nobody listens
    /// there any more: whoever restarts a server opens nothing.
    fn widen(&self, at: SocketAddr) {
        // The guard's own test had a control port of its own for a moment.
        if !self.control_ports.contains(at.port()) {
            return;
        }
        let wider = self.approach.send_if_modified(|approach| {
            let before = *approach;
            *approach = before.and_to(at.ip());
            *approach != before
        });
        if wider {
            tracing::info!("control connections can come in at {at}, too");
        }
    }

    /// A service may be started after its guard.
    fn leave_alone(&mut self, port: u16) {
        match self.ledger.leave_alone(port) {
            Ok(true) => ports::warn_of_service(port),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, port, "cannot leave a port alone"),
        }
    }

    /// Finds in `/proc` what the kernel half has missed since the last look.
    fn catch_up(&mut self) {
        let missed = self.misses.look();
        if missed > 0 && !self.complained {
            self.complained = true;
            tracing::warn!(
                "the kernel has not shown the guard {missed} changes of sockets, because other eBPF \
                 programs or calls were at work on that CPU: control connections are looked for in \
                 /proc from now on. `pinhole status` counts such changes"
            );
        } else if missed > 0 {
            tracing::debug!(missed, "changes of sockets were not seen");
        } else if !self.ledger.is_in_doubt() {
            return;
        }
        let missed = u32::try_from(missed).unwrap_or(u32::MAX);
        match self.older.start_over(missed, &self.control_ports) {
            Ok(sockets) => {
                let listening = sockets.iter().filter(|one| one.state == State::Listening);
                listening.for_each(|one| self.widen(one.local));
                self.ledger.reconcile(&sockets);
            }
            Err(error) => tracing::warn!(%error, "cannot make up for changes that were not seen"),
        }
    }

    /// The locked interfaces.
    pub fn locked(&self) -> impl Iterator<Item = &Locked> {
        self.locks.locked()
    }

    /// Takes away what a guard of this thread's network namespace has left at work; says whether
    /// there was anything.
    ///
    /// # Errors
    ///
    /// A guard runs, or the bpffs refuses.
    pub fn release(bpffs: &Path) -> Result<bool, StartError> {
        Ok(pins::release(bpffs, namespace::own()?)?)
    }

    /// The same for every network namespace whose guard has ended, also one that is gone itself; says
    /// for which, by their inode numbers.
    ///
    /// # Errors
    ///
    /// Guards run and none has left anything, or the bpffs refuses.
    pub fn release_all(bpffs: &Path) -> Result<Vec<u32>, StartError> {
        Ok(pins::release_all(bpffs)?)
    }
}

/// Where an earlier guard's locks are found, and ours are kept.
struct Kept<'a> {
    found: Option<&'a Pins>,
    kept: Option<&'a Pins>,
}

impl Keep for Kept<'_> {
    fn predecessor(&self, index: u32, mode: Mode) -> Option<BpfLink> {
        self.found?.lock(index, mode)
    }

    fn keep(&self, lock: Attached) -> Result<Attached, StartError> {
        Pins::keep_lock(self.kept, lock)
    }

    fn forget(&self, lock: &Attached) {
        if let Some(pins) = self.kept {
            pins.remove_lock(lock);
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
