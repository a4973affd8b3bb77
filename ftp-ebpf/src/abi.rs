//! The layout that kernel and userspace share, written once: map keys, map values, events and
//! the names by which userspace finds the maps. No decision lives here.
//!
//! Every type is `repr(C)` without padding, so that its bytes may be hashed and compared by the
//! kernel (`pod.rs`). Fields that hold network byte order say so in their name (`_be`).

mod address;
mod event;
mod fingerprint;
mod guard;
mod names;
mod pinhole;
mod pod;
mod ports;
mod trace;
mod tuple;

pub use self::{
    address::{Address, ClientMask},
    event::{Event, EventKind, budget},
    fingerprint::FINGERPRINT,
    guard::{Data, DataPort, Layout, control_count},
    names::{global, map, program},
    pinhole::{Claim, Pinhole, PinholeKey},
    ports::{Ports, policy},
    trace::{Opening, Transfer},
    tuple::Tuple,
};
