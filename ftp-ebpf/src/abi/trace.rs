//! What only `pinhole trace` and its programs share: records of its ring buffer. Which of the two
//! a record is, its length tells.

use super::{PinholeKey, Tuple};

/// Our own server has opened a pinhole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// `CLOCK_MONOTONIC` nanoseconds: the row is in the table.
    pub time_ns: u64,
    /// [`Pinhole::session`](super::Pinhole::session).
    pub session: u64,
    /// Who may come, and where.
    pub key: PinholeKey,
    /// Always 0.
    pub zero: u32,
}

/// A data connection, from its handshake to its end. Times are `CLOCK_MONOTONIC` nanoseconds, 0 for
/// what has not been seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Who, and where.
    pub tuple: Tuple,
    /// The process that accepted it, or that connected.
    pub process: u32,
    /// 1 where the server connected to the client.
    pub active: u32,
    /// 1 where the server sent the first byte, 0 where it read it.
    pub sent: u32,
    /// Up to which sequence number the server has read, by the kernel's count.
    pub copied_seq: u32,
    /// Always 0.
    pub zero: u32,
    /// Active: connect(2) sent the SYN.
    pub syn_ns: u64,
    /// The handshake was complete.
    pub established_ns: u64,
    /// Passive: accept(2) returned it.
    pub accepted_ns: u64,
    /// The server sent or read for the first time.
    pub first_byte_ns: u64,
    /// And for the last time.
    pub last_byte_ns: u64,
    /// One of the two ends closed.
    pub ended_ns: u64,
}
