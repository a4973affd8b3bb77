//! Ethernet frames with TCP inside, built and read. Oddities that a builder refuses to build are
//! made by hand where they are needed.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

/// A hardware address.
pub type Mac = [u8; 6];

/// TCP flags, in the bits of the header's fourteenth byte (RFC 9293, section 3.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No flag at all.
    pub const NULL: Flags = Flags(0);
    /// FIN
    pub const FIN: Flags = Flags(0x01);
    /// SYN
    pub const SYN: Flags = Flags(0x02);
    /// RST
    pub const RST: Flags = Flags(0x04);
    /// PSH
    pub const PSH: Flags = Flags(0x08);
    /// ACK
    pub const ACK: Flags = Flags(0x10);
    /// URG
    pub const URG: Flags = Flags(0x20);

    /// Whether every flag of `other` is set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let names: Vec<&str> = NAMES
            .iter()
            .enumerate()
            .filter(|(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| *name)
            .collect();
        f.write_str(&if names.is_empty() {
            "no flag".to_owned()
        } else {
            names.join("+")
        })
    }
}

/// A TCP segment as the tests care for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Source.
    pub from: SocketAddr,
    /// Destination; the same family as the source.
    pub to: SocketAddr,
    /// Flags.
    pub flags: Flags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number, on the wire whether or not ACK is set.
    pub ack: u32,
}

impl Segment {
    /// A SYN.
    pub fn syn(from: SocketAddr, to: SocketAddr) -> Segment {
        Segment {
            from,
            to,
            flags: Flags::SYN,
            seq: 0x1000,
            ack: 0,
        }
    }

    /// The segment in an Ethernet frame from `source` to `destination`, with right checksums.
    pub fn frame(&self, source: Mac, destination: Mac) -> Result<Vec<u8>> {
        let link = PacketBuilder::ethernet2(source, destination);
        let network = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), 64),
            _ => bail!("{} and {} are of different families", self.from, self.to),
        };
        let mut header =
            etherparse::TcpHeader::new(self.from.port(), self.to.port(), self.seq, 64240);
        header.fin = self.flags.has(Flags::FIN);
        header.syn = self.flags.has(Flags::SYN);
        header.rst = self.flags.has(Flags::RST);
        header.psh = self.flags.has(Flags::PSH);
        header.ack = self.flags.has(Flags::ACK);
        header.urg = self.flags.has(Flags::URG);
        header.acknowledgment_number = self.ack;
        let step = network.tcp_header(header);
        let mut frame = Vec::with_capacity(step.size(0));
        step.write(&mut frame, &[])?;
        Ok(frame)
    }

    /// The TCP segment in `frame`, if there is one.
    pub fn read(frame: &[u8]) -> Option<Segment> {
        let sliced = SlicedPacket::from_ethernet(frame).ok()?;
        let (from, to): (IpAddr, IpAddr) = match sliced.net? {
            NetSlice::Ipv4(v4) => (
                v4.header().source_addr().into(),
                v4.header().destination_addr().into(),
            ),
            NetSlice::Ipv6(v6) => (
                v6.header().source_addr().into(),
                v6.header().destination_addr().into(),
            ),
            NetSlice::Arp(_) => return None,
        };
        let TransportSlice::Tcp(tcp) = sliced.transport? else {
            return None;
        };
        Some(Segment {
            from: SocketAddr::new(from, tcp.source_port()),
            to: SocketAddr::new(to, tcp.destination_port()),
            flags: Flags(*tcp.slice().get(13)?),
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_reads_back_as_built() {
        for (from, to) in [
            ("192.0.2.1:40000", "192.0.2.2:30000"),
            ("[2001:db8::1]:40000", "[2001:db8::2]:30000"),
        ] {
            let segment = Segment {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
                flags: Flags::SYN | Flags::ACK,
                seq: 7,
                ack: 9,
            };
            let frame = segment.frame([2; 6], [4; 6]).unwrap();
            assert_eq!(Segment::read(&frame), Some(segment));
        }
    }

    #[test]
    fn flags_say_their_names() {
        assert_eq!(format!("{:?}", Flags::SYN | Flags::ACK), "SYN+ACK");
        assert_eq!(format!("{:?}", Flags::NULL), "no flag");
    }
}
