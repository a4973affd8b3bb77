//! The walk over the headers to the TCP segment: Ethernet with VLAN tags or nothing, IPv4 with
//! options, IPv6 with a bounded chain of extension headers, fragments.

use super::{
    Frame, Network, Raw, Segment, UNFRAGMENTED, cut_short,
    headers::{
        ETH_P_IP, ETH_P_IPV6, ETHERNET_LEN, ETHERTYPE_AT, Extension, IPPROTO_AH, IPPROTO_DSTOPTS,
        IPPROTO_FRAGMENT, IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_TCP, Ipv4, Ipv6, Ports,
        VLAN_LEN, is_vlan,
    },
};
use crate::reason::Reason;

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

/// Where a TCP header may start at the latest: far behind any chain of headers in use.
const MAX_TRANSPORT_AT: usize = 2048;

/// VLAN tags that are walked: a provider's and a customer's (IEEE 802.1ad).
pub const MAX_VLAN_TAGS: usize = 2;
/// IPv6 extension headers that are walked. RFC 8200 section 4.1 recommends an order of seven.
pub const MAX_EXTENSION_HEADERS: usize = 8;

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

/// Reads what lies inside the packet, and not in the padding behind it: in a first fragment, the
/// next one would put other bytes there.
#[inline(always)]
fn read_inside<F: Frame, T: Raw>(frame: &F, at: usize, fragment_end: usize) -> Option<T> {
    if at + size_of::<T>() > fragment_end {
        return None;
    }
    frame.read(at)
}
