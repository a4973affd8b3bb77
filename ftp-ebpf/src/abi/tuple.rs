//! A connection, and which pinhole and which slot of the cache are its own.

use super::{Address, ClientMask, PinholeKey};

/// A connection as the host sees it: the client is the remote end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuple {
    /// Remote address.
    pub client: Address,
    /// Local address.
    pub server: Address,
    /// Remote port, network byte order.
    pub client_port_be: u16,
    /// Local port, network byte order.
    pub server_port_be: u16,
}

impl Tuple {
    /// How many connections [`map::ESTABLISHED`](super::map::ESTABLISHED) remembers, a power of two. All of it fits into a
    /// core's second-level cache: a flood of segments touches a slot each.
    pub const SLOTS: u32 = 1 << 14;

    /// The pinhole that this connection would need.
    #[inline(always)]
    pub const fn key(&self, mask: &ClientMask) -> PinholeKey {
        PinholeKey {
            client: mask.apply(self.client),
            server: self.server,
            port_be: self.server_port_be,
            zero: 0,
        }
    }

    /// Whether both are the same, compared word by word. A comparison of the whole becomes loads of
    /// eight bytes on this target, which wait for the two stores of four that they need.
    #[inline(always)]
    pub const fn is(&self, other: &Self) -> bool {
        let (a, b) = (&self.client.0, &other.client.0);
        let client = (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]);
        let (a, b) = (&self.server.0, &other.server.0);
        let server = (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]);
        let ports = (self.client_port_be ^ other.client_port_be)
            | (self.server_port_be ^ other.server_port_be);
        client | server | ports as u32 == 0
    }

    /// Where [`map::ESTABLISHED`](super::map::ESTABLISHED) remembers this connection. Both ports, because one server port
    /// serves many clients at a time.
    #[inline(always)]
    pub const fn slot(&self) -> u32 {
        (self.client_port_be ^ self.server_port_be) as u32 & (Self::SLOTS - 1)
    }
}
