//! What the admin wants: the configuration, its defaults, and the file it is read from.
//! `pinhole.sample.toml` documents every option; a test holds it and [`Config::default`] together.

mod account_limits;
mod amount;
mod check;
mod data;
mod enforce;
mod file;
mod fixed;
mod guard;
mod limits;
mod log;
mod network;
mod pam;
mod ports;
mod principal;
mod problem;
mod public;
mod quotes;
mod rights;
mod shown;
mod tls;
mod values;
mod virtual_host;

pub use account_limits::{AccountLimits, amount, limit};
pub use amount::Bytes;
pub use data::{Active, Passive};
pub use enforce::{Attach, Enforce, Interfaces, Stray};
pub use guard::{Guard, OWN_NAMESPACE, OnExit, Unresolved};
pub use limits::{Limits, Timeouts};
pub use log::{Log, LogFormat};
pub use network::Network;
pub use pam::Pam;
pub use ports::{PortSet, PortSetError};
pub use principal::{Principal, Umask};
pub use problem::Problem;
pub(crate) use problem::{Unreadable, lines, read_text};
pub use public::{ForNetwork, PublicAddress};
pub use rights::Rights;
pub use tls::{Binding, ListenerTls, Tls, TlsPolicy, Use};
pub use virtual_host::{Certificate, VirtualHost};

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The sample that documents every option, with every default.
pub const SAMPLE: &str = include_str!("../../pinhole.sample.toml");

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Where control connections are accepted. "[::]" takes IPv4 as well.
    pub listen: Vec<SocketAddr>,
    /// The text behind "220 ": one line, printable.
    pub greeting: String,
    /// The hosts that clients may name.
    pub hosts: Vec<VirtualHost>,
    /// The users file, as `pinhole user` writes it.
    #[serde(serialize_with = "shown::optional_path")]
    pub users: Option<PathBuf>,
    /// Anonymous, read-only sessions.
    pub anonymous: Option<Anonymous>,
    /// Users of the host, by PAM.
    pub pam: Option<Pam>,
    /// TLS; without it, everything is in the clear.
    pub tls: Option<Tls>,
    /// Data connections that the client opens.
    pub passive: Passive,
    /// Data connections that the server opens.
    pub active: Active,
    /// The kernel half.
    pub enforce: Enforce,
    /// In front of another server: `pinhole guard`.
    pub guard: Guard,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How many of things there may be.
    pub limits: Limits,
    /// How files are written.
    pub uploads: Uploads,
    /// What is told to whom.
    pub log: Log,
}

/// How files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Uploads {
    /// A file takes its name only when it is whole.
    pub atomic: bool,
    /// A file is on the disk before its upload is reported complete.
    pub sync: bool,
    /// What came in before an upload broke off is removed.
    pub remove_aborted: bool,
}

/// Anonymous sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Anonymous {
    /// The directory they see as "/".
    #[serde(serialize_with = "shown::path")]
    pub root: PathBuf,
    /// As which user of the host files are read; `None`: the daemon's own.
    pub uid: Option<Principal>,
    /// The user's group, if not its own.
    pub gid: Option<Principal>,
    /// What all of them together may use.
    pub limits: AccountLimits,
}

impl Anonymous {
    /// Anonymous sessions in `root`, read by the daemon's own user, without limits of their own.
    pub fn new(root: impl Into<PathBuf>) -> Anonymous {
        Anonymous {
            root: root.into(),
            uid: None,
            gid: None,
            limits: AccountLimits::default(),
        }
    }
}

/// A configuration that cannot be used. Displays one line for each problem:
/// `FILE:LINE:COLUMN: what is wrong, and what would be right`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot read the configuration: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file says things that cannot be done.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

impl Config {
    /// Reads and checks a configuration file; relative paths in it start at the file's own folder.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::read(path, check::Look::AtTheDisk)
    }

    /// The same without asking whether the paths in it exist: for who uses none of them.
    pub fn load_text(path: &Path) -> Result<Config, ConfigError> {
        Config::read(path, check::Look::AtTheTextOnly)
    }

    fn read(path: &Path, look: check::Look) -> Result<Config, ConfigError> {
        let text = read_text(path).map_err(|unreadable| match unreadable {
            Unreadable::Io(source) => ConfigError::Read {
                path: path.to_owned(),
                source,
            },
            Unreadable::Text(problem) => ConfigError::Invalid(vec![problem]),
        })?;
        check::parse(path, &text, look)
    }

    /// What a file with this text would mean, without asking whether the paths in it exist.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        check::parse(path, text, check::Look::AtTheTextOnly)
    }

    /// What TLS is asked of those who come in by the listener with this number: those of `listen`,
    /// then those of `tls.listen`.
    pub fn tls_policy(&self, listener: usize) -> TlsPolicy {
        let Some(tls) = &self.tls else {
            return TlsPolicy::NONE;
        };
        match self.listen.iter().chain(&tls.listen).nth(listener) {
            Some(&address) => tls.policy(address),
            None => TlsPolicy::NONE,
        }
    }

    /// An address with TLS rules of its own that is not listened on, if there is one.
    pub fn rule_without_listener(&self) -> Option<SocketAddr> {
        let tls = self.tls.as_ref()?;
        let listened: Vec<_> = self.listen.iter().chain(&tls.listen).collect();
        let mut rules = tls.listeners.iter().map(|rule| rule.address);
        rules.find(|address| !listened.contains(&address))
    }

    /// A port on which control connections are accepted and that is a passive port as well, if
    /// there is one: it would be shut to clients who have not negotiated it yet, which is all.
    pub fn listened_passive_port(&self) -> Option<u16> {
        let implicit = self.tls.iter().flat_map(|tls| &tls.listen);
        let mut ports = self.listen.iter().chain(implicit).map(SocketAddr::port);
        ports.find(|&port| self.passive.ports.contains(port))
    }
}

impl Config {
    /// Whether there is nothing to serve, but something to guard.
    pub fn is_for_guard_alone(&self) -> bool {
        let nobody = self.users.is_none() && self.anonymous.is_none() && self.pam.is_none();
        nobody && self.guard != Guard::default()
    }

    /// Whether the passive ports leave none to the listener that admitted connections are steered
    /// to, which takes one that needs no right (net.ipv4.ip_unprivileged_port_start).
    pub fn leaves_no_port(&self) -> bool {
        let implicit = self.tls.iter().flat_map(|tls| &tls.listen);
        let listened: Vec<u16> = self
            .listen
            .iter()
            .chain(implicit)
            .map(SocketAddr::port)
            .collect();
        let taken = |port| self.passive.ports.contains(port) || listened.contains(&port);
        self.enforce.enabled && (1024..=u16::MAX).all(taken)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: vec![SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 21)],
            greeting: "Pinhole ready.".to_owned(),
            hosts: Vec::new(),
            users: None,
            anonymous: None,
            pam: None,
            tls: None,
            passive: Passive::default(),
            active: Active::default(),
            enforce: Enforce::default(),
            guard: Guard::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            uploads: Uploads::default(),
            log: Log::default(),
        }
    }
}

#[cfg(test)]
mod tests;
