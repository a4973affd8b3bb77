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
mod tests {
    use ftp_ebpf::abi::{Address, ClientMask, PinholeKey};

    use super::*;

    fn tuple(client_port: u16) -> Tuple {
        Tuple {
            client: Address::from(IpAddr::from([192, 0, 2, 7])),
            server: Address::from(IpAddr::from([192, 0, 2, 1])),
            client_port_be: client_port.to_be(),
            server_port_be: 30_000_u16.to_be(),
        }
    }

    fn opening(time_ns: u64, session: u64, key: PinholeKey) -> Opening {
        Opening {
            time_ns,
            session,
            key,
            zero: 0,
        }
    }

    fn event(kind: EventKind, time_ns: u64, session: u64, client_port: u16) -> Event {
        Event {
            time_ns,
            session,
            kind: kind as u32,
            tuple: tuple(client_port),
            ..Event::default()
        }
    }

    fn transfer(client_port: u16, established_ns: u64) -> Transfer {
        Transfer {
            tuple: tuple(client_port),
            process: 9,
            established_ns,
            accepted_ns: established_ns + 10,
            first_byte_ns: established_ns + 30,
            last_byte_ns: established_ns + 60,
            ended_ns: established_ns + 100,
            sent: 1,
            ..Transfer::default()
        }
    }

    #[test]
    fn steps_are_joined_by_the_session_that_the_lock_tells() {
        let mut seen = Seen::default();
        // Of a whole network: the opening's client is not the connection's.
        let masked = tuple(0).key(&ClientMask::from_prefixes(24, 64));
        seen.opened(opening(100, 4, masked));
        seen.opened(opening(150, 5, masked));
        // Negotiated anew since, for the next transfer.
        seen.heard(&event(EventKind::Claimed, 200, 4, 40_000));
        seen.opened(opening(210, 4, masked));
        let line = seen.ended(&transfer(40_000, 220)).unwrap();
        assert_eq!((line.session, line.process), (Some(4), Some(9)));
        assert_eq!(line.first_byte_by, Some(End::Server));
        let times = Moment::ALL.map(|moment| line.at(moment).unwrap());
        assert_eq!(times, [100, 200, 220, 230, 250, 280, 320]);
        let between: Vec<_> = line.intervals().map(|(.., ns)| ns).collect();
        assert_eq!(between, [100, 20, 10, 20, 30, 40]);
        // Each is used once.
        assert_eq!(seen.ended(&transfer(40_000, 220)), None);
    }

    #[test]
    fn a_guards_openings_come_from_the_kernel_half() {
        let mut seen = Seen::default();
        seen.heard(&event(EventKind::Opened, 100, 7, 0));
        seen.heard(&event(EventKind::Claimed, 200, 7, 40_000));
        let line = seen.ended(&transfer(40_000, 220)).unwrap();
        assert_eq!(line.at(Moment::Negotiated), Some(100));
        assert_eq!(line.at(Moment::Syn), Some(200));
    }

    #[test]
    fn without_a_lock_in_front_the_pinholes_key_tells() {
        let mut seen = Seen::default();
        seen.opened(opening(100, 4, tuple(0).key(&ClientMask::EXACT)));
        seen.opened(opening(900, 4, tuple(0).key(&ClientMask::EXACT)));
        let line = seen.ended(&transfer(40_000, 220)).unwrap();
        assert_eq!(line.at(Moment::Negotiated), Some(100));
        assert_eq!(line.at(Moment::Syn), None);
        let first = line.intervals().next();
        assert_eq!(first, Some((Moment::Negotiated, Moment::Established, 120)));
    }

    #[test]
    fn what_nobody_negotiated_is_no_data_connection() {
        assert_eq!(Seen::default().ended(&transfer(40_000, 220)), None);
    }

    #[test]
    fn an_active_connection_was_negotiated_by_the_client() {
        let refused = Transfer {
            active: 1,
            process: 9,
            syn_ns: 50,
            ended_ns: 70,
            tuple: tuple(40_000),
            ..Transfer::default()
        };
        let line = Seen::default().ended(&refused).unwrap();
        assert!(line.active && line.session.is_none());
        let all: Vec<_> = line.intervals().collect();
        assert_eq!(all, [(Moment::Syn, Moment::Closed, 20)]);
    }
}
