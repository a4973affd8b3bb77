//! Every combination of TCP flags, against a closed port, a waiting pinhole, a connection, and a
//! host that passes what belongs to no connection.

use ftp_ebpf::reason::Reason;

use super::{
    Case, Host, Packet,
    host::{self, CLOSED_PORT, HOLE_PORT, Hole},
    packet::ETHERNET_LEN,
};
use crate::{frame::Flags, lab::Family};

/// What the flags make of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// It asks for a connection.
    Asks,
    /// It belongs to a connection, or says so.
    Belongs,
    /// No TCP sends it.
    Probe,
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in Family::BOTH {
        for (name, bits, meaning) in named() {
            cases.extend(against_every_host(family, name, Flags(bits), meaning));
        }
        for bits in 0..=u8::MAX {
            let name = format!("{bits:#04x}");
            cases.extend(against_every_host(family, &name, Flags(bits), rule(bits)));
        }
        cases.extend(header_lengths(family));
    }
    cases
}

/// The ones with a name, told one by one.
fn named() -> [(&'static str, u8, Meaning); 22] {
    use Meaning::{Asks, Belongs, Probe};
    [
        ("NULL", 0, Probe),
        ("FIN", 0x01, Probe),
        ("SYN", 0x02, Asks),
        ("SYN+FIN", 0x03, Probe),
        ("RST", 0x04, Belongs),
        ("FIN+RST", 0x05, Belongs),
        ("SYN+RST", 0x06, Probe),
        ("PSH", 0x08, Probe),
        ("SYN+PSH", 0x0a, Asks),
        ("ACK", 0x10, Belongs),
        ("FIN+ACK", 0x11, Belongs),
        ("SYN+ACK", 0x12, Belongs),
        ("RST+ACK", 0x14, Belongs),
        ("PSH+ACK", 0x18, Belongs),
        ("FIN+PSH+ACK", 0x19, Belongs),
        ("URG", 0x20, Probe),
        ("SYN+URG", 0x22, Asks),
        ("XMAS", 0x29, Probe),
        ("XMAS of nmap with all six", 0x3f, Belongs),
        // RFC 3168, section 6.1.1: how a client offers congestion notification.
        ("SYN+ECE+CWR", 0xc2, Asks),
        ("SYN+ACK+ECE", 0x52, Belongs),
        ("ECE+CWR", 0xc0, Probe),
    ]
}

/// RFC 9293, section 3.10.7: every segment of a connection but the first and a reset has ACK.
fn rule(bits: u8) -> Meaning {
    let (fin, syn, rst, ack) = (bits & 1, bits & 2, bits & 4, bits & 16);
    if ack != 0 {
        Meaning::Belongs
    } else if syn == 0 {
        if rst != 0 {
            Meaning::Belongs
        } else {
            Meaning::Probe
        }
    } else if fin | rst != 0 {
        Meaning::Probe
    } else {
        Meaning::Asks
    }
}

fn against_every_host(family: Family, name: &str, flags: Flags, meaning: Meaning) -> Vec<Case> {
    let hole = Host::with(Hole::of_client(family));
    let lenient = Host {
        passes_stray: true,
        ..Host::quiet()
    };
    let to = |port| Packet::syn(family, port).flags(flags);
    let (peer, own) = host::connection(family);
    let connected = to(own.port()).from(peer.ip(), peer.port());
    let pick = |asks, belongs| match meaning {
        Meaning::Asks => asks,
        Meaning::Belongs => belongs,
        Meaning::Probe => Reason::Probe,
    };
    let case = |what: &str, packet: &Packet, host, expected| {
        let name = format!("{family:?} flags {name}, {what}");
        Case::new(name, packet.frame(), host, expected)
    };
    let waiting = to(HOLE_PORT);
    let mut through = case(
        "waiting pinhole",
        &waiting,
        hole,
        pick(Reason::PinholeSyn, Reason::Stray),
    );
    if meaning == Meaning::Asks {
        through = through.taking(waiting.from.port());
    }
    vec![
        case(
            "closed port",
            &to(CLOSED_PORT),
            Host::quiet(),
            pick(Reason::Closed, Reason::Stray),
        ),
        case(
            "closed port, strays pass",
            &to(CLOSED_PORT),
            lenient,
            pick(Reason::Closed, Reason::StrayPassed),
        ),
        through,
        // A SYN is never part of a connection, not even of one with the same two ends.
        case(
            "connection",
            &connected,
            Host::quiet(),
            pick(Reason::Closed, Reason::Established),
        ),
    ]
}

/// The header's own length field (RFC 9293, section 3.1), for a SYN that would be admitted.
fn header_lengths(family: Family) -> Vec<Case> {
    let offset_at = ETHERNET_LEN
        + 12
        + match family {
            Family::V4 => 20,
            Family::V6 => 40,
        };
    (0..16_u8)
        .map(|words| {
            let packet = Packet {
                payload: vec![1; 40],
                ..Packet::syn(family, HOLE_PORT)
            };
            let mut frame = packet.frame();
            frame[offset_at] = words << 4;
            let name = format!("{family:?} TCP header of {words} words");
            let host = Host::with(Hole::of_client(family));
            if words < 5 {
                Case::new(name, frame, host, Reason::Malformed)
            } else {
                Case::new(name, frame, host, Reason::PinholeSyn).taking(packet.from.port())
            }
        })
        .collect()
}
