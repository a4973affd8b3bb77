//! The pinholes that wait, on the daemon's side: which ports each client holds, who waits for the
//! connection, when it is too late. Every row of the kernel's table is opened and closed here;
//! how the kernel is told is behind [`Store`].

mod hands;

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt, io,
    net::{IpAddr, TcpStream},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ftp_ebpf::abi::{Address, Claim, ClientMask, Pinhole, PinholeKey, Tuple};
use rand::RngExt as _;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};

use super::{acceptor::Acceptor, successor::Successor};
use crate::{
    config::PortSet,
    pinholes::{AcceptError, OpenError, SessionId},
};

/// The kernel's side of the table. Ports are in host byte order.
pub(super) trait Store: Send + 'static {
    /// Adds a row; the kernel admits its client from the return of this call on.
    fn insert(&mut self, key: &PinholeKey, row: &Pinhole) -> io::Result<()>;
    /// Removes a row; that it is gone already is no error.
    fn remove(&mut self, key: &PinholeKey) -> io::Result<()>;
    /// Who has taken a row, by now.
    fn claim(&self, key: &PinholeKey) -> Claim;
    /// Says whether any pinhole waits on `port`.
    fn set_waiting(&mut self, port: u16, waiting: bool);
}

/// Who keeps the kernel's table.
enum Keeper {
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

/// Where a pinhole can be opened at the moment.
enum Place {
    /// Here, with one of these ports.
    Here(Arc<Semaphore>),
    /// Not before it is known who keeps the table.
    Unsettled,
    /// There.
    Successor(Arc<Successor>),
}

/// Why none was opened here.
enum NotOpened {
    /// None of the ports that it may have is free.
    NoneOfThese,
    /// The table changes hands.
    Unsettled,
    Refused(OpenError),
}

/// How long a connection may take from its SYN to its session.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// From the opening of a pinhole to its deadline.
    pub(super) connect: Duration,
    /// How long to wait for a port when the client holds all of them.
    pub(super) port: Duration,
}

/// All waiting pinholes.
pub(super) struct Table {
    ports: PortSet,
    /// Where this host's own connections come from.
    ephemeral: Option<PortSet>,
    mask: ClientMask,
    timing: Timing,
    inner: Mutex<Inner>,
    /// Wakes those who wait for one of some ports; for one of all, they wait by semaphore.
    released: Arc<Notify>,
}

struct Inner {
    keeper: Keeper,
    /// Where connections arrive, while that is this process.
    acceptor: Option<Arc<Acceptor>>,
    released: Arc<Notify>,
    next_id: u64,
    waiting: HashMap<PinholeKey, Waiting>,
    per_port: HashMap<u16, u32>,
    /// Free ports of each client and server address that hold at least one.
    clients: HashMap<(Address, Address), Arc<Semaphore>>,
    /// In order, because every pinhole lives equally long.
    deadlines: VecDeque<(Instant, PinholeKey, u64)>,
    /// Closed before their connection was accepted, which may be on its way all the same: another
    /// pinhole with that key would take it for its own.
    given_up: HashMap<PinholeKey, Instant>,
}

struct Waiting {
    /// Tells this pinhole from a later one with the same key.
    id: u64,
    session: SessionId,
    deadline_ns: u64,
    connection: oneshot::Sender<TcpStream>,
    /// One of the client's ports; free for others again when this is dropped.
    _port: OwnedSemaphorePermit,
}

/// One waiting pinhole. Dropping it closes it.
pub(in crate::pinholes) struct Hole {
    table: Arc<Table>,
    key: PinholeKey,
    id: u64,
    deadline: Instant,
    connection: oneshot::Receiver<TcpStream>,
}

impl Table {
    pub(super) fn new(
        ports: PortSet,
        ephemeral: Option<PortSet>,
        mask: ClientMask,
        timing: Timing,
        store: Box<dyn Store>,
    ) -> Arc<Self> {
        let released = Arc::new(Notify::new());
        let inner = Inner {
            keeper: Keeper::Own {
                store,
                leaving: None,
            },
            released: Arc::clone(&released),
            next_id: 1,
            waiting: HashMap::new(),
            per_port: HashMap::new(),
            clients: HashMap::new(),
            deadlines: VecDeque::new(),
            given_up: HashMap::new(),
            acceptor: None,
        };
        Arc::new(Self {
            ports,
            ephemeral,
            mask,
            timing,
            inner: Mutex::new(inner),
            released,
        })
    }

