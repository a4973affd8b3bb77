//! Telling userspace: a counter for every outcome, an event for the ones that matter.

use aya_ebpf::{EbpfContext, helpers::bpf_ktime_get_ns};
use aya_log_ebpf::debug;
use ftp_ebpf::{
    abi::{Event, EventKind},
    decide::Outcome,
    reason::Reason,
};

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
pub(crate) fn outcome<C: EbpfContext>(ctx: &C, outcome: &Outcome) {
    count(outcome.reason);
    let Some(kind) = outcome.event() else {
        return;
    };
    if kind == EventKind::Denied && !spend_denial() {
        return;
    }
    event(ctx, kind, outcome);
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

/// Out of line: rare, and the fast paths are shorter without it.
#[inline(never)]
fn event<C: EbpfContext>(ctx: &C, kind: EventKind, outcome: &Outcome) {
    if let Some(mut entry) = EVENTS.reserve::<Event>(0) {
        entry.write(Event {
            // SAFETY: no arguments.
            time_ns: unsafe { bpf_ktime_get_ns() },
            session: outcome.session,
            kind: kind as u32,
            reason: outcome.reason as u32,
            tuple: outcome.tuple,
            zero: 0,
        });
        entry.submit(0);
    }
    debug!(
        ctx,
        "reason {} port {} client port {} session {}",
        outcome.reason as u32,
        u16::from_be(outcome.tuple.server_port_be),
        u16::from_be(outcome.tuple.client_port_be),
        outcome.session,
    );
}
