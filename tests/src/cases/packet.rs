//! Frames for the cases. Headers are etherparse's, strung together here because the cases want
//! chains that no builder would build.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, TcpHeader,
};

use super::host::{self, CLIENT_PORT};
use crate::{frame::Flags, lab::Family};

/// Length of the Ethernet header.
pub(super) const ETHERNET_LEN: usize = 14;
/// 802.1Q
pub(super) const CUSTOMER_TAG: u16 = 0x8100;
/// 802.1ad
pub(super) const PROVIDER_TAG: u16 = 0x88a8;

/// A TCP packet, and what is odd about it.
#[derive(Clone, Debug)]
pub struct Packet {
    /// VLAN tags, outermost first.
    pub tags: Vec<u16>,
    /// Source.
    pub from: SocketAddr,
    /// Destination.
    pub to: SocketAddr,
    /// TCP flags.
    pub flags: Flags,
    /// 32-bit words of IPv4 options.
    pub option_words: usize,
    /// IPv6 extension headers.
    pub extensions: Vec<Extension>,
    /// IPv4 only; in IPv6 it is an extension header.
    pub fragment: Option<Fragment>,
    /// The transport protocol's number as the network header has it.
    pub protocol: u8,
    /// Bytes behind the TCP header.
    pub payload: Vec<u8>,
    /// Bytes of the TCP header and payload that are in the packet.
    pub transport_len: Option<usize>,
    /// Bytes behind the packet, in the frame: Ethernet's padding, or somebody's trick.
    pub trailer: Vec<u8>,
}

/// An IPv6 extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-hop options, destination options or routing, by number, with so many units of 8
    /// bytes after the first.
    Units(u8, u8),
    /// Authentication, with so many 4-byte words after the second.
    Authentication(u8),
    /// A fragment.
    Fragment(Fragment),
}

impl Extension {
    /// Hop-by-hop options, the shortest.
    pub const HOP_BY_HOP: Extension = Extension::Units(0, 0);
    /// Routing, the shortest.
    pub const ROUTING: Extension = Extension::Units(43, 0);
    /// Destination options, the shortest.
    pub const DESTINATION: Extension = Extension::Units(60, 0);

    fn number(self) -> u8 {
        match self {
            Extension::Units(number, _) => number,
            Extension::Authentication(_) => 51,
            Extension::Fragment(_) => 44,
        }
    }

    fn bytes(self, next: u8) -> Vec<u8> {
        let mut bytes = match self {
            // Options type 1, PadN (RFC 8200, section 4.2), as long as the header.
            Extension::Units(_, units) => {
                let mut bytes = vec![0; 8 * (usize::from(units) + 1)];
                bytes[1] = units;
                bytes[2] = 1;
                bytes[3] = (bytes.len() - 4).min(255) as u8;
                bytes
            }
            Extension::Authentication(words) => {
                let mut bytes = vec![0; 4 * (usize::from(words) + 2)];
                bytes[1] = words;
                bytes
            }
            Extension::Fragment(fragment) => {
                let bits = fragment.offset << 3 | u16::from(fragment.more);
                let [high, low] = bits.to_be_bytes();
                vec![0, 0, high, low, 0, 0, 0, 7]
            }
        };
        bytes[0] = next;
        bytes
    }
}

/// Which part of a packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// In units of 8 bytes.
    pub offset: u16,
    /// More of them follow.
    pub more: bool,
}

impl Fragment {
    /// The first of several.
    pub const FIRST: Fragment = Fragment {
        offset: 0,
        more: true,
    };
    /// The only one (RFC 6946).
    pub const ATOMIC: Fragment = Fragment {
        offset: 0,
        more: false,
    };
}

impl Packet {
    /// A SYN from the client to `port` of the host.
    pub fn syn(family: Family, port: u16) -> Packet {
        Packet {
            tags: Vec::new(),
            from: SocketAddr::new(host::client(family), CLIENT_PORT),
            to: SocketAddr::new(host::server(family), port),
            flags: Flags::SYN,
            option_words: 0,
            extensions: Vec::new(),
            fragment: None,
            protocol: 6,
            payload: Vec::new(),
            transport_len: None,
            trailer: Vec::new(),
        }
    }

    /// The same with other flags.
    pub fn flags(mut self, flags: Flags) -> Packet {
        self.flags = flags;
        self
    }

    /// The same from another source.
    pub fn from(mut self, address: IpAddr, port: u16) -> Packet {
        self.from = SocketAddr::new(address, port);
        self
    }

    /// The same to another address.
    pub fn to(mut self, address: IpAddr) -> Packet {
        self.to.set_ip(address);
        self
    }

