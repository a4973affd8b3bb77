//! Failed logins by address: who has guessed wrong waits before the next guess is looked at, however
//! many connections the guesses come by.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::origin::network;
use crate::remains::{FailedLogins, Teller, Told};

/// The wait after the first failure; each further one doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest wait, also for those who queue; shorter than the server waits for its sessions at its
/// end.
const LONGEST_DELAY: Duration = Duration::from_secs(4);
/// Failures are forgotten this long after the last.
const MEMORY: Duration = Duration::from_secs(15 * 60);
/// Addresses that are remembered: a few hundred KiB.
const MOST: usize = 4096;

/// Addresses that failed to log in not long ago. Of fixed size.
#[derive(Debug, Default)]
pub struct Failures {
    addresses: Mutex<HashMap<IpAddr, Record>>,
    teller: Teller,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    /// Before this, no further password is looked at.
    next: Instant,
    last: Instant,
}

/// More passwords come from an address than will be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyFailures;

impl Failures {
    /// How long a password from `client` has to wait. Each takes its turn behind the others.
    pub fn turn(&self, client: IpAddr) -> Result<Duration, TooManyFailures> {
        self.turn_at(client, Instant::now())
    }

    /// A password from `client` was wrong.
    pub fn failed(&self, client: IpAddr) {
        self.failed_at(client, Instant::now());
    }

    /// A password from `client` was right.
    pub fn succeeded(&self, client: IpAddr) {
        self.lock().remove(&network(client));
    }

    fn turn_at(&self, client: IpAddr, now: Instant) -> Result<Duration, TooManyFailures> {
        let mut addresses = self.lock();
        let Some(record) = addresses.get_mut(&network(client)) else {
            return Ok(Duration::ZERO);
        };
        if record.is_over(now) {
            addresses.remove(&network(client));
            return Ok(Duration::ZERO);
        }
        let wait = record.next.saturating_duration_since(now);
        if wait > LONGEST_DELAY {
            return Err(TooManyFailures);
        }
        record.next = record.next.max(now) + record.delay();
        Ok(wait)
    }

    /// Another process, which serves the same clients, knows of failures.
    pub fn remember(&self, failed: &FailedLogins) {
        self.remember_at(failed, Instant::now());
    }

    /// From now on, failures are told; at first those that are remembered, then each.
    pub fn tell(&self, told: &UnboundedSender<Told>) {
        let now = Instant::now();
        let addresses = self.lock();
        self.teller.begin(told);
        for (&network, record) in addresses.iter().filter(|(_, record)| !record.is_over(now)) {
            self.teller.tell(|| Told::Failed(record.tell(network, now)));
        }
    }

    fn remember_at(&self, failed: &FailedLogins, now: Instant) {
        let mut addresses = self.lock();
        let record = record(&mut addresses, failed.network, now);
        record.failures = record.failures.max(failed.failures);
        record.last = now;
        record.next = record.next.max(now + failed.wait);
    }

    fn failed_at(&self, client: IpAddr, now: Instant) {
        let mut addresses = self.lock();
        let record = record(&mut addresses, client, now);
        record.failures = record.failures.saturating_add(1);
        record.last = now;
        record.next = record.next.max(now + record.delay());
        self.teller
            .tell(|| Told::Failed(record.tell(network(client), now)));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Record>> {
        // A map is whole after every operation on it.
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// That of an address; the oldest one makes room for a new one, which has no failures.
fn record(addresses: &mut HashMap<IpAddr, Record>, client: IpAddr, now: Instant) -> &mut Record {
    if addresses.len() >= MOST && !addresses.contains_key(&network(client)) {
        addresses.retain(|_, record| !record.is_over(now));
        let oldest = addresses.iter().min_by_key(|(_, record)| record.last);
        if let Some(oldest) = oldest.map(|(&address, _)| address)
            && addresses.len() >= MOST
        {
            addresses.remove(&oldest);
        }
    }
    addresses.entry(network(client)).or_insert(Record {
        failures: 0,
        next: now,
        last: now,
    })
}

impl Record {
    fn tell(&self, network: IpAddr, now: Instant) -> FailedLogins {
        FailedLogins {
            network,
            failures: self.failures,
            wait: self.next.saturating_duration_since(now),
        }
    }

    fn delay(&self) -> Duration {
        let doubled = 1 << self.failures.saturating_sub(1).min(16);
        FIRST_DELAY.saturating_mul(doubled).min(LONGEST_DELAY)
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) > MEMORY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn waits_grow_with_failures_and_end() {
        let failures = Failures::default();
        let mut now = Instant::now();
        let client = ip("192.0.2.1");
        for expected in [500, 1000, 2000, 4000, 4000] {
            failures.failed_at(client, now);
            let wait = failures.turn_at(client, now).unwrap();
            assert_eq!(wait, Duration::from_millis(expected));
            assert_eq!(failures.turn_at(ip("192.0.2.2"), now), Ok(Duration::ZERO));
            now += wait;
        }
        assert_eq!(
            failures.turn_at(client, now + MEMORY * 2),
            Ok(Duration::ZERO)
        );
        assert!(failures.lock().is_empty());
        failures.failed_at(client, now);
        failures.succeeded(client);
        assert_eq!(failures.turn_at(client, now), Ok(Duration::ZERO));
    }

    #[test]
    fn many_connections_do_not_help() {
        let failures = Failures::default();
        let now = Instant::now();
        failures.failed_at(ip("2001:db8::1"), now);
        let turns: Vec<_> = (0..100)
            .map(|n| failures.turn_at(ip(&format!("2001:db8::{n:x}")), now))
            .collect();
        let looked_at = turns.iter().filter(|turn| turn.is_ok()).count();
        assert_eq!(looked_at, 8, "one every half second for four seconds");
        assert_eq!(
            failures.turn_at(ip("2001:db8:0:1::1"), now),
            Ok(Duration::ZERO)
        );
    }

    #[test]
    fn another_process_takes_the_memory_over() {
        let (old, new) = (Failures::default(), Failures::default());
        let client = ip("2001:db8::1");
        let now = Instant::now();
        for _ in 0..3 {
            old.failed_at(client, now);
        }
        let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
        old.tell(&sender);
        let mut pass_on = || match told.try_recv() {
            Ok(Told::Failed(failed)) => new.remember_at(&failed, now),
            other => panic!("{other:?}"),
        };
        pass_on();
        let wait = |failures: &Failures| failures.turn_at(client, now).unwrap();
        assert!(wait(&new) > Duration::from_millis(1900), "2 s after three");
        // What fails in the old one later counts in the new one.
        let other = ip("192.0.2.1");
        old.failed_at(other, now);
        pass_on();
        assert_eq!(new.turn_at(other, now), Ok(FIRST_DELAY));
        new.failed_at(client, now);
        assert_eq!(new.lock()[&network(client)].failures, 4);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let failures = Failures::default();
        let start = Instant::now();
        for n in 0..=u32::try_from(MOST).unwrap() {
            let client = IpAddr::V4(n.into());
            failures.failed_at(client, start + Duration::from_millis(n.into()));
        }
        let known = failures.lock();
        assert_eq!(known.len(), MOST);
        assert!(!known.contains_key(&ip("0.0.0.0")) && known.contains_key(&ip("0.0.0.1")));
    }
}
