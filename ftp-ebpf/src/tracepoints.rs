//! Where the guard hears of sockets: the tracepoints, and the records that they hand over. What
//! follows from a change is in `data_ports.rs`.

use core::ptr;

use aya_ebpf::{
    EbpfContext as _, helpers::bpf_get_current_pid_tgid, macros::tracepoint,
    programs::TracePointContext,
};
use ftp_ebpf::{
    abi::{Address, DataPort, Tuple},
    guard::{LastRead, Listener},
};

use crate::{control_connections, data_ports, guard_maps::LAST_READ, sockets};

const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;
/// Socket states (include/net/tcp_states.h).
const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_RECV: i32 = 3;
const TCP_CLOSE_WAIT: i32 = 8;
const TCP_LISTEN: i32 = 10;

/// The record of `sock:inet_sock_set_state` (its `format` file in tracefs; since Linux 4.16).
#[repr(C)]
struct StateChange {
    _common: u64,
    socket: u64,
    old: i32,
    new: i32,
    local_port: u16,
    remote_port: u16,
    _family: u16,
    protocol: u16,
    _local_v4: u32,
    _remote_v4: u32,
    /// IPv4 addresses are mapped here for IPv4 sockets.
    local: [u32; 4],
    remote: [u32; 4],
}

/// Follows sockets from listen(2) to their end.
#[tracepoint]
pub(crate) fn guard_state(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr().cast::<StateChange>();
    macro_rules! field {
        ($name:ident) => {
            // SAFETY: a field of the running program's own context, at a fixed offset.
            unsafe { ptr::addr_of!((*record).$name).read_volatile() }
        };
    }
    let protocol = field!(protocol);
    let (socket, port) = (field!(socket), field!(local_port));
    let (old, new) = (field!(old), field!(new));
    if protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP {
        match (is_connected(old), is_connected(new)) {
            (false, true) if sockets::is_control_port(port) => control_connections::begins(socket),
            (true, false) => control_connections::ends(socket),
            (false, _) | (true, true) => {}
        }
    }
    // Multipath TCP reports its sockets a second time, under a protocol number of its own.
    if protocol != IPPROTO_TCP {
        return 0;
    }
    if new == TCP_LISTEN {
        let listener = Listener {
            address: Address(field!(local)),
            port,
        };
        data_ports::listening(socket, &listener);
    } else if old == TCP_LISTEN {
        data_ports::closed(
            socket,
            DataPort {
                address: Address(field!(local)),
                port: port.into(),
            },
        );
    } else if old == TCP_SYN_RECV && new == TCP_ESTABLISHED {
        data_ports::accepted(
            socket,
            &Tuple {
                client: Address(field!(remote)),
                server: Address(field!(local)),
                client_port_be: field!(remote_port).to_be(),
                server_port_be: port.to_be(),
            },
        );
    }
    0
}

/// As a control connection is, see `sockets::control_of_socket`.
#[inline(always)]
fn is_connected(state: i32) -> bool {
    state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT
}

/// The record of `sock:sock_recv_length` (its `format` file in tracefs; since Linux 6.3).
#[repr(C)]
struct Received {
    _common: u64,
    socket: u64,
    _family: u16,
    protocol: u16,
    length: i32,
}

/// Remembers which control connection a thread read from last: in a server of one process, that
/// is the client whose command it carries out. Attached only while there is such a server.
#[tracepoint]
pub(crate) fn guard_read(ctx: TracePointContext) -> u32 {
    let record = ctx.as_ptr().cast::<Received>();
    // SAFETY: fields of the running program's own context, at fixed offsets.
    let (socket, protocol, length) = unsafe {
        (
            ptr::addr_of!((*record).socket).read_volatile(),
            ptr::addr_of!((*record).protocol).read_volatile(),
            ptr::addr_of!((*record).length).read_volatile(),
        )
    };
    if protocol != IPPROTO_TCP || length <= 0 {
        return 0;
    }
    if let Some(control) = sockets::control_of_socket(socket)
        && let Some(thread_began_ns) = sockets::thread_began_ns()
    {
        let read = LastRead {
            control,
            socket,
            thread_began_ns,
        };
        // Where there is no room, the port stays shut.
        let _ = LAST_READ.insert(bpf_get_current_pid_tgid(), read, 0);
    }
    0
}
