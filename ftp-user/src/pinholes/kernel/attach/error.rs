//! Why an interface has no lock, and what the administrator can do about it.

use std::io;

use super::{super::object::ObjectError, Mode};

/// Why no lock can read an interface's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// They begin with the IP header, which only tcx can be told.
    #[error("carries packets without Ethernet headers, which only tcx (Linux 6.6) can lock")]
    NeedsTcx,
    /// They begin with what is around them.
    #[error(
        "is an IPsec tunnel, or GRE without one certain remote address: no lock can be sure to see \
         its packets from their IP header on"
    )]
    Outer,
    /// They begin with something else.
    #[error("carries packets that begin neither with an Ethernet nor with an IP header")]
    Unknown,
}

/// Why an interface could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Named, but not there.
    #[error("there is no interface `{name}` here: this host has {present}")]
    NoInterface {
        /// As named in the configuration.
        name: String,
        /// Those that exist.
        present: String,
    },
    /// Its packets have headers that no lock here reads.
    #[error(
        "interface `{name}` {why}: leave it out of `enforce.interfaces`. Whoever comes in there is \
         not held off"
    )]
    Unreadable {
        /// Its name.
        name: String,
        /// Which.
        why: Unreadable,
    },
    /// XDP takes one program an interface.
    #[error(
        "interface `{name}` already runs {program}, and takes only one XDP program: \
         detach that, or set `enforce.attach = \"tcx\"` (`--attach tcx`), which runs beside it"
    )]
    Occupied {
        /// Its name.
        name: String,
        /// The program that is there.
        program: String,
    },
    /// The driver has no XDP, or not with its present settings (MTU, queues).
    #[error(
        "the driver of interface `{name}` refuses native XDP ({source}): set \
         `enforce.attach = \"tcx\"` or `\"generic\"`"
    )]
    NoNative {
        /// Its name.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// tcx came with Linux 6.6. The older clsact would do, but outlives the daemon: a crash would
    /// leave the lock behind.
    #[error(
        "interface `{name}` cannot have a tcx lock before Linux 6.6: set \
         `enforce.attach = \"generic\"` or `\"native\"`"
    )]
    NoTcx {
        /// Its name.
        name: String,
    },
    /// Anything else.
    #[error("cannot attach {mode} to interface `{name}`")]
    Refused {
        /// Its name.
        name: String,
        /// What was tried.
        mode: Mode,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A fault of the build.
    #[error(transparent)]
    Object(#[from] ObjectError),
}
