//! The same lock where native XDP would hurt (veth, bridges, loopback): traffic control,
//! ingress. Also behind native XDP where admitted packets shall carry a firewall mark.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC},
    macros::classifier,
    programs::TcContext,
};
use ftp_ebpf::{
    decide::{self, Outcome, World as _},
    packet::LinkLayer,
    reason::{Action, Reason},
};

use crate::{frame::Direct, maps::MARK, report, world::Kernel};

/// More than the longest chain of headers that is usual, to be made readable when the first
/// buffer of a packet ends too early.
const PULL_LEN: u32 = 256;

/// Decides about a packet that is about to enter the network stack.
#[classifier]
pub(crate) fn tcx_admit(ctx: TcContext) -> i32 {
    judge(&ctx, LinkLayer::Ethernet)
}

/// The same for interfaces whose packets begin with the IP header.
#[classifier]
pub(crate) fn tcx_admit_ip(ctx: TcContext) -> i32 {
    judge(&ctx, LinkLayer::None)
}

#[inline(always)]
fn judge(ctx: &TcContext, link: LinkLayer) -> i32 {
    let Some(kernel) = Kernel::new(ctx.as_ptr()) else {
        return TC_ACT_SHOT;
    };
    // SAFETY: this context's own, and not used after the pull in `tcx_pulled`.
    let frame = unsafe { Direct::new(ctx.data(), ctx.data_end()) };
    let outcome = decide::admit(&frame, link, &kernel);
    if matches!(outcome.reason, Reason::Truncated | Reason::TinyFragment)
        && frame.len() < ctx.len() as usize
    {
        let mut session = 0;
        let verdict = tcx_pulled(ctx.skb.skb, link as u32, &raw mut session);
        return settle(ctx, link, &kernel, unpack(verdict, session));
    }
    settle(ctx, link, &kernel, outcome)
}

/// Decides about a packet whose headers lie beyond its first buffer. A global function, as
/// [`tcx_tell`] is: inside of the program it would be a second copy of the whole decision. What
/// follows from the outcome is left to the caller: all functions of a chain of calls have 512 bytes
/// of stack together.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tcx_pulled(skb: *mut __sk_buff, link: u32, session: *mut u64) -> u64 {
    let ctx = TcContext::new(skb);
    // If it fails, the packet stays unreadable, and is judged so.
    let _ = ctx.pull_data(PULL_LEN.min(ctx.len()));
    let (Some(kernel), false) = (Kernel::new(ctx.as_ptr()), session.is_null()) else {
        return pack(Reason::Truncated.into());
    };
    // SAFETY: this context's own, read after the data has moved.
    let frame = unsafe { Direct::new(ctx.data(), ctx.data_end()) };
    let outcome = decide::admit(&frame, LinkLayer::from_u32(link), &kernel);
    // SAFETY: not null, and the caller's; the verifier checks that it is eight bytes.
    unsafe { *session = outcome.session };
    pack(outcome)
}

/// The bit above a reason that says that the packet took its pinhole.
const TOOK: u64 = 1 << 32;

/// An outcome but for its session, as one number.
#[inline(always)]
fn pack(outcome: Outcome) -> u64 {
    let took = if outcome.took { TOOK } else { 0 };
    outcome.reason as u64 | took
}

#[inline(always)]
fn unpack(verdict: u64, session: u64) -> Outcome {
    Outcome {
        reason: Reason::from_u32(verdict as u32).unwrap_or(Reason::Truncated),
        session,
        took: verdict & TOOK != 0,
    }
}

#[inline(always)]
fn settle(ctx: &TcContext, link: LinkLayer, kernel: &Kernel, outcome: Outcome) -> i32 {
    if report::is_news(&outcome) {
        tcx_tell(
            ctx.skb.skb,
            link as u32,
            outcome.reason as u32,
            outcome.session,
        );
    }
    match outcome.action(kernel.policy()) {
        // Leave it to the programs behind this one, and to the stack after them.
        Action::Pass => TC_ACT_UNSPEC,
        Action::Admit => {
            if MARK.load() != 0 {
                // SAFETY: the running program's own context.
                unsafe { (*ctx.skb.skb).mark = MARK.load() };
            }
            TC_ACT_UNSPEC
        }
        Action::Drop => TC_ACT_SHOT,
    }
}

/// A global function: the verifier follows it once by itself, and not once for every way that a
/// packet can come to be told of.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tcx_tell(skb: *mut __sk_buff, link: u32, reason: u32, session: u64) -> u64 {
    let ctx = TcContext::new(skb);
    // SAFETY: the running program's own context, and nothing below moves packet data.
    let frame = unsafe { Direct::new(ctx.data(), ctx.data_end()) };
    report::tell(&frame, LinkLayer::from_u32(link), reason, session);
    0
}
