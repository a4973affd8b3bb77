//! Telling userspace: a counter for every outcome, an event for the ones that matter.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_log_ebpf::debug;
use ftp_ebpf::{
    abi::{Event, EventKind},
    decide::Outcome,
    packet,
    reason::Reason,
};

use crate::frame::Direct;
use crate::maps::{COUNTERS, DENIAL_BUDGET, EVENTS};

/// Counts, exactly.
#[inline(always)]
pub(crate) fn count(reason: Reason) {
    if let Some(counter) = COUNTERS.get_ptr_mut(reason as u32) {
        // SAFETY: this CPU's own slot of the map.
        unsafe { *counter += 1 };
    }
}

/// Counts, and tells of claims and, as far as this CPU's budget goes, of denials.
#[inline(always)]
pub(crate) fn outcome(frame: Direct, outcome: Outcome) {
    count(outcome.reason);
    if outcome
        .event()
        .is_none_or(|kind| kind == EventKind::Denied && !spend_denial())
    {
        return;
    }
    tell(frame.data, frame.data_end, outcome.reason, outcome.session);
}

/// Takes one from this CPU's budget of denial events. Userspace grants a new one now and then, so
/// that a flood costs no clock here and no reader there.
#[inline(always)]
fn spend_denial() -> bool {
    let Some(budget) = DENIAL_BUDGET.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: this CPU's own slot of the map. A grant in between costs one event more or less.
    unsafe {
        if *budget == 0 {
            return false;
        }
        *budget -= 1;
    }
    true
}

/// Out of line: rare, and the fast paths are shorter without it. Its arguments are what fits into
/// registers, because the verifier does not follow packet pointers through a struct in memory.
#[inline(never)]
fn tell(data: usize, data_end: usize, reason: Reason, session: u64) {
    // SAFETY: from the caller's own `Direct`.
    let frame = unsafe { Direct::new(data, data_end) };
    let tuple = packet::tuple_of(&frame);
    if let Some(mut entry) = EVENTS.reserve::<Event>(0) {
        entry.write(Event {
            // SAFETY: no arguments.
            time_ns: unsafe { bpf_ktime_get_ns() },
            session,
            kind: Outcome::kind(reason) as u32,
            reason: reason as u32,
            tuple,
            zero: 0,
        });
        entry.submit(0);
    }
    debug!(
        (),
        "reason {} port {} client port {} session {}",
        reason as u32,
        u16::from_be(tuple.server_port_be),
        u16::from_be(tuple.client_port_be),
        session,
    );
}
