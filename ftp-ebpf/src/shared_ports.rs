//! What both halves have mapped, as the guard reads and writes it: which ports are guarded and waited on,
//! and the policy.

use core::ptr;

use ftp_ebpf::abi::Ports;

use crate::{
    atomic,
    guard_maps::{DATA_PORT_COUNTS, RANGE, has_port},
    maps::PORTS,
};

/// Whether a pinhole waits there.
#[inline(always)]
pub(crate) fn is_waited_on(port: u16) -> bool {
    let Some(ports) = PORTS.get_ptr(0) else {
        return false;
    };
    // SAFETY: points into the map's only value; the index is below its bound.
    let word = unsafe {
        let words = ptr::addr_of!((*ports).waiting).cast::<u64>();
        words
            .add(Ports::word(port) & (Ports::WORDS - 1))
            .read_volatile()
    };
    word & Ports::bit(port) != 0
}

/// Marks a port as guarded and waiting, or as neither; the range stays guarded.
#[inline(always)]
pub(crate) fn set(port: u16, open: bool) {
    let Some(ports) = PORTS.get_ptr_mut(0) else {
        return;
    };
    let (index, bit) = (Ports::word(port) & (Ports::WORDS - 1), Ports::bit(port));
    // SAFETY: points into the map's only value; the index is below its bound.
    let (guarded, waiting) = unsafe {
        (
            ptr::addr_of_mut!((*ports).guarded).cast::<u64>().add(index),
            ptr::addr_of_mut!((*ports).waiting).cast::<u64>().add(index),
        )
    };
    // SAFETY: words of the map's only value.
    unsafe {
        if open {
            atomic::set(guarded, bit);
            atomic::set(waiting, bit);
        } else {
            atomic::clear(waiting, bit);
            if !has_port(&RANGE, port) {
                atomic::clear(guarded, bit);
            }
        }
    }
}

/// Marks a port as nobody's data port, unless somebody is known to listen on it. A close is told of
/// when another socket can have the port already (net/ipv4/tcp.c, tcp_set_state).
#[inline(always)]
pub(crate) fn release(port: u16) {
    if is_listened_on(port) {
        return;
    }
    set(port, false);
    // Another socket may have begun to listen in between, and set what was just cleared.
    if is_listened_on(port) {
        set(port, true);
    }
}

#[inline(always)]
fn is_listened_on(port: u16) -> bool {
    // SAFETY: points to a value of the map.
    DATA_PORT_COUNTS
        .get_ptr(port.into())
        .is_some_and(|count| unsafe { count.read_volatile() } != 0)
}

/// The policy's bits.
#[inline(always)]
pub(crate) fn policy() -> u64 {
    // SAFETY: points into the map's only value, whose words userspace writes whole.
    PORTS.get_ptr(0).map_or(0, |ports| unsafe {
        ptr::addr_of!((*ports).policy).read_volatile()
    })
}
