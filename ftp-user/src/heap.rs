//! Memory that the start has used and the daemon does not need.

/// Gives memory that is free inside of the heap back to the system. Reading the eBPF object and the
/// kernel's types takes many MiB for a moment, which the allocator would keep.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers; malloc_trim(3) may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
