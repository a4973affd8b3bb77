//! The pinholes that wait, on the daemon's side: which ports each client holds, who waits for the
//! connection, when it is too late. Every row of the kernel's table is opened and closed here;
//! how the kernel is told is behind [`Store`].

mod hands;
mod hole;
mod inner;

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ftp_ebpf::abi::{Address, Claim, ClientMask, Pinhole, PinholeKey, Tuple};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};

pub(in crate::pinholes) use self::hole::Hole;
use self::inner::{Inner, Keeper, Waiting};
use super::{acceptor::Acceptor, successor::Successor};
use crate::{
    config::PortSet,
    pinholes::{OpenError, SessionId},
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

#[cfg(test)]
mod tests;
