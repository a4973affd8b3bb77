//! The host of a case in plain memory, for the decision as it runs without a kernel.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
};

use ftp_ebpf::{
    abi::{Address, Claim, ClientMask, PinholeKey, Tuple, policy},
    decide::{Socket, World},
};

use super::host::{self, Host, LISTENING_PORT, Life, Taken};
use crate::lab::Family;

const SECOND: u64 = 1_000_000_000;
/// Some time after boot.
const NOW: u64 = 1_000_000 * SECOND;

struct Row {
    key: PinholeKey,
    deadline_ns: u64,
    claim: Cell<Claim>,
}

/// An in-memory [`World`].
pub struct Memory {
    policy: u64,
    mask: ClientMask,
    waiting: Vec<u16>,
    rows: Vec<Row>,
    remembered: RefCell<Vec<Tuple>>,
    connections: Vec<Tuple>,
    peers: Vec<Address>,
}

impl Memory {
    /// The memory of `host`.
    pub fn new(host: &Host) -> Memory {
        let mask = ClientMask::from_prefixes(host.prefixes.0, host.prefixes.1);
        let rows = host
            .holes
            .iter()
            .map(|hole| Row {
                key: PinholeKey {
                    client: mask.apply(hole.client.into()),
                    server: hole.server.into(),
                    port_be: hole.port.to_be(),
                    zero: 0,
                },
                deadline_ns: match hole.life {
                    Life::Open => NOW + 30 * SECOND,
                    Life::Over => NOW - SECOND,
                },
                claim: Cell::new(match hole.taken {
                    Taken::No => Claim::FREE,
                    Taken::Fresh(port) => Claim::new(port.to_be(), NOW - SECOND),
                    Taken::Stale(port) => {
                        Claim::new(port.to_be(), NOW - Claim::LIFETIME_NS - SECOND)
                    }
                }),
            })
            .collect();
        let forwards = u64::from(host.forwards) * policy::CHECK_LOCAL;
        let passes_stray = u64::from(host.passes_stray) * policy::PASS_STRAY;
        let waiting = host.holes.iter().map(|hole| hole.port);
        Memory {
            policy: forwards | passes_stray,
            mask,
            waiting: waiting.chain(host.lingering_bit).collect(),
            rows,
            remembered: RefCell::new(host.remembered.map(tuple).into_iter().collect()),
            connections: Family::BOTH.map(host::connection).map(tuple).into(),
            peers: Vec::new(),
        }
    }

    /// The source ports that have the pinholes now, in the host's order.
    pub fn claims(&self) -> Vec<Option<u16>> {
        let port = |row: &Row| u16::from_be(row.claim.get().client_port_be());
        self.rows
            .iter()
            .map(|row| (row.claim.get() != Claim::FREE).then(|| port(row)))
            .collect()
    }
}

impl World for Memory {
    type Row = usize;

    fn policy(&self) -> u64 {
        self.policy
    }

    fn guarded(&self, index: usize) -> u64 {
        word(index, host::is_guarded)
    }

    fn waiting(&self, index: usize) -> u64 {
        word(index, |port| self.waiting.contains(&port))
    }

    fn client_mask(&self) -> ClientMask {
        self.mask
    }

    fn is_local(&self, addr: &Address) -> bool {
        host::is_own((*addr).into())
    }

    fn is_peer(&self, client: &Address) -> bool {
        self.peers.contains(client)
    }

    fn now_ns(&self) -> u64 {
        NOW
    }

    fn pinhole(&self, key: &PinholeKey) -> Option<usize> {
        self.rows.iter().position(|row| row.key == *key)
    }

    fn deadline_ns(&self, row: usize) -> u64 {
        self.rows[row].deadline_ns
    }

    fn session(&self, row: usize) -> u64 {
        row as u64 + 1
    }

    fn claimed(&self, row: usize) -> Claim {
        self.rows[row].claim.get()
    }

    fn claim(&self, key: &PinholeKey, row: usize, old: Claim, new: Claim) -> bool {
        let row = &self.rows[row];
        if row.key != *key || row.claim.get() != old {
            return false;
        }
        row.claim.set(new);
        true
    }

    fn remembers(&self, tuple: &Tuple) -> bool {
        self.remembered.borrow().contains(tuple)
    }

    fn remember(&self, tuple: &Tuple) {
        self.remembered.borrow_mut().push(*tuple);
    }

    fn socket(&self, tuple: &Tuple) -> Socket {
        if self.connections.contains(tuple) {
            Socket::Connection
        } else if u16::from_be(tuple.server_port_be) == LISTENING_PORT
            && host::is_own(tuple.server.into())
        {
            Socket::Listening
        } else {
            Socket::None
        }
    }

    fn listener_port_be(&self, _is_v4: bool) -> u16 {
        0
    }
}

/// The ends of a connection, client first, as the kernel half has them.
pub(super) fn tuple((client, server): (SocketAddr, SocketAddr)) -> Tuple {
    Tuple {
        client: client.ip().into(),
        server: server.ip().into(),
        client_port_be: client.port().to_be(),
        server_port_be: server.port().to_be(),
    }
}

fn word(index: usize, holds: impl Fn(u16) -> bool) -> u64 {
    (0..64_u16)
        .filter(|bit| holds(index as u16 * 64 + bit))
        .fold(0, |word, bit| word | 1 << bit)
}
