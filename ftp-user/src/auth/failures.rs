//! Failed logins by network: who has guessed wrong waits before the next guess is looked at, however
//! many connections the guesses come by, one after the other or all at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::origin;
use crate::remains::{FailedLogins, Teller, Told};

/// Passwords of one network that are under way at one time, each until it is known to be right or
/// wrong: so many guesses more than one are looked at when many come together and none has failed yet.
/// Right ones pass through as fast as the cores compute.
const AT_ONCE: usize = 8;
/// The wait after the first failure; each further one doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest wait behind others of one network that has failed; shorter than the server waits for
/// its sessions at its end.
const LONGEST_DELAY: Duration = Duration::from_secs(4);
/// Failures are forgotten this long after the last.
const MEMORY: Duration = Duration::from_secs(15 * 60);
/// Networks that are remembered, with all of their names: less than 2 MiB.
const MOST: usize = 4096;
/// Names of one network whose failures are counted apart.
const NAMES: usize = 16;

/// Networks that failed to log in not long ago, and what is under way. Of fixed size, but for a few
/// bytes for each network that is logging in.
#[derive(Debug, Default)]
pub struct Failures {
    networks: Mutex<Networks>,
    /// Told when there may be less to wait for.
    forgiven: Notify,
    teller: Teller,
}

#[derive(Debug, Default)]
struct Networks {
    failed: HashMap<IpAddr, Record>,
    under_way: HashMap<IpAddr, Arc<Semaphore>>,
}

#[derive(Debug, Clone)]
struct Record {
    /// By name. 0: the last password for it was right, and nobody has guessed since.
    names: Vec<(Name, u32)>,
    /// Those of all further names.
    others: u32,
    /// Before this, no further password is looked at.
    next: Instant,
    last: Instant,
}

/// A name that somebody tried to log in with, as much of it as tells it from others.
type Name = u64;

/// More passwords come from a network than will be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyFailures;

/// A password that is looked at now. It was wrong unless it is said to have been right.
#[derive(Debug)]
#[must_use = "it has failed otherwise"]
pub struct Attempt<'a> {
    failures: &'a Failures,
    network: IpAddr,
    name: Name,
    /// One of those that are under way.
    place: Option<OwnedSemaphorePermit>,
    counts: bool,
}

