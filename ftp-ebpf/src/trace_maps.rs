//! What only the programs of `pinhole trace` use: maps and read-only globals. In a daemon's object
//! they are there as well, as small as can be, and nobody touches them.

use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LruHashMap, RingBuf},
};
use ftp_ebpf::abi::{Opening, Transfer};

/// Records for userspace.
#[map]
pub(crate) static STEPS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Records for which there was no room.
#[map]
pub(crate) static LOST: Array<u64> = Array::with_max_entries(1, 0);

/// Data connections that are followed, by the address of their `struct sock`.
#[map]
pub(crate) static FOLLOWED: HashMap<u64, Transfer> =
    HashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);

/// Ports that may be data ports: those on which something began to listen while we watched, or, of
/// our own server, those with a pinhole opened meanwhile.
#[map]
pub(crate) static AWAITED: LruHashMap<u32, u8> = LruHashMap::with_max_entries(16_384, 0);

/// Pinholes that our own server's threads are about to open.
#[map]
pub(crate) static OPENING: HashMap<u64, Opening> =
    HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);

/// The process of our own server; 0 where a guard is followed.
#[unsafe(no_mangle)]
pub(crate) static SERVER: Global<u32> = Global::new(0);

/// Its descriptor of the table of pinholes.
#[unsafe(no_mangle)]
pub(crate) static SERVER_TABLE: Global<u32> = Global::new(0);
