//! Segments that are no SYN: of connections, of handshakes by SYN cookie, of nothing.

use std::net::SocketAddr;

use ftp_ebpf::reason::Reason;

use super::{
    Case, Host, Packet,
    host::{self, CLIENT_PORT, CLOSED_PORT, Hole, LISTENING_PORT, Life, Taken},
};
use crate::{frame::Flags, lab::Family};

pub(super) fn cases() -> Vec<Case> {
    Family::BOTH
        .into_iter()
        .flat_map(|family| [connections(family), cookies(family)].concat())
        .collect()
}

fn case(family: Family, name: &str, packet: &Packet, host: Host, expected: Reason) -> Case {
    let name = format!("{family:?} segment, {name}");
    Case::new(name, packet.frame(), host, expected)
}

fn connections(family: Family) -> Vec<Case> {
    let (peer, own) = host::connection(family);
    let of = |from: SocketAddr, port| {
        Packet::syn(family, port)
            .flags(Flags::ACK)
            .from(from.ip(), from.port())
    };
    let next_port = SocketAddr::new(peer.ip(), peer.port() + 1);
    let neighbour = SocketAddr::new(host::neighbour(family), peer.port());
    let forgotten = SocketAddr::new(host::client(family), CLIENT_PORT);
    let closed = SocketAddr::new(own.ip(), CLOSED_PORT);
    let remembering = |client, server| Host {
        remembered: Some((client, server)),
        ..Host::quiet()
    };
    // Another connection that has the same place in the cache: same ports, other client.
    let collides = remembering(neighbour, own);
    let quiet = Host::quiet;
    vec![
        case(
            family,
            "a connection",
            &of(peer, own.port()),
            quiet(),
            Reason::Established,
        ),
        case(
            family,
            "a connection in the cache",
            &of(peer, own.port()),
            remembering(peer, own),
            Reason::EstablishedCached,
        ),
        case(
            family,
            "a connection whose place in the cache is another's",
            &of(peer, own.port()),
            collides,
            Reason::Established,
        ),
        case(
            family,
            "another source port",
            &of(next_port, own.port()),
            quiet(),
            Reason::Stray,
        ),
        case(
            family,
            "another client",
            &of(neighbour, own.port()),
            quiet(),
            Reason::Stray,
        ),
        case(
            family,
            "another client, same place in the cache",
            &of(neighbour, own.port()),
            remembering(peer, own),
            Reason::Stray,
        ),
        // Cached, but gone: the kernel answers with RST, nothing is reached.
        case(
            family,
            "a connection that only the cache remembers",
            &of(forgotten, CLOSED_PORT),
            remembering(forgotten, closed),
            Reason::EstablishedCached,
        ),
    ]
}

/// The last step of a handshake by SYN cookie finds the listener only.
fn cookies(family: Family) -> Vec<Case> {
    let ack = Packet::syn(family, LISTENING_PORT).flags(Flags::ACK);
    let hole = |taken, life| {
        Host::with(Hole {
            port: LISTENING_PORT,
            taken,
            life,
            ..Hole::of_client(family)
        })
    };
    let of_neighbour = Host::with(Hole {
        port: LISTENING_PORT,
        client: host::neighbour(family),
        taken: Taken::Fresh(CLIENT_PORT),
        ..Hole::of_client(family)
    });
    let lenient = Host {
        passes_stray: true,
        ..Host::quiet()
    };
    let mine = Taken::Fresh(CLIENT_PORT);
    let table = [
        ("no pinhole", Host::quiet(), Reason::Stray),
        ("no pinhole, strays pass", lenient, Reason::StrayPassed),
        ("its pinhole", hole(mine, Life::Open), Reason::CookieAck),
        // The SYN was in time.
        (
            "its pinhole, deadline just passed",
            hole(mine, Life::Over),
            Reason::CookieAck,
        ),
        // Without a SYN there was no cookie: an ACK never takes a pinhole.
        (
            "a pinhole that nobody took",
            hole(Taken::No, Life::Open),
            Reason::Stray,
        ),
        (
            "a pinhole that another source port took",
            hole(Taken::Fresh(CLIENT_PORT + 1), Life::Open),
            Reason::Stray,
        ),
        ("another client's pinhole", of_neighbour, Reason::Stray),
    ];
    table
        .into_iter()
        .map(|(name, host, expected)| {
            case(family, &format!("listener, {name}"), &ack, host, expected)
        })
        .collect()
}
