//! SYNs and pinholes: whose, how long, how often.

use ftp_ebpf::reason::Reason;

use super::{
    Case, Host, Packet,
    host::{self, CLOSED_PORT, HOLE_PORT, Hole, Life, Taken},
};
use crate::lab::Family;

/// The client's source port, and another one.
const PORT: u16 = 40000;
const OTHER_PORT: u16 = 40001;

pub(super) fn cases() -> Vec<Case> {
    Family::BOTH
        .into_iter()
        .flat_map(|family| [whose(family), when(family), prefixes(family)].concat())
        .collect()
}

fn syn(family: Family) -> Packet {
    Packet::syn(family, HOLE_PORT).from(host::client(family), PORT)
}

fn whose(family: Family) -> Vec<Case> {
    let own = Hole::of_client(family);
    let case = |name: &str, packet: Packet, host: Host, expected| {
        Case::new(
            format!("{family:?} pinhole, {name}"),
            packet.frame(),
            host,
            expected,
        )
    };
    let neighbour = syn(family).from(host::neighbour(family), PORT);
    let elsewhere = Hole {
        server: host::guest(family),
        ..own
    };
    let of_neighbour = Hole {
        client: host::neighbour(family),
        ..own
    };
    let next_port = Hole {
        port: HOLE_PORT + 1,
        ..own
    };
    let other_family = Hole::of_client(match family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    });
    let lingering = Host {
        lingering_bit: Some(HOLE_PORT),
        ..Host::quiet()
    };
    let crowd = |first: Hole| Host {
        holes: vec![first, of_neighbour, next_port, other_family],
        ..Host::quiet()
    };
    vec![
        case(
            "its client",
            syn(family),
            Host::with(own),
            Reason::PinholeSyn,
        )
        .taking(PORT),
        case(
            "another client",
            neighbour,
            Host::with(own),
            Reason::WrongClient,
        ),
        case(
            "another client's",
            syn(family),
            Host::with(of_neighbour),
            Reason::WrongClient,
        ),
        case(
            "its client among others",
            syn(family),
            crowd(own),
            Reason::PinholeSyn,
        )
        .taking(PORT),
        case(
            "another server address",
            syn(family),
            Host::with(elsewhere),
            Reason::WrongClient,
        ),
        case(
            "the next port",
            syn(family),
            Host::with(next_port),
            Reason::Closed,
        ),
        case(
            "the other family's",
            syn(family),
            Host::with(other_family),
            Reason::WrongClient,
        ),
        case(
            "gone, but its port's bit is not",
            syn(family),
            lingering,
            Reason::WrongClient,
        ),
        // The stray policy is for segments that claim to belong to a connection: never for a SYN.
        case(
            "another client, strays pass",
            syn(family).from(host::neighbour(family), PORT),
            Host {
                passes_stray: true,
                ..Host::with(own)
            },
            Reason::WrongClient,
        ),
        case(
            "its client, to a closed port",
            Packet::syn(family, CLOSED_PORT),
            Host::with(own),
            Reason::Closed,
        ),
    ]
}

fn when(family: Family) -> Vec<Case> {
    use Life::{Open, Over};
    use Taken::{Fresh, No, Stale};
    // (deadline, who has it, what a SYN from PORT meets, whether it takes the pinhole)
    let table = [
        (Open, No, Reason::PinholeSyn, true),
        (Over, No, Reason::Expired, false),
        // Its own retransmission; also when the claim is old, or the deadline has passed since.
        (Open, Fresh(PORT), Reason::PinholeSyn, false),
        (Open, Stale(PORT), Reason::PinholeSyn, false),
        (Over, Fresh(PORT), Reason::PinholeSyn, false),
        (Over, Stale(PORT), Reason::PinholeSyn, false),
        // One shot: another source port must wait until the claim has proved empty.
        (Open, Fresh(OTHER_PORT), Reason::Claimed, false),
        (Open, Stale(OTHER_PORT), Reason::PinholeSyn, true),
        (Over, Fresh(OTHER_PORT), Reason::Expired, false),
        (Over, Stale(OTHER_PORT), Reason::Expired, false),
        // The same port number, bytes swapped.
        (Open, Fresh(PORT.swap_bytes()), Reason::Claimed, false),
    ];
    table
        .into_iter()
        .map(|(life, taken, expected, takes)| {
            let hole = Hole {
                life,
                taken,
                ..Hole::of_client(family)
            };
            let name = format!("{family:?} pinhole, {life:?}, taken: {taken:?}");
            let case = Case::new(name, syn(family).frame(), Host::with(hole), expected);
            if takes { case.taking(PORT) } else { case }
        })
        .collect()
}

fn prefixes(family: Family) -> Vec<Case> {
    let own = Hole::of_client(family);
    let (wide, narrow) = match family {
        Family::V4 => ((24, 128), (31, 128)),
        Family::V6 => ((32, 64), (32, 127)),
    };
    let case = |name: &str, prefixes, from, expected| {
        let host = Host {
            prefixes,
            ..Host::with(own)
        };
        let name = format!("{family:?} pinhole for a prefix, {name}");
        let frame = syn(family).from(from, PORT).frame();
        let case = Case::new(name, frame, host, expected);
        match expected {
            Reason::PinholeSyn => case.taking(PORT),
            _ => case,
        }
    };
    let neighbour = host::neighbour(family);
    let stranger = host::stranger(family);
    vec![
        case("its client", wide, host::client(family), Reason::PinholeSyn),
        case("a neighbour", wide, neighbour, Reason::PinholeSyn),
        case("a stranger", wide, stranger, Reason::WrongClient),
        // …2 and …3 share all bits but the last; …1, the host itself, does not.
        case("the other of two", narrow, neighbour, Reason::PinholeSyn),
        case(
            "none of two",
            narrow,
            host::server(family),
            Reason::WrongClient,
        ),
        case("anybody", (0, 0), stranger, Reason::PinholeSyn),
    ]
}
