//! Rates that transfers keep to: bytes per second of a session, and of all sessions of an account.
//!
//! A bucket holds the moment up to which what has moved is paid for. Bytes move first, in portions
//! of a fraction of a second's worth, and are waited for afterwards; so transfers that share a
//! bucket take turns.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What may move at once after a pause.
const BURST: Duration = Duration::from_millis(100);
/// A portion is this fraction of a second's worth ...
const PORTIONS_PER_SECOND: u64 = 10;
/// ... but no less than a packet.
const LEAST_PORTION: u64 = 1400;

/// One rate, and what has been used of it. Shared by those who keep to it together.
#[derive(Debug)]
pub struct Bucket {
    bytes_per_second: NonZeroU64,
    paid_until: Mutex<Option<Instant>>,
}

impl Bucket {
    /// A rate of which nothing has been used.
    pub fn new(bytes_per_second: NonZeroU64) -> Bucket {
        Bucket {
            bytes_per_second,
            paid_until: Mutex::default(),
        }
    }

    /// Takes bytes that have moved, and tells how long to wait before more do.
    fn take(&self, bytes: u64, now: Instant) -> Duration {
        let nanoseconds =
            u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.get());
        let price = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        // A moment is whole after every operation on it.
        let mut paid = self
            .paid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let from = paid.map_or(earliest, |paid| paid.max(earliest));
        let until = from.checked_add(price).unwrap_or(from);
        *paid = Some(until);
        until.saturating_duration_since(now)
    }

    fn portion(&self) -> u64 {
        (self.bytes_per_second.get() / PORTIONS_PER_SECOND).max(LEAST_PORTION)
    }
}

/// The rates that one transfer keeps to.
#[derive(Debug, Clone)]
pub struct Rates {
    /// Of the session, of the account; at least one.
    pub buckets: Vec<Arc<Bucket>>,
}

impl Rates {
    /// How many bytes to move at once, if it could be `most`.
    pub(super) fn portion(&self, most: usize) -> usize {
        let portions = self.buckets.iter().map(|bucket| bucket.portion());
        let least = portions.min().and_then(|least| usize::try_from(least).ok());
        least.map_or(most, |least| least.min(most))
    }

    /// Takes bytes that have moved, and tells how long to wait before more do.
    pub(super) fn take(&self, bytes: u64) -> Duration {
        let now = Instant::now();
        let waits = self.buckets.iter().map(|bucket| bucket.take(bytes, now));
        waits.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(bytes_per_second: u64) -> Bucket {
        Bucket::new(NonZeroU64::new(bytes_per_second).unwrap())
    }

    #[test]
    fn what_has_moved_is_waited_for() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let bucket = bucket(1000);
        // A tenth of a second's worth is at hand after a pause.
        assert_eq!(bucket.take(100, after(1000)), Duration::ZERO);
        assert_eq!(bucket.take(500, after(1000)), Duration::from_millis(500));
        // Who does not wait waits longer the next time.
        assert_eq!(bucket.take(500, after(1100)), Duration::from_millis(900));
        assert_eq!(bucket.take(0, after(2000)), Duration::ZERO);
        // A long pause saves up no more than a short one.
        assert_eq!(bucket.take(1000, after(60_000)), Duration::from_millis(900));
        assert!(!bucket.take(u64::MAX, after(60_000)).is_zero());
    }

    #[test]
    fn the_slowest_of_several_rates_decides() {
        let rates = Rates {
            buckets: vec![Arc::new(bucket(1 << 20)), Arc::new(bucket(100_000))],
        };
        assert_eq!(rates.portion(1 << 30), 10_000);
        assert_eq!(rates.portion(512), 512);
        let wait = rates.take(100_000);
        assert!(
            wait > Duration::from_millis(500) && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
        assert_eq!(
            Rates {
                buckets: vec![Arc::new(bucket(1))]
            }
            .portion(1 << 20),
            1400
        );
    }
}
