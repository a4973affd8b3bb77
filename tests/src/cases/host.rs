//! What the host knows in a case: the same for every case where it says nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::lab::Family;

/// Ports that are shut unless negotiated, [`EXCLUDED_PORT`] excepted.
pub const GUARDED: std::ops::RangeInclusive<u16> = 30000..=30999;
/// Excluded from the range by the administrator.
pub(super) const EXCLUDED_PORT: u16 = 30500;
/// Guarded, and nothing waits there.
pub(super) const CLOSED_PORT: u16 = 30005;
/// Where the cases' pinholes are.
pub(super) const HOLE_PORT: u16 = 30010;
/// The client's source port, where it does not matter.
pub const CLIENT_PORT: u16 = 40000;
/// The host has a connection from the client's [`CONNECTED_FROM`] to this guarded port.
pub const CONNECTED_PORT: u16 = 30100;
/// See [`CONNECTED_PORT`].
pub const CONNECTED_FROM: u16 = 41000;
/// A socket of the host listens on this guarded port.
pub const LISTENING_PORT: u16 = 30200;

/// The host's own address.
pub fn server(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 77, 0, 1).into(),
        Family::V6 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// The address that sessions come from.
pub fn client(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 77, 0, 2).into(),
        Family::V6 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2).into(),
    }
}

/// A neighbour of the client: the same /24 and /64, without a session.
pub(super) fn neighbour(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 77, 0, 3).into(),
        Family::V6 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 3).into(),
    }
}

/// Somebody outside of the client's network, without a session.
pub(super) fn stranger(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, 9).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9).into(),
    }
}

/// A guest that the host forwards to.
pub(super) fn guest(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 79, 0, 2).into(),
        Family::V6 => Ipv6Addr::new(0xfd79, 0, 0, 0, 0, 0, 0, 2).into(),
    }
}

/// Whether the administrator guards the port.
pub fn is_guarded(port: u16) -> bool {
    GUARDED.contains(&port) && port != EXCLUDED_PORT
}

/// Whether the address is in the host's list of its own.
pub fn is_own(address: IpAddr) -> bool {
    Family::BOTH.iter().any(|family| server(*family) == address)
}

/// The two ends of the connection that the host has: client, server.
pub fn connection(family: Family) -> (SocketAddr, SocketAddr) {
    (
        SocketAddr::new(client(family), CONNECTED_FROM),
        SocketAddr::new(server(family), CONNECTED_PORT),
    )
}

/// What the host knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// It forwards: only packets to its own addresses are policed.
    pub forwards: bool,
    /// Segments that belong to no connection pass.
    pub passes_stray: bool,
    /// Bits of a client's address that must match.
    pub prefixes: (u8, u8),
    /// Open pinholes.
    pub holes: Vec<Hole>,
    /// A port is still marked as waiting, though its pinhole is gone.
    pub lingering_bit: Option<u16>,
    /// A connection in the cache: client, server.
    pub remembered: Option<(SocketAddr, SocketAddr)>,
}

impl Host {
    /// Nothing negotiated, nothing forwarded.
    pub(super) fn quiet() -> Host {
        Host {
            forwards: false,
            passes_stray: false,
            prefixes: (32, 128),
            holes: Vec::new(),
            lingering_bit: None,
            remembered: None,
        }
    }

    /// One pinhole, nothing else.
    pub(super) fn with(hole: Hole) -> Host {
        Host {
            holes: vec![hole],
            ..Host::quiet()
        }
    }
}

/// A pinhole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hole {
    /// Who may connect.
    pub client: IpAddr,
    /// To which address.
    pub server: IpAddr,
    /// To which port.
    pub port: u16,
    /// Whether its deadline has passed.
    pub life: Life,
    /// Whether a source port has it.
    pub taken: Taken,
}

/// Where a pinhole's deadline lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// In the future.
    Open,
    /// In the past.
    Over,
}

/// Who took a pinhole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nobody.
    No,
    /// This source port, a moment ago.
    Fresh(u16),
    /// This source port, so long ago that its handshake has failed.
    Stale(u16),
}

impl Taken {
    /// The source port that has it.
    pub fn port(self) -> Option<u16> {
        match self {
            Taken::No => None,
            Taken::Fresh(port) | Taken::Stale(port) => Some(port),
        }
    }
}

impl Hole {
    /// The client's pinhole at [`HOLE_PORT`], waiting.
    pub(super) fn of_client(family: Family) -> Hole {
        Hole {
            client: client(family),
            server: server(family),
            port: HOLE_PORT,
            life: Life::Open,
            taken: Taken::No,
        }
    }
}
