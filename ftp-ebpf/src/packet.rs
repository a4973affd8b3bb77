//! From a frame to the fields that decide: Ethernet with up to two VLAN tags, or nothing, before
//! the IP header; IPv4 with options, IPv6 with a bounded walk over its extension headers, fragments, TCP. No map is asked here.
//!
//! Total: every frame gives either a TCP segment's place or the [`Reason`] why there is none.
//! What cannot be read and may be TCP is an error that drops; what is surely not TCP passes.

use crate::{
    abi::{Address, Tuple},
    reason::Reason,
};

/// A type that may be read out of a frame: any bytes are a value of it.
///
/// # Safety
///
/// `repr(C)` or an integer, without padding, valid for every bit pattern.
pub unsafe trait Raw: Copy {}

// SAFETY: an integer.
unsafe impl Raw for u16 {}
// SAFETY: integers without padding.
unsafe impl Raw for [u8; 2] {}

/// What an interface's packets begin with.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLayer {
    /// An Ethernet header; loopback's do as well.
    Ethernet = 0,
    /// The IP header: tunnels (WireGuard, tun, PPP, IP in IP).
    None = 1,
}

impl LinkLayer {
    /// From its number: a global function in the kernel takes nothing else.
    #[inline(always)]
    pub const fn from_u32(number: u32) -> Self {
        if number == Self::None as u32 {
            Self::None
        } else {
            Self::Ethernet
        }
    }
}

/// Bounded access to a frame's bytes, from its first header on.
pub trait Frame {
    /// The value at byte `at`, as it lies in memory (network byte order), if all of it is there.
    fn read<T: Raw>(&self, at: usize) -> Option<T>;

    /// `offset` itself. In the kernel, the verifier is made to forget how the program got at it,
    /// so that it follows what comes after once, and not once for every chain of headers.
    #[inline(always)]
    fn forget_origin(&self, offset: usize) -> usize {
        offset
    }
}

impl Frame for &[u8] {
    fn read<T: Raw>(&self, at: usize) -> Option<T> {
        let bytes = self.get(at..at.checked_add(size_of::<T>())?)?;
        // SAFETY: `bytes` has T's size, and `Raw` makes any bytes a T.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }
}

const ETHERNET_LEN: usize = 14;
const VLAN_LEN: usize = 4;
const ETHERTYPE_AT: usize = 12;
const ETH_P_IP: u16 = 0x0800_u16.to_be();
const ETH_P_IPV6: u16 = 0x86dd_u16.to_be();
const ETH_P_8021Q: u16 = 0x8100_u16.to_be();
const ETH_P_8021AD: u16 = 0x88a8_u16.to_be();

/// Where a TCP header may start at the latest: far behind any chain of headers in use.
const MAX_TRANSPORT_AT: usize = 2048;

const IPPROTO_HOPOPTS: u8 = 0;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_ROUTING: u8 = 43;
const IPPROTO_FRAGMENT: u8 = 44;
const IPPROTO_AH: u8 = 51;
const IPPROTO_DSTOPTS: u8 = 60;

/// VLAN tags that are walked: a provider's and a customer's (IEEE 802.1ad).
pub const MAX_VLAN_TAGS: usize = 2;
/// IPv6 extension headers that are walked. RFC 8200 section 4.1 recommends an order of seven.
pub const MAX_EXTENSION_HEADERS: usize = 8;

#[repr(C)]
#[derive(Clone, Copy)]
struct Ipv4 {
    version_ihl: u8,
    _tos: u8,
    total_len_be: u16,
    _id: u16,
    fragment_be: u16,
    _ttl: u8,
    protocol: u8,
    _checksum: u16,
    source_be: u32,
    destination_be: u32,
}
// SAFETY: repr(C), integers, 20 bytes without padding.
unsafe impl Raw for Ipv4 {}

#[repr(C)]
#[derive(Clone, Copy)]
struct Ipv6 {
    version_class_flow: [u8; 4],
    payload_len_be: u16,
    next_header: u8,
    _hop_limit: u8,
    source: [u32; 4],
    destination: [u32; 4],
}
// SAFETY: repr(C), integers, 40 bytes without padding.
unsafe impl Raw for Ipv6 {}

/// The start of any IPv6 extension header; none is shorter than 8 bytes (RFC 8200 section 4).
#[repr(C)]
#[derive(Clone, Copy)]
struct Extension {
    next_header: u8,
    len: u8,
    /// Offset and flags, in a fragment header.
    fragment_be: u16,
}
// SAFETY: repr(C), integers without padding.
unsafe impl Raw for Extension {}

/// The two ports, the first bytes of a TCP header.
#[repr(C)]
#[derive(Clone, Copy)]
struct Ports {
    source_be: u16,
    destination_be: u16,
}
// SAFETY: repr(C), integers without padding.
unsafe impl Raw for Ports {}

/// The rest of the fixed TCP header, from byte 4.
#[repr(C)]
#[derive(Clone, Copy)]
struct TcpRest {
    _sequence_be: u32,
    _acknowledgment_be: u32,
    data_offset: u8,
    flags: u8,
    _window_checksum_urgent: [u16; 3],
}
// SAFETY: repr(C), integers, 16 bytes without padding.
unsafe impl Raw for TcpRest {}

/// No [`Segment::fragment_end`]: beyond the end of any packet.
const UNFRAGMENTED: usize = usize::MAX;

#[derive(Clone, Copy)]
enum Network {
    V4,
    V6,
}

/// Where in a frame a TCP segment lies, and the ports it names.
#[derive(Clone, Copy)]
pub struct Segment {
    network: Network,
    network_at: usize,
    transport_at: usize,
    /// End of the IP packet, for a first fragment: all of the TCP header must come before it.
    /// [`UNFRAGMENTED`] for any other packet.
    fragment_end: usize,
    client_port_be: u16,
    server_port_be: u16,
}

/// TCP control bits (RFC 9293 section 3.1) as far as they decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SYN alone: asks for a connection.
    Syn,
    /// Carries ACK or RST: belongs to a connection, or claims to.
    Segment,
    /// No TCP sends it: neither SYN, ACK nor RST, or SYN with FIN or RST.
    Probe,
}

