//! From a frame to the fields that decide: where its TCP segment lies (`locate.rs`), whose it is, and
//! what its control bits make of it. No map is asked here.
//!
//! Total: every frame gives either a TCP segment's place or the [`Reason`] why there is none.
//! What cannot be read and may be TCP is an error that drops; what is surely not TCP passes.

mod frame;
mod headers;
mod locate;

use self::headers::{Ipv4, Ipv6, TcpRest};
pub use self::{
    frame::{Frame, Raw},
    locate::{LinkLayer, MAX_EXTENSION_HEADERS, MAX_VLAN_TAGS},
};
use crate::{
    abi::{Address, Tuple},
    reason::Reason,
};

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
}

/// Both ends of a frame's connection; zero as far as they cannot be read.
#[inline(always)]
pub fn tuple_of<F: Frame>(frame: &F, link: LinkLayer) -> Tuple {
    let tuple = Segment::locate(frame, link).and_then(|segment| segment.tuple(frame));
    tuple.unwrap_or_default()
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

#[cfg(test)]
mod tests;
