//! The eBPF object: loaded, its read-only settings set, its programs handed out by type.

mod error;
mod maps;
mod settings;

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramError, SchedClassifier, SkLookup, TracePoint, Xdp},
};
use ftp_ebpf::{abi, packet::LinkLayer};

pub use self::{
    error::ObjectError,
    settings::{GuardSettings, Settings, TraceSettings, TracedServer},
};
use super::attach::Mode;

/// Built by the build script from the `ftp-ebpf` package.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/pinhole-ebpf"));

/// Bytes of a ring buffer that is not used: whole pages, of any size that there is.
const SMALLEST_RING: u32 = 65_536;

/// The loaded object. Dropping it detaches every program and frees every map.
pub struct Object {
    ebpf: Ebpf,
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

    /// For aya-log, which finds its map by itself.
    pub(super) fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
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
