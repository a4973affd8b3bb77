//! The decision's [`World`] in the kernel: maps, clock and socket lookup.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{bpf_sock, bpf_sock_tuple},
    helpers::{
        bpf_ktime_get_coarse_ns,
        generated::{bpf_sk_release, bpf_skc_lookup_tcp},
    },
};
use ftp_ebpf::{
    abi::{Address, Claim, ClientMask, Pinhole, PinholeKey, Ports, Tuple},
    decide::{Socket, World},
};

use crate::atomic;
use crate::guard_maps::PEERS;
use crate::maps::{
    CLIENT_MASK_V4, CLIENT_MASK_V6, ESTABLISHED, LISTENER_PORTS, LOCAL_ADDRESSES, PINHOLES, PORTS,
};

/// State of a listening socket (include/net/tcp_states.h).
const TCP_LISTEN: u32 = 10;
/// Look in the network namespace of the context's device (include/uapi/linux/bpf.h).
const BPF_F_CURRENT_NETNS: u64 = u64::MAX;

/// What a program can see.
pub(crate) struct Kernel {
    ctx: *mut c_void,
    ports: *const Ports,
}

impl Kernel {
    /// `ctx` is the running program's own context. `None` cannot happen: the map has its entry
    /// from the start; but the verifier wants it asked.
    #[inline(always)]
    pub(crate) fn new(ctx: *mut c_void) -> Option<Self> {
        Some(Self {
            ctx,
            ports: PORTS.get_ptr(0)?,
        })
    }
}

impl World for Kernel {
    type Row = *mut Pinhole;

    #[inline(always)]
    fn policy(&self) -> u64 {
        // SAFETY: points into the map's only value. Userspace may write it at any time, a word at
        // once, hence the volatile read of a word.
        unsafe { ptr::addr_of!((*self.ports).policy).read_volatile() }
    }

    #[inline(always)]
    fn guarded(&self, index: usize) -> u64 {
        // SAFETY: as for `policy`; the mask keeps the index inside, and shows it to the verifier.
        unsafe {
            let words = ptr::addr_of!((*self.ports).guarded).cast::<u64>();
            words.add(index & (Ports::WORDS - 1)).read_volatile()
        }
    }

    #[inline(always)]
    fn waiting(&self, index: usize) -> u64 {
        // SAFETY: as for `guarded`.
        unsafe {
            let words = ptr::addr_of!((*self.ports).waiting).cast::<u64>();
            words.add(index & (Ports::WORDS - 1)).read_volatile()
        }
    }

    #[inline(always)]
    fn client_mask(&self) -> ClientMask {
        ClientMask {
            v4: CLIENT_MASK_V4.load(),
            v6: CLIENT_MASK_V6.load(),
        }
    }

    #[inline(always)]
    fn is_local(&self, addr: &Address) -> bool {
        LOCAL_ADDRESSES.get_ptr(addr).is_some()
    }

    #[inline(always)]
    fn is_peer(&self, client: &Address) -> bool {
        PEERS.get_ptr(client).is_some()
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: no arguments.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn pinhole(&self, key: &PinholeKey) -> Option<Self::Row> {
        PINHOLES.get_ptr_mut(key)
    }

    #[inline(always)]
    fn deadline_ns(&self, row: Self::Row) -> u64 {
        // SAFETY: a row stays mapped until the program ends (RCU), whatever becomes of the entry.
        unsafe { ptr::addr_of!((*row).deadline_ns).read_volatile() }
    }

    #[inline(always)]
    fn session(&self, row: Self::Row) -> u64 {
        // SAFETY: as above.
        unsafe { ptr::addr_of!((*row).session).read_volatile() }
    }

    #[inline(always)]
    fn claimed(&self, row: Self::Row) -> Claim {
        // SAFETY: as above.
        unsafe { ptr::addr_of!((*row).claim).read_volatile() }
    }

    #[inline(always)]
    fn claim(&self, key: &PinholeKey, row: Self::Row, old: Claim, new: Claim) -> bool {
        if !compare_and_swap(row, old, new) {
            return false;
        }
        // The kernel reuses the memory of a removed entry at once, so the swap may have hit a
        // pinhole that has been opened there for somebody else since the lookup. Then give it back.
        if PINHOLES.get_ptr_mut(key) == Some(row) {
            return true;
        }
        compare_and_swap(row, new, old);
        false
    }

    #[inline(always)]
    fn remembers(&self, tuple: &Tuple) -> bool {
        // SAFETY: points to a value of the map; a torn read is a miss, or harmless (see decide).
        ESTABLISHED
            .get_ptr(tuple.slot())
            .is_some_and(|slot| unsafe { tuple.is(&*slot) })
    }

    #[inline(always)]
    fn remember(&self, tuple: &Tuple) {
        if let Some(slot) = ESTABLISHED.get_ptr_mut(tuple.slot()) {
            // SAFETY: points to a value of the map; for a write torn by another CPU see decide.
            unsafe { *slot = *tuple };
        }
    }

    #[inline(always)]
    fn listener_port_be(&self, is_v4: bool) -> u16 {
        let port = LISTENER_PORTS.get_ptr(if is_v4 { 0 } else { 1 });
        // SAFETY: points to a value of the map, which is set before any program is attached.
        port.map_or(0, |port| unsafe { port.read_volatile() })
    }

    #[inline(always)]
    fn socket(&self, tuple: &Tuple) -> Socket {
        let sock = if tuple.server.is_v4() {
            let mut ends = V4Ends {
                source: tuple.client.0[3],
                destination: tuple.server.0[3],
                source_port_be: tuple.client_port_be,
                destination_port_be: tuple.server_port_be,
            };
            lookup(self.ctx, &mut ends)
        } else {
            let mut ends = *tuple;
            lookup(self.ctx, &mut ends)
        };
        if sock.is_null() {
            return Socket::None;
        }
        // SAFETY: not null, and a reference is held until the release below.
        let state = unsafe { (*sock).state };
        // SAFETY: returned by the lookup and released once.
        unsafe { bpf_sk_release(sock.cast()) };
        if state == TCP_LISTEN {
            Socket::Listening
        } else {
            Socket::Connection
        }
    }
}

/// The IPv4 half of `struct bpf_sock_tuple`. The IPv6 half has the layout of [`Tuple`].
#[repr(C)]
struct V4Ends {
    source: u32,
    destination: u32,
    source_port_be: u16,
    destination_port_be: u16,
}

/// `ends` is one half of `struct bpf_sock_tuple`; its size tells the kernel which.
#[inline(always)]
fn lookup<T>(ctx: *mut c_void, ends: &mut T) -> *mut bpf_sock {
    let tuple = ptr::from_mut(ends).cast::<bpf_sock_tuple>();
    // SAFETY: `ctx` is the running program's context, the tuple is as long as it is said to be.
    unsafe { bpf_skc_lookup_tcp(ctx, tuple, size_of::<T>() as u32, BPF_F_CURRENT_NETNS, 0) }
}

#[inline(always)]
fn compare_and_swap(row: *mut Pinhole, old: Claim, new: Claim) -> bool {
    // SAFETY: the row stays mapped while the program runs, and the claim is an aligned u64.
    unsafe {
        let claim = ptr::addr_of_mut!((*row).claim).cast::<u64>();
        atomic::compare_and_swap(claim, old.0, new.0)
    }
}
