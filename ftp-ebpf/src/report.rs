//! Telling userspace: a counter for every outcome, an event for the ones that matter.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::bpf_ktime_get_ns,
};
use aya_log_ebpf::debug;
use ftp_ebpf::{
    abi::{Event, EventKind, Tuple, budget},
    decide::Outcome,
    packet::{self, LinkLayer},
    reason::Reason,
};

use crate::frame::Direct;
use crate::maps::{COUNTERS, DENIAL_BUDGET, EVENTS, EVENTS_SIZE, TELL_ALL};

/// Counts, exactly.
#[inline(always)]
pub(crate) fn count(reason: Reason) {
    if let Some(counter) = COUNTERS.get_ptr_mut(reason as u32) {
        // SAFETY: this CPU's own slot of the map.
        unsafe { *counter += 1 };
    }
}

/// Counts. Returns whether the outcome is to be told: a claim, or a denial as far as this CPU's
/// budget goes.
#[inline(always)]
pub(crate) fn is_news(outcome: &Outcome) -> bool {
    count(outcome.reason);
    match outcome.event() {
        Some(EventKind::Denied) => spend_denial(budget::PACKETS),
        Some(_) => true,
        None => false,
    }
}

/// Takes one from one of this CPU's budgets of denial events. Userspace grants a new one now and then, so
/// that a flood costs no clock here and no reader there.
#[inline(always)]
pub(crate) fn spend_denial(from: u32) -> bool {
    let Some(budget) = DENIAL_BUDGET.get_ptr_mut(from) else {
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

/// Reads the packet again, for whom it was between, and sends an event.
#[inline(always)]
pub(crate) fn tell(frame: &Direct, link: LinkLayer, reason: u32, session: u64) {
    let kind = Reason::from_u32(reason).map_or(EventKind::Denied, Outcome::kind);
    let tuple = packet::tuple_of(frame, link);
    send(kind, reason, session, tuple);
    debug!(
        (),
        "reason {} port {} client port {} session {}",
        reason,
        u16::from_be(tuple.server_port_be),
        u16::from_be(tuple.client_port_be),
        session,
    );
}

/// Sends an event; where there is no room, userspace has fallen behind and misses it.
#[inline(always)]
pub(crate) fn send(kind: EventKind, reason: u32, session: u64, tuple: Tuple) {
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        return;
    };
    entry.write(Event {
        // SAFETY: no arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
        session,
        kind: kind as u32,
        reason,
        tuple,
        zero: 0,
    });
    entry.submit(wake(kind));
}

/// Whether an event wakes the daemon. Where its log has no line for what goes well, it need not hear
/// of that at once: waking it costs more than all the rest of listen(2). But the ring buffer must not
/// fill up, and what comes behind events that woke nobody wakes nobody by itself.
#[inline(always)]
fn wake(kind: EventKind) -> u64 {
    let quiet = match kind {
        EventKind::Opened | EventKind::Claimed => TELL_ALL.load() == 0,
        EventKind::Denied | EventKind::Arrived | EventKind::Unresolved => false,
    };
    let unread = || EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    u64::from(if quiet && unread() < u64::from(EVENTS_SIZE / 4) {
        BPF_RB_NO_WAKEUP
    } else {
        BPF_RB_FORCE_WAKEUP
    })
}
