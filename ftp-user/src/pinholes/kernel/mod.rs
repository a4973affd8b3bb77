//! Pinholes in the kernel: loads the eBPF object, locks the interfaces, keeps the table, accepts
//! what the kernel hands over. Dropping [`Kernel`] detaches and frees everything.

mod acceptor;
mod attach;
mod clock;
pub mod dry_run;
mod events;
mod explain;
mod guard;
mod host;
mod layout;
mod locks;
mod object;
mod others;
mod proc_net;
mod shared_ports;
mod store;
mod table;
mod trace;
mod upkeep;

use std::{
    collections::HashSet,
    fmt,
    fs::File,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{sync::watch, task::JoinSet};

pub use self::{
    acceptor::AcceptorError,
    attach::{AttachError, Locked, Mode},
    explain::StartError,
    guard::{Guard, GuardOptions, NamespaceError, PinsError, SelfTestError, enter, pinned_layouts},
    host::HostError,
    layout::LayoutError,
    object::{GuardSettings, Object, ObjectError, Settings, TraceSettings, TracedServer},
    shared_ports::{Set, SharedPorts},
    trace::{End, Moment, Timeline, TraceError, Tracer},
};
pub(in crate::pinholes) use self::{clock::monotonic_ns, table::Hole};
use self::{
    host::Link,
    locks::{Locks, Nothing},
    store::KernelStore,
    table::{Table, Timing},
    upkeep::{Situation, Upkeep},
};
use crate::{
    config::{Config, PortSet},
    pinholes::{OpenError, SessionId},
};

/// The running kernel half.
pub(in crate::pinholes) struct Kernel {
    table: Arc<Table>,
    /// Accepting, logging, housekeeping; end with this.
    _tasks: JoinSet<()>,
    /// Detached when dropped, after the tasks.
    _programs: Arc<Mutex<Programs>>,
}

/// Every program, and where they are attached.
struct Programs {
    object: Object,
    locks: Locks,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

impl Kernel {
    /// Loads, listens, locks, in this order: from the first locked interface on, everything that a
    /// session may promise is in place.
    pub(in crate::pinholes) async fn start(config: &Config) -> Result<Self, StartError> {
        let enforce = &config.enforce;
        let settings = Settings::of(enforce, None);
        let mut object = Object::load(&settings)?;
        let mut tasks = JoinSet::new();

        let ports = Arc::new(object.ports()?);
        for port in config.passive.ports.iter() {
            ports.set(Set::Guarded, port, true);
        }
        let links = host::links().await?;
        let upkeep = Upkeep::start(
            &mut object,
            Arc::clone(&ports),
            Situation {
                stray: enforce.stray,
                interfaces: enforce.interfaces.clone(),
                listen: config.listen.clone(),
                dry_run: false,
                admit_peers: false,
            },
            &links,
        )?;

        let store = KernelStore::new(object.pinholes()?, ports);
        let timing = Timing {
            connect: config.passive.connect_timeout,
            port: config.passive.port_timeout,
        };
        let ports = config.passive.ports.clone();
        let (ephemeral, mask) = (host::ephemeral_ports(), settings.client_mask);
        let table = Table::new(ports, ephemeral, mask, timing, Box::new(store));

        for listener in acceptor::listen(&mut object.listeners()?, &config.passive.ports)? {
            let table = Arc::clone(&table);
            tasks.spawn(async move {
                if let Err(error) = acceptor::accept(listener, table).await {
                    tracing::error!(%error, "passive data connections are no longer accepted");
                }
            });
        }
        events::start(&mut object, &mut tasks, settings.debug, None)?;
        let (seen, changes) = watch::channel(Vec::new());
        tasks.spawn(upkeep.run(Some(Arc::clone(&table)), seen));

        steer(&mut object)?;
        others::warn(&config.passive.ports, "passive.ports =", &HashSet::new());
        let locks = Locks::put(&mut object, enforce, &config.listen, &links, &Nothing)?;
        for locked in locks.locked() {
            tracing::info!("{locked}");
        }
        let programs = Arc::new(Mutex::new(Programs { object, locks }));
        tasks.spawn(follow(Arc::downgrade(&programs), changes));
        Ok(Self {
            table,
            _tasks: tasks,
            _programs: programs,
        })
    }

    /// Opens a pinhole; see [`Pinholes::open`](crate::pinholes::Pinholes::open).
    pub(in crate::pinholes) async fn open(
        &self,
        session: SessionId,
        client: IpAddr,
        server: IpAddr,
        ports: Option<&PortSet>,
    ) -> Result<Hole, OpenError> {
        self.table.open(session, client, server, ports).await
    }
}

/// Locks the interfaces that come up later. Until then a data connection by one of them needs its
/// pinhole all the same, because `steer` does; a second one may get as far as the acceptor.
async fn follow(programs: Weak<Mutex<Programs>>, mut changes: watch::Receiver<Vec<Link>>) {
    while changes.changed().await.is_ok() {
        let links = changes.borrow_and_update().clone();
        let Some(programs) = programs.upgrade() else {
            return;
        };
        let mut programs = programs.lock().unwrap_or_else(PoisonError::into_inner);
        let Programs { object, locks } = &mut *programs;
        locks.follow(object, &links, &Nothing);
    }
}

fn steer(object: &mut Object) -> Result<(), StartError> {
    let namespace = File::open("/proc/self/ns/net").map_err(StartError::Namespace)?;
    object
        .steer()?
        .attach(namespace)
        .map_err(|error| StartError::Steer(Box::new(error)))?;
    Ok(())
}
