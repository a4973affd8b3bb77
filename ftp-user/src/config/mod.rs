//! What the admin wants: the configuration, its defaults, and the file it is read from.
//! `pinhole.sample.toml` documents every option; a test holds it and [`Config::default`] together.

mod account_limits;
mod amount;
mod check;
mod file;
mod fixed;
mod guard;
mod log;
mod network;
mod pam;
mod ports;
mod principal;
mod problem;
mod public;
mod rights;
mod tls;
mod values;

pub use account_limits::{AccountLimits, amount, limit};
pub use amount::Bytes;
pub use guard::{Guard, OWN_NAMESPACE, OnExit, Unresolved};
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

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

/// The sample that documents every option, with every default.
pub const SAMPLE: &str = include_str!("../../pinhole.sample.toml");

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Where control connections are accepted. "[::]" takes IPv4 as well.
    pub listen: Vec<SocketAddr>,
    /// The text behind "220 ": one line, printable.
    pub greeting: String,
    /// The names that HOST may have; none means any.
    pub hosts: Vec<String>,
    /// The users file, as `pinhole user` writes it.
    #[serde(serialize_with = "optional_path")]
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
    #[serde(serialize_with = "path")]
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

/// PASV and EPSV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Passive {
    /// The ports that may be named.
    pub ports: PortSet,
    /// The address that PASV answers with.
    pub address: PublicAddress,
    /// Others for clients of some networks.
    pub addresses: Vec<ForNetwork>,
    /// How long a pinhole waits for its client.
    #[serde(serialize_with = "duration")]
    pub connect_timeout: Duration,
    /// How long PASV waits for a port when this client holds all of them.
    #[serde(serialize_with = "duration")]
    pub port_timeout: Duration,
}

/// PORT and EPRT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Active {
    /// Whether they are allowed at all.
    pub enabled: bool,
    /// Whether to connect from port 20 (RFC 959 section 3.2).
    pub from_port_20: bool,
    /// Whether a transfer without PASV or PORT connects to the client's control port, from port 20
    /// (RFC 959 section 3.2).
    pub default_port: bool,
    /// How long a connection may take.
    #[serde(serialize_with = "duration")]
    pub connect_timeout: Duration,
}

/// The kernel half: who may reach a passive port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enforce {
    /// `false`: no eBPF, ordinary listeners.
    pub enabled: bool,
    /// Where packets are judged.
    pub interfaces: Interfaces,
    /// How the program is attached.
    pub attach: Attach,
    /// The firewall mark on admitted data packets.
    pub mark: Option<NonZeroU32>,
    /// Leading bits that a data connection's IPv4 address shares with the client's: 1 to 32.
    pub client_prefix_v4: u8,
    /// The same for IPv6: 1 to 128.
    pub client_prefix_v6: u8,
    /// Segments that belong to no connection.
    pub stray: Stray,
    /// Rows in the kernel's table.
    pub max_pinholes: u32,
}

/// Which interfaces are guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// Every one with an address that a control connection can come in by.
    Auto,
    /// These; at least one.
    Named(Vec<String>),
}

/// How the program is attached to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// Native on hardware and virtio, tcx elsewhere.
    Auto,
    /// XDP in the driver, before the kernel allocates anything.
    Native,
    /// XDP on every driver, later and slower.
    Generic,
    /// The traffic control hook: cheapest for transfers on veth, bridges and lo.
    Tcx,
}

/// What happens to segments to a guarded port that belong to no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stray {
    /// Pass where the host forwards, drop elsewhere.
    Auto,
    /// Always drop.
    Drop,
    /// Always pass: the kernel answers with RST.
    Pass,
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// Between two commands.
    #[serde(serialize_with = "duration")]
    pub idle: Duration,
    /// From connecting to being logged in.
    #[serde(serialize_with = "duration")]
    pub login: Duration,
    /// Between two bytes of a transfer.
    #[serde(serialize_with = "duration")]
    pub stall: Duration,
    /// For running transfers once the daemon is told to stop.
    #[serde(serialize_with = "duration")]
    pub drain: Duration,
    /// For the sessions of a process that another one has taken over from; zero: no limit.
    #[serde(serialize_with = "duration")]
    pub restart: Duration,
}

/// How many of things there may be. 0 sessions means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Sessions at one time.
    pub sessions: usize,
    /// Sessions at one time from one address.
    pub sessions_per_address: usize,
    /// Failed logins on one connection before it is closed; at least 1.
    pub login_failures: u32,
    /// What each account may use that has no limits of its own.
    pub account: AccountLimits,
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
        let text = read_text(path).map_err(|unreadable| match unreadable {
            Unreadable::Io(source) => ConfigError::Read {
                path: path.to_owned(),
                source,
            },
            Unreadable::Text(problem) => ConfigError::Invalid(vec![problem]),
        })?;
        check::parse(path, &text, check::Look::AtTheDisk)
    }

    /// What a file with this text would mean, without asking whether the paths in it exist.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        check::parse(path, text, check::Look::AtTheTextOnly)
    }

    /// May a client that came to the address `local` call this server `name` (RFC 7151)? The address
    /// is always one of its names.
    pub fn is_host(&self, name: &[u8], local: IpAddr) -> bool {
        let literal = name
            .strip_prefix(b"[")
            .and_then(|rest| rest.strip_suffix(b"]"))
            .unwrap_or(name);
        let address = std::str::from_utf8(literal)
            .ok()
            .and_then(|text| text.parse::<IpAddr>().ok());
        match address {
            Some(address) => address.to_canonical() == local.to_canonical(),
            None => {
                self.hosts.is_empty()
                    || self
                        .hosts
                        .iter()
                        .any(|host| host.as_bytes().eq_ignore_ascii_case(name))
            }
        }
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
            passive: Passive {
                ports: PortSet::default(),
                address: PublicAddress::Own,
                addresses: Vec::new(),
                connect_timeout: Duration::from_secs(30),
                port_timeout: Duration::from_secs(10),
            },
            active: Active {
                enabled: true,
                from_port_20: false,
                default_port: false,
                connect_timeout: Duration::from_secs(30),
            },
            enforce: Enforce {
                enabled: true,
                interfaces: Interfaces::Auto,
                attach: Attach::Auto,
                mark: None,
                client_prefix_v4: 32,
                client_prefix_v6: 128,
                stray: Stray::Auto,
                max_pinholes: 131_072,
            },
            guard: Guard::default(),
            timeouts: Timeouts {
                idle: Duration::from_secs(300),
                login: Duration::from_secs(60),
                stall: Duration::from_secs(60),
                drain: Duration::ZERO,
                restart: Duration::ZERO,
            },
            limits: Limits {
                sessions: 10_000,
                sessions_per_address: 0,
                login_failures: 3,
                account: AccountLimits::default(),
            },
            uploads: Uploads::default(),
            log: Log::default(),
        }
    }
}

impl Serialize for Interfaces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Interfaces::Auto => serializer.serialize_str("auto"),
            Interfaces::Named(names) => names.serialize(serializer),
        }
    }
}

/// As the file has it: "30s".
fn duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// JSON is text: a path that is not is shown as well as can be, instead of failing all of it.
fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

fn optional_path<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = path.as_ref().map(|path| path.display().to_string());
    shown.serialize(serializer)
}

#[cfg(test)]
mod tests;
