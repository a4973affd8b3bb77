//! Whether there is any control connection: without one, no process that listens does so for a
//! client, and its descriptors need no look.
//!
//! What is counted is a superset of what a walk can find: sockets are followed from the moment
//! before they are connected to the moment after, by their address in the kernel. For those that are
//! older than the tracepoint userspace vouches.

use aya_ebpf::bindings::BPF_NOEXIST;
use ftp_ebpf::abi::control_count;

use crate::{
    atomic,
    guard_maps::{CONTROL_COUNT, CONTROL_SOCKETS},
};

const EEXIST: i32 = 17;

/// A socket of a control port becomes connected.
#[inline(always)]
pub(crate) fn begins(socket: u64) {
    match CONTROL_SOCKETS.insert(socket, 1, u64::from(BPF_NOEXIST)) {
        // While one guard takes over from another, both are told.
        Err(error) if error == -EEXIST => {}
        // Without room its end will not be known: counted for ever, every process gets its look.
        Ok(()) | Err(_) => add(1),
    }
}

/// A socket is connected no more: one of a control port, perhaps.
#[inline(always)]
pub(crate) fn ends(socket: u64) {
    if counted(control_count::SEEN) != 0 && CONTROL_SOCKETS.remove(socket).is_ok() {
        add(u32::MAX);
    }
}

/// Whether a process could have one.
#[inline(always)]
pub(crate) fn may_be() -> bool {
    counted(control_count::SEEN) != 0 || counted(control_count::OLDER) != 0
}

#[inline(always)]
fn counted(which: u32) -> u32 {
    // Without the map nothing is known, and everything is looked at.
    // SAFETY: points to a value of the map.
    CONTROL_COUNT
        .get_ptr(which)
        .map_or(1, |count| unsafe { count.read_volatile() })
}

#[inline(always)]
fn add(by: u32) {
    if let Some(count) = CONTROL_COUNT.get_ptr_mut(control_count::SEEN) {
        // SAFETY: a value of the map.
        unsafe { atomic::add(count, by) };
    }
}
