//! Fragments: the first decides for all, so all that decides must be in it.

use ftp_ebpf::reason::Reason;

use super::{
    Case, Extension, Fragment, Host, Packet,
    host::{CLOSED_PORT, HOLE_PORT, Hole},
};
use crate::{frame::Flags, lab::Family};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in Family::BOTH {
        cases.extend(first(family));
        cases.extend(later(family));
    }
    cases.extend(hidden());
    cases
}

fn fragment(family: Family, port: u16, which: Fragment) -> Packet {
    let mut packet = Packet::syn(family, port);
    match family {
        Family::V4 => packet.fragment = Some(which),
        Family::V6 => packet.extensions = vec![Extension::Fragment(which)],
    }
    packet
}

fn first(family: Family) -> Vec<Case> {
    let case = |name: &str, packet: &Packet, host: Host, expected| {
        Case::new(
            format!("{family:?} first fragment, {name}"),
            packet.frame(),
            host,
            expected,
        )
    };
    let closed = |len| {
        let mut packet = fragment(family, CLOSED_PORT, Fragment::FIRST);
        packet.transport_len = Some(len);
        packet
    };
    let mut cases = vec![case(
        "whole TCP header, closed port",
        &closed(20),
        Host::quiet(),
        Reason::Closed,
    )];
    let open = fragment(family, HOLE_PORT, Fragment::FIRST);
    let host = Host::with(Hole::of_client(family));
    let source = open.from.port();
    cases.push(case("whole TCP header, pinhole", &open, host, Reason::PinholeSyn).taking(source));

    for len in 0..20 {
        let mut packet = closed(len);
        let name = format!("{len} bytes of TCP header");
        cases.push(case(&name, &packet, Host::quiet(), Reason::TinyFragment));
        // The rest of the header is in the frame, but not in the packet: the kernel will take it
        // from another fragment. (RFC 1858, section 3.)
        let whole = closed(20);
        let rest = whole.frame();
        packet.trailer = rest[rest.len() - (20 - len)..].to_vec();
        let name = format!("{len} bytes of TCP header and the rest behind the packet");
        // The ports themselves may be what is behind it.
        cases.push(case(&name, &packet, Host::quiet(), Reason::TinyFragment));
    }

    // Header length 60, of which 20 are in the packet.
    let mut long = closed(20);
    let name = "TCP options cut off";
    let frame_len = long.frame().len();
    let mut cut = case(name, &long, Host::quiet(), Reason::TinyFragment);
    cut.frame[frame_len - 8] = 0xf0;
    cases.push(cut);
    long.transport_len = None;
    long.payload = vec![1; 40];
    let mut whole = case("TCP options whole", &long, Host::quiet(), Reason::Closed);
    whole.frame[frame_len - 8] = 0xf0;
    cases.push(whole);

    // None of our ports: no reason to look further, however short.
    let mut other = fragment(family, 21, Fragment::FIRST);
    other.transport_len = Some(8);
    let name = "8 bytes of TCP header, control port";
    cases.push(case(name, &other, Host::quiet(), Reason::NotGuarded));
    cases
}

fn later(family: Family) -> Vec<Case> {
    let mut cases = Vec::new();
    // Offset 1 would overwrite the flags of a header in the first (RFC 1858, section 4); the
    // kernel discards fragments that overlap.
    for offset in [1, 2, 3, 100, 0x1fff] {
        for more in [false, true] {
            let packet = fragment(family, CLOSED_PORT, Fragment { offset, more });
            cases.push(Case::new(
                format!("{family:?} fragment at {offset}, more: {more}"),
                packet.frame(),
                Host::quiet(),
                Reason::LaterFragment,
            ));
        }
    }
    let udp = Packet {
        protocol: 17,
        ..fragment(family, CLOSED_PORT, Fragment::FIRST)
    };
    cases.push(Case::new(
        format!("{family:?} first fragment of UDP"),
        udp.frame(),
        Host::quiet(),
        Reason::NotTcp,
    ));
    cases
}

/// IPv6 first fragments whose header chain ends in another fragment (RFC 7112 forbids them), with
/// bytes behind the packet that pretend to be the rest of the chain.
fn hidden() -> Vec<Case> {
    let elsewhere = Packet::syn(Family::V6, 21).frame();
    let innocent = elsewhere[elsewhere.len() - 20..].to_vec();
    let first = Extension::Fragment(Fragment::FIRST);
    let case = |name: &str, packet: &Packet, expected| {
        Case::new(
            format!("IPv6 first fragment, {name}"),
            packet.frame(),
            Host::quiet(),
            expected,
        )
    };
    // The chain is whole, the TCP header is elsewhere.
    let mut no_tcp = Packet::syn(Family::V6, CLOSED_PORT)
        .extensions(&[first, Extension::DESTINATION])
        .flags(Flags::SYN);
    no_tcp.transport_len = Some(0);
    let bare = case("no TCP header", &no_tcp, Reason::TinyFragment);
    no_tcp.trailer = innocent.clone();
    let posing = case(
        "an innocent TCP header behind the packet",
        &no_tcp,
        Reason::TinyFragment,
    );
    // The packet ends where the options header should begin; what follows in the frame says
    // that it is followed by UDP.
    let mut no_options = Packet::syn(Family::V6, CLOSED_PORT).extensions(&[first]);
    no_options.protocol = 60;
    no_options.transport_len = Some(0);
    no_options.trailer = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &innocent].concat();
    let chain = case(
        "the rest of the chain behind the packet",
        &no_options,
        Reason::TinyFragment,
    );
    vec![bare, posing, chain]
}