impl Kind {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    #[inline(always)]
    const fn of(flags: u8) -> Self {
        match (flags & Self::SYN != 0, flags & Self::ACK != 0) {
            (true, true) => Self::Segment,
            (true, false) if flags & (Self::FIN | Self::RST) == 0 => Self::Syn,
            (true, false) => Self::Probe,
            (false, true) => Self::Segment,
            (false, false) if flags & Self::RST != 0 => Self::Segment,
            (false, false) => Self::Probe,
        }
    }
}

impl Segment {
    /// Finds the TCP segment in `frame`, as far as its ports.
    ///
    /// # Errors
    ///
    /// The reason why there is none: not IP, not TCP, a later fragment, or not readable.
    #[inline(always)]
    pub fn locate<F: Frame>(frame: &F, link: LinkLayer) -> Result<Self, Reason> {
        match link {
            LinkLayer::Ethernet => Self::behind_ethernet(frame),
            LinkLayer::None => {
                // The kernel tells the protocols apart by what the device says. A packet whose
                // version says otherwise is one that it throws away (ip_rcv_core, ip6_rcv_core).
                let [version, _] = frame.read::<[u8; 2]>(0).ok_or(Reason::Truncated)?;
                match version >> 4 {
                    4 => Self::locate_v4(frame, 0),
                    6 => Self::locate_v6(frame, 0),
                    _ => Err(Reason::NotIp),
                }
            }
        }
    }

    #[inline(always)]
    fn behind_ethernet<F: Frame>(frame: &F) -> Result<Self, Reason> {
        let mut ethertype_at = ETHERTYPE_AT;
        let mut ethertype: u16 = frame.read(ethertype_at).ok_or(Reason::Truncated)?;
        for _ in 0..MAX_VLAN_TAGS {
            if !is_vlan(ethertype) {
                break;
            }
            ethertype_at += VLAN_LEN;
            ethertype = frame.read(ethertype_at).ok_or(Reason::Truncated)?;
        }
        let at = ethertype_at + (ETHERNET_LEN - ETHERTYPE_AT);
        match ethertype {
            ETH_P_IP => Self::locate_v4(frame, at),
            ETH_P_IPV6 => Self::locate_v6(frame, at),
            tag if is_vlan(tag) => Err(Reason::TooManyHeaders),
            _ => Err(Reason::NotIp),
        }
    }

