//! Hosts that forward: what is addressed to somebody else is none of their business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ftp_ebpf::reason::Reason;

use super::{
    Case, Host, Packet,
    host::{self, CLOSED_PORT, HOLE_PORT, Hole},
};
use crate::{frame::Flags, lab::Family};

pub(super) fn cases() -> Vec<Case> {
    Family::BOTH.into_iter().flat_map(of_family).collect()
}

fn of_family(family: Family) -> Vec<Case> {
    let forwarding = Host {
        forwards: true,
        ..Host::quiet()
    };
    let masquerading = Host {
        forwards: true,
        passes_stray: true,
        ..Host::quiet()
    };
    let with_hole = Host {
        forwards: true,
        ..Host::with(Hole::of_client(family))
    };
    let loopback: IpAddr = match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    };
    let guest = host::guest(family);
    let syn = Packet::syn(family, CLOSED_PORT);
    let ack = syn.clone().flags(Flags::ACK);
    let null = syn.clone().flags(Flags::NULL);
    let answer = syn.clone().flags(Flags::SYN | Flags::ACK);
    let through = Packet::syn(family, HOLE_PORT);
    let source = through.from.port();
    let case = |name: &str, packet: &Packet, host: &Host, expected| {
        let name = format!("{family:?} forwarding, {name}");
        Case::new(name, packet.frame(), host.clone(), expected)
    };
    vec![
        case(
            "SYN for a guest",
            &syn.clone().to(guest),
            &forwarding,
            Reason::NotLocal,
        ),
        case(
            "ACK for a guest",
            &ack.clone().to(guest),
            &forwarding,
            Reason::NotLocal,
        ),
        // It is the guest's to judge.
        case(
            "NULL for a guest",
            &null.clone().to(guest),
            &forwarding,
            Reason::NotLocal,
        ),
        case("SYN for the host", &syn, &forwarding, Reason::Closed),
        case("ACK for the host", &ack, &forwarding, Reason::Stray),
        case(
            "SYN for the loopback address, which no list holds",
            &syn.clone().to(loopback),
            &forwarding,
            Reason::Closed,
        ),
        case(
            "SYN for the host, pinhole",
            &through,
            &with_hole,
            Reason::PinholeSyn,
        )
        .taking(source),
        case(
            "SYN for a guest at the pinhole's port",
            &through.clone().to(guest),
            &with_hole,
            Reason::NotLocal,
        ),
        case(
            "a reply to a masqueraded connection",
            &answer,
            &masquerading,
            Reason::StrayPassed,
        ),
        case(
            "a segment of a masqueraded connection",
            &ack,
            &masquerading,
            Reason::StrayPassed,
        ),
        case("SYN where strays pass", &syn, &masquerading, Reason::Closed),
        case(
            "NULL where strays pass",
            &null,
            &masquerading,
            Reason::Probe,
        ),
        // Without forwarding nobody asks for the address; the kernel drops what is not its own.
        case(
            "not at all, SYN for another address",
            &syn.clone().to(guest),
            &Host::quiet(),
            Reason::Closed,
        ),
    ]
}