impl Failures {
    /// Waits until a password for `name` from `client` may be looked at, each in its turn behind the
    /// others.
    pub async fn attempt(
        &self,
        client: IpAddr,
        name: &[u8],
    ) -> Result<Attempt<'_>, TooManyFailures> {
        let mut attempt = Attempt {
            failures: self,
            network: origin::network(client),
            name: digest(name),
            place: None,
            counts: false,
        };
        let places = self.lock().places(attempt.network);
        // Nobody closes it.
        attempt.place = places.acquire_owned().await.ok();
        let now = Instant::now();
        let wait = self.turn(attempt.network, attempt.name, now)?;
        self.wait(attempt.network, attempt.name, now + wait).await;
        attempt.counts = true;
        Ok(attempt)
    }

    /// Another process, which serves the same clients, knows of failures.
    pub fn remember(&self, failed: &FailedLogins) {
        self.remember_at(failed, Instant::now());
    }

    /// From now on, failures are told; at first those that are remembered, then each.
    pub fn tell(&self, told: &UnboundedSender<Told>) {
        let now = Instant::now();
        let networks = self.lock();
        self.teller.begin(told);
        for (&network, record) in &networks.failed {
            if !record.is_over(now) {
                self.teller.tell(|| Told::Failed(record.tell(network, now)));
            }
        }
    }

    /// How long the next password has to wait.
    fn turn(&self, network: IpAddr, name: Name, now: Instant) -> Result<Duration, TooManyFailures> {
        let mut networks = self.lock();
        let Some(record) = networks.failed.get_mut(&network) else {
            return Ok(Duration::ZERO);
        };
        if record.is_over(now) {
            networks.failed.remove(&network);
            return Ok(Duration::ZERO);
        }
        if !record.holds_up(name) {
            return Ok(Duration::ZERO);
        }
        let wait = record.next.saturating_duration_since(now);
        if wait > LONGEST_DELAY {
            return Err(TooManyFailures);
        }
        record.next = record.next.max(now) + record.delay();
        Ok(wait)
    }

    /// Waits, but not longer than there are failures to wait for.
    async fn wait(&self, network: IpAddr, name: Name, until: Instant) {
        let mut over = pin!(sleep_until(until));
        loop {
            // Hears what is told from here on.
            let forgiven = self.forgiven.notified();
            let held_up = |record: &Record| record.holds_up(name);
            if !self.lock().failed.get(&network).is_some_and(held_up) {
                return;
            }
            tokio::select! {
                () = &mut over => return,
                () = forgiven => {}
            }
        }
    }

    fn remember_at(&self, failed: &FailedLogins, now: Instant) {
        let mut networks = self.lock();
        let record = networks.record(failed.network, now);
        record.remember(failed);
        record.last = now;
        record.next = record.next.max(now + failed.wait);
    }

    fn failed(&self, network: IpAddr, name: Name, now: Instant) {
        let mut networks = self.lock();
        let record = networks.record(network, now);
        let failures = record.of(name);
        *failures = failures.saturating_add(1);
        record.last = now;
        record.next = record.next.max(now + record.delay());
        self.teller.tell(|| Told::Failed(record.tell(network, now)));
    }

    /// Takes back what failed for this name, and no other: whoever has an account of their own gains no
    /// guesses at others' by it.
    fn succeeded(&self, network: IpAddr, name: Name) {
        let mut networks = self.lock();
        let Some(record) = networks.failed.get_mut(&network) else {
            return;
        };
        if record.knows(name) || record.names.len() < NAMES {
            *record.of(name) = 0;
        }
        if record.failures() == 0 {
            networks.failed.remove(&network);
        }
        drop(networks);
        self.forgiven.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Networks> {
        // Maps are whole after every operation on them.
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The password was right.
    pub fn succeeded(mut self) {
        self.counts = false;
        self.failures.succeeded(self.network, self.name);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // Before the place is free: whoever takes it is to know.
        if self.counts {
            self.failures
                .failed(self.network, self.name, Instant::now());
        }
        drop(self.place.take());
        self.failures.lock().forget_idle(self.network);
    }
}

impl Networks {
    fn places(&mut self, network: IpAddr) -> Arc<Semaphore> {
        let places = self.under_way.entry(network);
        Arc::clone(places.or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
    }

    fn forget_idle(&mut self, network: IpAddr) {
        // Whoever is under way, or waits to be, has another.
        if let Some(places) = self.under_way.get(&network)
            && Arc::strong_count(places) == 1
        {
            self.under_way.remove(&network);
        }
    }

    /// That of a network; the oldest one makes room for a new one, which has no failures.
    fn record(&mut self, network: IpAddr, now: Instant) -> &mut Record {
        let failed = &mut self.failed;
        if failed.len() >= MOST && !failed.contains_key(&network) {
            failed.retain(|_, record| !record.is_over(now));
            let oldest = failed.iter().min_by_key(|(_, record)| record.last);
            if let Some(oldest) = oldest.map(|(&network, _)| network)
                && failed.len() >= MOST
            {
                failed.remove(&oldest);
            }
        }
        failed.entry(network).or_insert(Record {
            names: Vec::new(),
            others: 0,
            next: now,
            last: now,
        })
    }
}

impl Record {
    fn failures(&self) -> u32 {
        let counts = self.names.iter().map(|&(_, failures)| failures);
        counts.fold(self.others, u32::saturating_add)
    }

    /// Where a name's failures are counted.
    fn of(&mut self, name: Name) -> &mut u32 {
        if !self.knows(name) && self.names.len() < NAMES {
            self.names.push((name, 0));
        }
        let mut names = self.names.iter_mut();
        match names.find(|(known, _)| *known == name) {
            Some((_, failures)) => failures,
            None => &mut self.others,
        }
    }

    /// Others there may guess on: whoever has shown to know their own password does not wait for them.
    fn holds_up(&self, name: Name) -> bool {
        !self.names.contains(&(name, 0))
    }

    fn knows(&self, name: Name) -> bool {
        self.names.iter().any(|&(known, _)| known == name)
    }

    fn tell(&self, network: IpAddr, now: Instant) -> FailedLogins {
        FailedLogins {
            network,
            failures: self.failures(),
            names: self.names.clone(),
            wait: self.next.saturating_duration_since(now),
        }
    }

    /// Counts what is told where that is more.
    fn remember(&mut self, failed: &FailedLogins) {
        let mut others = failed.failures;
        for &(name, failures) in &failed.names {
            if self.knows(name) || self.names.len() < NAMES {
                let own = self.of(name);
                *own = failures.max(*own);
                others = others.saturating_sub(failures);
            }
        }
        self.others = self.others.max(others);
    }

    fn delay(&self) -> Duration {
        let doubled = 1 << self.failures().saturating_sub(1).min(16);
        FIRST_DELAY.saturating_mul(doubled).min(LONGEST_DELAY)
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) > MEMORY
    }
}

/// The same in every process, and nothing that two names have in common by design.
fn digest(name: &[u8]) -> Name {
    let digest = Sha256::digest(name);
    digest
        .first_chunk()
        .map_or(0, |bytes| Name::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
