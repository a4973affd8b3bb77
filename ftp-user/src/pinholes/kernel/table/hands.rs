//! The table goes from one process of the daemon to the next: what waits is told, nothing is opened
//! until it is settled who keeps it, and from then on one of the two does, for the sessions of both.

use std::{collections::HashMap, sync::Arc};

use ftp_ebpf::abi::{Address, Claim, Pinhole, PinholeKey};
use tokio::{sync::oneshot, time::Instant};

use super::{
    super::{estate::Row, successor::Successor},
    Hole, Keeper, NotOpened, Place, Table,
};
use crate::{
    channel::Channel,
    config::PortSet,
    pinholes::{OpenError, SessionId},
};

impl Table {
    /// Begins to leave the table to another process: what waits, to be told to it. Nothing is opened
    /// until this is settled one way or the other.
    pub(in super::super) fn leave(&self) -> Vec<Row> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Keeper::Own { store, leaving } = &mut inner.keeper else {
            return Vec::new();
        };
        let rows: Vec<Row> = inner
            .waiting
            .iter()
            .map(|(key, waiting)| Row {
                id: waiting.id,
                client: key.client.into(),
                server: key.server.into(),
                port: u16::from_be(key.port_be),
                session: waiting.session,
                deadline_ns: waiting.deadline_ns,
                claim: store.claim(key).0,
            })
            .collect();
        *leaving = Some(rows.iter().map(|row| row.id).collect());
        rows
    }

    /// The other process does not take it: all is as it was.
    pub(in super::super) fn stay(&self) {
        if let Keeper::Own { leaving, .. } = &mut self.lock().keeper {
            *leaving = None;
        }
        self.released.notify_waiters();
    }

    /// The other process has taken it: whatever is opened from here on is opened there. The future
    /// is to be polled for as long as sessions run here.
    pub(in super::super) fn hand(
        &self,
        channel: Arc<Channel>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let told = match &mut inner.keeper {
            Keeper::Own { leaving, .. } => leaving.take().unwrap_or_default(),
            Keeper::Successor(_) => Vec::new(),
        };
        let waiting = std::mem::take(&mut inner.waiting).into_values();
        let waiting = waiting.map(|waiting| (waiting.id, waiting.connection));
        let waiting: HashMap<_, _> = waiting.collect();
        let ended: Vec<u64> = told
            .into_iter()
            .filter(|id| !waiting.contains_key(id))
            .collect();
        let (successor, work) = Successor::new(channel, waiting);
        for id in ended {
            successor.forget(id);
        }
        inner.keeper = Keeper::Successor(successor);
        inner.acceptor = None;
        inner.per_port.clear();
        inner.clients.clear();
        inner.deadlines.clear();
        self.released.notify_waiters();
        work
    }

    /// Takes a pinhole over from the process before.
    pub(in super::super) fn adopt(self: &Arc<Self>, row: &Row) -> Result<Hole, OpenError> {
        let key = PinholeKey {
            client: row.client.into(),
            server: row.server.into(),
            port_be: row.port.to_be(),
            zero: 0,
        };
        let none_free = || OpenError::NoPort(self.timing.port);
        let free = match self.place(key.client, key.server) {
            Place::Here(free) => free,
            Place::Unsettled | Place::Successor(_) => return Err(none_free()),
        };
        let permit = free.try_acquire_owned().map_err(|_| none_free())?;
        let pinhole = Pinhole {
            session: row.session,
            deadline_ns: row.deadline_ns,
            claim: Claim(row.claim),
        };
        match self.put(self.lock(), key, &pinhole, permit) {
            Ok(hole) => Ok(hole),
            Err(NotOpened::Refused(error)) => Err(error),
            Err(NotOpened::NoneOfThese | NotOpened::Unsettled) => Err(none_free()),
        }
    }

    /// Has the process that has taken over open one.
    pub(super) async fn open_there(
        self: &Arc<Self>,
        successor: &Successor,
        session: SessionId,
        (client, server): (Address, Address),
        ports: &PortSet,
    ) -> Result<Hole, OpenError> {
        let (sender, connection) = oneshot::channel();
        // From here on its drop closes it there.
        let mut hole = Hole {
            table: Arc::clone(self),
            key: PinholeKey {
                client,
                server,
                ..PinholeKey::default()
            },
            id: self.lock().new_id(),
            deadline: Instant::now(),
            connection,
        };
        let ends = (client.into(), server.into());
        let ports = (*ports != self.ports).then_some(ports);
        let patience = self.timing.port;
        let port = successor
            .open(hole.id, session, ends, ports, sender, patience)
            .await?;
        hole.key.port_be = port.to_be();
        hole.deadline = Instant::now() + self.timing.connect;
        Ok(hole)
    }
}
