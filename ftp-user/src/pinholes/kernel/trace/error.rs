//! Why a daemon cannot be followed.

use std::{io, path::PathBuf};

use aya::{maps::MapError, programs::ProgramError};

use super::super::{layout::LayoutError, object::ObjectError};
use crate::pinholes::inspect::InspectError;

/// Why a daemon cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It is no Pinhole daemon, or runs without enforcement.
    #[error("process {0} is no Pinhole daemon that enforces, so there are no pinholes to follow")]
    NoDaemon(u32),
    /// The daemon's programs or maps could not be found.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The kernel's structures are not known.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The kernel refused our programs.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A tracepoint is not there.
    #[error(
        "cannot watch the tracepoint {event}: `pinhole trace` needs tracefs at /sys/kernel/tracing, \
         a kernel with CONFIG_FTRACE_SYSCALLS, and Linux 6.3"
    )]
    Tracepoint {
        /// Its category and name.
        event: String,
        /// aya's account.
        source: Box<ProgramError>,
    },
    /// The daemon's table or its events could not be opened.
    #[error("cannot read the eBPF map `{map}` of process {pid}")]
    Map {
        /// The process.
        pid: u32,
        /// The map.
        map: &'static str,
        /// aya's account.
        source: Box<MapError>,
    },
    /// The daemon's events could not be mapped into memory.
    #[error("cannot map the events of process {pid} into memory")]
    Events {
        /// The process.
        pid: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Its files in `/proc` are gone, and with them, most likely, the process.
    #[error("cannot read {}", path.display())]
    Process {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}
