//! The programs of `pinhole trace`: they follow data connections from the handshake to the end and
//! change nothing. Attached only while it runs. What a change means, and which steps count, is in
//! `timeline.rs` of the library.

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_user},
    macros::tracepoint,
    programs::TracePointContext,
};
use core::ptr;
use ftp_ebpf::{
    abi::{Opening, Pinhole, PinholeKey, Transfer, Tuple},
    guard::Found,
    timeline::{Change, Step},
};

use crate::{
    atomic, sockets,
    trace_maps::{AWAITED, FOLLOWED, LOST, OPENING, SERVER, SERVER_TABLE, STEPS},
    tracepoints::{IPPROTO_TCP, SocketRecord, StateChange, tuple_of},
};

/// include/uapi/linux/bpf.h, `enum bpf_cmd`.
const BPF_MAP_UPDATE_ELEM: u64 = 2;

/// `sock:inet_sock_set_state`
#[tracepoint]
pub(crate) fn trace_state(ctx: TracePointContext) -> u32 {
    let state = StateChange::of(&ctx);
    if state.protocol != IPPROTO_TCP {
        return 0;
    }
    let tuple = tuple_of(&ctx);
    let socket = state.socket;
    match Change::of(state.old, state.new) {
        Some(Change::Listening) => {
            // Our own server's data ports have no listener of their own.
            if SERVER.load() == 0 && sockets::is_in_namespace(socket) {
                await_port(state.port);
            }
        }
        Some(Change::Arrived) => {
            if AWAITED.get_ptr(u32::from(state.port)).is_some() && sockets::is_in_namespace(socket)
            {
                follow(socket, &tuple, Step::Established);
            }
        }
        Some(Change::Connecting) => {
            if sockets::is_in_namespace(socket) && connects_to_its_client(&tuple) {
                follow(socket, &tuple, Step::Syn);
            }
        }
        Some(Change::Connected) => {
            if let Some(transfer) = note(socket, Step::Established) {
                // Neither the port that it leaves from nor what is to be read was known before.
                // SAFETY: as in `note`.
                unsafe {
                    (*transfer).tuple = tuple;
                    (*transfer).copied_seq = sockets::copied_seq(socket).unwrap_or_default();
                }
            }
        }
        Some(Change::Ended) => {
            note(socket, Step::Ended);
        }
        Some(Change::Closed) => closed(socket),
        None => {}
    }
    0
}

/// `syscalls:sys_exit_accept` and `syscalls:sys_exit_accept4`
#[tracepoint]
pub(crate) fn trace_accepted(ctx: TracePointContext) -> u32 {
    let descriptor = exit_value(&ctx);
    if let Ok(descriptor) = u32::try_from(descriptor)
        && let Some(socket) = sockets::socket_of_descriptor(descriptor)
        && let Some(transfer) = note(socket, Step::Accepted)
    {
        // SAFETY: as in `note`.
        unsafe { (*transfer).process = process() };
    }
    0
}

/// `sock:sock_send_length` (since Linux 6.3; of sendfile(2), since 6.5)
#[tracepoint]
pub(crate) fn trace_sent(ctx: TracePointContext) -> u32 {
    let record = SocketRecord::of(&ctx);
    if record.protocol == IPPROTO_TCP && record.length > 0 {
        note(record.socket, Step::Sent);
    }
    0
}

/// `tcp:tcp_rcv_space_adjust`: the process has taken something out of the socket, by recv(2) or
/// splice(2). The latter calls it with nothing taken, too.
#[tracepoint]
pub(crate) fn trace_received(ctx: TracePointContext) -> u32 {
    // SAFETY: a field of the running program's own context: its first (the event's `format` file
    // in tracefs).
    let socket = unsafe { ctx.as_ptr().cast::<u64>().add(1).read_volatile() };
    if let Some(transfer) = FOLLOWED.get_ptr_mut(socket)
        && let Some(copied_seq) = sockets::copied_seq(socket)
    {
        // SAFETY: as in `note`.
        unsafe { (*transfer).read_up_to(copied_seq, now_ns()) };
    }
    0
}

