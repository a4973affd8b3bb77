//! The guard's own maps and read-only globals; layouts and meanings are in `abi`.

use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray},
};
use ftp_ebpf::{
    abi::{Address, Data, DataPort, Layout, Ports, control_count},
    guard::{LastRead, Tally},
};

#[map]
pub(crate) static DATA_PORTS: HashMap<u64, Data> =
    HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static DATA_PORT_COUNTS: Array<u32> = Array::with_max_entries(65_536, 0);

#[map]
pub(crate) static RANGE: Array<u64> = Array::with_max_entries(Ports::WORDS as u32, 0);

#[map]
pub(crate) static CONTROL_PORTS: Array<u64> = Array::with_max_entries(Ports::WORDS as u32, 0);

#[map]
pub(crate) static CONTROL_SOCKETS: HashMap<u64, u8> =
    HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static CONTROL_COUNT: Array<u32> = Array::with_max_entries(control_count::ENTRIES, 0);

#[map]
pub(crate) static LAST_READ: LruHashMap<u64, LastRead> = LruHashMap::with_max_entries(16_384, 0);

#[map]
pub(crate) static SEEDED: HashMap<DataPort, Data> =
    HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static TALLIES: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(Tally::ALL.len() as u32, 0);

#[map]
pub(crate) static PEERS: HashMap<Address, u8> =
    HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// What a walk has found so far: a subprogram that the verifier follows once, and not once for
/// every descriptor, cannot have it on the caller's stack.
#[map]
pub(crate) static WALK: PerCpuArray<crate::sockets::Walk> = PerCpuArray::with_max_entries(1, 0);

#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Global<Layout> = Global::new(Layout {
    task_files: 0,
    task_start_time: 0,
    files_fdt: 0,
    fdtable_max_fds: 0,
    fdtable_fd: 0,
    file_inode: 0,
    file_private_data: 0,
    inode_mode: 0,
    socket_sk: 0,
    socket_type: 0,
    sk_family: 0,
    sk_state: 0,
    sk_num: 0,
    sk_daddr: 0,
    sk_rcv_saddr: 0,
    sk_v6_daddr: 0,
    sk_v6_rcv_saddr: 0,
    sk_net: 0,
    net_inum: 0,
    tcp_copied_seq: 0,
});

/// Whether a set of ports, one bit each, has this one in it.
#[inline(always)]
pub(crate) fn has_port(set: &Array<u64>, port: u16) -> bool {
    // SAFETY: points to a value of the map; userspace writes whole words.
    set.get_ptr(Ports::word(port) as u32)
        .is_some_and(|word| unsafe { word.read_volatile() } & Ports::bit(port) != 0)
}

#[unsafe(no_mangle)]
pub(crate) static NAMESPACE: Global<u32> = Global::new(0);
