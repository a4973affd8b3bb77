//! The decision: whether a packet may pass, and whether a connection attempt is handed to the
//! listener that waits for it. All of it, and nothing else; what it must know of the world it
//! asks through [`World`].
//!
//! What may race, and why it is harmless:
//!
//! * Two CPUs with a SYN each for one pinhole: the claim is a compare-and-swap, one wins; the
//!   loser looks once more, because the winner may be a copy of the same SYN.
//! * The daemon removes a row while a CPU holds it: the SYN may still pass, and then finds no
//!   listener ([`steer`] asks the table again) or a listener that knows no such pinhole.
//! * A removed row's memory is used again for another pinhole: [`World::claim`] must notice.
//! * A half-written slot of the cache: at worst it admits a segment that is no SYN and that the
//!   kernel answers with RST.

use crate::{
    abi::{Address, Claim, ClientMask, EventKind, PinholeKey, Ports, Tuple, policy},
    packet::{Frame, Kind, LinkLayer, Segment},
    reason::{Action, Reason},
};

/// What the decision asks: maps, clock and sockets in the kernel, plain memory in tests.
pub trait World {
    /// A pinhole that was found, as long as the decision lasts.
    type Row: Copy;

    /// Bits of [`policy`].
    fn policy(&self) -> u64;
    /// Word `index` of [`Ports::guarded`].
    fn guarded(&self, index: usize) -> u64;
    /// Word `index` of [`Ports::waiting`].
    fn waiting(&self, index: usize) -> u64;
    /// Which bits of a client's address must match.
    fn client_mask(&self) -> ClientMask;
    /// Whether the address is one of this host's own.
    fn is_local(&self, addr: &Address) -> bool;
    /// Whether the address, masked, is of a client with a control connection; asked only under
    /// [`policy::ADMIT_PEERS`].
    fn is_peer(&self, client: &Address) -> bool;
    /// `CLOCK_MONOTONIC` in nanoseconds, a few milliseconds coarse.
    fn now_ns(&self) -> u64;

    /// The pinhole with that key.
    fn pinhole(&self, key: &PinholeKey) -> Option<Self::Row>;
    /// Its deadline, in nanoseconds of the same clock.
    fn deadline_ns(&self, row: Self::Row) -> u64;
    /// The session that negotiated it.
    fn session(&self, row: Self::Row) -> u64;
    /// Who has taken it, at this moment.
    fn claimed(&self, row: Self::Row) -> Claim;
    /// Replaces `old` by `new`, if the row says `old` and is still the one with `key`.
    fn claim(&self, key: &PinholeKey, row: Self::Row, old: Claim, new: Claim) -> bool;

    /// Whether the cache remembers the connection.
    fn remembers(&self, tuple: &Tuple) -> bool;
    /// Puts the connection into the cache.
    fn remember(&self, tuple: &Tuple);
    /// What socket the kernel has for the connection.
    fn socket(&self, tuple: &Tuple) -> Socket;

    /// The port, on loopback, of the listener that [`steer`] hands connections of the protocol to; 0
    /// for none.
    fn listener_port_be(&self, is_v4: bool) -> u16;
}

/// What the kernel has for a connection's two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// Nothing.
    None,
    /// A listener only: the connection is not there yet.
    Listening,
    /// The connection, in any state from SYN sent to TIME-WAIT.
    Connection,
}

/// What became of a packet. Small, so that it stays in registers: who sent the packet is read again
/// for the few that are reported ([`crate::packet::tuple_of`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why.
    pub reason: Reason,
    /// The session whose pinhole it met; 0 for none.
    pub session: u64,
    /// This packet took the pinhole.
    pub took: bool,
}

impl From<Reason> for Outcome {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            session: 0,
            took: false,
        }
    }
}

impl Outcome {
    /// What becomes of the packet under a [`policy`].
    #[inline(always)]
    pub const fn action(&self, policy: u64) -> Action {
        match self.reason.action() {
            Action::Drop if policy & policy::DRY_RUN != 0 => Action::Pass,
            action => action,
        }
    }

    /// The event to report, if any.
    #[inline(always)]
    pub const fn event(&self) -> Option<EventKind> {
        match (Self::kind(self.reason), self.took) {
            (EventKind::Denied, _) => Some(EventKind::Denied),
            (kind, true) => Some(kind),
            (_, false) => None,
        }
    }

    /// What an event with this reason reports.
    #[inline(always)]
    pub const fn kind(reason: Reason) -> EventKind {
        match reason.action() {
            Action::Drop => EventKind::Denied,
            Action::Pass | Action::Admit => EventKind::Claimed,
        }
    }
}

/// Decides about a frame that came in by an interface with such a link layer.
#[inline(always)]
pub fn admit<F: Frame, W: World>(frame: &F, link: LinkLayer, world: &W) -> Outcome {
    let segment = match Segment::locate(frame, link) {
        Ok(segment) => segment,
        Err(reason) => return reason.into(),
    };
    let port = segment.server_port();
    if !is_guarded(world, port) {
        return Reason::NotGuarded.into();
    }
    // Before anything is found wrong with it: what this host only forwards is none of its business.
    if world.policy() & policy::CHECK_LOCAL != 0 {
        match segment.server(frame) {
            Ok(server) if server.is_loopback() || world.is_local(&server) => {}
            Ok(_) => return Reason::NotLocal.into(),
            Err(reason) => return reason.into(),
        }
    }
    let kind = match segment.kind(frame) {
        Ok(kind) => kind,
        Err(reason) => return reason.into(),
    };
    // What a flood consists of leaves first, before anything is put together for it.
    if kind == Kind::Syn && !is_awaited(world, port) {
        return Reason::Closed.into();
    }
    let tuple = match segment.tuple(frame) {
        Ok(tuple) => tuple,
        Err(reason) => return reason.into(),
    };
    match kind {
        Kind::Syn => connection_attempt(world, &tuple),
        Kind::Segment => segment_of_connection(world, &tuple).into(),
        Kind::Probe => Reason::Probe.into(),
    }
}

