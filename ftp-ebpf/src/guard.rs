//! What the guard decides when a process starts to listen: whose data connection that will be.
//! Pure; the tracepoint program feeds it what it finds among the process's descriptors.

use crate::abi::{Address, PinholeKey};

/// A control connection of the process that listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The peer: the client.
    pub client: Address,
    /// The local address that it talks to.
    pub server: Address,
}

/// What a walk over a process's descriptors found so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No control connection.
    None,
    /// One client's, over however many connections.
    One(Control),
    /// Those of several clients.
    Several,
}

impl Found {
    /// With one more control connection.
    #[inline(always)]
    pub fn and(self, control: Control) -> Self {
        match self {
            Self::None => Self::One(control),
            Self::One(first) if first == control => self,
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

/// A socket that begins to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address it is bound to; zero for all of them.
    pub address: Address,
    /// Its port, host byte order.
    pub port: u16,
}

/// What becomes of a socket that begins to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// Not an FTP server's: none of ours.
    Foreign,
    /// A data port, opened for this client.
    Opened(Control),
    /// A data port of nobody knows which client: shut for all.
    Shut(Unresolved),
}

/// Why a data port could not be opened for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The process has no control connection, but the port is one of those guarded.
    NoControl,
    /// The process serves several clients, and it is not known which of them it read from last.
    Several,
}

/// Decides about a listener. `last_read` is the control connection that the thread read from
/// last, where that is watched; `in_range` tells a port that is guarded in any case.
#[inline(always)]
pub fn birth(found: Found, last_read: Option<Control>, in_range: bool) -> Birth {
    match (found, last_read) {
        (Found::One(control), _) => Birth::Opened(control),
        (Found::Several, Some(control)) => Birth::Opened(control),
        (Found::Several, None) => Birth::Shut(Unresolved::Several),
        (Found::None, _) if in_range => Birth::Shut(Unresolved::NoControl),
        (Found::None, _) => Birth::Foreign,
    }
}

/// The pinhole of a data port: at the address that the listener is bound to, or, where it is bound
/// to all, at the one that the client talks to.
#[inline(always)]
pub fn key(control: &Control, listener: &Listener, client: Address) -> PinholeKey {
    let everywhere = listener.address == Address([0; 4]) || listener.address == Address::v4(0);
    PinholeKey {
        client,
        server: if everywhere {
            control.server
        } else {
            listener.address
        },
        port_be: listener.port.to_be(),
        zero: 0,
    }
}

/// What the guard counts, as index into its tallies.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// A data port opened for its client.
    Opened,
    /// A guarded port without a control connection: shut.
    NoControl,
    /// A data port of one of several clients, unknown which: shut.
    Several,
    /// A data port whose pinhole the table did not take: shut.
    TableFull,
    /// A data port whose address and client already have a pinhole: left to that one.
    Duplicate,
}

impl Tally {
    /// All of them, by number.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Opened, "opened"),
        (Self::NoControl, "no-control-connection"),
        (Self::Several, "several-clients"),
        (Self::TableFull, "table-full"),
        (Self::Duplicate, "duplicate"),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Control = Control {
        client: Address::v4(1),
        server: Address::v4(9),
    };
    const TWO: Control = Control {
        client: Address::v4(2),
        server: Address::v4(9),
    };

    #[test]
    fn several_connections_of_one_client_are_one_client() {
        assert_eq!(Found::None.and(ONE).and(ONE), Found::One(ONE));
        assert_eq!(Found::None.and(ONE).and(TWO).and(ONE), Found::Several);
    }

    #[test]
    fn a_port_is_opened_only_for_a_client_that_is_known() {
        assert_eq!(birth(Found::One(ONE), None, true), Birth::Opened(ONE));
        assert_eq!(birth(Found::Several, Some(TWO), false), Birth::Opened(TWO));
        assert_eq!(
            birth(Found::Several, None, false),
            Birth::Shut(Unresolved::Several)
        );
        assert_eq!(
            birth(Found::None, None, true),
            Birth::Shut(Unresolved::NoControl)
        );
        assert_eq!(birth(Found::None, Some(ONE), false), Birth::Foreign);
    }

    #[test]
    fn a_listener_on_all_addresses_waits_where_the_client_talks_to() {
        let bound = Listener {
            address: Address::v4(7),
            port: 40_000,
        };
        assert_eq!(key(&ONE, &bound, ONE.client).server, Address::v4(7));
        for address in [Address::v4(0), Address([0; 4])] {
            let all = Listener {
                address,
                port: 40_000,
            };
            assert_eq!(key(&ONE, &all, ONE.client).server, ONE.server);
            assert_eq!(key(&ONE, &all, ONE.client).port_be, 40_000_u16.to_be());
        }
    }
}
