//! The host of a case in the kernel: the loaded programs, their maps filled, real sockets in a
//! namespace, and frames run by BPF_PROG_TEST_RUN.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
};

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, HashMap, Map, MapData, MapInfo, PerCpuArray};
use ftp_ebpf::{
    abi::{Claim, ClientMask, Pinhole, PinholeKey, Tuple, map, policy},
    reason::Reason,
};
use ftp_user::pinholes::kernel::{Object, Set, Settings, SharedPorts, dry_run::Lock};
use rustix::time::{ClockId, clock_gettime};

use super::{
    Case,
    host::{self, Hole, Host, LISTENING_PORT, Life, Taken},
    memory::tuple,
};
use crate::{control, lab::Family, namespace::NetNs, wait};

const SECOND: u64 = 1_000_000_000;

/// What a loaded program made of a case.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The packet may go on.
    pub passed: bool,
    /// What was counted.
    pub counted: Vec<Reason>,
    /// The source ports that have the pinholes afterwards, in the host's order.
    pub claims: Vec<Option<u16>>,
}

/// A namespace with the addresses and sockets that the cases speak of. Programs must be run inside.
#[derive(Debug)]
pub struct Sockets {
    /// Where programs look sockets up.
    pub namespace: NetNs,
    _connections: Vec<(TcpStream, TcpStream)>,
    _listeners: Vec<TcpListener>,
}

impl Sockets {
    /// Makes it.
    pub fn open() -> Result<Sockets> {
        let namespace = NetNs::new("cases")?;
        let (mut connections, mut listeners) = (Vec::new(), Vec::new());
        for family in Family::BOTH {
            let (client, server) = host::connection(family);
            let whole = match family {
                Family::V4 => 32,
                Family::V6 => 128,
            };
            namespace.add_addresses("lo", &[(client.ip(), whole), (server.ip(), whole)])?;
            // The listener goes with its scope, so that only the connection is left on the port.
            let listener = namespace.run(|| TcpListener::bind(server))??;
            let theirs = control::connect_from(&namespace, client, server, wait::SOON)?;
            let (ours, from) = listener.accept()?;
            ensure!(from == client, "the connection comes from {from}");
            connections.push((ours, theirs));
            let listening = SocketAddr::new(server.ip(), LISTENING_PORT);
            listeners.push(namespace.run(|| TcpListener::bind(listening))??);
        }
        Ok(Sockets {
            namespace,
            _connections: connections,
            _listeners: listeners,
        })
    }
}

/// The programs, loaded for one choice of client prefixes.
pub struct Loaded {
    object: Object,
    mask: ClientMask,
    ports: SharedPorts,
    rows: HashMap<MapData, PinholeKey, Pinhole>,
    counters: PerCpuArray<MapData, u64>,
    established: Array<MapData, Tuple>,
}

impl Loaded {
    /// Loads them.
    pub fn new(prefixes: (u8, u8)) -> Result<Loaded> {
        let mask = ClientMask::from_prefixes(prefixes.0, prefixes.1);
        let mut object = Object::load(&Settings {
            client_mask: mask,
            max_pinholes: 64,
            ..Settings::default()
        })?;
        let ports = object.ports()?;
        for port in host::GUARDED.filter(|port| host::is_guarded(*port)) {
            ports.set(Set::Guarded, port, true);
        }
        let mut local = object.local_addresses()?;
        for family in Family::BOTH {
            local.insert(ftp_ebpf::abi::Address::from(host::server(family)), 1, 0)?;
        }
        Ok(Loaded {
            mask,
            ports,
            rows: object.pinholes()?,
            counters: object.counters()?,
            // The last one made: one thread of this process loads programs, one after the other.
            established: newest_map(map::ESTABLISHED)?,
            object,
        })
    }

