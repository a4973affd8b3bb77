//! The maps and read-only globals; layouts and meanings are in `abi`.

use aya_ebpf::{
    Global,
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf, SockMap},
};
use ftp_ebpf::{
    abi::{Address, Pinhole, PinholeKey, Ports, Tuple, budget},
    reason::Reason,
};

/// Size is set at load time. Not preallocated: memory is used by pinholes, not by their limit.
#[map]
pub(crate) static PINHOLES: HashMap<PinholeKey, Pinhole> =
    HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static PORTS: Array<Ports> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// One slot per value of [`Tuple::slot`].
#[map]
pub(crate) static ESTABLISHED: Array<Tuple> = Array::with_max_entries(Tuple::SLOTS, 0);

#[map]
pub(crate) static LOCAL_ADDRESSES: HashMap<Address, u8> =
    HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(Reason::ALL.len() as u32, 0);

/// Bytes of events that the daemon has not read yet.
pub(crate) const EVENTS_SIZE: u32 = 256 * 1024;

#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_SIZE, 0);

#[map]
pub(crate) static DENIAL_BUDGET: PerCpuArray<u32> =
    PerCpuArray::with_max_entries(budget::ENTRIES, 0);

#[map]
pub(crate) static LISTENERS: SockMap = SockMap::with_max_entries(2, 0);

#[map]
pub(crate) static LISTENER_PORTS: Array<u16> = Array::with_max_entries(2, 0);

#[unsafe(no_mangle)]
pub(crate) static CLIENT_MASK_V4: Global<u32> = Global::new(u32::MAX);

#[unsafe(no_mangle)]
pub(crate) static CLIENT_MASK_V6: Global<[u32; 4]> = Global::new([u32::MAX; 4]);

#[unsafe(no_mangle)]
pub(crate) static MARK: Global<u32> = Global::new(0);

#[unsafe(no_mangle)]
pub(crate) static TELL_ALL: Global<u32> = Global::new(0);