/// `syscalls:sys_enter_bpf`: our own server is about to open a pinhole.
#[tracepoint]
pub(crate) fn trace_bpf_enter(ctx: TracePointContext) -> u32 {
    if process() != SERVER.load() {
        return 0;
    }
    // SAFETY: fields of the running program's own context: the number and six arguments of eight
    // bytes each (kernel/trace/trace_syscalls.c).
    let (command, attributes) = unsafe {
        let arguments = ctx.as_ptr().cast::<u64>().add(2);
        (arguments.read_volatile(), arguments.add(1).read_volatile())
    };
    if command == BPF_MAP_UPDATE_ELEM
        && let Some(opening) = opening(attributes)
    {
        // Where there is no room, its beginning stays unknown.
        let _ = OPENING.insert(bpf_get_current_pid_tgid(), opening, 0);
    }
    0
}

/// `syscalls:sys_exit_bpf`: it has.
#[tracepoint]
pub(crate) fn trace_bpf_exit(ctx: TracePointContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    let Some(opening) = OPENING.get_ptr(thread) else {
        return 0;
    };
    // SAFETY: points to a value of the map that only this thread changes.
    let mut opening = unsafe { *opening };
    let _ = OPENING.remove(thread);
    if exit_value(&ctx) == 0 {
        opening.time_ns = now_ns();
        await_port(u16::from_be(opening.key.port_be));
        tell(opening);
    }
    0
}

/// What `union bpf_attr` says of an element to be written, if it is a pinhole.
#[inline(always)]
fn opening(attributes: u64) -> Option<Opening> {
    let [table, key, value]: [u64; 3] = user(attributes)?;
    // The descriptor has four bytes, and four of nothing follow.
    if table as u32 != SERVER_TABLE.load() {
        return None;
    }
    let row: Pinhole = user(value)?;
    let key: PinholeKey = user(key)?;
    Some(Opening {
        time_ns: 0,
        session: row.session,
        key,
        zero: 0,
    })
}

/// Reads the running process's memory.
#[inline(always)]
fn user<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address; T is made of integers.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}

/// Whether the process that runs, which sends a SYN, is an FTP server that connects to its client.
#[inline(always)]
fn connects_to_its_client(tuple: &Tuple) -> bool {
    match SERVER.load() {
        0 => match sockets::control_connections() {
            Found::One(control) => control.client == tuple.client,
            Found::None | Found::Several => false,
        },
        server => server == process(),
    }
}

#[inline(always)]
fn await_port(port: u16) {
    // The least recently used makes room.
    let _ = AWAITED.insert(u32::from(port), 1, 0);
}

/// From its first step on.
#[inline(always)]
fn follow(socket: u64, tuple: &Tuple, first: Step) {
    let active = matches!(first, Step::Syn);
    let mut transfer = Transfer {
        tuple: *tuple,
        process: if active { process() } else { 0 },
        active: u32::from(active),
        copied_seq: sockets::copied_seq(socket).unwrap_or_default(),
        ..Transfer::default()
    };
    transfer.note(first, now_ns());
    if FOLLOWED.insert(socket, transfer, 0).is_err() {
        lose();
    }
}

/// Notes a step of a connection that is followed.
#[inline(always)]
fn note(socket: u64, step: Step) -> Option<*mut Transfer> {
    let transfer = FOLLOWED.get_ptr_mut(socket)?;
    // SAFETY: points to a value of the map, which only this socket's close removes. Two CPUs that
    // note a step each write different words; of two sends at once, either is the last.
    unsafe { (*transfer).note(step, now_ns()) };
    Some(transfer)
}

#[inline(always)]
fn closed(socket: u64) {
    let Some(transfer) = note(socket, Step::Ended) else {
        return;
    };
    // SAFETY: as above.
    tell(unsafe { *transfer });
    let _ = FOLLOWED.remove(socket);
}

#[inline(always)]
fn tell<T: 'static>(record: T) {
    match STEPS.reserve::<T>(0) {
        Some(mut entry) => {
            entry.write(record);
            // Userspace looks now and then: waking it would be in the figures.
            entry.submit(u64::from(BPF_RB_NO_WAKEUP));
        }
        None => lose(),
    }
}

#[inline(always)]
fn lose() {
    if let Some(lost) = LOST.get_ptr_mut(0) {
        // SAFETY: a value of the map.
        unsafe { atomic::count(lost) };
    }
}

#[inline(always)]
fn process() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// What a system call returns.
#[inline(always)]
fn exit_value(ctx: &TracePointContext) -> i64 {
    // SAFETY: a field of the running program's own context, behind the number of the call
    // (kernel/trace/trace_syscalls.c).
    unsafe { ptr::read_volatile(ctx.as_ptr().cast::<i64>().add(2)) }
}
