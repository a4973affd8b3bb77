//! The guard: pinholes for FTP servers that know nothing of them. The kernel half watches their
//! sockets and keeps the table; this half tells it what to look for, locks the interfaces, adds
//! what was there before, and sees to what changes.

mod approach;
mod crowd;
mod dnat;
mod namespace;
mod older;
mod peers;
mod pins;
mod ports;
mod seed;
mod self_test;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use aya::{
    maps::{self, Array, MapData},
    programs::links::FdLink,
};
use ftp_ebpf::abi::{Data, Pinhole, PinholeKey, map, program};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use self::{crowd::Crowd, older::Older, peers::Peers, pins::Pins};
pub use self::{
    namespace::{NamespaceError, enter},
    pins::{PinsError, pinned_layouts},
    self_test::SelfTestError,
};
use super::{
    Locked, Object, ObjectError, Settings, SharedPorts, StartError,
    attach::{Attached, Mode},
    bpf_link::BpfLink,
    events::{self, Heard},
    host::{self, Link},
    layout,
    locks::{Keep, Locks},
    object::GuardSettings,
    others,
    proc_net::{self, Process, State, TcpSocket},
    upkeep::{Situation, Upkeep},
};
use crate::config::{self, Enforce, OnExit, PortSet, Unresolved};

/// How often is looked for what no event tells.
const TICK: Duration = Duration::from_secs(1);
/// Events that may wait; those that find no room are looked for at the next tick.
const EVENTS: usize = 1024;

/// What to guard, and how.
#[derive(Clone, Debug)]
pub struct GuardOptions {
    /// What is the guard's own.
    pub guard: config::Guard,
    /// The locks: interfaces, attach mode, mark, client prefixes.
    pub enforce: Enforce,
}

/// A running guard of one network namespace. Dropping it detaches and frees everything, but what
/// `on_exit` keeps.
pub struct Guard {
    locks: Locks,
    /// What the interfaces are like, after each change.
    links: watch::Receiver<Vec<Link>>,
    _watch: FdLink,
    crowd: Crowd,
    older: Older,
    peers: Option<Peers>,
    pins: Option<Pins>,
    heard: mpsc::Receiver<Heard>,
    _tasks: JoinSet<()>,
    /// Held, so that `pinhole status` finds them among this process's descriptors.
    _maps: (Rows, DataPorts),
    object: Object,
}

type Rows = maps::HashMap<MapData, PinholeKey, Pinhole>;
type DataPorts = maps::HashMap<MapData, u64, Data>;

