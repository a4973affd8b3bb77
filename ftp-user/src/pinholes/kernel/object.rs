//! The eBPF object: loaded, its read-only settings set, its maps and programs handed out by type.

use std::{
    io,
    num::NonZero,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf, SockMap},
    pin::PinError,
    programs::{Program, ProgramError, SchedClassifier, SkLookup, TracePoint, Xdp},
};
use ftp_ebpf::{
    abi::{self, Address, ClientMask, Data, DataPort, Layout, Pinhole, PinholeKey},
    packet::LinkLayer,
};

use super::{attach::Mode, events, shared_ports::SharedPorts};
use crate::config::Enforce;

/// Built by the build script from the `ftp-ebpf` package.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/pinhole-ebpf"));

/// Bytes of a ring buffer that is not used: whole pages, of any size that there is.
const SMALLEST_RING: u32 = 65_536;

/// What is fixed when the programs are loaded.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Which bits of a client's address must match.
    pub client_mask: ClientMask,
    /// Firewall mark on admitted packets; 0 for none.
    pub mark: u32,
    /// Rows that the table may have.
    pub max_pinholes: u32,
    /// Whether the programs log debug messages; when not, that code is not even loaded.
    pub debug: bool,
    /// Whether claims, and pinholes that the guard opens, wake the daemon, for the log.
    pub tell_all: bool,
    /// What the guard's programs have to know. With it they are loaded, in place of `steer`: a
    /// server of its own has its own listeners.
    pub guard: Option<GuardSettings>,
}

/// What is fixed when the guard's programs are loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct GuardSettings {
    /// Where the running kernel keeps what is read.
    pub layout: Layout,
    /// Inode number of the network namespace.
    pub namespace: u32,
}

/// What is fixed when the programs of `pinhole trace` are loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceSettings {
    /// Where the running kernel keeps what is read, and in which network namespace.
    pub kernel: GuardSettings,
    /// The server of our own that negotiates, if it is one and no guard.
    pub server: Option<TracedServer>,
}

/// A server of our own that is followed.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracedServer {
    /// Its process.
    pub pid: u32,
    /// Its descriptor of the table.
    pub table: u32,
}

impl Settings {
    /// What the configuration says, for a server of our own or for a guard.
    pub fn of(enforce: &Enforce, guard: Option<GuardSettings>) -> Self {
        Self {
            client_mask: ClientMask::from_prefixes(
                enforce.client_prefix_v4,
                enforce.client_prefix_v6,
            ),
            mark: enforce.mark.map_or(0, NonZero::get),
            max_pinholes: enforce.max_pinholes,
            debug: tracing::enabled!(tracing::Level::TRACE),
            tell_all: events::are_all_logged(),
            guard,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_mask: ClientMask::EXACT,
            mark: 0,
            max_pinholes: 131_072,
            debug: false,
            tell_all: false,
            guard: None,
        }
    }
}

/// The loaded object. Dropping it detaches every program and frees every map.
pub struct Object {
    ebpf: Ebpf,
}

