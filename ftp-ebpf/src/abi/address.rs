//! Addresses as both halves have them: one form for IPv4 and IPv6, and which bits of a client's must
//! match.

/// An IPv6 address, or an IPv4 address mapped into one (RFC 4291, section 2.5.5.2), as four
/// words whose bytes lie in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(pub [u32; 4]);

impl Address {
    /// The word that tells a mapped IPv4 address, `::ffff:0:0/96`.
    const MAPPED: u32 = 0xffff_u32.to_be();

    /// Maps an IPv4 address whose bytes lie in network order.
    #[inline(always)]
    pub const fn v4(addr_be: u32) -> Self {
        Self([0, 0, Self::MAPPED, addr_be])
    }

    /// Whether this is a mapped IPv4 address.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == Self::MAPPED
    }

    /// Whether this is `127.0.0.0/8` or `::1`: local on every host, without being listed.
    #[inline(always)]
    pub const fn is_loopback(&self) -> bool {
        if self.is_v4() {
            self.0[3].to_ne_bytes()[0] == 127
        } else {
            self.0[0] == 0 && self.0[1] == 0 && self.0[2] == 0 && self.0[3] == 1_u32.to_be()
        }
    }

    /// `127.0.0.1` or `::1`.
    #[inline(always)]
    pub const fn localhost(is_v4: bool) -> Self {
        if is_v4 {
            Self::v4(0x7f00_0001_u32.to_be())
        } else {
            Self([0, 0, 0, 1_u32.to_be()])
        }
    }

    /// From the sixteen bytes of an IPv6 address.
    pub const fn from_octets(o: [u8; 16]) -> Self {
        Self([
            u32::from_ne_bytes([o[0], o[1], o[2], o[3]]),
            u32::from_ne_bytes([o[4], o[5], o[6], o[7]]),
            u32::from_ne_bytes([o[8], o[9], o[10], o[11]]),
            u32::from_ne_bytes([o[12], o[13], o[14], o[15]]),
        ])
    }

    /// To the sixteen bytes of an IPv6 address.
    pub const fn octets(&self) -> [u8; 16] {
        let (a, b) = (self.0[0].to_ne_bytes(), self.0[1].to_ne_bytes());
        let (c, d) = (self.0[2].to_ne_bytes(), self.0[3].to_ne_bytes());
        [
            a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], //
            c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3],
        ]
    }
}

impl From<core::net::IpAddr> for Address {
    fn from(addr: core::net::IpAddr) -> Self {
        match addr {
            core::net::IpAddr::V4(v4) => Self::from_octets(v4.to_ipv6_mapped().octets()),
            core::net::IpAddr::V6(v6) => Self::from_octets(v6.octets()),
        }
    }
}

impl From<Address> for core::net::IpAddr {
    fn from(addr: Address) -> Self {
        core::net::Ipv6Addr::from(addr.octets()).to_canonical()
    }
}

/// Which bits of a client's address must match: all of them, unless the administrator allows
/// data connections from elsewhere in the client's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientMask {
    /// For IPv4, network byte order.
    pub v4: u32,
    /// For IPv6, network byte order.
    pub v6: [u32; 4],
}

impl ClientMask {
    /// The whole address: /32 and /128.
    pub const EXACT: Self = Self {
        v4: u32::MAX,
        v6: [u32::MAX; 4],
    };

    /// From prefix lengths; a length beyond the address means all of it.
    pub const fn from_prefixes(v4: u8, v6: u8) -> Self {
        const fn word(bits: u8) -> u32 {
            match u32::MAX.checked_shl(32_u32.saturating_sub(bits as u32)) {
                Some(mask) => mask.to_be(),
                None => 0,
            }
        }
        Self {
            v4: word(v4),
            v6: [
                word(v6),
                word(v6.saturating_sub(32)),
                word(v6.saturating_sub(64)),
                word(v6.saturating_sub(96)),
            ],
        }
    }

    /// The address with the bits that need not match set to zero.
    #[inline(always)]
    pub const fn apply(&self, client: Address) -> Address {
        let a = client.0;
        if client.is_v4() {
            Address([a[0], a[1], a[2], a[3] & self.v4])
        } else {
            let m = self.v6;
            Address([a[0] & m[0], a[1] & m[1], a[2] & m[2], a[3] & m[3]])
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_survive_the_way_there_and_back() {
        for addr in [
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ] {
            let there = Address::from(addr);
            assert_eq!(IpAddr::from(there), addr);
            assert_eq!(there.is_v4(), addr.is_ipv4());
        }
    }

    #[test]
    fn loopback_needs_no_list() {
        let is = |text: &str| Address::from(ip(text)).is_loopback();
        assert!(is("127.0.0.1") && is("127.9.9.9") && is("::1"));
        assert!(!is("128.0.0.1") && !is("::2") && !is("10.127.0.1"));
    }

    #[test]
    fn masks_keep_the_prefix_only() {
        let mask = ClientMask::from_prefixes(24, 60);
        let masked = |text: &str| IpAddr::from(mask.apply(ip(text).into()));
        assert_eq!(masked("192.0.2.77"), ip("192.0.2.0"));
        assert_eq!(masked("2001:db8:1:23ff::9"), ip("2001:db8:1:23f0::"));
        assert_eq!(ClientMask::from_prefixes(32, 128), ClientMask::EXACT);
        let nothing = ClientMask::from_prefixes(0, 0);
        assert_eq!((nothing.v4, nothing.v6), (0, [0; 4]));
    }
}
