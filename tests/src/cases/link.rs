//! Below IP: VLAN tags, and what is not IP at all.

use ftp_ebpf::reason::Reason;

use super::{
    Case, Host, Packet,
    host::{CLOSED_PORT, EXCLUDED_PORT, GUARDED, HOLE_PORT, Hole},
    packet::{CUSTOMER_TAG, ETHERNET_LEN, PROVIDER_TAG, ethernet},
    truncations,
};
use crate::lab::Family;

/// The control port: none of ours.
const CONTROL_PORT: u16 = 21;

pub(super) fn cases() -> Vec<Case> {
    [tags(), ports(), not_ip()].concat()
}

fn tags() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in Family::BOTH {
        for (tags, expected) in [
            (&[][..], Reason::Closed),
            (&[CUSTOMER_TAG], Reason::Closed),
            (&[PROVIDER_TAG], Reason::Closed),
            (&[PROVIDER_TAG, CUSTOMER_TAG], Reason::Closed),
            (&[CUSTOMER_TAG, CUSTOMER_TAG], Reason::Closed),
            (
                &[PROVIDER_TAG, CUSTOMER_TAG, CUSTOMER_TAG],
                Reason::TooManyHeaders,
            ),
        ] {
            let mut packet = Packet::syn(family, CLOSED_PORT);
            packet.tags = tags.to_vec();
            let name = format!("{family:?} SYN to a closed port, VLAN tags {tags:04x?}");
            let frame = packet.frame();
            let host = Host::quiet();
            if expected == Reason::Closed {
                cases.extend(truncations(&name, &frame, &host, |_| Reason::Truncated));
            }
            cases.push(Case::new(name, frame, host, expected));
        }
    }
    cases
}

fn ports() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in Family::BOTH {
        for (port, expected) in [
            (CONTROL_PORT, Reason::NotGuarded),
            (0, Reason::NotGuarded),
            (GUARDED.start() - 1, Reason::NotGuarded),
            (*GUARDED.start(), Reason::Closed),
            (*GUARDED.end(), Reason::Closed),
            (GUARDED.end() + 1, Reason::NotGuarded),
            (EXCLUDED_PORT - 1, Reason::Closed),
            (EXCLUDED_PORT, Reason::NotGuarded),
            (EXCLUDED_PORT + 1, Reason::Closed),
            // As if a byte order were confused: the guarded port 30005, bytes swapped.
            (CLOSED_PORT.swap_bytes(), Reason::NotGuarded),
            (u16::MAX, Reason::NotGuarded),
        ] {
            cases.push(Case::new(
                format!("{family:?} SYN to port {port}"),
                Packet::syn(family, port).frame(),
                Host::quiet(),
                expected,
            ));
        }
        // Not ours as soon as the port can be read, and dropped before that.
        let frame = Packet::syn(family, CONTROL_PORT).frame();
        let ports_end = frame.len() - 16;
        cases.extend(truncations(
            &format!("{family:?} SYN to the control port"),
            &frame,
            &Host::quiet(),
            |len| {
                if len < ports_end {
                    Reason::Truncated
                } else {
                    Reason::NotGuarded
                }
            },
        ));
        // 0 stands for "nobody" in a claim: it must not take a pinhole, not even its own client's.
        for (port, expected) in [
            (CLOSED_PORT, Reason::Closed),
            (HOLE_PORT, Reason::Malformed),
        ] {
            let syn = Packet::syn(family, port);
            let client = syn.from.ip();
            cases.push(Case::new(
                format!("{family:?} SYN from source port 0 to port {port}"),
                syn.from(client, 0).frame(),
                Host::with(Hole::of_client(family)),
                expected,
            ));
        }
    }
    cases
}

fn not_ip() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, ethertype) in [
        ("ARP", 0x0806),
        ("LLDP", 0x88cc),
        ("EAPOL", 0x888e),
        ("802.3 by length", 0x0100),
        ("0x9100, no tag to Linux", 0x9100),
    ] {
        for tags in [&[][..], &[CUSTOMER_TAG]] {
            let mut frame = ethernet(tags, ethertype);
            // The inside looks like an IPv4 SYN to a closed port: its bytes must not matter.
            frame.extend(&Packet::syn(Family::V4, CLOSED_PORT).frame()[ETHERNET_LEN..]);
            cases.push(Case::new(
                format!("{what}, VLAN tags {tags:04x?}"),
                frame,
                Host::quiet(),
                Reason::NotIp,
            ));
        }
    }
    cases
}