impl Guard {
    /// Starts watching the network namespace of this thread, tests itself, adds the listeners that
    /// were there before, and locks the interfaces. Where an earlier guard has left its kernel half
    /// at work, takes that over: at no moment is there none.
    ///
    /// # Errors
    ///
    /// What is missing or in the way.
    pub async fn start(options: &GuardOptions) -> Result<Self, StartError> {
        let GuardOptions { guard, enforce } = options;
        let namespace = namespace::own()?;
        let wanted = guard.on_exit == OnExit::Closed;
        let bpffs = &guard.bpffs;
        let mut pins = Pins::open(bpffs, namespace, enforce, wanted)?;
        let settings = Settings::of(
            enforce,
            Some(GuardSettings {
                layout: layout::of_running_kernel()?,
                namespace,
            }),
        );
        let mut object = load(&settings, pins.as_mut(), wanted)?;
        let kept = pins.as_ref().filter(|_| wanted);

        let census = Census::take();
        let shared = Arc::new(object.ports()?);
        let mut control = object.control_ports()?;
        let data_ports = object.data_ports()?;
        let known = known_ports(&data_ports)?;
        tell_ports(&mut object, &shared, &mut control, guard, &census, &known)?;

        let links = host::links().await?;
        let listen = approach::listened(&guard.control_ports, &census);
        let situation = Situation {
            stray: enforce.stray,
            interfaces: enforce.interfaces.clone(),
            listen: listen.clone(),
            dry_run: guard.dry_run,
            admit_peers: guard.unresolved == Unresolved::AdmitControlPeers,
        };
        let peers = situation
            .admit_peers
            .then(|| Peers::start(&mut object, &guard.control_ports, settings.client_mask))
            .transpose()?;
        let upkeep = Upkeep::start(&mut object, Arc::clone(&shared), situation, &links)?;

        let mut older = Older::start(&mut object)?;

        // From here on new data ports are seen; those that were there before come after, so that
        // none is missed in between.
        let seen = watch(&mut object, program::GUARD_STATE, "inet_sock_set_state")?;
        let mut rows = object.pinholes()?;
        let mask = &settings.client_mask;
        self_test::run(&rows, &mut control, &older, mask, guard.ports.as_ref())?;
        let census = Census::take();
        let ports = &guard.control_ports;
        older.count(&census, ports)?;
        let seeded = seed::seed(
            &mut object,
            &mut rows,
            &shared,
            &census,
            ports,
            mask,
            &known,
        )?;
        let mut crowd = Crowd::new(ports, &census);
        crowd.settle(&mut object, kept);

        let mut tasks = JoinSet::new();
        let (hears, heard) = mpsc::channel(EVENTS);
        events::start(
            &mut object,
            &mut tasks,
            settings.debug,
            guard.dry_run,
            Some(hears),
        )?;
        let (saw, changes) = watch::channel(Vec::new());
        tasks.spawn(upkeep.run(None, saw));

        if let Some(range) = &guard.ports {
            others::warn(range, "--ports", &seeded);
        }
        let keep = Kept {
            found: pins.as_ref(),
            kept,
        };
        let locks = Locks::put(&mut object, enforce, &listen, &links, &keep)?;
        let seen = Pins::keep(kept, seen, Pins::WATCH)?;
        if let Some(pins) = &mut pins {
            match wanted {
                true => pins.settle(locks.attached()),
                false => pins.remove_all(),
            }
        }
        Ok(Self {
            locks,
            links: changes,
            _watch: seen,
            crowd,
            older,
            peers,
            pins: pins.filter(|_| wanted),
            heard,
            _tasks: tasks,
            _maps: (rows, data_ports),
            object,
        })
    }

    /// Sees to what changes, for as long as it is polled.
    pub async fn run(&mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(heard) = self.heard.recv() => match heard {
                    Heard::Arrived { client, port } => {
                        self.crowd.arrived(port);
                        if let Some(peers) = &mut self.peers {
                            peers.arrived(client);
                        }
                    }
                    Heard::Several(pid) => {
                        self.crowd.met(pid);
                        self.crowd.settle(&mut self.object, self.pins.as_ref());
                    }
                },
                Ok(()) = self.links.changed() => {
                    let links = self.links.borrow_and_update().clone();
                    let keep = Kept {
                        found: None,
                        kept: self.pins.as_ref(),
                    };
                    self.locks.follow(&mut self.object, &links, &keep);
                }
                () = at(self.crowd.due()) => {
                    self.crowd.look();
                    self.crowd.settle(&mut self.object, self.pins.as_ref());
                }
                _ = tick.tick() => {
                    self.crowd.settle(&mut self.object, self.pins.as_ref());
                    self.older.look_again();
                    if let Some(peers) = &mut self.peers {
                        peers.look_again();
                    }
                }
            }
        }
    }

    /// The locked interfaces.
    pub fn locked(&self) -> impl Iterator<Item = &Locked> {
        self.locks.locked()
    }

    /// Takes away what a guard of this thread's network namespace has left at work; says whether
    /// there was anything.
    ///
    /// # Errors
    ///
    /// A guard runs, or the bpffs refuses.
    pub fn release(guard: &config::Guard) -> Result<bool, StartError> {
        Ok(pins::release(&guard.bpffs, namespace::own()?)?)
    }
}

/// Where an earlier guard's locks are found, and ours are kept.
struct Kept<'a> {
    found: Option<&'a Pins>,
    kept: Option<&'a Pins>,
}

