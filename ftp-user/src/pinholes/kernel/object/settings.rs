//! What is fixed when programs are loaded: settings of a server, of a guard and of `pinhole trace`.

use std::num::NonZero;

use ftp_ebpf::abi::{ClientMask, Layout};

use super::super::events;
use crate::config::Enforce;

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
