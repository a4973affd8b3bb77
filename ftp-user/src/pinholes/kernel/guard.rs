//! The guard: pinholes for FTP servers that know nothing of them. The kernel half watches their
//! sockets and keeps the table; this half tells it what to look for, locks the interfaces, and adds
//! what was there before.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    sync::Arc,
};

use aya::maps::{MapData, MapError};
use ftp_ebpf::abi::{Address, Claim, ClientMask, DataPort, Pinhole, PinholeKey, Ports, program};
use tokio::task::JoinSet;

use super::{
    Locked, Object, ObjectError, Set, Settings, SharedPorts, StartError, attach, events, host,
    layout,
    object::GuardSettings,
    others,
    proc_net::{self, State},
    upkeep::{Situation, Upkeep},
};
use crate::config::{Enforce, PortSet};

/// How many control ports there can be.
pub const MAX_CONTROL_PORTS: usize = 8;

/// What to guard.
#[derive(Clone, Debug)]
pub struct GuardOptions {
    /// Ports of control connections, at most [`MAX_CONTROL_PORTS`].
    pub control_ports: Vec<u16>,
    /// Ports that are shut in any case; none: only those that FTP servers listen on.
    pub ports: Option<PortSet>,
    /// Interfaces, attach mode, mark, client prefixes.
    pub enforce: Enforce,
    /// Count and report, drop nothing.
    pub dry_run: bool,
}

/// A running guard. Dropping it detaches and frees everything.
pub struct Guard {
    locked: Vec<Locked>,
    _tasks: JoinSet<()>,
    /// Held, so that `pinhole status` finds it among this process's descriptors.
    _pinholes: aya::maps::HashMap<MapData, PinholeKey, Pinhole>,
    _object: Object,
}

impl Guard {
    /// Starts watching, adds the listeners that were there before, and locks the interfaces.
    ///
    /// # Errors
    ///
    /// What is missing or in the way.
    pub async fn start(options: &GuardOptions) -> Result<Self, StartError> {
        let enforce = &options.enforce;
        let mask = ClientMask::from_prefixes(enforce.client_prefix_v4, enforce.client_prefix_v6);
        let debug = tracing::enabled!(tracing::Level::TRACE);
        let mut object = Object::load(&Settings {
            client_mask: mask,
            mark: enforce.mark.map_or(0, std::num::NonZero::get),
            max_pinholes: enforce.max_pinholes,
            debug,
            guard: Some(settings(options)?),
        })?;

        let ports = Arc::new(object.ports()?);
        if let Some(range) = &options.ports {
            shut_range(&mut object, &ports, range)?;
        }
        let links = host::links().await?;
        let listen = listened(&options.control_ports);
        let chosen = attach::select(&links, &enforce.interfaces, &listen)?;
        let situation = Situation {
            stray: enforce.stray,
            bridged: chosen.iter().any(|link| link.bridge_port),
            dry_run: options.dry_run,
        };
        let upkeep = Upkeep::start(&mut object, Arc::clone(&ports), situation, &links)?;

        // From here on new data ports are seen; those that were there before come after, so that
        // none is missed in between.
        watch(&mut object, program::GUARD_STATE, "inet_sock_set_state")?;
        if let Err(error) = watch(&mut object, program::GUARD_READ, "sock_recv_length") {
            tracing::warn!(
                "{error}; this tracepoint came with Linux 6.3. Without it, a server that serves \
                 several clients in one process (pyftpdlib) keeps its data ports shut"
            );
        }
        let pinholes = seed(&mut object, &ports, &options.control_ports, &mask)?;

        let mut tasks = JoinSet::new();
        events::start(&mut object, &mut tasks, debug)?;
        tasks.spawn(upkeep.run(None));

        if let Some(range) = &options.ports {
            others::warn(range, "--ports");
        }
        let mut locked = Vec::with_capacity(chosen.len());
        for link in chosen {
            locked.push(attach::lock(
                &mut object,
                link,
                enforce.attach,
                enforce.mark.is_some(),
            )?);
        }
        Ok(Self {
            locked,
            _tasks: tasks,
            _pinholes: pinholes,
            _object: object,
        })
    }

    /// The locked interfaces.
    pub fn locked(&self) -> &[Locked] {
        &self.locked
    }
}

fn settings(options: &GuardOptions) -> Result<GuardSettings, StartError> {
    let mut control_ports = [0; MAX_CONTROL_PORTS];
    for (slot, port) in control_ports.iter_mut().zip(&options.control_ports) {
        *slot = *port;
    }
    let namespace = fs::metadata("/proc/self/ns/net")
        .map_err(StartError::Namespace)?
        .ino();
    Ok(GuardSettings {
        layout: layout::of_running_kernel()?,
        control_ports,
        // Inode numbers of namespaces have 32 bits (include/linux/ns_common.h).
        namespace: u32::try_from(namespace).unwrap_or(u32::MAX),
    })
}

