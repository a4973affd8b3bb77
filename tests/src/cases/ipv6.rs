//! IPv6: extension headers of each kind and in chains, addresses in disguise, other protocols.

use std::net::{IpAddr, Ipv4Addr};

use ftp_ebpf::reason::Reason;

use super::{
    Case, Extension, Fragment, Host, Packet,
    host::{self, CLOSED_PORT, Hole},
    packet::ETHERNET_LEN,
    truncations,
};
use crate::lab::Family;

/// Extension headers that are walked.
const WALKED: usize = 8;

pub(super) fn cases() -> Vec<Case> {
    [extensions(), lies(), disguises(), protocols()].concat()
}

fn closed() -> Packet {
    Packet::syn(Family::V6, CLOSED_PORT)
}

fn case(name: impl std::fmt::Display, frame: Vec<u8>, expected: Reason) -> Case {
    Case::new(format!("IPv6, {name}"), frame, Host::quiet(), expected)
}

fn extensions() -> Vec<Case> {
    let every_kind = [
        Extension::HOP_BY_HOP,
        Extension::DESTINATION,
        Extension::ROUTING,
        Extension::Fragment(Fragment::ATOMIC),
        Extension::Authentication(4),
    ];
    let mut cases = Vec::new();
    for extension in every_kind {
        let packet = closed().extensions(&[extension]);
        cases.push(case(
            format!("{extension:?}"),
            packet.frame(),
            Reason::Closed,
        ));
        for (count, expected) in [
            (WALKED, Reason::Closed),
            (WALKED + 1, Reason::TooManyHeaders),
            (WALKED + 20, Reason::TooManyHeaders),
        ] {
            let packet = closed().extensions(&vec![extension; count]);
            cases.push(case(
                format!("{count} times {extension:?}"),
                packet.frame(),
                expected,
            ));
        }
    }
    let frame = closed().extensions(&every_kind).frame();
    cases.extend(truncations(
        "IPv6, a header of every kind",
        &frame,
        &Host::quiet(),
        |_| Reason::Truncated,
    ));
    cases.push(case("a header of every kind", frame, Reason::Closed));
    // Longest and shortest of each length field.
    for (extension, expected) in [
        (Extension::Units(0, 31), Reason::Closed),
        (Extension::Units(60, 200), Reason::Closed),
        // More than is walked: 2 KiB.
        (Extension::Units(60, 255), Reason::TooManyHeaders),
        (Extension::Authentication(0), Reason::Closed),
        (Extension::Authentication(255), Reason::Closed),
    ] {
        let packet = closed().extensions(&[extension]);
        cases.push(case(format!("{extension:?}"), packet.frame(), expected));
    }
    cases
}

fn lies() -> Vec<Case> {
    let patched = |packet: Packet, at: usize, byte: u8| {
        let mut frame = packet.frame();
        frame[ETHERNET_LEN + at] = byte;
        frame
    };
    let with_options = || closed().extensions(&[Extension::DESTINATION]);
    let mut no_payload = closed().frame();
    no_payload[ETHERNET_LEN + 4..ETHERNET_LEN + 6].copy_from_slice(&[0, 0]);
    vec![
        case("version 4", patched(closed(), 0, 0x45), Reason::Malformed),
        case("version 15", patched(closed(), 0, 0xf0), Reason::Malformed),
        // A jumbogram (RFC 2675) or a lie: the kernel decides, after us.
        case("payload length 0", no_payload, Reason::Closed),
        case(
            "an extension header beyond the end",
            patched(with_options(), 41, 200),
            Reason::Truncated,
        ),
        // What the header's length leads to is what the kernel takes for the ports: here the TCP
        // header's checksum and urgent pointer, so port 0.
        case(
            "an extension header that swallows the ports",
            patched(with_options(), 41, 2),
            Reason::NotGuarded,
        ),
    ]
}

fn disguises() -> Vec<Case> {
    let mapped = |v4: Ipv4Addr| IpAddr::V6(v4.to_ipv6_mapped());
    let (IpAddr::V4(client), IpAddr::V4(server)) =
        (host::client(Family::V4), host::server(Family::V4))
    else {
        return Vec::new();
    };
    // The IPv4 client has a pinhole: a mapped address on the wire must not pass for it.
    let hole = Hole::of_client(Family::V4);
    let own = Packet::syn(Family::V6, hole.port);
    let both = own.clone().from(mapped(client), 40000).to(mapped(server));
    let source = own.clone().from(mapped(client), 40000);
    let destination = own.to(mapped(server));
    [
        ("both addresses", both),
        ("source", source),
        ("destination", destination),
    ]
    .map(|(which, packet)| {
        Case::new(
            format!("IPv6, {which} mapped from IPv4"),
            packet.frame(),
            Host::with(hole),
            Reason::Malformed,
        )
    })
    .into()
}

fn protocols() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, protocol) in [
        ("IPv4 in IPv6", 4),
        ("UDP", 17),
        ("IPv6 in IPv6", 41),
        ("GRE", 47),
        ("ESP", 50),
        ("ICMPv6", 58),
        ("no next header", 59),
        ("SCTP", 132),
        ("mobility", 135),
        ("HIP", 139),
        ("Shim6", 140),
    ] {
        for extensions in [&[][..], &[Extension::HOP_BY_HOP]] {
            let mut packet = closed().extensions(extensions);
            packet.protocol = protocol;
            cases.push(case(
                format!("{what} after {} extension headers", extensions.len()),
                packet.frame(),
                Reason::NotTcp,
            ));
        }
    }
    cases
}
