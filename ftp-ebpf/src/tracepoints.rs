//! The negotiator for servers that know nothing of us: watches sockets change state, and opens a
//! pinhole inside the listen(2) call of an FTP server's data port, before the server can name it.

use core::ptr;

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::tracepoint,
    programs::TracePointContext,
};
use ftp_ebpf::{
    abi::{
        Address, Claim, ClientMask, Data, DataPort, Event, EventKind, Pinhole, PinholeKey, Ports,
        Tuple,
    },
    guard::{self, Birth, Control, Listener, Tally, Unresolved},
    reason::Reason,
};

use crate::{
    guard_maps::{DATA_PORT_COUNTS, DATA_PORTS, LAST_READ, RANGE, SEEDED, TALLIES},
    maps::{CLIENT_MASK_V4, CLIENT_MASK_V6, EVENTS, PINHOLES, PORTS},
    sockets,
};

const IPPROTO_TCP: u16 = 6;
/// Socket states (include/net/tcp_states.h).
const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_RECV: i32 = 3;
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
    // Multipath TCP reports its listeners a second time, under a protocol number of its own.
    if field!(protocol) != IPPROTO_TCP {
        return 0;
    }
    let (socket, port) = (field!(socket), field!(local_port));
    let (old, new) = (field!(old), field!(new));
    if new == TCP_LISTEN {
        let listener = Listener {
            address: Address(field!(local)),
            port,
        };
        listening(socket, &listener);
    } else if old == TCP_LISTEN {
        closed(
            socket,
            DataPort {
                address: Address(field!(local)),
                port: port.into(),
            },
        );
    } else if old == TCP_SYN_RECV && new == TCP_ESTABLISHED {
        accepted(
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
    if let Some(control) = sockets::control_of_socket(socket) {
        let _ = LAST_READ.insert(bpf_get_current_pid_tgid(), control, 0);
    }
    0
}

/// In process context, inside listen(2).
#[inline(always)]
fn listening(socket: u64, listener: &Listener) {
    // The control port itself is everybody's.
    if sockets::is_control_port(listener.port) || !sockets::is_in_namespace(socket) {
        return;
    }
    let thread = bpf_get_current_pid_tgid();
    let found = sockets::control_connections();
    let last_read = LAST_READ.get_ptr(thread).map(|control| {
        // SAFETY: points to a value of the map; only this thread writes its own entry.
        unsafe { *control }
    });
    let control = match guard::birth(found, last_read, is_in_range(listener.port)) {
        Birth::Foreign => return,
        Birth::Opened(control) => control,
        Birth::Shut(Unresolved::NoControl) => return tally(Tally::NoControl),
        Birth::Shut(Unresolved::Several) => {
            tally(Tally::Several);
            return guard_port(socket, listener.port, &Data::default());
        }
    };
    // The upper half tells the administrator which process it was.
    // SAFETY: no arguments.
    let session = (thread & !0xffff_ffff) | (unsafe { bpf_ktime_get_ns() } & 0xffff_ffff);
    let key = guard::key(&control, listener, mask().apply(control.client));
    let row = Pinhole {
        session,
        deadline_ns: u64::MAX,
        claim: Claim::FREE,
    };
    match PINHOLES.insert(key, row, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            guard_port(
                socket,
                listener.port,
                &Data {
                    key,
                    port: listener.port.into(),
                    session,
                },
            );
            tally(Tally::Opened);
            report_opened(&control, &key, session);
        }
        Err(error) => {
            guard_port(socket, listener.port, &Data::default());
            tally(if error == -EEXIST {
                Tally::Duplicate
            } else {
                Tally::TableFull
            });
        }
    }
}

const EEXIST: i32 = 17;

/// From now on, and until its socket closes, the port is shut but for its pinhole.
#[inline(always)]
fn guard_port(socket: u64, port: u16, data: &Data) {
    let data = Data {
        port: port.into(),
        ..*data
    };
    if DATA_PORTS.insert(socket, data, 0).is_err() {
        return;
    }
    if let Some(count) = DATA_PORT_COUNTS.get_ptr_mut(port.into()) {
        add(count, 1);
    }
    set_port(port, true);
}

#[inline(always)]
fn closed(socket: u64, place: DataPort) {
    let Some(data) = DATA_PORTS.get_ptr(socket) else {
        return closed_seeded(socket, place);
    };
    // SAFETY: points to a value of the map, which only this socket's close removes.
    let data = unsafe { *data };
    let _ = DATA_PORTS.remove(socket);
    remove_row(&data.key, data.session);
    let port = data.port as u16;
    if let Some(count) = DATA_PORT_COUNTS.get_ptr_mut(port.into())
        && add(count, u32::MAX) == 1
    {
        set_port(port, false);
        // Another socket may have begun to listen in between, and set what was just cleared.
        // SAFETY: points to a value of the map.
        if unsafe { count.read_volatile() } != 0 {
            set_port(port, true);
        }
    }
}