/// Why the kernel half could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The kernel refused a map or the object as a whole.
    #[error("the kernel refused Pinhole's eBPF object")]
    Load(#[source] Box<aya::EbpfError>),
    /// The kernel refused a program.
    #[error("the kernel refused the eBPF program `{program}`")]
    Program {
        /// Its name.
        program: &'static str,
        /// aya's account, with the verifier's log where there is one.
        source: Box<ProgramError>,
    },
    /// A map could not be used.
    #[error("cannot use the eBPF map `{map}`")]
    Map {
        /// Its name.
        map: &'static str,
        /// aya's account.
        source: Box<MapError>,
    },
    /// A map could not be mapped into memory.
    #[error("cannot map the eBPF map `{map}` into memory")]
    Mmap {
        /// Its name.
        map: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A map could not be pinned.
    #[error("cannot pin the eBPF map `{map}`")]
    Pin {
        /// Its name.
        map: String,
        /// aya's account.
        source: Box<PinError>,
    },
    /// The object that this binary carries lacks something: a fault of the build.
    #[error("the eBPF object in this binary has no `{0}`: rebuild it with `cargo xtask build`")]
    Missing(&'static str),
}

impl Object {
    /// Loads the maps and all programs; attaches nothing.
    ///
    /// # Errors
    ///
    /// What the kernel refused; `EPERM` where a capability is missing.
    pub fn load(settings: &Settings) -> Result<Self, ObjectError> {
        Self::load_over(settings, None)
    }

    /// The same, with the maps that an earlier guard of the same layout has pinned in a folder, as
    /// [`Object::pin_maps`] does.
    ///
    /// # Errors
    ///
    /// As for [`Object::load`].
    pub fn load_over(settings: &Settings, pins: Option<&Path>) -> Result<Self, ObjectError> {
        let (mask_v4, mask_v6) = (settings.client_mask.v4, settings.client_mask.v6);
        // aya-log's level: 0 is below "error", everything is compiled out by the verifier.
        let log_level: u8 = if settings.debug { 4 } else { 0 };
        let guard = settings.guard.unwrap_or_default();
        let tell_all = u32::from(settings.tell_all);
        let mut loader = EbpfLoader::new();
        loader
            .override_global(abi::global::CLIENT_MASK_V4, &mask_v4, true)
            .override_global(abi::global::CLIENT_MASK_V6, &mask_v6, true)
            .override_global(abi::global::MARK, &settings.mark, true)
            .override_global("AYA_LOG_LEVEL", &log_level, true)
            .override_global(abi::global::TELL_ALL, &tell_all, true)
            .override_global(abi::global::LAYOUT, &guard.layout, true)
            .override_global(abi::global::NAMESPACE, &guard.namespace, true)
            .map_max_entries(abi::map::PINHOLES, settings.max_pinholes);
        if settings.guard.is_none() {
            shrink(&mut loader, &abi::map::LARGE_OF_GUARD);
        }
        shrink(&mut loader, &abi::map::LARGE_OF_TRACE);
        loader.map_max_entries(abi::map::STEPS, SMALLEST_RING);
        if let Some(folder) = pins {
            for map in abi::map::KEPT {
                loader.map_pin_path(map, folder.join(map));
            }
        }
        let ebpf = loader
            .load(OBJECT)
            .map_err(|error| ObjectError::Load(Box::new(error)))?;
        let mut object = Self { ebpf };
        // All before any map is taken: a program is loaded with the maps that are still here.
        object.load_program(abi::program::XDP_ADMIT, |program: &mut Xdp| program.load())?;
        for name in [abi::program::TCX_ADMIT, abi::program::TCX_ADMIT_IP] {
            object.load_program(name, |program: &mut SchedClassifier| program.load())?;
        }
        if settings.guard.is_some() {
            for name in [abi::program::GUARD_STATE, abi::program::GUARD_READ] {
                object.load_program(name, |program: &mut TracePoint| program.load())?;
            }
        } else {
            object.load_program(abi::program::STEER, |program: &mut SkLookup| program.load())?;
        }
        Ok(object)
    }

    /// Loads the programs of `pinhole trace`, and no others.
    ///
    /// # Errors
    ///
    /// As for [`Object::load`].
    pub fn load_trace(settings: &TraceSettings) -> Result<Self, ObjectError> {
        let server = settings.server.unwrap_or_default();
        let mut loader = EbpfLoader::new();
        loader
            .override_global(abi::global::LAYOUT, &settings.kernel.layout, true)
            .override_global(abi::global::NAMESPACE, &settings.kernel.namespace, true)
            .override_global(abi::global::SERVER, &server.pid, true)
            .override_global(abi::global::SERVER_TABLE, &server.table, true)
            .map_max_entries(abi::map::EVENTS, SMALLEST_RING);
        shrink(&mut loader, &abi::map::LARGE_OF_GUARD);
        shrink(&mut loader, &[abi::map::ESTABLISHED]);
        let ebpf = loader
            .load(OBJECT)
            .map_err(|error| ObjectError::Load(Box::new(error)))?;
        let mut object = Self { ebpf };
        for name in traces(settings.server.is_some()) {
            object.load_program(name, |program: &mut TracePoint| program.load())?;
        }
        Ok(object)
    }

    /// Pins the maps that another object can be loaded over into a folder of a bpffs. Before any of
    /// them is taken.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Pin`], [`ObjectError::Missing`].
    pub fn pin_maps(&self, folder: &Path) -> Result<(), ObjectError> {
        for name in abi::map::KEPT {
            let map = self.ebpf.map(name).ok_or(ObjectError::Missing(name))?;
            map.pin(folder.join(name))
                .map_err(|source| ObjectError::Pin {
                    map: name.to_owned(),
                    source: Box::new(source),
                })?;
        }
        Ok(())
    }

    /// The XDP program.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Missing`].
    pub fn xdp(&mut self) -> Result<&mut Xdp, ObjectError> {
        self.program(abi::program::XDP_ADMIT)
    }

    /// The traffic-control program for interfaces with that link layer.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Missing`].
    pub fn tcx(&mut self, layer: LinkLayer) -> Result<&mut SchedClassifier, ObjectError> {
        self.program(match layer {
            LinkLayer::Ethernet => abi::program::TCX_ADMIT,
            LinkLayer::None => abi::program::TCX_ADMIT_IP,
        })
    }

    /// The program of a lock of that kind, on interfaces with that link layer.
    pub(super) fn lock(
        &mut self,
        mode: Mode,
        layer: LinkLayer,
    ) -> Result<BorrowedFd<'_>, ObjectError> {
        let (program, descriptor) = match mode {
            Mode::Native | Mode::Generic => (abi::program::XDP_ADMIT, self.xdp()?.fd()),
            Mode::Tcx => (abi::program::TCX_ADMIT, self.tcx(layer)?.fd()),
        };
        match descriptor {
            Ok(descriptor) => Ok(descriptor.as_fd()),
            Err(source) => Err(ObjectError::Program {
                program,
                source: Box::new(source),
            }),
        }
    }

    /// The socket-lookup program; loaded where there is no guard.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Missing`].
    pub fn steer(&mut self) -> Result<&mut SkLookup, ObjectError> {
        self.program(abi::program::STEER)
    }

    /// One of the guard's tracepoint programs, loaded with a guard, or one of `pinhole trace`.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Missing`].
    pub fn tracepoint(&mut self, name: &'static str) -> Result<&mut TracePoint, ObjectError> {
        self.program(name)
    }

    /// What `pinhole trace` has seen.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn steps(&mut self) -> Result<RingBuf<MapData>, ObjectError> {
        self.take(abi::map::STEPS)
    }

    /// How much `pinhole trace` has missed.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn lost(&mut self) -> Result<Array<MapData, u64>, ObjectError> {
        self.take(abi::map::LOST)
    }

    /// The guard's ports that are shut in any case.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn range(&mut self) -> Result<Array<MapData, u64>, ObjectError> {
        self.take(abi::map::RANGE)
    }

    /// The guard's ports of control connections.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn control_ports(&mut self) -> Result<Array<MapData, u64>, ObjectError> {
        self.take(abi::map::CONTROL_PORTS)
    }

    /// The guard's count of control connections.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn control_count(&mut self) -> Result<Array<MapData, u32>, ObjectError> {
        self.take(abi::map::CONTROL_COUNT)
    }

    /// The guard's sockets that listen for data connections.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn data_ports(&mut self) -> Result<HashMap<MapData, u64, Data>, ObjectError> {
        self.take(abi::map::DATA_PORTS)
    }

    /// The guard's clients with a control connection.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn peers(&mut self) -> Result<HashMap<MapData, Address, u8>, ObjectError> {
        self.take(abi::map::PEERS)
    }

    /// The guard's listeners that were there before it.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn seeded(&mut self) -> Result<HashMap<MapData, DataPort, PinholeKey>, ObjectError> {
        self.take(abi::map::SEEDED)
    }

    /// The one table.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Missing`], [`ObjectError::Map`]; and so for every map below. Each may be
    /// taken once.
    pub fn pinholes(&mut self) -> Result<HashMap<MapData, PinholeKey, Pinhole>, ObjectError> {
        self.take(abi::map::PINHOLES)
    }

    /// Ports and policy.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`], and [`ObjectError::Mmap`].
    pub fn ports(&mut self) -> Result<SharedPorts, ObjectError> {
        let map = abi::map::PORTS;
        let Some(Map::Array(data)) = self.ebpf.map(map) else {
            return Err(ObjectError::Missing(map));
        };
        SharedPorts::map(data.fd().as_fd()).map_err(|source| ObjectError::Mmap { map, source })
    }

    /// The host's own addresses.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn local_addresses(&mut self) -> Result<HashMap<MapData, Address, u8>, ObjectError> {
        self.take(abi::map::LOCAL_ADDRESSES)
    }

    /// One counter for each reason.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn counters(&mut self) -> Result<PerCpuArray<MapData, u64>, ObjectError> {
        self.take(abi::map::COUNTERS)
    }

    /// How many denials may still be reported.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn denial_budget(&mut self) -> Result<PerCpuArray<MapData, u32>, ObjectError> {
        self.take(abi::map::DENIAL_BUDGET)
    }

    /// What happened.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn events(&mut self) -> Result<RingBuf<MapData>, ObjectError> {
        self.take(abi::map::EVENTS)
    }

    /// Where `steer` finds the listeners.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn listeners(&mut self) -> Result<SockMap<MapData>, ObjectError> {
        self.take(abi::map::LISTENERS)
    }

    /// For aya-log, which finds its map by itself.
    pub(super) fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    fn take<M>(&mut self, map: &'static str) -> Result<M, ObjectError>
    where
        M: TryFrom<Map, Error = MapError>,
    {
        let data = self.ebpf.take_map(map).ok_or(ObjectError::Missing(map))?;
        M::try_from(data).map_err(|source| ObjectError::Map {
            map,
            source: Box::new(source),
        })
    }

    fn program<'a, P>(&'a mut self, name: &'static str) -> Result<&'a mut P, ObjectError>
    where
        &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
    {
        let program = self
            .ebpf
            .program_mut(name)
            .ok_or(ObjectError::Missing(name))?;
        program.try_into().map_err(|source| ObjectError::Program {
            program: name,
            source: Box::new(source),
        })
    }

    fn load_program<'a, P: 'a>(
        &'a mut self,
        name: &'static str,
        load: impl FnOnce(&mut P) -> Result<(), ProgramError>,
    ) -> Result<(), ObjectError>
    where
        &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
    {
        load(self.program(name)?).map_err(|source| ObjectError::Program {
            program: name,
            source: Box::new(source),
        })
    }
}

/// The names of the programs of `pinhole trace`, each once.
fn traces(server: bool) -> impl Iterator<Item = &'static str> {
    let own = abi::program::TRACE_SERVER.iter().filter(move |_| server);
    let mut last = "";
    let names = abi::program::TRACE.iter().chain(own);
    names.filter_map(move |(name, ..)| {
        (std::mem::replace(&mut last, name) != *name).then_some(*name)
    })
}

/// Leaves maps that are not used as small as can be.
fn shrink(loader: &mut EbpfLoader<'_>, maps: &[&'static str]) {
    for map in maps {
        loader.map_max_entries(map, 1);
    }
}