    /// Opens a pinhole on a random port, of `ports` if they are given, that this client does not
    /// hold already.
    ///
    /// The key holds the client, so clients do not take ports from each other; but those behind
    /// one address share its ports, and take turns when all of them wait.
    pub(super) async fn open(
        self: &Arc<Self>,
        session: SessionId,
        client: IpAddr,
        server: IpAddr,
        ports: Option<&PortSet>,
    ) -> Result<Hole, OpenError> {
        let ports = ports.unwrap_or(&self.ports);
        let apart = (client == server).then(|| self.apart(ports)).flatten();
        let ports = apart.as_ref().unwrap_or(ports);
        let client = self.mask.apply(client.into());
        let server = Address::from(server);
        let give_up = Instant::now() + self.timing.port;
        loop {
            // Made before the look, so that a release in between is not missed.
            let released = self.released.notified();
            let free = match self.place(client, server) {
                Place::Here(free) => free,
                Place::Unsettled => {
                    released.await;
                    continue;
                }
                Place::Successor(successor) => {
                    let ends = (client, server);
                    return self.open_there(&successor, session, ends, ports).await;
                }
            };
            let permit = match timeout_at(give_up, free.acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) | Err(_) => return Err(OpenError::NoPort(self.timing.port)),
            };
            match self.insert(session, client, server, ports, permit) {
                Ok(hole) => return Ok(hole),
                Err(NotOpened::Refused(error)) => return Err(error),
                Err(NotOpened::Unsettled) => {}
                // The client has a port left, but none of these.
                Err(NotOpened::NoneOfThese) => {
                    if timeout_at(give_up, released).await.is_err() {
                        return Err(OpenError::NoPort(self.timing.port));
                    }
                }
            }
        }
    }

    /// Sessions get their connections from there.
    pub(super) fn attend(&self, acceptor: Arc<Acceptor>) {
        self.lock().acceptor = Some(acceptor);
    }

    /// Hands an accepted connection to the session that waits for it. Its pinhole is gone when
    /// this returns. Gives the connection back where no pinhole waits (any more) for it.
    pub(super) fn deliver(&self, tuple: &Tuple, connection: TcpStream) -> Result<(), TcpStream> {
        let removed = self.lock().remove(&tuple.key(&self.mask), None);
        match removed {
            // A session that has just given up drops its end; then nobody waits.
            Some(waiting) => waiting.connection.send(connection),
            None => Err(connection),
        }
    }

    /// Refuses connections that no session will ask for, and closes every pinhole past its deadline.
    /// The kernel admits nobody from the deadline on by itself; this frees the row and the client's
    /// port.
    pub(super) fn sweep(&self, now: Instant) {
        // First, for those that came in time.
        if let Some(acceptor) = self.acceptor() {
            acceptor.deliver_all(self);
        }
        let mut inner = self.lock();
        inner
            .given_up
            .retain(|_, since| now.saturating_duration_since(*since) < ON_ITS_WAY);
        while let Some(&(deadline, key, id)) = inner.deadlines.front() {
            let over = deadline <= now;
            let gone = inner
                .waiting
                .get(&key)
                .is_none_or(|waiting| waiting.id != id);
            if !over && !gone {
                break;
            }
            inner.deadlines.pop_front();
            if !gone {
                inner.remove(&key, Some(id));
            }
        }
    }

    /// Those of `ports` for a client on this very address. Nothing is bound to a passive port, so the
    /// client's kernel might choose the same one for its end, and connect the client with itself.
    fn apart(&self, ports: &PortSet) -> Option<PortSet> {
        ports.without(self.ephemeral.as_ref()?)
    }

    fn place(&self, client: Address, server: Address) -> Place {
        let mut inner = self.lock();
        match &inner.keeper {
            Keeper::Own { leaving: None, .. } => {}
            Keeper::Own { .. } => return Place::Unsettled,
            Keeper::Successor(successor) => return Place::Successor(Arc::clone(successor)),
        }
        let all = || Arc::new(Semaphore::new(self.ports.len()));
        let free = inner.clients.entry((client, server)).or_insert_with(all);
        Place::Here(Arc::clone(free))
    }

    fn insert(
        self: &Arc<Self>,
        session: SessionId,
        client: Address,
        server: Address,
        ports: &PortSet,
        port_permit: OwnedSemaphorePermit,
    ) -> Result<Hole, NotOpened> {
        let inner = self.lock();
        let key = inner
            .free_key(ports, client, server)
            .ok_or(NotOpened::NoneOfThese)?;
        let connect = u64::try_from(self.timing.connect.as_nanos()).unwrap_or(u64::MAX);
        let row = Pinhole {
            session,
            deadline_ns: super::clock::monotonic_ns().saturating_add(connect),
            claim: Claim::FREE,
        };
        let hole = self.put(inner, key, &row, port_permit)?;
        tracing::debug!(session, client = %IpAddr::from(client), port = hole.port(), "pinhole opened");
        Ok(hole)
    }

    /// Adds a row with a key that no other has.
    fn put(
        self: &Arc<Self>,
        mut inner: MutexGuard<'_, Inner>,
        key: PinholeKey,
        row: &Pinhole,
        port_permit: OwnedSemaphorePermit,
    ) -> Result<Hole, NotOpened> {
        let inner = &mut *inner;
        let store = match &mut inner.keeper {
            Keeper::Own {
                store,
                leaving: None,
            } => store,
            Keeper::Own { .. } | Keeper::Successor(_) => return Err(NotOpened::Unsettled),
        };
        let port = u16::from_be(key.port_be);
        if let Err(source) = store.insert(&key, row) {
            inner.forget_idle_client(&key);
            return Err(NotOpened::Refused(OpenError::Kernel { port, source }));
        }
        let count = inner.per_port.entry(port).or_insert(0);
        *count += 1;
        if *count == 1 {
            store.set_waiting(port, true);
        }
        let id = inner.new_id();
        let left = row.deadline_ns.saturating_sub(super::clock::monotonic_ns());
        let deadline = Instant::now() + Duration::from_nanos(left);
        let (sender, connection) = oneshot::channel();
        inner.waiting.insert(
            key,
            Waiting {
                id,
                session: row.session,
                deadline_ns: row.deadline_ns,
                connection: sender,
                _port: port_permit,
            },
        );
        inner.deadlines.push_back((deadline, key, id));
        Ok(Hole {
            table: Arc::clone(self),
            key,
            id,
            deadline,
            connection,
        })
    }

    fn acceptor(&self) -> Option<Arc<Acceptor>> {
        self.lock().acceptor.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code below panics halfway through a change; and closing must go on in any case.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// A key of this client that no pinhole has: of a random port, or of the next one after it that is
    /// free. One that was given up just now only if a few others are no better.
    fn free_key(&self, ports: &PortSet, client: Address, server: Address) -> Option<PinholeKey> {
        /// Each by itself, for what is given up lies spread; then what lies side by side.
        const AT_RANDOM: usize = 8;
        const IN_A_ROW: usize = 64;

        let count = ports.len();
        let key = |place: usize| {
            ports.nth(place % count).map(|port| PinholeKey {
                client,
                server,
                port_be: port.to_be(),
                zero: 0,
            })
        };
        let is_free = |key: &PinholeKey| !self.waiting.contains_key(key);
        let is_fresh = |key: &PinholeKey| !self.given_up.contains_key(key);
        let place = || rand::rng().random_range(0..count.max(1));
        let mut at_random = (0..AT_RANDOM).filter_map(|_| key(place()));
        if let Some(key) = at_random.find(|key| is_free(key) && is_fresh(key)) {
            return Some(key);
        }
        let start = place();
        let mut in_a_row = (start..start + count).filter_map(key).filter(is_free);
        let first = in_a_row.next()?;
        match is_fresh(&first) {
            true => Some(first),
            false => Some(in_a_row.take(IN_A_ROW).find(is_fresh).unwrap_or(first)),
        }
    }

    /// Removes the pinhole with this key, if it is the one with this id.
    fn remove(&mut self, key: &PinholeKey, id: Option<u64>) -> Option<Waiting> {
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

    /// The permit that is about to be dropped is the last one out: the table's and its own are the
    /// only references to the semaphore.
    fn forget_idle_client(&mut self, key: &PinholeKey) {
        if let Entry::Occupied(client) = self.clients.entry((key.client, key.server))
            && Arc::strong_count(client.get()) <= 2
        {
            client.remove();
        }
    }
}

impl fmt::Debug for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hole")
            .field("key", &self.key)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Hole {
    /// The port, host byte order.
    pub(in crate::pinholes) fn port(&self) -> u16 {
        u16::from_be(self.key.port_be)
    }

    /// The client's connection, or an error at the deadline.
    pub(in crate::pinholes) async fn accept(&mut self) -> Result<TcpStream, AcceptError> {
        let server = IpAddr::from(self.key.server);
        let acceptor = self.table.acceptor();
        if let Some(acceptor) = &acceptor {
            acceptor.deliver(&self.table, server, &self.connection);
        }
        let listen = async {
            if let Some(acceptor) = &acceptor {
                acceptor.listen(&self.table, server).await;
            }
        };
        let connection = timeout_at(self.deadline, &mut self.connection);
        match until(connection, listen).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(_)) | Err(_) => Err(AcceptError::Deadline(self.table.timing.connect)),
        }
    }
}

/// Waits for `wanted`, and does `work` meanwhile.
async fn until<T>(wanted: impl Future<Output = T>, work: impl Future<Output = ()>) -> T {
    let mut wanted = pin!(wanted);
    tokio::select! {
        biased;
        wanted = &mut wanted => return wanted,
        () = work => {}
    }
    wanted.await
}

impl Drop for Hole {
    fn drop(&mut self) {
        let mut inner = self.table.lock();
        let waited = match &inner.keeper {
            Keeper::Own { .. } => {
                let removed = inner.remove(&self.key, Some(self.id)).is_some();
                if removed {
                    inner.given_up.insert(self.key, Instant::now());
                }
                removed
            }
            Keeper::Successor(successor) => successor.close(self.id),
        };
        let acceptor = inner.acceptor.clone();
        drop(inner);
        if waited {
            // Its connection may have come already: it is refused now, not by whoever accepts next.
            if let Some(acceptor) = acceptor {
                acceptor.deliver(&self.table, self.key.server.into(), &self.connection);
            }
            tracing::debug!(port = self.port(), "pinhole closed");
        }
    }
}

#[cfg(test)]
mod tests;
