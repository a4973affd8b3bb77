//! Control connections that are older than the guard, or whose beginning it has missed. The kernel half
//! counts those that it has seen begin, and looks at the descriptors of processes that listen only
//! while there are any; this half tells it while there may be others.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use aya::maps::{Array, MapData};
use ftp_ebpf::abi::{control_count, map};
use tokio::time::Instant;

use super::super::{
    Object, ObjectError,
    proc_net::{self, State, TcpSocket},
};
use crate::config::PortSet;

/// Before the first look at all sockets of the host; then twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Those that still are there.
pub(super) struct Older {
    map: Array<MapData, u32>,
    left: HashSet<Ends>,
    next_look: Instant,
    pause: Duration,
}

/// Client and server.
type Ends = (SocketAddr, SocketAddr);

impl Older {
    /// Before the tracepoint is attached: from here on there may be some, in this network namespace.
    pub(super) fn start(object: &mut Object, namespace: u32) -> Result<Self, ObjectError> {
        let mut older = Self {
            map: object.control_count()?,
            left: HashSet::new(),
            next_look: Instant::now() + PAUSE,
            pause: PAUSE,
        };
        older.tell(true)?;
        let told = older.map.set(control_count::NAMESPACE, namespace, 0);
        told.map_err(ObjectError::of_map(map::CONTROL_COUNT))?;
        Ok(older)
    }

    /// Whether the kernel half has seen a connection begin.
    pub(super) fn has_seen_one(&self) -> Result<bool, ObjectError> {
        let seen = self.map.get(&control_count::SEEN, 0);
        Ok(seen.map_err(ObjectError::of_map(map::CONTROL_COUNT))? > 0)
    }

    /// The kernel half has missed events, so many: whatever is there may have begun unseen. Says what
    /// is there.
    pub(super) fn start_over(
        &mut self,
        missed: u32,
        control_ports: &PortSet,
    ) -> Result<Vec<TcpSocket>, ObjectError> {
        self.tell(true)?;
        let before = self
            .map
            .get(&control_count::MISSED, 0)
            .map_err(ObjectError::of_map(map::CONTROL_COUNT))?;
        let missed = before.saturating_add(missed);
        let told = self.map.set(control_count::MISSED, missed, 0);
        told.map_err(ObjectError::of_map(map::CONTROL_COUNT))?;
        let sockets = proc_net::sockets();
        self.count(&sockets, control_ports)?;
        self.pause = PAUSE;
        self.next_look = Instant::now() + PAUSE;
        Ok(sockets)
    }

    /// After the tracepoint is attached: those among `sockets`, and no others.
    pub(super) fn count(
        &mut self,
        sockets: &[TcpSocket],
        control_ports: &PortSet,
    ) -> Result<(), ObjectError> {
        self.left = connected(sockets)
            .filter(|(_, server)| control_ports.contains(server.port()))
            .collect();
        self.tell(!self.left.is_empty())
    }

    /// Forgets those that have gone.
    pub(super) fn look_again(&mut self) {
        if self.left.is_empty() || Instant::now() < self.next_look {
            return;
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.next_look = Instant::now() + self.pause;
        let now: HashSet<Ends> = connected(&proc_net::sockets()).collect();
        self.left.retain(|ends| now.contains(ends));
        if self.left.is_empty()
            && let Err(error) = self.tell(false)
        {
            // Descriptors are looked at more often than they need be.
            tracing::debug!(%error, "the kernel half still expects older control connections");
        }
    }

    fn tell(&mut self, there_may_be: bool) -> Result<(), ObjectError> {
        let told = self
            .map
            .set(control_count::OLDER, u32::from(there_may_be), 0);
        told.map_err(ObjectError::of_map(map::CONTROL_COUNT))
    }
}

fn connected(sockets: &[TcpSocket]) -> impl Iterator<Item = Ends> {
    sockets
        .iter()
        .filter(|socket| socket.state == State::Connected)
        .map(|socket| (socket.remote, socket.local))
}