/// The listener was there before the guard, whose socket is not known by its address.
#[inline(always)]
fn closed_seeded(socket: u64, place: DataPort) {
    if !sockets::is_in_namespace(socket) {
        return;
    }
    if let Some(key) = SEEDED.get_ptr(place) {
        // SAFETY: points to a value of the map.
        let key = unsafe { *key };
        let _ = PINHOLES.remove(key);
        let _ = SEEDED.remove(place);
        let port = place.port as u16;
        // SAFETY: points to a value of the map.
        let unused = DATA_PORT_COUNTS
            .get_ptr(place.port)
            .is_none_or(|count| unsafe { count.read_volatile() } == 0);
        if unused {
            set_port(port, false);
        }
    }
}

/// The handshake is complete: the pinhole has done its work, the connection is the kernel's.
#[inline(always)]
fn accepted(socket: u64, tuple: &Tuple) {
    let port = u16::from_be(tuple.server_port_be);
    let Some(ports) = PORTS.get_ptr(0) else {
        return;
    };
    // SAFETY: points into the map's only value; the index is below its bound.
    let word = unsafe {
        let words = ptr::addr_of!((*ports).waiting).cast::<u64>();
        words
            .add(Ports::word(port) & (Ports::WORDS - 1))
            .read_volatile()
    };
    // Other namespaces may have the very same addresses.
    if word & Ports::bit(port) == 0 || !sockets::is_in_namespace(socket) {
        return;
    }
    let key = tuple.key(&mask());
    let Some(row) = PINHOLES.get_ptr(key) else {
        return;
    };
    // SAFETY: a row stays mapped until the program ends (RCU).
    let claim = unsafe { ptr::addr_of!((*row).claim).read_volatile() };
    // Free where no lock stands in front: loopback, or an interface that was left out.
    if claim == Claim::FREE || claim.is_by(tuple.client_port_be) {
        let _ = PINHOLES.remove(key);
    }
}

#[inline(always)]
fn remove_row(key: &PinholeKey, session: u64) {
    let Some(row) = PINHOLES.get_ptr(key) else {
        return;
    };
    // SAFETY: as above.
    if unsafe { ptr::addr_of!((*row).session).read_volatile() } == session {
        let _ = PINHOLES.remove(key);
    }
}

/// Marks a port as guarded and waiting, or as neither; the range stays guarded.
#[inline(always)]
fn set_port(port: u16, open: bool) {
    let Some(ports) = PORTS.get_ptr_mut(0) else {
        return;
    };
    let (index, bit) = (Ports::word(port) & (Ports::WORDS - 1), Ports::bit(port));
    // SAFETY: points into the map's only value; the index is below its bound.
    let (guarded, waiting) = unsafe {
        (
            ptr::addr_of_mut!((*ports).guarded).cast::<u64>().add(index),
            ptr::addr_of_mut!((*ports).waiting).cast::<u64>().add(index),
        )
    };
    if open {
        set(guarded, bit);
        set(waiting, bit);
    } else {
        clear(waiting, bit);
        if !is_in_range(port) {
            clear(guarded, bit);
        }
    }
}

#[inline(always)]
fn is_in_range(port: u16) -> bool {
    // SAFETY: points to a value of the map, written before the program is attached.
    RANGE
        .get_ptr(Ports::word(port) as u32)
        .is_some_and(|word| unsafe { *word } & Ports::bit(port) != 0)
}

#[inline(always)]
fn mask() -> ClientMask {
    ClientMask {
        v4: CLIENT_MASK_V4.load(),
        v6: CLIENT_MASK_V6.load(),
    }
}

#[inline(always)]
fn tally(tally: Tally) {
    if let Some(count) = TALLIES.get_ptr_mut(tally as u32) {
        // SAFETY: this CPU's own slot of the map.
        unsafe { *count += 1 };
    }
}

#[inline(always)]
fn report_opened(control: &Control, key: &PinholeKey, session: u64) {
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        return;
    };
    entry.write(Event {
        // SAFETY: no arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
        session,
        kind: EventKind::Opened as u32,
        reason: Reason::PinholeSyn as u32,
        tuple: Tuple {
            client: control.client,
            server: key.server,
            client_port_be: 0,
            server_port_be: key.port_be,
        },
        zero: 0,
    });
    entry.submit(0);
}

use core::intrinsics::{AtomicOrdering::SeqCst, atomic_and, atomic_or, atomic_xadd};

/// Adds, and returns what was there before.
#[inline(always)]
fn add(value: *mut u32, by: u32) -> u32 {
    // SAFETY: callers pass a value of a map, aligned and mapped while the program runs.
    unsafe { atomic_xadd::<u32, u32, { SeqCst }>(value, by) }
}

#[inline(always)]
fn set(word: *mut u64, bit: u64) {
    // SAFETY: as for `add`.
    unsafe { atomic_or::<u64, u64, { SeqCst }>(word, bit) };
}

#[inline(always)]
fn clear(word: *mut u64, bit: u64) {
    // SAFETY: as for `add`.
    unsafe { atomic_and::<u64, u64, { SeqCst }>(word, !bit) };
}
