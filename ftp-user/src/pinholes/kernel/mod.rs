//! Pinholes in the kernel: loads the eBPF object, locks the interfaces, keeps the table, accepts
//! what the kernel hands over. Dropping [`Kernel`] detaches and frees everything.

mod acceptor;
mod attach;
mod bpf_link;
mod clock;
pub mod dry_run;
mod estate;
mod events;
mod explain;
mod guard;
mod half;
mod hash;
mod host;
mod layout;
mod locks;
mod neighbours;
mod object;
mod others;
mod predecessor;
mod proc_net;
mod shared_ports;
mod store;
mod successor;
mod table;
mod trace;
mod upkeep;

use std::{collections::HashSet, fmt, fs::File, io, net::IpAddr, sync::Arc};

use tokio::{sync::watch, task::JoinSet};

use self::{
    acceptor::Acceptor,
    attach::Approach,
    half::Half,
    host::Link,
    locks::{Inherited, Locks},
    store::KernelStore,
    table::{Table, Timing},
    upkeep::{Situation, Upkeep},
};
pub use self::{
    acceptor::AcceptorError,
    attach::{AttachError, Locked, Mode, Unreadable},
    estate::Estate,
    explain::StartError,
    guard::{
        Guard, GuardOptions, NamespaceError, PinsError, SelfTestError, enter, name_of,
        pinned_layouts,
    },
    host::HostError,
    layout::LayoutError,
    neighbours::Neighbour,
    object::{GuardSettings, Object, ObjectError, Settings, TraceSettings, TracedServer},
    shared_ports::{Set, SharedPorts},
    trace::{End, Moment, Timeline, TraceError, Tracer},
};
pub(in crate::pinholes) use self::{
    clock::monotonic_ns, estate::leave_nothing, neighbours::find_server, table::Hole,
};
use crate::{
    channel::Channel,
    config::{Config, Enforce, PortSet},
    pinholes::{OpenError, SessionId},
};

/// How a server's passive ports are named where the administrator sets them.
const PORTS: &str = "passive.ports";

