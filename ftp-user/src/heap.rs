//! Memory that is used for a moment and that the daemon is not to keep.

/// A block from this size on is the system's again as soon as it is free. glibc raises this threshold by
/// itself to the largest block that was ever freed, 19 MiB for a password's hash, and then keeps such a
/// block for each of its arenas.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 4 << 20;

/// To be called once, early. Where it fails, more memory is kept than need be.
pub fn keep_no_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers (mallopt(3)).
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Gives memory that is free inside of the heap back to the system. Reading the eBPF object and the
/// kernel's types takes many MiB for a moment, which the allocator would keep.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers; malloc_trim(3) may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
