//! IPv4: options, headers that lie, other protocols.

use ftp_ebpf::reason::Reason;

use super::{
    Case, Host, Packet,
    host::CLOSED_PORT,
    packet::{CUSTOMER_TAG, ETHERNET_LEN},
    truncations,
};
use crate::lab::Family;

/// Byte of the frame with version and header length.
const VERSION_IHL: usize = ETHERNET_LEN;
const TOTAL_LEN: usize = ETHERNET_LEN + 2;

pub(super) fn cases() -> Vec<Case> {
    [options(), lies(), protocols()].concat()
}

fn closed() -> Packet {
    Packet::syn(Family::V4, CLOSED_PORT)
}

fn options() -> Vec<Case> {
    let mut cases = Vec::new();
    for words in 1..=10 {
        let mut packet = closed();
        packet.option_words = words;
        let name = format!("IPv4, {words} words of options");
        let frame = packet.frame();
        if words == 10 {
            cases.extend(truncations(&name, &frame, &Host::quiet(), |_| {
                Reason::Truncated
            }));
        }
        cases.push(Case::new(name, frame, Host::quiet(), Reason::Closed));
    }
    // The words that would be the ports without options name an unguarded one.
    let mut packet = closed();
    packet.option_words = 1;
    let mut frame = packet.frame();
    frame[ETHERNET_LEN + 20..ETHERNET_LEN + 24].copy_from_slice(&[0x9c, 0x40, 0, 21]);
    cases.push(Case::new(
        "IPv4, options that look like ports",
        frame,
        Host::quiet(),
        Reason::Closed,
    ));
    cases
}

fn lies() -> Vec<Case> {
    let patched = |at: usize, bytes: &[u8]| {
        let mut frame = closed().frame();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let case = |name: &str, frame: Vec<u8>, expected| {
        Case::new(format!("IPv4, {name}"), frame, Host::quiet(), expected)
    };
    let mut cases = vec![
        case(
            "version 6",
            patched(VERSION_IHL, &[0x65]),
            Reason::Malformed,
        ),
        case(
            "version 0",
            patched(VERSION_IHL, &[0x05]),
            Reason::Malformed,
        ),
        // The packet ends before the header does.
        case(
            "header of 60 bytes in 40",
            patched(VERSION_IHL, &[0x4f]),
            Reason::Truncated,
        ),
        // The kernel drops these; whatever is decided must not open anything.
        case(
            "total length of the header alone",
            patched(TOTAL_LEN, &[0, 20]),
            Reason::Closed,
        ),
        case(
            "total length 0",
            patched(TOTAL_LEN, &[0, 0]),
            Reason::Closed,
        ),
        case(
            "total length beyond the frame",
            patched(TOTAL_LEN, &[0xff, 0xff]),
            Reason::Closed,
        ),
        // "Do not fragment" and the reserved bit are no fragments.
        case(
            "do not fragment",
            patched(ETHERNET_LEN + 6, &[0x40, 0]),
            Reason::Closed,
        ),
        case(
            "reserved bit",
            patched(ETHERNET_LEN + 6, &[0x80, 0]),
            Reason::Closed,
        ),
    ];
    for ihl in 0..5 {
        let name = format!("header of {} bytes", ihl * 4);
        let frame = patched(VERSION_IHL, &[0x40 + ihl]);
        cases.push(case(&name, frame, Reason::Malformed));
    }
    let mut padded = closed();
    padded.trailer = vec![0; 6];
    cases.push(case("padded", padded.frame(), Reason::Closed));
    cases
}

fn protocols() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, protocol) in [
        ("ICMP", 1),
        ("IPIP", 4),
        ("UDP", 17),
        ("IPv6 in IPv4", 41),
        ("GRE", 47),
        ("ESP", 50),
        ("AH", 51),
        ("SCTP", 132),
        ("UDP-Lite", 136),
        ("255", 255),
    ] {
        for tags in [&[][..], &[CUSTOMER_TAG]] {
            let mut packet = closed();
            packet.protocol = protocol;
            packet.tags = tags.to_vec();
            cases.push(Case::new(
                format!("IPv4 {what} to a guarded port number, VLAN tags {tags:04x?}"),
                packet.frame(),
                Host::quiet(),
                Reason::NotTcp,
            ));
        }
    }
    let mut udp = closed();
    udp.protocol = 17;
    let name = "IPv4 UDP to a guarded port number";
    let header_end = ETHERNET_LEN + 20;
    cases.extend(truncations(name, &udp.frame(), &Host::quiet(), |len| {
        if len < header_end {
            Reason::Truncated
        } else {
            Reason::NotTcp
        }
    }));
    cases
}
