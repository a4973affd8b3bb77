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

use std::{fmt, fs::File, net::IpAddr, sync::Arc};

use ftp_ebpf::abi::ClientMask;
use tokio::task::JoinSet;

pub use self::{
    acceptor::AcceptorError,
    attach::{AttachError, Locked, Mode},
    explain::StartError,
    guard::{Guard, GuardOptions, MAX_CONTROL_PORTS},
    host::HostError,
    layout::LayoutError,
    object::{GuardSettings, Object, ObjectError, Settings},
    shared_ports::{Set, SharedPorts},
};
pub(in crate::pinholes) use self::{clock::monotonic_ns, table::Hole};
use self::{
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
    locked: Vec<Locked>,
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
        let debug = tracing::enabled!(tracing::Level::TRACE);
        let mut object = Object::load(&Settings {
            client_mask: ClientMask::from_prefixes(
                enforce.client_prefix_v4,
                enforce.client_prefix_v6,
            ),
            mark: enforce.mark.map_or(0, std::num::NonZero::get),
            max_pinholes: enforce.max_pinholes,
            debug,
            guard: None,
        })?;
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
            },
            &links,
        )?;

        let store = KernelStore::new(object.pinholes()?, ports);
        let timing = Timing {
            connect: config.passive.connect_timeout,
            port: config.passive.port_timeout,
        };
        let mask = ClientMask::from_prefixes(enforce.client_prefix_v4, enforce.client_prefix_v6);
        let table = Table::new(config.passive.ports.clone(), mask, timing, Box::new(store));

        for listener in acceptor::listen(&mut object.listeners()?, &config.passive.ports)? {
            let table = Arc::clone(&table);
            tasks.spawn(async move {
                if let Err(error) = acceptor::accept(listener, table).await {
                    tracing::error!(%error, "passive data connections are no longer accepted");
                }
            });
        }
        events::start(&mut object, &mut tasks, debug)?;
        tasks.spawn(upkeep.run(Some(Arc::clone(&table))));

        steer(&mut object)?;
        others::warn(&config.passive.ports, "passive.ports =");
        let mut locked = Vec::with_capacity(chosen.len());
        for link in chosen {
            locked.push(attach::lock(
                &mut object,
                link,
                enforce.attach,
                enforce.mark.is_some(),
            )?);
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