impl Keep for Kept<'_> {
    fn predecessor(&self, index: u32, mode: Mode) -> Option<BpfLink> {
        self.found?.lock(index, mode)
    }

    fn keep(&self, lock: Attached) -> Result<Attached, StartError> {
        Pins::keep_lock(self.kept, lock)
    }

    fn forget(&self, lock: &Attached) {
        if let Some(pins) = self.kept {
            pins.remove_lock(lock);
        }
    }
}

/// The host's TCP sockets and who holds them, at one moment.
struct Census {
    sockets: Vec<TcpSocket>,
    holders: HashMap<u64, Vec<Process>>,
}

impl Census {
    fn take() -> Self {
        Self {
            sockets: proc_net::sockets(),
            holders: proc_net::holders(),
        }
    }

    fn listening(&self) -> impl Iterator<Item = &TcpSocket> {
        let sockets = self.sockets.iter();
        sockets.filter(|socket| socket.state == State::Listening)
    }

    fn listening_on(&self, ports: &PortSet) -> impl Iterator<Item = &TcpSocket> {
        self.listening()
            .filter(|socket| ports.contains(socket.local.port()))
    }
}

/// Loads the programs over what an earlier guard has left, or anew.
fn load(settings: &Settings, pins: Option<&mut Pins>, wanted: bool) -> Result<Object, StartError> {
    let Some(pins) = pins else {
        return Ok(Object::load(settings)?);
    };
    if let Some(left) = pins.left() {
        tracing::info!("taking over from the guard before");
        return Ok(Object::load_over(settings, Some(left))?);
    }
    if pins.has_foreign() {
        tracing::warn!(
            "the guard before was of another version or had other settings: its locks are \
             replaced, and the pinholes that wait are looked for in /proc"
        );
    }
    let object = Object::load(settings)?;
    if wanted {
        pins.keep_maps(&object)?;
    }
    Ok(object)
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The ports whose listeners the kernel half has seen already.
fn known_ports(data_ports: &DataPorts) -> Result<HashSet<u16>, ObjectError> {
    let mut known = HashSet::new();
    for found in data_ports.iter() {
        match found {
            Ok((_, data)) => drop(known.insert(data.port)),
            Err(source) => {
                return Err(ObjectError::Map {
                    map: map::DATA_PORTS,
                    source: Box::new(source),
                });
            }
        }
    }
    Ok(known)
}

/// Tells the kernel half which ports are control connections' and which are shut in any case.
fn tell_ports(
    object: &mut Object,
    shared: &SharedPorts,
    control: &mut Array<MapData, u64>,
    guard: &config::Guard,
    census: &Census,
    known: &HashSet<u16>,
) -> Result<(), ObjectError> {
    let control_ports: HashSet<u16> = guard.control_ports.iter().collect();
    ports::write(control, map::CONTROL_PORTS, &control_ports)?;
    let listening = census
        .listening()
        .map(|socket| socket.local.port())
        .collect();
    let (active, taken) = ports::active(&guard.control_ports, &listening);
    for port in taken {
        tracing::warn!(
            "something listens on port {port}, from which active data connections leave: it stays \
             reachable"
        );
    }
    let range = guard.ports.iter().flat_map(PortSet::iter).chain(active);
    ports::shut(&mut object.range()?, shared, &range.collect(), known)
}

/// Attaches a program to a tracepoint of the `sock` group.
fn watch(object: &mut Object, name: &'static str, event: &str) -> Result<FdLink, StartError> {
    let refused = |source| StartError::Tracepoint {
        event: format!("sock:{event}"),
        source: Box::new(source),
    };
    let program = object.tracepoint(name)?;
    let id = program.attach("sock", event).map_err(refused)?;
    let link = program.take_link(id).map_err(refused)?;
    FdLink::try_from(link).map_err(|source| StartError::TracepointLink {
        event: format!("sock:{event}"),
        source,
    })
}