/// Decides whether a connection attempt for which the kernel has no socket goes to the listener
/// of the passive data connections. The lock in front, if there is one on that interface, has
/// claimed the pinhole; this one takes nothing, because it cannot tell a SYN from another segment.
/// Without a lock in front a second connection may get this far: whoever accepts it knows.
///
/// Nobody else may come to that listener: any process of the host could, and fill its queue.
#[inline(always)]
pub fn steer<W: World>(world: &W, tuple: &Tuple) -> Reason {
    let port = u16::from_be(tuple.server_port_be);
    let guarded = is_guarded(world, port);
    if guarded && has_pinhole(world, tuple, port) {
        return Reason::Steered;
    }
    // After that, so that what is handed over pays nothing for it; but of guarded ports, too: the
    // listener of a server before may have one.
    if is_for_listener(world, tuple) {
        Reason::InternalListener
    } else if guarded {
        Reason::NotSteered
    } else {
        Reason::NotGuarded
    }
}

/// Whether a connection attempt, or the end of its handshake, has a pinhole.
#[inline(always)]
fn has_pinhole<W: World>(world: &W, tuple: &Tuple, port: u16) -> bool {
    if !is_awaited(world, port) {
        return false;
    }
    let Some(row) = world.pinhole(&tuple.key(&world.client_mask())) else {
        return false;
    };
    let (claim, now_ns) = (world.claimed(row), world.now_ns());
    let mine = claim.is_by(tuple.client_port_be);
    // The handshake of a claim may end after the deadline: the claim was in time.
    mine || (claim.is_free(now_ns) && now_ns < world.deadline_ns(row))
}

/// Whether somebody connects to the listener itself, at the address that it is bound to: the same port
/// of another one, loopback's or not, may be anybody's.
#[inline(always)]
fn is_for_listener<W: World>(world: &W, tuple: &Tuple) -> bool {
    let is_v4 = tuple.server.is_v4();
    tuple.server_port_be == world.listener_port_be(is_v4)
        && tuple.server == Address::localhost(is_v4)
}

#[inline(always)]
fn is_guarded<W: World>(world: &W, port: u16) -> bool {
    world.guarded(Ports::word(port)) & Ports::bit(port) != 0
}

/// Whether a pinhole waits on the port, for whomever.
#[inline(always)]
fn is_awaited<W: World>(world: &W, port: u16) -> bool {
    world.waiting(Ports::word(port)) & Ports::bit(port) != 0
}

#[inline(always)]
fn connection_attempt<W: World>(world: &W, tuple: &Tuple) -> Outcome {
    let mut key = tuple.key(&world.client_mask());
    let Some(row) = find(world, &mut key) else {
        return Reason::WrongClient.into();
    };
    let (reason, took) = take(world, &key, row, tuple.client_port_be);
    Outcome {
        reason,
        session: world.session(row),
        took,
    }
}

/// The pinhole for a connection: its client's own, or, where the guard may do so, the one for all
/// that have a control connection. `key` becomes that one's: the stack has no room for two.
#[inline(always)]
fn find<W: World>(world: &W, key: &mut PinholeKey) -> Option<W::Row> {
    if let Some(row) = world.pinhole(key) {
        return Some(row);
    }
    if world.policy() & policy::ADMIT_PEERS == 0 || !world.is_peer(&key.client) {
        return None;
    }
    *key = PinholeKey::of_peers(key.port_be);
    world.pinhole(key)
}

/// Takes a pinhole for a source port, if it may have it; `true` if it had it not already.
#[inline(always)]
fn take<W: World>(world: &W, key: &PinholeKey, row: W::Row, client_port_be: u16) -> (Reason, bool) {
    let now_ns = world.now_ns();
    // A second look is for the loser of a race; a third would only be another loser's.
    for _ in 0..2 {
        let claim = world.claimed(row);
        if claim.is_by(client_port_be) {
            return (Reason::PinholeSyn, false);
        }
        if now_ns >= world.deadline_ns(row) {
            return (Reason::Expired, false);
        }
        if !claim.is_free(now_ns) {
            break;
        }
        if world.claim(key, row, claim, Claim::new(client_port_be, now_ns)) {
            return (Reason::PinholeSyn, true);
        }
    }
    (Reason::Claimed, false)
}

#[inline(always)]
fn segment_of_connection<W: World>(world: &W, tuple: &Tuple) -> Reason {
    if world.remembers(tuple) {
        return Reason::EstablishedCached;
    }
    match world.socket(tuple) {
        Socket::Connection => {
            world.remember(tuple);
            return Reason::Established;
        }
        Socket::Listening => {
            let mut key = tuple.key(&world.client_mask());
            let claimed = find(world, &mut key)
                .is_some_and(|row| world.claimed(row).is_by(tuple.client_port_be));
            if claimed {
                return Reason::CookieAck;
            }
        }
        Socket::None => {}
    }
    if world.policy() & policy::PASS_STRAY != 0 {
        Reason::StrayPassed
    } else {
        Reason::Stray
    }
}

#[cfg(test)]
mod tests;
