//! The way from nothing to a running guard. In this order, at no moment is there a listener that
//! nobody has seen, or a lock that knows of no pinhole.

use std::{collections::HashSet, sync::Arc};

use aya::maps::{Array, HashMap, MapData};
use ftp_ebpf::abi::{Data, PinholeKey, map, program};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    super::{
        Object, ObjectError, Settings, SharedPorts, StartError,
        attach::{self, Approach},
        events, host, layout,
        locks::Locks,
        neighbours,
        object::GuardSettings,
        others,
        upkeep::{Situation, Upkeep},
    },
    EVENTS, Guard, GuardOptions, Kept, approach,
    census::Census,
    crowd::Crowd,
    ledger::Ledger,
    misses::Misses,
    namespace,
    older::Older,
    peers::Peers,
    pins::Pins,
    ports::{self, Range},
    seed, self_test, tracepoint,
};
use crate::config::{self, OnExit, PortSet, Unresolved};

/// How the range is named where the administrator sets it.
const PORTS: &str = "--ports";

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
        look_round(options).await?;
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
        let (known, mut open) = known_ports(&data_ports)?;
        let range = tell_ports(&mut object, &shared, &mut control, guard, &census, &known)?;

        let links = host::links().await?;
        let listened = approach::listened(&guard.control_ports, &census);
        let (widen, approach) = watch::channel(Approach::to(&listened));
        let situation = situation(options, approach.clone());
        let peers = situation
            .admit_peers
            .then(|| Peers::start(&mut object, &guard.control_ports, settings.client_mask))
            .transpose()?;
        let upkeep = Upkeep::start(&mut object, Arc::clone(&shared), situation, &links)?;

        let mut older = Older::start(&mut object, namespace)?;

        // From here on new data ports are seen; those that were there before come after, so that
        // none is missed in between.
        let seen = tracepoint::attach(&mut object, program::GUARD_STATE, "inet_sock_set_state")?;
        let mask = &settings.client_mask;
        let mut ledger = Ledger::open(&mut object, data_ports, shared, range, *mask)?;
        let shut = guard.ports.as_ref();
        self_test::run(ledger.rows(), &mut control, &older, mask, shut)?;
        let census = Census::take();
        let ports = &guard.control_ports;
        older.count(&census.sockets, ports)?;
        // A server may have been started before its listen(2) could be seen.
        for socket in census.listening_on(ports) {
            widen.send_modify(|approach| *approach = approach.and_to(socket.local.ip()));
        }
        let seeded = seed::seed(&mut ledger, &census, ports, mask, &known)?;
        // What an earlier guard's kernel half has missed while nobody looked.
        ledger.reconcile(&census.sockets);
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
            open.extend(seeded);
            others::warn(range, PORTS, &open, guard.dry_run);
        }
        let keep = Kept {
            found: pins.as_ref(),
            kept,
        };
        let locks = Locks::put(&mut object, enforce, approach, &links, &keep)?;
        let seen = Pins::keep(kept, seen, Pins::WATCH)?;
        if let Some(pins) = &mut pins {
            match wanted {
                true => pins.settle(locks.attached(), crowd.is_watched()),
                false => pins.remove_all(),
            }
        }
        Ok(Self {
            locks,
            control_ports: guard.control_ports.clone(),
            approach: widen,
            links: changes,
            _watch: seen,
            crowd,
            older,
            peers,
            pins: pins.filter(|_| wanted),
            heard,
            _tasks: tasks,
            misses: Misses::of(&mut object)?,
            complained: false,
            ledger,
            object,
        })
    }
}

/// Another Pinhole that shuts ports of the range. A server's would keep this guard's clients out as this
/// guard would keep out the server's. Another guard may be for the same servers.
async fn look_round(options: &GuardOptions) -> Result<(), StartError> {
    let GuardOptions { guard, enforce } = options;
    let Some(range) = &guard.ports else {
        return Ok(());
    };
    let links = host::links().await?;
    let listened = approach::listened(&guard.control_ports, &Census::take());
    let chosen = attach::select(&links, &enforce.interfaces, Approach::to(&listened));
    for neighbour in neighbours::find(chosen, range, PORTS, false) {
        match neighbour.guards || guard.dry_run {
            false => return Err(StartError::Neighbour(neighbour)),
            true if neighbour.is_left_behind() => {}
            true => tracing::warn!("{neighbour}"),
        }
    }
    Ok(())
}

fn situation(options: &GuardOptions, approach: watch::Receiver<Approach>) -> Situation {
    let GuardOptions { guard, enforce } = options;
    Situation {
        stray: enforce.stray,
        interfaces: enforce.interfaces.clone(),
        approach,
        dry_run: guard.dry_run,
        admit_peers: guard.unresolved == Unresolved::AdmitControlPeers,
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

/// The ports whose listeners the kernel half has seen already; and those of them that are a session's.
fn known_ports(
    data_ports: &HashMap<MapData, u64, Data>,
) -> Result<(HashSet<u16>, HashSet<u16>), ObjectError> {
    let (mut known, mut open) = (HashSet::new(), HashSet::new());
    for found in data_ports.iter() {
        let (_, data) = found.map_err(ObjectError::of_map(map::DATA_PORTS))?;
        known.insert(data.port);
        if data.key != PinholeKey::default() {
            open.insert(data.port);
        }
    }
    Ok((known, open))
}

/// Tells the kernel half which ports are control connections' and which are shut in any case, and says
/// the latter.
fn tell_ports(
    object: &mut Object,
    shared: &SharedPorts,
    control: &mut Array<MapData, u64>,
    guard: &config::Guard,
    census: &Census,
    known: &HashSet<u16>,
) -> Result<Range, ObjectError> {
    let control_ports: HashSet<u16> = guard.control_ports.iter().collect();
    ports::write(control, map::CONTROL_PORTS, &control_ports)?;
    let listening = census
        .listening()
        .map(|socket| socket.local.port())
        .collect();
    let (active, taken) = ports::active(&guard.control_ports, &listening);
    taken.into_iter().for_each(ports::warn_of_service);
    let asked = guard.ports.iter().flat_map(PortSet::iter).collect();
    Range::shut(object.range()?, shared, &asked, &active, known)
}