    /// The same with IPv6 extension headers.
    pub fn extensions(mut self, extensions: &[Extension]) -> Packet {
        self.extensions = extensions.to_vec();
        self
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let family = Family::of(self.from.ip());
        let own_type = match family {
            Family::V4 => EtherType::IPV4.0,
            Family::V6 => EtherType::IPV6.0,
        };
        let mut frame = ethernet(&self.tags, own_type);
        let mut packet = self.extension_bytes();
        packet.extend(self.transport());
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let len = packet.len() as u16;
                let protocol = IpNumber(self.protocol);
                // Only a payload of 64 KiB or more is refused, and then the frame is a wrong one.
                let header = Ipv4Header::new(len, 64, protocol, from.octets(), to.octets());
                frame.extend(self.v4_header(header.unwrap_or_default()));
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let first = self.extensions.first().map(|first| first.number());
                let header = Ipv6Header {
                    traffic_class: 0,
                    flow_label: Ipv6FlowLabel::ZERO,
                    payload_length: packet.len() as u16,
                    next_header: IpNumber(first.unwrap_or(self.protocol)),
                    hop_limit: 64,
                    source: from.octets(),
                    destination: to.octets(),
                };
                frame.extend(header.to_bytes());
            }
            // Seen by the test that reads every frame back: there is no such packet.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
        frame.extend(packet);
        frame.extend(&self.trailer);
        frame
    }

    fn v4_header(&self, mut header: Ipv4Header) -> Vec<u8> {
        if let Some(fragment) = self.fragment {
            header.more_fragments = fragment.more;
            header.fragment_offset = fragment.offset.try_into().unwrap_or_default();
        }
        header.header_checksum = header.calc_header_checksum();
        let mut bytes = header.to_bytes().to_vec();
        if self.option_words > 0 {
            // No-operation options (RFC 791, section 3.1).
            bytes.extend(vec![1; 4 * self.option_words]);
            bytes[0] = 0x45 + self.option_words as u8;
            let total = header.total_len + 4 * self.option_words as u16;
            bytes[2..4].copy_from_slice(&total.to_be_bytes());
        }
        bytes
    }

    fn extension_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (n, extension) in self.extensions.iter().enumerate() {
            let next = self.extensions.get(n + 1).map(|next| next.number());
            bytes.extend(extension.bytes(next.unwrap_or(self.protocol)));
        }
        bytes
    }

    fn transport(&self) -> Vec<u8> {
        let mut header = TcpHeader::new(self.from.port(), self.to.port(), 0x1000, 64240);
        header.acknowledgment_number = 0x2000;
        let mut bytes = header.to_bytes().to_vec();
        bytes[13] = self.flags.0;
        bytes.extend(&self.payload);
        bytes.truncate(self.transport_len.unwrap_or(usize::MAX));
        bytes
    }
}

/// An Ethernet header with VLAN tags, the last of which announces `inner`.
pub(super) fn ethernet(tags: &[u16], inner: u16) -> Vec<u8> {
    let outermost = tags.first().copied().unwrap_or(inner);
    let header = Ethernet2Header {
        source: [2, 0, 0, 0, 0, 0x0c],
        destination: [2, 0, 0, 0, 0, 0x05],
        ether_type: EtherType(outermost),
    };
    let mut bytes = header.to_bytes().to_vec();
    for n in 0..tags.len() {
        // VLAN 7 + n, then what comes next.
        bytes.extend((7 + n as u16).to_be_bytes());
        let next = tags.get(n + 1).copied().unwrap_or(inner);
        bytes.extend(next.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Segment;

    /// Another library's reader must agree with the frames that are not odd.
    #[test]
    fn frames_read_back_as_built() {
        for family in Family::BOTH {
            let plain = Packet::syn(family, 30005);
            let mut tagged = plain.clone();
            tagged.tags = vec![PROVIDER_TAG, CUSTOMER_TAG];
            tagged.payload = vec![1; 100];
            let mut odd = plain.clone();
            match family {
                Family::V4 => odd.option_words = 10,
                Family::V6 => {
                    odd.extensions = vec![
                        Extension::HOP_BY_HOP,
                        Extension::Units(60, 3),
                        Extension::ROUTING,
                        Extension::Fragment(Fragment::ATOMIC),
                        Extension::Authentication(4),
                        Extension::DESTINATION,
                    ];
                }
            }
            for packet in [plain, tagged, odd] {
                let segment = Segment::read(&packet.frame());
                let segment = segment.unwrap_or_else(|| panic!("cannot read {packet:?}"));
                assert_eq!(
                    (segment.from, segment.to, segment.flags),
                    (packet.from, packet.to, packet.flags)
                );
            }
        }
    }
}
