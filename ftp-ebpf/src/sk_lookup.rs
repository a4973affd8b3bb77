//! What makes a negotiated port exist at all: connection attempts with a pinhole go to the one
//! listener for passive data connections, whatever port they name.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{bpf_sk_lookup, sk_action::SK_PASS},
    macros::sk_lookup,
    programs::SkLookupContext,
};
use ftp_ebpf::{
    abi::{Address, Tuple},
    decide,
    reason::Reason,
};

use crate::{maps::LISTENERS, report, world::Kernel};

/// Protocol number (RFC 9293).
const IPPROTO_TCP: u32 = 6;
/// Address family (include/linux/socket.h).
const AF_INET: u32 = 2;

/// Picks the socket for a connection attempt that no established socket answers.
#[sk_lookup]
pub(crate) fn steer(ctx: SkLookupContext) -> u32 {
    // SAFETY: the running program's own context.
    let lookup = unsafe { &*ctx.lookup };
    if lookup.protocol != IPPROTO_TCP {
        return SK_PASS;
    }
    let Some(kernel) = Kernel::new(ctx.as_ptr()) else {
        return SK_PASS;
    };
    let tuple = tuple(lookup);
    let reason = decide::steer(&kernel, &tuple);
    report::count(reason);
    if reason == Reason::Steered {
        let family = if lookup.family == AF_INET { 0 } else { 1 };
        // Without a listener the attempt is refused by the kernel, as for any closed port.
        let _ = LISTENERS.redirect_sk_lookup(&ctx, family, 0);
    }
    SK_PASS
}

#[inline(always)]
fn tuple(lookup: &bpf_sk_lookup) -> Tuple {
    let (client, server) = if lookup.family == AF_INET {
        (
            Address::v4(lookup.remote_ip4),
            Address::v4(lookup.local_ip4),
        )
    } else {
        (Address(lookup.remote_ip6), Address(lookup.local_ip6))
    };
    Tuple {
        client,
        server,
        client_port_be: lookup.remote_port,
        // Host byte order here, unlike every other field (include/uapi/linux/bpf.h).
        server_port_be: (lookup.local_port as u16).to_be(),
    }
}
