//! How much memory all sessions together keep for what they sort: a client that lists a large directory
//! and does not read keeps it for as long as it likes.

use crate::heap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes, for the whole process: of more than a million entries with short names.
pub(super) static ALL: Budget = Budget::new(128 << 20);

/// What a listing may keep without asking, so that small ones are in order whatever large ones keep.
const FREE: usize = 32 << 10;
/// Taken at one time.
const PORTION: usize = 256 << 10;
/// So much is worth a look for what can go back to the system: it was in small pieces.
const LARGE: usize = 2 << 20;

/// Bytes that nobody keeps.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    pub(super) const fn new(bytes: usize) -> Budget {
        Budget(AtomicUsize::new(bytes))
    }
}

/// One listing's part of a budget, which has it back when this is dropped: after what it is for.
#[derive(Debug)]
pub(super) struct Part {
    budget: &'static Budget,
    bytes: usize,
}

impl Part {
    pub(super) fn of(budget: &'static Budget) -> Part {
        Part { budget, bytes: 0 }
    }

    /// Whether so many bytes may be kept.
    pub(super) fn covers(&mut self, bytes: usize) -> bool {
        while FREE + self.bytes < bytes {
            let Budget(left) = self.budget;
            let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(PORTION)
            });
            if taken.is_err() {
                return false;
            }
            self.bytes += PORTION;
        }
        true
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Ordering::Relaxed);
        if self.bytes >= LARGE {
            heap::give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_keeps_another_cannot_until_it_is_given_back() {
        static TWO: Budget = Budget::new(2 * PORTION);
        let (mut one, mut other) = (Part::of(&TWO), Part::of(&TWO));
        assert!(one.covers(FREE + PORTION));
        assert!(other.covers(FREE + PORTION));
        assert!(!other.covers(FREE + PORTION + 1));
        assert!(Part::of(&TWO).covers(FREE));
        drop(one);
        assert!(other.covers(FREE + 2 * PORTION));
    }
}
