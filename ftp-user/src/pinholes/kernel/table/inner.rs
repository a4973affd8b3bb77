//! What waits, who has which ports, and who keeps the kernel's rows.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    iter,
    net::TcpStream,
    sync::Arc,
};

use ftp_ebpf::abi::{Address, PinholeKey};
use rand::RngExt as _;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};

use super::{
    super::{acceptor::Acceptor, successor::Successor},
    Store,
};
use crate::{config::PortSet, pinholes::SessionId};

/// Who keeps the kernel's table.
pub(super) enum Keeper {
    /// This process.
    Own {
        store: Box<dyn Store>,
        /// Another process is about to take it, and knows of the rows with these numbers: rows are
        /// closed, but none is opened.
        leaving: Option<Vec<u64>>,
    },
    /// The process that has taken over.
    Successor(Arc<Successor>),
}

pub(super) struct Inner {
    pub(super) keeper: Keeper,
    /// Where connections arrive, while that is this process.
    pub(super) acceptor: Option<Arc<Acceptor>>,
    pub(super) released: Arc<Notify>,
    pub(super) next_id: u64,
    pub(super) waiting: HashMap<PinholeKey, Waiting>,
    pub(super) per_port: HashMap<u16, u32>,
    /// Free ports of each client and server address that hold at least one.
    pub(super) clients: HashMap<(Address, Address), Arc<Semaphore>>,
    /// In order, because every pinhole lives equally long.
    pub(super) deadlines: VecDeque<(Instant, PinholeKey, u64)>,
    /// Closed before their connection was accepted, which may be on its way all the same: another
    /// pinhole with that key would take it for its own.
    pub(super) given_up: HashMap<PinholeKey, Instant>,
}

pub(super) struct Waiting {
    /// Tells this pinhole from a later one with the same key.
    pub(super) id: u64,
    pub(super) session: SessionId,
    pub(super) deadline_ns: u64,
    pub(super) connection: oneshot::Sender<TcpStream>,
    /// One of the client's ports; free for others again when this is dropped.
    pub(super) _port: OwnedSemaphorePermit,
}

impl Inner {
    pub(super) fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// A key of this client that no pinhole has: of a random port, or of the next one after it that is
    /// free. One that was given up just now only if those near it are no better.
    pub(super) fn free_key(
        &self,
        ports: &PortSet,
        client: Address,
        server: Address,
    ) -> Option<PinholeKey> {
        const NEAR: usize = 64;

        let count = ports.len();
        let start = rand::rng().random_range(0..count);
        let mut free = (start..start + count)
            .filter_map(|place| ports.nth(place % count))
            .map(|port| PinholeKey {
                client,
                server,
                port_be: port.to_be(),
                zero: 0,
            })
            .filter(|key| !self.waiting.contains_key(key));
        let first = free.next()?;
        let mut near = iter::once(first).chain(free.take(NEAR));
        let fresh = near.find(|key| !self.given_up.contains_key(key));
        Some(fresh.unwrap_or(first))
    }

    /// Removes the pinhole with this key, if it is the one with this id.
    pub(super) fn remove(&mut self, key: &PinholeKey, id: Option<u64>) -> Option<Waiting> {
        let Entry::Occupied(entry) = self.waiting.entry(*key) else {
            return None;
        };
        if id.is_some_and(|id| id != entry.get().id) {
            return None;
        }
        let waiting = entry.remove();
        let port = u16::from_be(key.port_be);
        let last = match self.per_port.entry(port) {
            Entry::Occupied(mut count) => {
                *count.get_mut() -= 1;
                let last = *count.get() == 0;
                if last {
                    count.remove();
                }
                last
            }
            Entry::Vacant(_) => false,
        };
        if let Keeper::Own { store, .. } = &mut self.keeper {
            if last {
                store.set_waiting(port, false);
            }
            if let Err(error) = store.remove(key) {
                // The row admits nobody after its deadline, and its connections find no session.
                tracing::error!(port, %error, "the kernel kept a pinhole that was to be removed");
            }
        }
        self.forget_idle_client(key);
        self.released.notify_waiters();
        Some(waiting)
    }

    /// Gives this key to nobody for a moment.
    pub(super) fn give_up(&mut self, key: PinholeKey) {
        /// Whoever negotiates more than that in a second and uses none of it does not connect.
        const MOST: usize = 1024;
        if self.given_up.len() < MOST {
            self.given_up.insert(key, Instant::now());
        }
    }

    /// The permit that is about to be dropped is the last one out: the table's and its own are the
    /// only references to the semaphore.
    pub(super) fn forget_idle_client(&mut self, key: &PinholeKey) {
        if let Entry::Occupied(client) = self.clients.entry((key.client, key.server))
            && Arc::strong_count(client.get()) <= 2
        {
            client.remove();
        }
    }
}