    /// Runs a case through `lock`, for which the host is set up and cleared again.
    pub fn run(&mut self, lock: Lock, case: &Case) -> Result<Verdict> {
        let keys = self.set_up(&case.host)?;
        let before = self.counts()?;
        let ran = self.object.dry_run(lock, &case.frame, 1);
        let after = self.counts()?;
        let claims = keys
            .iter()
            .map(|key| Ok(self.rows.get(key, 0)?.claim))
            .map(|claim: Result<Claim>| {
                let claim = claim?;
                Ok((claim != Claim::FREE).then(|| u16::from_be(claim.client_port_be())))
            })
            .collect::<Result<_>>()?;
        self.clear(&case.host, &keys)?;
        let counted = Reason::ALL
            .iter()
            .flat_map(|reason| {
                let times = after[reason.name()] - before[reason.name()];
                std::iter::repeat_n(*reason, usize::try_from(times).unwrap_or(usize::MAX))
            })
            .collect();
        Ok(Verdict {
            passed: ran.with_context(|| case.name.clone())?.passed,
            counted,
            claims,
        })
    }

    fn set_up(&mut self, host: &Host) -> Result<Vec<PinholeKey>> {
        let forwards = u64::from(host.forwards) * policy::CHECK_LOCAL;
        let passes_stray = u64::from(host.passes_stray) * policy::PASS_STRAY;
        self.ports.set_policy(forwards | passes_stray);
        if let Some(port) = host.lingering_bit {
            self.ports.set(Set::Waiting, port, true);
        }
        // What an earlier case has put there.
        for family in Family::BOTH {
            let slot = tuple(host::connection(family)).slot();
            self.established.set(slot, Tuple::default(), 0)?;
        }
        if let Some(ends) = host.remembered {
            self.established.set(tuple(ends).slot(), tuple(ends), 0)?;
        }
        host.holes.iter().map(|hole| self.open(hole)).collect()
    }

    fn open(&mut self, hole: &Hole) -> Result<PinholeKey> {
        let now = clock_gettime(ClockId::Monotonic);
        let now = now.tv_sec.cast_unsigned() * SECOND + now.tv_nsec.cast_unsigned();
        ensure!(
            now > Claim::LIFETIME_NS + SECOND,
            "the machine has only just booted: no claim can be old yet"
        );
        let key = PinholeKey {
            client: self.mask.apply(hole.client.into()),
            server: hole.server.into(),
            port_be: hole.port.to_be(),
            zero: 0,
        };
        let row = Pinhole {
            session: 7,
            deadline_ns: match hole.life {
                Life::Open => now + 30 * SECOND,
                Life::Over => now - SECOND,
            },
            claim: match hole.taken {
                Taken::No => Claim::FREE,
                Taken::Fresh(port) => Claim::new(port.to_be(), now - SECOND),
                Taken::Stale(port) => Claim::new(port.to_be(), now - Claim::LIFETIME_NS - SECOND),
            },
        };
        self.rows.insert(key, row, 0)?;
        self.ports.set(Set::Waiting, hole.port, true);
        Ok(key)
    }

    fn clear(&mut self, host: &Host, keys: &[PinholeKey]) -> Result<()> {
        for key in keys {
            self.rows.remove(key)?;
            let port = u16::from_be(key.port_be);
            self.ports.set(Set::Waiting, port, false);
        }
        if let Some(port) = host.lingering_bit {
            self.ports.set(Set::Waiting, port, false);
        }
        if let Some(ends) = host.remembered {
            self.established
                .set(tuple(ends).slot(), Tuple::default(), 0)?;
        }
        Ok(())
    }

    fn counts(&self) -> Result<BTreeMap<&'static str, u64>> {
        Reason::ALL
            .iter()
            .map(|reason| {
                let values = self.counters.get(&(*reason as u32), 0)?;
                Ok((reason.name(), values.iter().sum()))
            })
            .collect()
    }
}

/// The map of that name that this process has made last, by its descriptors in /proc.
fn newest_map(name: &str) -> Result<Array<MapData, Tuple>> {
    let newest = fs::read_dir("/proc/self/fdinfo")?
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|info| {
            let id = info.lines().find_map(|line| line.strip_prefix("map_id:"))?;
            id.trim().parse().ok()
        })
        .filter(|id| MapInfo::from_id(*id).is_ok_and(|info| info.name_as_str() == Some(name)))
        .max()
        .with_context(|| format!("this process has no map {name}"))?;
    Ok(Array::try_from(Map::Array(MapData::from_id(newest)?))?)
}
