//! The headers as they lie on the wire, as far as they are looked at, and the numbers in them.

use super::Raw;

pub(super) const ETHERNET_LEN: usize = 14;
pub(super) const VLAN_LEN: usize = 4;
pub(super) const ETHERTYPE_AT: usize = 12;
pub(super) const ETH_P_IP: u16 = 0x0800_u16.to_be();
pub(super) const ETH_P_IPV6: u16 = 0x86dd_u16.to_be();
pub(super) const ETH_P_8021Q: u16 = 0x8100_u16.to_be();
pub(super) const ETH_P_8021AD: u16 = 0x88a8_u16.to_be();

pub(super) const IPPROTO_HOPOPTS: u8 = 0;
pub(super) const IPPROTO_TCP: u8 = 6;
pub(super) const IPPROTO_ROUTING: u8 = 43;
pub(super) const IPPROTO_FRAGMENT: u8 = 44;
pub(super) const IPPROTO_AH: u8 = 51;
pub(super) const IPPROTO_DSTOPTS: u8 = 60;

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Ipv4 {
    pub(super) version_ihl: u8,
    _tos: u8,
    pub(super) total_len_be: u16,
    _id: u16,
    pub(super) fragment_be: u16,
    _ttl: u8,
    pub(super) protocol: u8,
    _checksum: u16,
    pub(super) source_be: u32,
    pub(super) destination_be: u32,
}
// SAFETY: repr(C), integers, 20 bytes without padding.
unsafe impl Raw for Ipv4 {}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Ipv6 {
    pub(super) version_class_flow: [u8; 4],
    pub(super) payload_len_be: u16,
    pub(super) next_header: u8,
    _hop_limit: u8,
    pub(super) source: [u32; 4],
    pub(super) destination: [u32; 4],
}
// SAFETY: repr(C), integers, 40 bytes without padding.
unsafe impl Raw for Ipv6 {}

/// The start of any IPv6 extension header; none is shorter than 8 bytes (RFC 8200 section 4).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Extension {
    pub(super) next_header: u8,
    pub(super) len: u8,
    /// Offset and flags, in a fragment header.
    pub(super) fragment_be: u16,
}
// SAFETY: repr(C), integers without padding.
unsafe impl Raw for Extension {}

/// The two ports, the first bytes of a TCP header.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) source_be: u16,
    pub(super) destination_be: u16,
}
// SAFETY: repr(C), integers without padding.
unsafe impl Raw for Ports {}

/// The rest of the fixed TCP header, from byte 4.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct TcpRest {
    _sequence_be: u32,
    _acknowledgment_be: u32,
    pub(super) data_offset: u8,
    pub(super) flags: u8,
    _window_checksum_urgent: [u16; 3],
}
// SAFETY: repr(C), integers, 16 bytes without padding.
unsafe impl Raw for TcpRest {}

#[inline(always)]
pub(super) const fn is_vlan(ethertype: u16) -> bool {
    ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD
}
