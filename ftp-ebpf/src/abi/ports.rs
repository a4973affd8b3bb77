//! What both halves have mapped: which ports are guarded, which are waited on, and the policy.

/// The only value of [`map::PORTS`](super::map::PORTS). Userspace writes it through mmap, a word at a time; the
/// kernel reads single words. No two words need to change together.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Bits of [`policy`].
    pub policy: u64,
    /// Ports that are shut unless negotiated, one bit each, by [`Ports::word`] and [`Ports::bit`].
    pub guarded: [u64; Ports::WORDS],
    /// Ports for which at least one pinhole waits. A bit may outlive its pinhole for a moment; it
    /// is always set before the pinhole is promised to a client.
    pub waiting: [u64; Ports::WORDS],
}

impl Ports {
    /// 65,536 bits.
    pub const WORDS: usize = 1024;

    /// Index of the word that holds `port` (host byte order).
    #[inline(always)]
    pub const fn word(port: u16) -> usize {
        (port >> 6) as usize
    }

    /// `port`'s bit in its word.
    #[inline(always)]
    pub const fn bit(port: u16) -> u64 {
        1 << (port & 63)
    }
}

/// Bits of [`Ports::policy`]: what the daemon found out about the host.
pub mod policy {
    /// The host forwards: only packets to [`super::map::LOCAL_ADDRESSES`] are policed.
    pub const CHECK_LOCAL: u64 = 1;
    /// Segments to a guarded port that belong to no local connection may be replies to
    /// masqueraded ones: pass them.
    pub const PASS_STRAY: u64 = 2;
    /// Nothing is dropped: what would be is counted and reported, and passes.
    pub const DRY_RUN: u64 = 4;
    /// A data port of nobody knows which client admits every client with a control connection:
    /// [`super::PinholeKey::of_peers`].
    pub const ADMIT_PEERS: u64 = 8;
}
