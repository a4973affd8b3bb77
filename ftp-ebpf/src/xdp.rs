//! The lock before an skb exists: XDP, native or generic. Knows of multi-buffer packets (jumbo
//! frames): headers are in the first buffer.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{xdp_action, xdp_md},
    macros::xdp,
    programs::XdpContext,
};
use ftp_ebpf::{
    decide::{self, World as _},
    packet::LinkLayer,
    reason::Action,
};

use crate::{frame::Direct, maps::MARK, report, world::Kernel};

/// Decides about a packet that a driver received.
#[xdp(frags)]
pub(crate) fn xdp_admit(ctx: XdpContext) -> u32 {
    let Some(kernel) = Kernel::new(ctx.as_ptr()) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: this context's own, and nothing below moves packet data.
    let frame = unsafe { Direct::new(ctx.data(), ctx.data_end()) };
    let outcome = decide::admit(&frame, LinkLayer::Ethernet, &kernel);
    let action = outcome.action(kernel.policy());
    // Where there is a mark, tcx sees next what goes on, and counts it.
    let is_news = match action {
        Action::Pass | Action::Admit if MARK.load() != 0 => outcome.took,
        Action::Pass | Action::Admit | Action::Drop => report::is_news(&outcome),
    };
    if is_news {
        xdp_tell(ctx.ctx, outcome.reason as u32, outcome.session);
    }
    match action {
        Action::Pass | Action::Admit => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
    }
}

/// A global function: the verifier follows it once by itself, and not once for every way that a
/// packet can come to be told of.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn xdp_tell(ctx: *mut xdp_md, reason: u32, session: u64) -> u64 {
    let ctx = XdpContext::new(ctx);
    // SAFETY: the running program's own context, and nothing below moves packet data.
    let frame = unsafe { Direct::new(ctx.data(), ctx.data_end()) };
    report::tell(&frame, LinkLayer::Ethernet, reason, session);
    0
}