fn shut_range(
    object: &mut Object,
    ports: &SharedPorts,
    range: &PortSet,
) -> Result<(), ObjectError> {
    let mut words: HashMap<u32, u64> = HashMap::new();
    for port in range.iter() {
        *words.entry(u32::from(port) >> 6).or_default() |= Ports::bit(port);
        ports.set(Set::Guarded, port, true);
    }
    let mut map = object.range()?;
    for (index, word) in words {
        map.set(index, word, 0).map_err(|source| ObjectError::Map {
            map: ftp_ebpf::abi::map::RANGE,
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// Where control connections come in: what listens on the control ports, or, with nothing there
/// yet, all addresses.
fn listened(control_ports: &[u16]) -> Vec<SocketAddr> {
    let mut listened: Vec<_> = proc_net::sockets()
        .into_iter()
        .filter(|socket| socket.state == State::Listening)
        .map(|socket| socket.local)
        .filter(|local| control_ports.contains(&local.port()))
        .collect();
    if listened.is_empty() {
        tracing::warn!(
            "nothing listens on control port {} yet: guarding every interface with an address",
            control_ports
                .iter()
                .map(u16::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        );
        listened.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    }
    listened
}

fn watch(object: &mut Object, name: &'static str, event: &str) -> Result<(), StartError> {
    let watched = object.tracepoint(name)?.attach("sock", event);
    watched.map_err(|error| StartError::Tracepoint {
        event: format!("sock:{event}"),
        source: Box::new(error),
    })?;
    Ok(())
}

/// Opens pinholes for the data ports of sessions that are older than the guard, as far as their
/// process has one client only.
fn seed(
    object: &mut Object,
    ports: &SharedPorts,
    control_ports: &[u16],
    mask: &ClientMask,
) -> Result<aya::maps::HashMap<MapData, PinholeKey, Pinhole>, StartError> {
    let (mut pinholes, mut seeded) = (object.pinholes()?, object.seeded()?);
    for found in waiting_data_ports(control_ports) {
        let WaitingPort {
            listener,
            client,
            server,
            pid,
        } = found;
        let everywhere = listener.ip().is_unspecified();
        let key = PinholeKey {
            client: mask.apply(client.into()),
            server: if everywhere { server } else { listener.ip() }.into(),
            port_be: listener.port().to_be(),
            zero: 0,
        };
        let row = Pinhole {
            session: u64::from(pid) << 32,
            deadline_ns: u64::MAX,
            claim: Claim::FREE,
        };
        match pinholes.insert(key, row, 1) {
            Ok(()) => {}
            // The kernel half saw it meanwhile.
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::AlreadyExists =>
            {
                continue;
            }
            Err(source) => {
                let map = ftp_ebpf::abi::map::PINHOLES;
                return Err(ObjectError::Map {
                    map,
                    source: Box::new(source),
                }
                .into());
            }
        }
        let address = if everywhere {
            Address([0; 4])
        } else {
            listener.ip().into()
        };
        let place = DataPort {
            address,
            port: listener.port().into(),
        };
        seeded
            .insert(place, key, 0)
            .map_err(|source| ObjectError::Map {
                map: ftp_ebpf::abi::map::SEEDED,
                source: Box::new(source),
            })?;
        ports.set(Set::Guarded, listener.port(), true);
        ports.set(Set::Waiting, listener.port(), true);
        tracing::info!(%client, port = listener.port(), pid, "a data port from before: opened");
    }
    Ok(pinholes)
}

struct WaitingPort {
    listener: SocketAddr,
    client: IpAddr,
    server: IpAddr,
    pid: u32,
}

fn waiting_data_ports(control_ports: &[u16]) -> Vec<WaitingPort> {
    let sockets = proc_net::sockets();
    let holders = proc_net::holders();
    let mut clients: HashMap<u32, HashSet<(IpAddr, IpAddr)>> = HashMap::new();
    let mut listeners: Vec<(u32, SocketAddr)> = Vec::new();
    for socket in &sockets {
        let is_control = control_ports.contains(&socket.local.port());
        for holder in holders.get(&socket.inode).into_iter().flatten() {
            match socket.state {
                State::Connected if is_control => {
                    let ends = (socket.remote.ip(), socket.local.ip());
                    clients.entry(holder.pid).or_default().insert(ends);
                }
                State::Listening if !is_control => listeners.push((holder.pid, socket.local)),
                State::Connected | State::Listening => {}
            }
        }
    }
    listeners
        .into_iter()
        .filter_map(|(pid, listener)| {
            let mut ends = clients.get(&pid)?.iter();
            match (ends.next(), ends.next()) {
                (Some(&(client, server)), None) => Some(WaitingPort {
                    listener,
                    client,
                    server,
                    pid,
                }),
                _ => None,
            }
        })
        .collect()
}
