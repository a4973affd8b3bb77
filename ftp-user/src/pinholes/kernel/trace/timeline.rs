//! From what was seen, here and there, to one account of a data connection: who negotiated it, and
//! when each of its steps was. Pure.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use ftp_ebpf::abi::{Event, EventKind, Opening, Transfer, Tuple};

/// Openings and claims that are remembered until their transfer ends; of more, the oldest go.
const REMEMBERED: usize = 65_536;

/// A step of a data connection, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Its pinhole was there.
    Negotiated,
    /// Passive: the lock has let its SYN in. Active: the server has sent one.
    Syn,
    /// The handshake was complete.
    Established,
    /// The server has accepted it.
    Accepted,
    /// The server has sent or read the first byte; under TLS it is the handshake's.
    FirstByte,
    /// And the last.
    LastByte,
    /// One of the two ends has closed.
    Closed,
}

impl Moment {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::Negotiated,
        Self::Syn,
        Self::Established,
        Self::Accepted,
        Self::FirstByte,
        Self::LastByte,
        Self::Closed,
    ];

    /// One word, for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Negotiated => "negotiated",
            Self::Syn => "syn",
            Self::Established => "established",
            Self::Accepted => "accepted",
            Self::FirstByte => "first_byte",
            Self::LastByte => "last_byte",
            Self::Closed => "closed",
        }
    }
}

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Ours.
    Server,
    /// The other.
    Client,
}

/// A data connection, after its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// Who negotiated it, as the table of pinholes has it; not known of active ones.
    pub session: Option<u64>,
    /// The process that accepted it, or that connected.
    pub process: Option<u32>,
    /// The remote end.
    pub client: SocketAddr,
    /// The local end.
    pub server: SocketAddr,
    /// The server connected to the client.
    pub active: bool,
    /// Who moved the first byte.
    pub first_byte_by: Option<End>,
    /// When each [`Moment`] was, by its number, in nanoseconds of `CLOCK_MONOTONIC`; `None` for what
    /// was not seen.
    pub at: [Option<u64>; 7],
}

impl Timeline {
    /// When that was, in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn at(&self, moment: Moment) -> Option<u64> {
        self.at[moment as usize]
    }

    /// From each step that was seen to the next one that was, in nanoseconds.
    pub fn intervals(&self) -> impl Iterator<Item = (Moment, Moment, u64)> {
        let seen = || {
            let all = Moment::ALL.iter();
            all.filter_map(|moment| Some((*moment, self.at(*moment)?)))
        };
        let pairs = seen().zip(seen().skip(1));
        pairs.map(|((from, began), (to, ended))| (from, to, ended.saturating_sub(began)))
    }
}

/// What has been seen and not yet become an account.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// In the order of their times, but for a moment.
    openings: VecDeque<Opening>,
    claims: VecDeque<Claimed>,
}

#[derive(Debug)]
struct Claimed {
    time_ns: u64,
    session: u64,
    tuple: Tuple,
}

impl Seen {
    /// Our own server has opened a pinhole.
    pub(super) fn opened(&mut self, opening: Opening) {
        remember(&mut self.openings, opening);
    }

    /// The kernel half has told its daemon something.
    pub(super) fn heard(&mut self, event: &Event) {
        let Event {
            time_ns,
            session,
            tuple,
            ..
        } = *event;
        match EventKind::from_u32(event.kind) {
            Some(EventKind::Opened) => self.opened(Opening {
                time_ns,
                session,
                key: tuple.key(&ftp_ebpf::abi::ClientMask::EXACT),
                zero: 0,
            }),
            Some(EventKind::Claimed) => {
                let claimed = Claimed {
                    time_ns,
                    session,
                    tuple,
                };
                remember(&mut self.claims, claimed);
            }
            Some(EventKind::Denied | EventKind::Arrived | EventKind::Unresolved) | None => {}
        }
    }

    /// A connection has come to its end: the account of it; `None` where nobody negotiated it, which
    /// is no data connection but one to another server that has begun to listen meanwhile.
    pub(super) fn ended(&mut self, transfer: &Transfer) -> Option<Timeline> {
        let tuple = &transfer.tuple;
        let active = transfer.active != 0;
        let (claim, opening) = match active {
            true => (None, None),
            false => {
                let claim = take_newest(&mut self.claims, |claim| {
                    claim.tuple.is(tuple) && claim.time_ns <= transfer.established_ns
                });
                let opening = take_newest(&mut self.openings, |opening| match &claim {
                    Some(claim) => {
                        opening.session == claim.session && opening.time_ns <= claim.time_ns
                    }
                    // No lock stands in front of that interface.
                    None => {
                        opening.key == tuple.key(&ftp_ebpf::abi::ClientMask::EXACT)
                            && opening.time_ns <= transfer.established_ns
                    }
                });
                (claim, opening)
            }
        };
        if !active && claim.is_none() && opening.is_none() {
            return None;
        }
        let seen = |time_ns: u64| (time_ns != 0).then_some(time_ns);
        let first_byte = seen(transfer.first_byte_ns);
        Some(Timeline {
            session: claim
                .as_ref()
                .map(|claim| claim.session)
                .or(opening.map(|opening| opening.session)),
            process: (transfer.process != 0).then_some(transfer.process),
            client: address(tuple.client.into(), tuple.client_port_be),
            server: address(tuple.server.into(), tuple.server_port_be),
            active,
            first_byte_by: first_byte.map(|_| match transfer.sent {
                0 => End::Client,
                _ => End::Server,
            }),
            at: [
                opening.map(|opening| opening.time_ns),
                claim.map(|claim| claim.time_ns).or(seen(transfer.syn_ns)),
                seen(transfer.established_ns),
                seen(transfer.accepted_ns),
                first_byte,
                seen(transfer.last_byte_ns),
                seen(transfer.ended_ns),
            ],
        })
    }
}

fn address(address: IpAddr, port_be: u16) -> SocketAddr {
    SocketAddr::new(address, u16::from_be(port_be))
}

fn remember<T>(all: &mut VecDeque<T>, new: T) {
    if all.len() == REMEMBERED {
        all.pop_front();
    }
    all.push_back(new);
}

/// What is looked for has mostly just come.
fn take_newest<T>(all: &mut VecDeque<T>, wanted: impl Fn(&T) -> bool) -> Option<T> {
    let place = all.iter().rposition(wanted)?;
    all.remove(place)
}

#[cfg(test)]
mod tests;
