//! A row of the one table: who may come where, until when, and who has come.

use super::Address;

/// "This client may open one data connection to this server address and port."
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PinholeKey {
    /// Masked by [`ClientMask`](super::ClientMask).
    pub client: Address,
    /// The local address that the client was told, or the control connection's.
    pub server: Address,
    /// Network byte order.
    pub port_be: u16,
    /// Always 0; the kernel hashes every byte of a key.
    pub zero: u16,
}

impl PinholeKey {
    /// The row of a data port that any client with a control connection may come to, at whichever
    /// address.
    #[inline(always)]
    pub const fn of_peers(port_be: u16) -> Self {
        Self {
            client: Address([0; 4]),
            server: Address([0; 4]),
            port_be,
            zero: 0,
        }
    }
}

/// A row of [`map::PINHOLES`](super::map::PINHOLES). Userspace inserts and removes rows and never changes one; the
/// kernel only ever swaps [`Pinhole::claim`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pinhole {
    /// The session that negotiated it.
    pub session: u64,
    /// `CLOCK_MONOTONIC` nanoseconds from which on the row admits nobody.
    pub deadline_ns: u64,
    /// Which source port has taken the row.
    pub claim: Claim,
}

/// Who took a pinhole, and when: one word, so that taking it is one compare-and-swap.
///
/// The low 16 bits are the source port in network byte order, the others `CLOCK_MONOTONIC`
/// milliseconds. Zero is free: no TCP client has source port 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim(pub u64);

impl Claim {
    /// Taken by nobody.
    pub const FREE: Self = Self(0);
    /// How long a claim keeps others out while its handshake is not complete. A data connection
    /// that completes is accepted and its row removed long before.
    pub const LIFETIME_NS: u64 = 5_000_000_000;
    const NS_PER_MS: u64 = 1_000_000;

    /// Taken by `client_port_be` at `now_ns`.
    #[inline(always)]
    pub const fn new(client_port_be: u16, now_ns: u64) -> Self {
        Self((now_ns / Self::NS_PER_MS) << 16 | client_port_be as u64)
    }

    /// The source port that took it, network byte order; 0 while free.
    #[inline(always)]
    pub const fn client_port_be(self) -> u16 {
        self.0 as u16
    }

    /// Whether this source port holds it.
    #[inline(always)]
    pub const fn is_by(self, client_port_be: u16) -> bool {
        self.0 != 0 && self.client_port_be() == client_port_be
    }

    /// Whether another source port may take it at `now_ns`.
    #[inline(always)]
    pub const fn is_free(self, now_ns: u64) -> bool {
        let taken_ns = (self.0 >> 16).wrapping_mul(Self::NS_PER_MS);
        self.0 == 0 || now_ns.saturating_sub(taken_ns) > Self::LIFETIME_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_expires() {
        let claim = Claim::new(0x1234, 7_000_000_000);
        assert_eq!(claim.client_port_be(), 0x1234);
        assert!(!claim.is_free(7_000_000_000));
        assert!(!claim.is_free(7_000_000_000 + Claim::LIFETIME_NS));
        assert!(claim.is_free(7_000_000_001 + Claim::LIFETIME_NS));
        // A clock read before another CPU's claim is no reason to take it away.
        assert!(!claim.is_free(6_999_000_000));
        assert!(Claim::FREE.is_free(0));
        assert!(claim.is_by(0x1234) && !claim.is_by(0x1235) && !Claim::FREE.is_by(0));
    }
}
