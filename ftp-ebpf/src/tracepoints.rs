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

pub(crate) const IPPROTO_TCP: u16 = 6;
/// Multipath TCP reports its sockets a second time, under a protocol number of its own.
const IPPROTO_MPTCP: u16 = 262;
/// Socket states (include/net/tcp_states.h).
const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_RECV: i32 = 3;
const TCP_CLOSE: i32 = 7;
const TCP_CLOSE_WAIT: i32 = 8;
const TCP_LISTEN: i32 = 10;

/// The record of `sock:inet_sock_set_state` (its `format` file in tracefs; since Linux 4.16).
#[repr(C)]
struct StateRecord {
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

/// A field of the running program's context.
macro_rules! field {
    ($ctx:expr, $name:ident) => {
        // SAFETY: a field of the running program's own context, at a fixed offset.
        unsafe { ptr::addr_of!((*$ctx.as_ptr().cast::<StateRecord>()).$name).read_volatile() }
    };
}

/// A socket goes from one state to another.
pub(crate) struct StateChange {
    pub(crate) socket: u64,
    pub(crate) protocol: u16,
    pub(crate) old: i32,
    pub(crate) new: i32,
    /// Its own port, host byte order.
    pub(crate) port: u16,
}

impl StateChange {
    /// What the running program of that tracepoint is told.
    #[inline(always)]
    pub(crate) fn of(ctx: &TracePointContext) -> Self {
        Self {
            socket: field!(ctx, socket),
            protocol: field!(ctx, protocol),
            old: field!(ctx, old),
            new: field!(ctx, new),
            port: field!(ctx, local_port),
        }
    }
}

/// Between whom, and the remote end is the client. Read where it is needed only: kept across calls it
/// would fill the stack.
#[inline(always)]
pub(crate) fn tuple_of(ctx: &TracePointContext) -> Tuple {
    Tuple {
        client: Address(field!(ctx, remote)),
        server: Address(field!(ctx, local)),
        client_port_be: field!(ctx, remote_port).to_be(),
        server_port_be: field!(ctx, local_port).to_be(),
    }
}

/// Follows sockets from listen(2) to their end.
#[tracepoint]
pub(crate) fn guard_state(ctx: TracePointContext) -> u32 {
    let StateChange {
        socket,
        protocol,
        old,
        new,
        port,
    } = StateChange::of(&ctx);
    if protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP {
        match (is_connected(old), is_connected(new)) {
            (false, true) if sockets::is_control_port(port) && sockets::is_in_namespace(socket) => {
                control_connections::begins(socket);
            }
            (true, false) => control_connections::ends(socket),
            (false, _) | (true, true) => {}
        }
    }
    if protocol != IPPROTO_TCP {
        return 0;
    }
    let address = Address(field!(ctx, local));
    match (old, new) {
        (_, TCP_LISTEN) => data_ports::listening(socket, &Listener { address, port }),
        // Not a connection that comes: each is a copy of its listener, and goes from LISTEN to
        // SYN-RECV (net/ipv4/inet_connection_sock.c, inet_csk_clone_lock).
        (TCP_LISTEN, TCP_CLOSE) => {
            let port = port.into();
            data_ports::closed(socket, DataPort { address, port });
        }
        (TCP_SYN_RECV, TCP_ESTABLISHED) => data_ports::accepted(socket, &tuple_of(&ctx)),
        _ => {}
    }
    0
}

/// As a control connection is, see `sockets::control_of_socket`.
#[inline(always)]
fn is_connected(state: i32) -> bool {
    state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT
}

/// The record of `sock:sock_recv_length` and `sock:sock_send_length` (their `format` files in
/// tracefs; since Linux 6.3).
#[repr(C)]
struct LengthRecord {
    _common: u64,
    socket: u64,
    _family: u16,
    protocol: u16,
    length: i32,
}

/// A socket has sent or received.
pub(crate) struct SocketRecord {
    pub(crate) socket: u64,
    pub(crate) protocol: u16,
    /// Bytes, or a negative errno.
    pub(crate) length: i32,
}

impl SocketRecord {
    /// What the running program of one of these tracepoints is told.
    #[inline(always)]
    pub(crate) fn of(ctx: &TracePointContext) -> Self {
        let record = ctx.as_ptr().cast::<LengthRecord>();
        // SAFETY: fields of the running program's own context, at fixed offsets.
        unsafe {
            Self {
                socket: ptr::addr_of!((*record).socket).read_volatile(),
                protocol: ptr::addr_of!((*record).protocol).read_volatile(),
                length: ptr::addr_of!((*record).length).read_volatile(),
            }
        }
    }
}

/// Remembers which control connection a thread read from last: in a server of one process, that
/// is the client whose command it carries out. Attached only while there is such a server.
#[tracepoint]
pub(crate) fn guard_read(ctx: TracePointContext) -> u32 {
    let SocketRecord {
        socket,
        protocol,
        length,
    } = SocketRecord::of(&ctx);
    if protocol != IPPROTO_TCP || length <= 0 {
        return 0;
    }
    if let Some(control) = sockets::control_of_socket(socket)
        && sockets::is_in_namespace(socket)
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
