//! The negotiator for servers that know nothing of us: opens a pinhole inside the listen(2) call of
//! an FTP server's data port, before the server can name it, and takes it away when its connection
//! has come or its listener goes. Whose it is decides `guard.rs` in the library.

use core::ptr;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
};
use ftp_ebpf::{
    abi::{
        Claim, ClientMask, Data, DataPort, EventKind, Pinhole, PinholeKey, Tuple, budget, policy,
    },
    guard::{self, Birth, Listener, Place, Tally, Unresolved},
    reason::Reason,
};

use crate::{
    atomic, control_connections,
    guard_maps::{DATA_PORT_COUNTS, DATA_PORTS, LAST_READ, RANGE, SEEDED, TALLIES, has_port},
    maps::{CLIENT_MASK_V4, CLIENT_MASK_V6, PINHOLES},
    report, shared_ports, sockets,
};

const EEXIST: i32 = 17;

/// In process context, inside listen(2).
#[inline(always)]
pub(crate) fn listening(socket: u64, listener: &Listener) {
    // Without a bind(2), the kernel chooses a port only after this (net/ipv4/inet_connection_sock.c,
    // inet_csk_listen_start).
    if listener.port == 0 {
        return;
    }
    // The control port itself is everybody's; but by which interfaces it is reached may be news.
    if sockets::is_control_port(listener.port) {
        if sockets::is_in_namespace(socket) {
            report::send(EventKind::Arrived, 0, 0, at(listener));
        }
        return;
    }
    // Where there is no session, those who are no FTP servers pay for no more than this.
    if !control_connections::may_be() && !has_port(&RANGE, listener.port) {
        return;
    }
    if !sockets::is_in_namespace(socket) {
        return;
    }
    // While one guard takes over from another, both are told of every listener.
    if let Some(known) = DATA_PORTS.get_ptr(socket) {
        // SAFETY: points to a value of the map.
        if unsafe { (*known).port } == listener.port {
            return;
        }
    }
    let thread = bpf_get_current_pid_tgid();
    let last_read = LAST_READ.get_ptr(thread).and_then(|read| {
        // SAFETY: points to a value of the map; only this thread writes its own entry.
        sockets::still(unsafe { &*read })
    });
    let birth = guard::birth(
        last_read,
        sockets::control_connections,
        || place(listener.port),
        shared_ports::policy() & policy::ADMIT_PEERS != 0,
    );
    let (key, client, opened) = match birth {
        Birth::Foreign => return,
        Birth::Opened(control) => (
            guard::key(&control, listener, mask().apply(control.client)),
            control.client,
            Tally::Opened,
        ),
        Birth::Shared(_) => {
            let key = PinholeKey::of_peers(listener.port.to_be());
            (key, key.client, Tally::Shared)
        }
        // Shut with the rest of the range, and nothing is to be undone when it closes: whoever may
        // listen there could fill the table.
        Birth::Shut(Unresolved::NoControl) => return tell(listener, Tally::NoControl),
        Birth::Shut(Unresolved::Several) => {
            remember(socket, listener, &PinholeKey::default(), 0, Tally::Several);
            return tell(listener, Tally::Several);
        }
    };
    // The upper half tells the administrator which process it was.
    // SAFETY: no arguments.
    let session = (thread & !0xffff_ffff) | (unsafe { bpf_ktime_get_ns() } & 0xffff_ffff);
    let row = Pinhole {
        session,
        deadline_ns: u64::MAX,
        claim: Claim::FREE,
    };
    match PINHOLES.insert(key, row, u64::from(BPF_NOEXIST)) {
        Ok(()) if remember(socket, listener, &key, session, opened) => {
            tell(listener, opened);
            let tuple = Tuple {
                client,
                server: key.server,
                client_port_be: 0,
                server_port_be: key.port_be,
            };
            report::send(EventKind::Opened, Reason::PinholeSyn as u32, session, tuple);
        }
        // Nobody would take it away again.
        Ok(()) => {
            remove_row(&key, session);
            tell(listener, Tally::TableFull);
        }
        Err(error) => {
            let why = if error == -EEXIST {
                Tally::Duplicate
            } else {
                Tally::TableFull
            };
            remember(socket, listener, &PinholeKey::default(), 0, why);
            tell(listener, why);
        }
    }
}

