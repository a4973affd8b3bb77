//! What the kernel half tells its daemon, by the ring buffer.

use super::Tuple;

/// What happened, as [`Event::kind`] carries it.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A pinhole was opened.
    Opened = 1,
    /// A source port took a pinhole.
    Claimed = 2,
    /// A packet was dropped; the reason says why.
    Denied = 3,
    /// Guard: a control connection was established, or, where the client's port is 0, a socket begins
    /// to listen for them.
    Arrived = 4,
    /// Guard: a data port that could not be opened for its client alone; [`Event::reason`] is a
    /// [`Tally`](crate::guard::Tally), the upper half of [`Event::session`] the process.
    Unresolved = 5,
}

impl EventKind {
    /// From the number in an [`Event`].
    pub const fn from_u32(kind: u32) -> Option<Self> {
        match kind {
            1 => Some(Self::Opened),
            2 => Some(Self::Claimed),
            3 => Some(Self::Denied),
            4 => Some(Self::Arrived),
            5 => Some(Self::Unresolved),
            _ => None,
        }
    }
}

/// Indices in [`map::DENIAL_BUDGET`](super::map::DENIAL_BUDGET): who reports apart from whom, so that
/// strangers' packets do not use up what others have to say.
pub mod budget {
    /// Packets that were dropped.
    pub const PACKETS: u32 = 0;
    /// Guard: data ports that could not be opened.
    pub const DATA_PORTS: u32 = 1;
    /// Guard: ports that active data connections leave from, on which something else listens.
    pub const ACTIVE_PORTS: u32 = 2;
    /// How many there are.
    pub const ENTRIES: u32 = 3;
}

/// A record of [`map::EVENTS`](super::map::EVENTS).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub time_ns: u64,
    /// The session whose pinhole it is; 0 where there is none.
    pub session: u64,
    /// An [`EventKind`].
    pub kind: u32,
    /// A [`Reason`](crate::reason::Reason), or what the kind says.
    pub reason: u32,
    /// Who and where; zero where the packet could not be read so far.
    pub tuple: Tuple,
    /// Always 0.
    pub zero: u32,
}
