//! The lock before an skb exists: XDP, native or generic. Knows of multi-buffer packets (jumbo
//! frames): headers are in the first buffer.

use aya_ebpf::{EbpfContext as _, bindings::xdp_action, macros::xdp, programs::XdpContext};
use ftp_ebpf::{decide, reason::Action};

use crate::{frame::Direct, report, world::Kernel};

/// Decides about a packet that a driver received.
#[xdp(frags)]
pub(crate) fn xdp_admit(ctx: XdpContext) -> u32 {
    let Some(kernel) = Kernel::new(ctx.as_ptr()) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: this context's own, and nothing below moves packet data.
    let frame = unsafe { Direct::new(ctx.data(), ctx.data_end()) };
    let outcome = decide::admit(&frame, &kernel);
    let action = outcome.reason.action();
    report::outcome(frame, outcome);
    match action {
        Action::Pass | Action::Admit => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
    }
}
