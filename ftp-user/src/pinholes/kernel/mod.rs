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
mod object;
mod others;
mod proc_net;
mod shared_ports;
mod store;
mod table;
mod upkeep;

use std::{collections::HashSet, fmt, fs::File, net::IpAddr, sync::Arc};

use tokio::task::JoinSet;

pub use self::{
    acceptor::AcceptorError,
    attach::{AttachError, Locked, Mode},
    explain::StartError,
    guard::{Guard, GuardOptions, NamespaceError, PinsError, SelfTestError, enter, pinned_layouts},
    host::HostError,
    layout::LayoutError,
    object::{GuardSettings, Object, ObjectError, Settings},
    shared_ports::{Set, SharedPorts},
};
use self::{
    attach::Attached,
    store::KernelStore,
    table::{Table, Timing},
    upkeep::{Situation, Upkeep},
};
pub(in crate::pinholes) use self::{clock::monotonic_ns, table::Hole};
use crate::{
    config::{Config, PortSet},
    pinholes::{OpenError, SessionId},
};

/// The running kernel half.
pub(in crate::pinholes) struct Kernel {
    table: Arc<Table>,
    locked: Vec<Locked>,
    _locks: Vec<Attached>,
    /// Accepting, logging, housekeeping; end with this.
    _tasks: JoinSet<()>,
    /// Every program and its links; detached when dropped, after the tasks.
    _object: Object,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel")
            .field("locked", &self.locked)
            .finish_non_exhaustive()
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
        let chosen = attach::select(&links, &enforce.interfaces, &config.listen)?;
        let bridged = chosen.iter().any(|link| link.bridge_port);
        let upkeep = Upkeep::start(
            &mut object,
            Arc::clone(&ports),
            Situation {
                stray: enforce.stray,
                bridged,
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
        let table = Table::new(ports, settings.client_mask, timing, Box::new(store));

        for listener in acceptor::listen(&mut object.listeners()?, &config.passive.ports)? {
            let table = Arc::clone(&table);
            tasks.spawn(async move {
                if let Err(error) = acceptor::accept(listener, table).await {
                    tracing::error!(%error, "passive data connections are no longer accepted");
                }
            });
        }
        events::start(&mut object, &mut tasks, settings.debug, None)?;
        tasks.spawn(upkeep.run(Some(Arc::clone(&table))));

        steer(&mut object)?;
        others::warn(&config.passive.ports, "passive.ports =", &HashSet::new());
        let (mut locked, mut locks) = (Vec::with_capacity(chosen.len()), Vec::new());
        for link in chosen {
            let marks = enforce.mark.is_some();
            let nobody = &|_, _| None;
            let (done, links) = attach::lock(&mut object, link, enforce.attach, marks, nobody)?;
            locked.push(done);
            locks.extend(links);
        }
        for Locked {
            interface,
            mode,
            why,
        } in &locked
        {
            tracing::info!("locked {interface} with {mode} ({why})");
        }
        Ok(Self {
            table,
            locked,
            _locks: locks,
            _tasks: tasks,
            _object: object,
        })
    }

    /// The locked interfaces.
    pub(in crate::pinholes) fn locked(&self) -> &[Locked] {
        &self.locked
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
