//! The same lock where native XDP would hurt (veth, bridges, loopback): traffic control,
//! ingress. Also behind native XDP where admitted packets shall carry a firewall mark.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC},
    macros::classifier,
    programs::TcContext,
};
use ftp_ebpf::{
    decide::{self, Outcome},
    reason::{Action, Reason},
};

use crate::{frame::Direct, maps::MARK, report, world::Kernel};

/// More than the longest chain of headers that is usual, to be made readable when the first
/// buffer of a packet ends too early.
const PULL_LEN: u32 = 256;

/// Decides about a packet that is about to enter the network stack.
#[classifier]
pub(crate) fn tcx_admit(ctx: TcContext) -> i32 {
    let Some(kernel) = Kernel::new(ctx.as_ptr()) else {
        return TC_ACT_SHOT;
    };
    // SAFETY: this context's own, and nothing below moves packet data and comes back.
    let frame = unsafe { Direct::new(ctx.data(), ctx.data_end()) };
    let outcome = decide::admit(&frame, &kernel);
    if matches!(outcome.reason, Reason::Truncated | Reason::TinyFragment)
        && frame.len() < ctx.len() as usize
    {
        return admit_pulled(ctx.skb.skb);
    }
    carry_out(&ctx, frame, outcome)
}

/// As above, once more of the packet has been made readable. Out of line, so that the usual packet
/// does not pay for what is rare.
#[inline(never)]
fn admit_pulled(skb: *mut __sk_buff) -> i32 {
    let ctx = TcContext::new(skb);
    // If it fails, the packet stays unreadable, and is judged so.
    let _ = ctx.pull_data(PULL_LEN.min(ctx.len()));
    let Some(kernel) = Kernel::new(ctx.as_ptr()) else {
        return TC_ACT_SHOT;
    };
    // SAFETY: as above, and after the data has moved.
    let frame = unsafe { Direct::new(ctx.data(), ctx.data_end()) };
    let outcome = decide::admit(&frame, &kernel);
    carry_out(&ctx, frame, outcome)
}

#[inline(always)]
fn carry_out(ctx: &TcContext, frame: Direct, outcome: Outcome) -> i32 {
    let action = outcome.reason.action();
    report::outcome(frame, outcome);
    match action {
        // Leave it to the programs behind this one, and to the stack after them.
        Action::Pass => TC_ACT_UNSPEC,
        Action::Admit => {
            if MARK.load() != 0 {
                ctx.set_mark(MARK.load());
            }
            TC_ACT_UNSPEC
        }
        Action::Drop => TC_ACT_SHOT,
    }
}
