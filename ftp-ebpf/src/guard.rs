//! What the guard decides when a process starts to listen: whose data connection that will be.
//! Pure; the tracepoint program feeds it what it finds among the process's descriptors.

use crate::abi::{Address, PinholeKey};

/// A control connection of the process that listens.
#[repr(C)]
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

/// The control connection that a thread read from last, as the kernel half remembers it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastRead {
    /// Whose it is.
    pub control: Control,
    /// Its `struct sock`, which must still be that connection when the thread listens.
    pub socket: u64,
    /// When the thread began, which tells it from a later one with the same number.
    pub thread_began_ns: u64,
}

/// What becomes of a socket that begins to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// Not an FTP server's: none of ours.
    Foreign,
    /// A data port, opened for this client.
    Opened(Control),
    /// A data port of nobody knows which client: open to every client with a control connection.
    Shared(Unresolved),
    /// A data port of nobody knows which client: shut for all.
    Shut(Unresolved),
}

/// Why it is not known whose data port it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The process has no control connection, but the port is one of those guarded.
    NoControl,
    /// The process serves several clients, and it is not known which of them it read from last.
    Several,
}

/// What a port is to the guard before anybody listens on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Elsewhere,
    /// Guarded in any case.
    Range,
    /// Guarded in any case, because active data connections leave from it: one below a control port.
    Active,
}

/// Decides about a listener. `last_read` is the control connection that the thread read from
/// last, where that is watched; `find` looks for all that the process has; `place` tells what the port
/// is, and is asked last, or the verifier would follow `find` for each answer; `admit_peers` is
/// [`policy::ADMIT_PEERS`](crate::abi::policy).
#[inline(always)]
pub fn birth(
    last_read: Option<&Control>,
    find: impl FnOnce() -> Found,
    place: impl FnOnce() -> Place,
    admit_peers: bool,
) -> Birth {
    // A server of many clients has many descriptors, and none of them needs a look.
    if let Some(control) = last_read {
        return Birth::Opened(*control);
    }
    let unresolved = match find() {
        Found::One(control) => return Birth::Opened(control),
        Found::None => match place() {
            Place::Elsewhere => return Birth::Foreign,
            Place::Range => Unresolved::NoControl,
            // No server listens there for data: a service, which userspace leaves alone.
            Place::Active => return Birth::Shut(Unresolved::NoControl),
        },
        Found::Several => Unresolved::Several,
    };
    if admit_peers {
        Birth::Shared(unresolved)
    } else {
        Birth::Shut(unresolved)
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
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// A data port opened for its client.
    Opened,
    /// A guarded port without a control connection: shut.
    NoControl,
    /// A data port of one of several clients, unknown which: shut.
    Several,
    /// A data port whose pinhole a table did not take: shut.
    TableFull,
    /// A data port whose address and client already have a pinhole: left to that one.
    Duplicate,
    /// A data port of nobody knows which client, opened to all that have a control connection.
    Shared,
}

impl Tally {
    /// All of them, by number, with their names.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Opened, "opened"),
        (Self::NoControl, "no-control-connection"),
        (Self::Several, "several-clients"),
        (Self::TableFull, "table-full"),
        (Self::Duplicate, "duplicate"),
        (Self::Shared, "admitted-control-peers"),
    ];

    /// From its number, with its name.
    pub fn from_number(number: u32) -> Option<(Self, &'static str)> {
        Self::ALL.get(number as usize).copied()
    }
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
        let born = |last, found, place| birth(last, || found, || place, false);
        assert_eq!(
            born(None, Found::One(ONE), Place::Range),
            Birth::Opened(ONE)
        );
        let read = Some(&TWO);
        assert_eq!(
            born(read, Found::Several, Place::Elsewhere),
            Birth::Opened(TWO)
        );
        assert_eq!(
            born(None, Found::Several, Place::Elsewhere),
            Birth::Shut(Unresolved::Several)
        );
        assert_eq!(
            born(None, Found::None, Place::Range),
            Birth::Shut(Unresolved::NoControl)
        );
        assert_eq!(born(None, Found::None, Place::Elsewhere), Birth::Foreign);
    }

    #[test]
    fn who_was_read_from_last_is_not_looked_for() {
        let look = || unreachable!("the descriptors of a server of many clients are many");
        assert_eq!(
            birth(Some(&ONE), look, || Place::Range, false),
            Birth::Opened(ONE)
        );
    }

    #[test]
    fn peers_are_admitted_only_where_nobody_is_known_and_the_port_is_ours() {
        let born = |found, place| birth(None, || found, || place, true);
        assert_eq!(born(Found::One(ONE), Place::Range), Birth::Opened(ONE));
        let shared = Birth::Shared;
        assert_eq!(
            born(Found::Several, Place::Elsewhere),
            shared(Unresolved::Several)
        );
        assert_eq!(
            born(Found::None, Place::Range),
            shared(Unresolved::NoControl)
        );
        assert_eq!(born(Found::None, Place::Elsewhere), Birth::Foreign);
    }

    #[test]
    fn a_service_below_a_control_port_is_no_data_port() {
        let born = |found, admit| birth(None, || found, || Place::Active, admit);
        for admit in [false, true] {
            assert_eq!(born(Found::None, admit), Birth::Shut(Unresolved::NoControl));
            assert_eq!(born(Found::One(ONE), admit), Birth::Opened(ONE));
        }
        assert_eq!(
            born(Found::Several, true),
            Birth::Shared(Unresolved::Several)
        );
    }

    #[test]
    fn tallies_are_found_by_their_number() {
        for (number, (tally, _)) in Tally::ALL.iter().enumerate() {
            assert_eq!(*tally as usize, number);
        }
        assert_eq!(Tally::from_number(6), None);
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