    /// The local port (host byte order): what decides whether the segment is any of our business.
    #[inline(always)]
    pub const fn server_port(&self) -> u16 {
        u16::from_be(self.server_port_be)
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// As for [`Segment::tuple`].
    #[inline(always)]
    pub fn server<F: Frame>(&self, frame: &F) -> Result<Address, Reason> {
        match self.network {
            Network::V4 => {
                let ip: Ipv4 = frame.read(self.network_at).ok_or(Reason::Truncated)?;
                Ok(Address::v4(ip.destination_be))
            }
            Network::V6 => {
                let ip: Ipv6 = frame.read(self.network_at).ok_or(Reason::Truncated)?;
                undisguised(ip.destination)
            }
        }
    }

    /// Both ends of the connection.
    ///
    /// # Errors
    ///
    /// [`Reason::Malformed`] for IPv6 addresses that are IPv4 ones in disguise: such a packet has
    /// no business on the wire, and must not pass for the IPv4 client it names. And for source
    /// port 0, which no TCP uses and which stands for "nobody" in a claim.
    #[inline(always)]
    pub fn tuple<F: Frame>(&self, frame: &F) -> Result<Tuple, Reason> {
        let (client, server) = match self.network {
            Network::V4 => {
                let ip: Ipv4 = frame.read(self.network_at).ok_or(Reason::Truncated)?;
                (Address::v4(ip.source_be), Address::v4(ip.destination_be))
            }
            Network::V6 => {
                let ip: Ipv6 = frame.read(self.network_at).ok_or(Reason::Truncated)?;
                (undisguised(ip.source)?, undisguised(ip.destination)?)
            }
        };
        if self.client_port_be == 0 {
            return Err(Reason::Malformed);
        }
        Ok(Tuple {
            client,
            server,
            client_port_be: self.client_port_be,
            server_port_be: self.server_port_be,
        })
    }

    /// What the control bits make of it.
    ///
    /// # Errors
    ///
    /// The TCP header is not all there, or says that it is shorter than any (RFC 9293 section 3.1).
    #[inline(always)]
    pub fn kind<F: Frame>(&self, frame: &F) -> Result<Kind, Reason> {
        let rest: TcpRest = frame
            .read(self.transport_at + 4)
            .ok_or(cut_short(self.fragment_end))?;
        let header_len = (rest.data_offset >> 4) as usize * 4;
        if header_len < 20 {
            return Err(Reason::Malformed);
        }
        if self.transport_at + header_len > self.fragment_end {
            return Err(Reason::TinyFragment);
        }
        Ok(Kind::of(rest.flags))
    }

    #[inline(always)]
    fn locate_v4<F: Frame>(frame: &F, at: usize) -> Result<Self, Reason> {
        const MORE_FRAGMENTS: u16 = 0x2000;
        const OFFSET: u16 = 0x1fff;
        let ip: Ipv4 = frame.read(at).ok_or(Reason::Truncated)?;
        if ip.protocol != IPPROTO_TCP {
            return Err(Reason::NotTcp);
        }
        let header_len = (ip.version_ihl & 0x0f) as usize * 4;
        if ip.version_ihl >> 4 != 4 || header_len < 20 {
            return Err(Reason::Malformed);
        }
        let fragment = u16::from_be(ip.fragment_be);
        if fragment & OFFSET != 0 {
            return Err(Reason::LaterFragment);
        }
        let end = at + u16::from_be(ip.total_len_be) as usize;
        let fragment_end = if fragment & MORE_FRAGMENTS != 0 {
            end
        } else {
            UNFRAGMENTED
        };
        Self::with_ports(frame, Network::V4, at, at + header_len, fragment_end)
    }

    #[inline(always)]
    fn locate_v6<F: Frame>(frame: &F, at: usize) -> Result<Self, Reason> {
        const MORE_FRAGMENTS: u16 = 0x0001;
        const OFFSET: u16 = 0xfff8;
        let ip: Ipv6 = frame.read(at).ok_or(Reason::Truncated)?;
        if ip.version_class_flow[0] >> 4 != 6 {
            return Err(Reason::Malformed);
        }
        let end = at + size_of::<Ipv6>() + u16::from_be(ip.payload_len_be) as usize;
        let mut fragment_end = UNFRAGMENTED;
        let mut header = ip.next_header;
        let mut next_at = at + size_of::<Ipv6>();
        // One more turn than headers, for what follows the last.
        for _ in 0..=MAX_EXTENSION_HEADERS {
            match header {
                IPPROTO_TCP => {
                    return Self::with_ports(frame, Network::V6, at, next_at, fragment_end);
                }
                IPPROTO_HOPOPTS | IPPROTO_ROUTING | IPPROTO_DSTOPTS | IPPROTO_AH
                | IPPROTO_FRAGMENT => {}
                _ => return Err(Reason::NotTcp),
            }
            let extension: Extension =
                read_inside(frame, next_at, fragment_end).ok_or(cut_short(fragment_end))?;
            let len = match header {
                // RFC 4302 section 2.2: in 4-byte units, minus 2.
                IPPROTO_AH => (extension.len as usize + 2) * 4,
                IPPROTO_FRAGMENT => {
                    let fragment = u16::from_be(extension.fragment_be);
                    if fragment & OFFSET != 0 {
                        return Err(Reason::LaterFragment);
                    }
                    if fragment & MORE_FRAGMENTS != 0 {
                        fragment_end = frame.forget_origin(end);
                    }
                    8
                }
                // In 8-byte units, minus 1.
                _ => (extension.len as usize + 1) * 8,
            };
            header = extension.next_header;
            next_at = frame.forget_origin(next_at + len);
            if next_at > MAX_TRANSPORT_AT {
                break;
            }
        }
        Err(Reason::TooManyHeaders)
    }

    #[inline(always)]
    fn with_ports<F: Frame>(
        frame: &F,
        network: Network,
        network_at: usize,
        transport_at: usize,
        fragment_end: usize,
    ) -> Result<Self, Reason> {
        let transport_at = frame.forget_origin(transport_at);
        if transport_at > MAX_TRANSPORT_AT {
            return Err(Reason::TooManyHeaders);
        }
        let fragment_end = frame.forget_origin(fragment_end);
        let ports: Ports =
            read_inside(frame, transport_at, fragment_end).ok_or(cut_short(fragment_end))?;
        Ok(Self {
            network,
            network_at,
            transport_at,
            fragment_end,
            client_port_be: ports.source_be,
            server_port_be: ports.destination_be,
        })
    }
}

/// Both ends of a frame's connection; zero as far as they cannot be read.
#[inline(always)]
pub fn tuple_of<F: Frame>(frame: &F, link: LinkLayer) -> Tuple {
    let tuple = Segment::locate(frame, link).and_then(|segment| segment.tuple(frame));
    tuple.unwrap_or_default()
}

/// Reads what lies inside the packet, and not in the padding behind it: in a first fragment, the
/// next one would put other bytes there.
#[inline(always)]
fn read_inside<F: Frame, T: Raw>(frame: &F, at: usize, fragment_end: usize) -> Option<T> {
    if at + size_of::<T>() > fragment_end {
        return None;
    }
    frame.read(at)
}

/// Why a packet that ends inside the TCP header is not admitted.
#[inline(always)]
const fn cut_short(fragment_end: usize) -> Reason {
    if fragment_end == UNFRAGMENTED {
        Reason::Truncated
    } else {
        Reason::TinyFragment
    }
}

/// An IPv6 address from the wire.
#[inline(always)]
fn undisguised(words: [u32; 4]) -> Result<Address, Reason> {
    let address = Address(words);
    if address.is_v4() {
        return Err(Reason::Malformed);
    }
    Ok(address)
}

#[inline(always)]
const fn is_vlan(ethertype: u16) -> bool {
    ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
}
