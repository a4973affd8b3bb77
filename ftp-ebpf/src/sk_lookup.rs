//! What makes a negotiated port exist at all: connection attempts with a pinhole go to the one
//! listener for passive data connections, whatever port they name, and no others do.

use core::ptr;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        bpf_sk_lookup,
        sk_action::{SK_DROP, SK_PASS},
    },
    macros::sk_lookup,
    programs::SkLookupContext,
};
use ftp_ebpf::{
    abi::{Address, Tuple},
    decide,
    reason::Action,
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
    let tuple = tuple(ctx.lookup);
    let reason = decide::steer(&kernel, &tuple);
    report::count(reason);
    match reason.action() {
        Action::Admit => {
            let family = if lookup.family == AF_INET { 0 } else { 1 };
            // Without a listener the attempt is refused by the kernel, as for any closed port.
            let _ = LISTENERS.redirect_sk_lookup(&ctx, family, 0);
            SK_PASS
        }
        Action::Pass => SK_PASS,
        Action::Drop => SK_DROP,
    }
}

/// Reads every field, of either family, before it chooses: the verifier allows context fields
/// at fixed offsets only, and a compiler that chooses first reads at a chosen one.
#[inline(always)]
fn tuple(lookup: *const bpf_sk_lookup) -> Tuple {
    macro_rules! field {
        ($name:ident) => {
            // SAFETY: a field of the running program's own context.
            unsafe { ptr::addr_of!((*lookup).$name).read_volatile() }
        };
    }
    let v4 = [
        Address::v4(field!(remote_ip4)),
        Address::v4(field!(local_ip4)),
    ];
    let v6 = [Address(field!(remote_ip6)), Address(field!(local_ip6))];
    let [client, server] = if field!(family) == AF_INET { v4 } else { v6 };
    Tuple {
        client,
        server,
        client_port_be: field!(remote_port),
        // Host byte order here, unlike every other field (include/uapi/linux/bpf.h).
        server_port_be: (field!(local_port) as u16).to_be(),
    }
}