/// The running kernel half, or the way to it once another process has taken it over.
pub(in crate::pinholes) struct Kernel {
    table: Arc<Table>,
    half: tokio::sync::Mutex<Option<Half>>,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

/// Loaded, but attached to nothing.
pub(in crate::pinholes) struct Prepared {
    object: Object,
    settings: Settings,
    table: Arc<Table>,
    upkeep: Upkeep,
    links: Vec<Link>,
    enforce: Enforce,
    approach: watch::Receiver<Approach>,
    ports: PortSet,
}

impl Prepared {
    /// Listens, takes over what the process before leaves (nothing, if there was none), and locks,
    /// in this order: from the first locked interface on, everything that a session may promise is
    /// in place. Data connections are accepted from [`Kernel::accept`] on.
    pub(in crate::pinholes) fn lock(self, estate: Estate) -> Result<(Kernel, Heirs), StartError> {
        let Self {
            mut object,
            settings,
            table,
            upkeep,
            links,
            enforce,
            approach,
            ports,
        } = self;
        let Estate {
            mut rows,
            locks,
            acceptors,
        } = estate;
        // None of it is in vain: nothing has been taken over yet that would have to be given back.
        let approaches = attach::select(&links, &enforce.interfaces, *approach.borrow());
        let takes_over = !locks.is_empty();
        let neighbours = neighbours::find(approaches, &ports, PORTS, takes_over);
        if let Some(neighbour) = neighbours.into_iter().next() {
            return Err(StartError::Neighbour(neighbour));
        }
        // The table wants them so.
        rows.sort_by_key(|row| row.deadline_ns);
        let adopted = rows.iter().map(|row| Ok((row.id, table.adopt(row)?)));
        let adopted: Result<Vec<_>, OpenError> = adopted.collect();
        let adopted = adopted.map_err(|error| StartError::Adopt(Box::new(error)))?;
        let mut doors = acceptor::Doors {
            sockets: object.listeners()?,
            ports: object.listener_ports()?,
        };
        let sockets = acceptor::listen(&mut doors, &ports, acceptors)?;
        let mut tasks = JoinSet::new();
        events::start(&mut object, &mut tasks, settings.debug, false, None)?;
        let (seen, changes) = watch::channel(Vec::new());
        tasks.spawn(upkeep.run(Some(Arc::clone(&table)), seen));

        // Beside the one of the process before, which hands connections to the same sockets.
        steer(&mut object)?;
        others::warn(&ports, &format!("{PORTS} ="), &HashSet::new(), false);
        let inherited = Inherited::new(locks);
        let locks = Locks::put(&mut object, &enforce, approach, &links, &inherited)?;
        for locked in locks.locked() {
            tracing::info!("{locked}");
        }
        let acceptor = Acceptor::new(sockets);
        table.attend(Arc::clone(&acceptor));
        let half = Half::new(object, locks, acceptor, tasks, changes);
        let kernel = Kernel {
            table,
            half: tokio::sync::Mutex::new(Some(half)),
        };
        Ok((kernel, Heirs(adopted)))
    }
}

/// The pinholes of sessions of the process before, by their numbers there.
#[derive(Debug, Default)]
pub(in crate::pinholes) struct Heirs(Vec<(u64, Hole)>);

impl Kernel {
    /// Loads everything and describes the host to it.
    pub(in crate::pinholes) async fn prepare(config: &Config) -> Result<Prepared, StartError> {
        let enforce = &config.enforce;
        let settings = Settings::of(enforce, None);
        let mut object = Object::load(&settings)?;

        let ports = Arc::new(object.ports()?);
        for port in config.passive.ports.iter() {
            ports.set(Set::Guarded, port, true);
        }
        let links = host::links().await?;
        // Nothing else is listened on before a restart.
        let (_, approach) = watch::channel(Approach::to(&config.listen));
        let upkeep = Upkeep::start(
            &mut object,
            Arc::clone(&ports),
            Situation {
                stray: enforce.stray,
                interfaces: enforce.interfaces.clone(),
                approach: approach.clone(),
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
        let table = Table::new(ports.clone(), ephemeral, mask, timing, Box::new(store));
        Ok(Prepared {
            object,
            settings,
            table,
            upkeep,
            links,
            enforce: enforce.clone(),
            approach,
            ports,
        })
    }

    /// Accepts data connections from here on.
    pub(in crate::pinholes) async fn accept(&self) {
        if let Some(half) = &*self.half.lock().await {
            half.acceptor.start();
        }
    }

    /// Serves the sessions of the process before until it has ended.
    pub(in crate::pinholes) async fn serve_predecessor(&self, channel: &Channel, heirs: Heirs) {
        predecessor::serve(channel, &self.table, heirs.0).await;
    }

    /// Tells another process what is here, for it to take over. Until that is settled, no pinhole is
    /// opened and no data connection accepted.
    pub(in crate::pinholes) async fn leave(&self, channel: &Channel) -> io::Result<()> {
        let mut half = self.half.lock().await;
        let Some(half) = &mut *half else {
            return Err(io::Error::other("another process has taken over"));
        };
        half.acceptor.stop();
        let rows = self.table.leave();
        let locks = half.leave()?;
        estate::send(channel, &rows, &locks, half.acceptor.sockets()).await
    }

    /// The other process has not taken over, and is gone: goes on as before.
    pub(in crate::pinholes) async fn stay(&self) {
        if let Some(half) = &mut *self.half.lock().await {
            half.stay();
            self.table.stay();
            half.acceptor.start();
        }
    }

    /// The other process has taken over: has it keep the pinholes of the sessions that are left
    /// here, and lets go of everything. The future is to be polled for as long as there are any.
    pub(in crate::pinholes) async fn hand(
        &self,
        channel: Arc<Channel>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let half = self.half.lock().await.take();
        if let Some(half) = &half {
            half.acceptor.end();
        }
        let work = self.table.hand(channel);
        drop(half);
        work
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

fn steer(object: &mut Object) -> Result<(), StartError> {
    let namespace = File::open("/proc/self/ns/net").map_err(StartError::Namespace)?;
    object
        .steer()?
        .attach(namespace)
        .map_err(|error| StartError::Steer(Box::new(error)))?;
    Ok(())
}
