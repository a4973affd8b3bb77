//! What the kernel can refuse of the object.

use std::io;

use aya::{maps::MapError, pin::PinError, programs::ProgramError};

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

impl ObjectError {
    /// For `map_err`: that this map could not be used.
    pub(in crate::pinholes::kernel) fn of_map(
        map: &'static str,
    ) -> impl Fn(MapError) -> Self + Copy {
        move |source| Self::Map {
            map,
            source: Box::new(source),
        }
    }
}
