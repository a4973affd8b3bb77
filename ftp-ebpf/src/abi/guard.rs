//! What only the guard's maps hold: the kernel's layout, sockets that listen for data connections,
//! and how many control connections there are.

use super::{Address, PinholeKey};

/// Where the running kernel keeps what the guard reads: offsets in bytes, from its BTF.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// `task_struct.files`
    pub task_files: u32,
    /// `task_struct.start_time`
    pub task_start_time: u32,
    /// `files_struct.fdt`
    pub files_fdt: u32,
    /// `fdtable.max_fds`
    pub fdtable_max_fds: u32,
    /// `fdtable.fd`
    pub fdtable_fd: u32,
    /// `file.f_inode`
    pub file_inode: u32,
    /// `file.private_data`
    pub file_private_data: u32,
    /// `inode.i_mode`
    pub inode_mode: u32,
    /// `socket.sk`
    pub socket_sk: u32,
    /// `socket.type`
    pub socket_type: u32,
    /// `sock_common.skc_family`
    pub sk_family: u32,
    /// `sock_common.skc_state`
    pub sk_state: u32,
    /// `sock_common.skc_num`
    pub sk_num: u32,
    /// `sock_common.skc_daddr`
    pub sk_daddr: u32,
    /// `sock_common.skc_rcv_saddr`
    pub sk_rcv_saddr: u32,
    /// `sock_common.skc_v6_daddr`
    pub sk_v6_daddr: u32,
    /// `sock_common.skc_v6_rcv_saddr`
    pub sk_v6_rcv_saddr: u32,
    /// `sock_common.skc_net`
    pub sk_net: u32,
    /// `net.ns.inum`
    pub net_inum: u32,
    /// `tcp_sock.copied_seq`
    pub tcp_copied_seq: u32,
}

/// A value of [`map::DATA_PORTS`](super::map::DATA_PORTS) and of
/// [`map::SEEDED`](super::map::SEEDED): a socket that listens for data connections.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// Its pinhole; all zero where it has none.
    pub key: PinholeKey,
    /// Host byte order.
    pub port: u16,
    /// What became of it, a [`Tally`](crate::guard::Tally).
    pub tally: u16,
    /// [`Pinhole::session`](super::Pinhole::session) of its row, so that it removes no other's.
    pub session: u64,
}

/// A key of [`map::SEEDED`](super::map::SEEDED): where a socket listens.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataPort {
    /// The address that it is bound to; for all, that of its family: `::`, or 0.0.0.0 mapped.
    pub address: Address,
    /// Host byte order.
    pub port: u32,
}

/// What is at which index of [`map::CONTROL_COUNT`](super::map::CONTROL_COUNT). Where `SEEN` and `OLDER` are 0, no
/// process has a control connection.
pub mod control_count {
    /// Those in [`map::CONTROL_SOCKETS`](super::super::map::CONTROL_SOCKETS), kept by the kernel half.
    pub const SEEN: u32 = 0;
    /// 1 while there may be some that began before the guard, kept by userspace.
    pub const OLDER: u32 = 1;
    /// Events of sockets that the kernel half has missed, as far as userspace knows.
    pub const MISSED: u32 = 2;
    /// Inode number of the network namespace that it is about, told by userspace to who looks on.
    pub const NAMESPACE: u32 = 3;
    /// How many there are.
    pub const ENTRIES: u32 = 4;
}
