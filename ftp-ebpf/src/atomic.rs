//! Changes of a word that lies in a map, which other CPUs and userspace see at once. The only file that
//! needs the compiler's intrinsics for it: `core`'s atomics do not reach this target.

use core::intrinsics::{AtomicOrdering::SeqCst, atomic_and, atomic_cxchg, atomic_or, atomic_xadd};

/// Adds, and returns what was there before.
///
/// # Safety
///
/// Here and below: the word lies in a value of a map, aligned, and stays mapped while the program
/// runs.
#[inline(always)]
pub(crate) unsafe fn add(word: *mut u32, by: u32) -> u32 {
    // SAFETY: the caller's.
    unsafe { atomic_xadd::<u32, u32, { SeqCst }>(word, by) }
}

/// Counts one more.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn count(word: *mut u64) {
    // SAFETY: the caller's.
    unsafe { atomic_xadd::<u64, u64, { SeqCst }>(word, 1) };
}

/// Sets bits.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn set(word: *mut u64, bits: u64) {
    // SAFETY: the caller's.
    unsafe { atomic_or::<u64, u64, { SeqCst }>(word, bits) };
}

/// Clears bits.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn clear(word: *mut u64, bits: u64) {
    // SAFETY: the caller's.
    unsafe { atomic_and::<u64, u64, { SeqCst }>(word, !bits) };
}

/// Writes `new` if the word is `old`; says whether it was.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn compare_and_swap(word: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: the caller's.
    let (_, swapped) = unsafe { atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(word, old, new) };
    swapped
}