/// From now on, and until its socket closes, the port is shut but for its pinhole, if it has one.
/// Says whether there was room for that.
#[inline(always)]
fn remember(
    socket: u64,
    listener: &Listener,
    key: &PinholeKey,
    session: u64,
    tally: Tally,
) -> bool {
    let port = listener.port;
    let data = Data {
        key: *key,
        port,
        tally: tally as u16,
        session,
    };
    if DATA_PORTS.insert(socket, data, 0).is_err() {
        return false;
    }
    if let Some(count) = DATA_PORT_COUNTS.get_ptr_mut(port.into()) {
        // SAFETY: a value of the map.
        unsafe { atomic::add(count, 1) };
    }
    shared_ports::set(port, true);
    true
}

#[inline(always)]
fn place(port: u16) -> Place {
    if !has_port(&RANGE, port) {
        Place::Elsewhere
    } else if is_active(port) {
        Place::Active
    } else {
        Place::Range
    }
}

/// Whether active data connections leave from there.
#[inline(always)]
fn is_active(port: u16) -> bool {
    port != u16::MAX && sockets::is_control_port(port + 1)
}

/// Counts what became of a data port, and reports it unless it is opened for its client.
#[inline(always)]
fn tell(listener: &Listener, tally: Tally) {
    count(tally);
    // Of a service that is to be left alone is told once: others' listeners must not drown that.
    let from = if tally == Tally::NoControl && is_active(listener.port) {
        budget::ACTIVE_PORTS
    } else {
        budget::DATA_PORTS
    };
    if tally != Tally::Opened && report::spend_denial(from) {
        let process = bpf_get_current_pid_tgid() & !0xffff_ffff;
        let place = at(listener);
        report::send(EventKind::Unresolved, tally as u32, process, place);
    }
}

/// Where it listens, without a client.
#[inline(always)]
fn at(listener: &Listener) -> Tuple {
    Tuple {
        server: listener.address,
        server_port_be: listener.port.to_be(),
        ..Tuple::default()
    }
}

#[inline(always)]
pub(crate) fn closed(socket: u64, place: DataPort) {
    let Some(data) = DATA_PORTS.get_ptr(socket) else {
        return closed_seeded(socket, place);
    };
    // SAFETY: points to a value of the map, which only this socket's close removes.
    let data = unsafe { *data };
    let _ = DATA_PORTS.remove(socket);
    remove_row(&data.key, data.session);
    if let Some(count) = DATA_PORT_COUNTS.get_ptr_mut(data.port.into()) {
        // SAFETY: a value of the map.
        unsafe { atomic::add(count, u32::MAX) };
    }
    shared_ports::release(data.port);
}

/// The listener was there before the guard, whose socket is not known by its address.
#[inline(always)]
fn closed_seeded(socket: u64, place: DataPort) {
    if !sockets::is_in_namespace(socket) {
        return;
    }
    let Some(data) = SEEDED.get_ptr(place) else {
        return;
    };
    // SAFETY: points to a value of the map.
    let data = unsafe { *data };
    let _ = SEEDED.remove(place);
    remove_row(&data.key, data.session);
    shared_ports::release(data.port);
}

/// The handshake is complete: the pinhole has done its work, the connection is the kernel's.
#[inline(always)]
pub(crate) fn accepted(socket: u64, tuple: &Tuple) {
    let port = u16::from_be(tuple.server_port_be);
    if sockets::is_control_port(port) {
        if sockets::is_in_namespace(socket) {
            report::send(EventKind::Arrived, 0, 0, *tuple);
        }
        return;
    }
    // Other namespaces may have the very same addresses.
    if !shared_ports::is_waited_on(port) || !sockets::is_in_namespace(socket) {
        return;
    }
    for key in [
        tuple.key(&mask()),
        PinholeKey::of_peers(tuple.server_port_be),
    ] {
        if remove_taken(&key, tuple.client_port_be) {
            return;
        }
    }
}

/// Removes the pinhole that a connection has come by; says whether that was it.
#[inline(always)]
fn remove_taken(key: &PinholeKey, client_port_be: u16) -> bool {
    let Some(row) = PINHOLES.get_ptr(key) else {
        return false;
    };
    // SAFETY: a row stays mapped until the program ends (RCU).
    let claim = unsafe { ptr::addr_of!((*row).claim).read_volatile() };
    // Free where no lock stands in front: loopback, or an interface that was left out.
    let taken = claim == Claim::FREE || claim.is_by(client_port_be);
    if taken {
        let _ = PINHOLES.remove(key);
    }
    taken
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

#[inline(always)]
fn mask() -> ClientMask {
    ClientMask {
        v4: CLIENT_MASK_V4.load(),
        v6: CLIENT_MASK_V6.load(),
    }
}

#[inline(always)]
fn count(tally: Tally) {
    if let Some(count) = TALLIES.get_ptr_mut(u32::from(tally as u16)) {
        // SAFETY: this CPU's own slot of the map.
        unsafe { *count += 1 };
    }
}
