//! Control bits, and that no bytes are too wild to read.

use proptest::prelude::*;

use super::{headers::ETHERNET_LEN, *};

#[test]
fn every_combination_of_control_bits_has_a_kind() {
    for flags in 0..=u8::MAX {
        let (fin, syn, rst, ack) = (flags & 1, flags & 2, flags & 4, flags & 16);
        let expected = if syn != 0 && ack == 0 {
            if fin == 0 && rst == 0 {
                Kind::Syn
            } else {
                Kind::Probe
            }
        } else if ack != 0 || rst != 0 {
            Kind::Segment
        } else {
            Kind::Probe
        };
        assert_eq!(Kind::of(flags), expected, "{flags:#04x}");
    }
}

proptest! {
    /// Whatever the bytes, reading them ends, and never reads past them.
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let frame = bytes.as_slice();
        for link in [LinkLayer::Ethernet, LinkLayer::None] {
            if let Ok(segment) = Segment::locate(&frame, link) {
                prop_assert!(segment.transport_at + 4 <= bytes.len());
                let _ = (segment.tuple(&frame), segment.kind(&frame));
            }
        }
    }

    /// As above, but past the Ethernet header more often than chance would have it.
    #[test]
    fn any_ip_bytes_are_read_without_panic(
        v6 in any::<bool>(),
        header in prop::sample::select(vec![0_u8, 6, 43, 44, 51, 60]),
        mut bytes in proptest::collection::vec(any::<u8>(), 54..256),
    ) {
        let (ethertype, version) = if v6 { (0x86dd_u16, 0x60) } else { (0x0800, 0x45) };
        bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
        bytes[14] = version;
        bytes[if v6 { 20 } else { 23 }] = header;
        let frame = bytes.as_slice();
        let located = Segment::locate(&frame, LinkLayer::Ethernet);
        // The same packet without its Ethernet header is the same packet.
        let bare = Segment::locate(&&frame[ETHERNET_LEN..], LinkLayer::None);
        prop_assert_eq!(located.as_ref().map(Segment::server_port).ok(), bare.as_ref().map(Segment::server_port).ok());
        if let Ok(segment) = located {
            prop_assert!(segment.transport_at + 4 <= bytes.len());
            prop_assert!(segment.tuple(&frame) != Err(Reason::Truncated));
            let _ = segment.kind(&frame);
        }
    }
}
