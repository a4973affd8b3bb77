//! The guard as an admin configures it: which server it stands in front of, and what happens when
//! it does not know whose a data port is, or ends. The locks themselves are `[enforce]`'s.

use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Attach, Enforce, Interfaces, PortSet};

/// Names this process's own network namespace in [`Guard::netns`].
pub const OWN_NAMESPACE: &str = "self";

/// `pinhole guard`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Guard {
    /// Where the server takes control connections.
    pub control_ports: PortSet,
    /// Ports that are shut in any case; none: only those that a session's process listens on.
    pub ports: Option<PortSet>,
    /// Where packets are judged, if not where `[enforce]` says.
    pub interfaces: Option<Interfaces>,
    /// How the program is attached, if not as `[enforce]` says.
    pub attach: Option<Attach>,
    /// Count and report, drop nothing.
    pub dry_run: bool,
    /// What is left when the daemon has ended.
    pub on_exit: OnExit,
    /// What becomes of a data port of nobody knows which client.
    pub unresolved: Unresolved,
    /// The network namespaces to guard: [`OWN_NAMESPACE`], names below /run/netns, or paths.
    pub netns: Vec<String>,
    /// A mounted bpffs, where `on_exit = "closed"` leaves what goes on.
    #[serde(serialize_with = "super::shown::path")]
    pub bpffs: PathBuf,
}

/// What is left when the guard's daemon has ended, however it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnExit {
    /// Nothing: the host is as before.
    Open,
    /// The kernel half, which goes on opening and closing pinholes.
    Closed,
}

/// What becomes of a data port of nobody knows which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Unresolved {
    /// It stays shut.
    Shut,
    /// Any one client with a control connection to this host may connect.
    AdmitControlPeers,
}

impl Guard {
    /// The locks' settings, with what the guard has of its own.
    pub fn enforce(&self, enforce: &Enforce) -> Enforce {
        let mut enforce = enforce.clone();
        if let Some(interfaces) = &self.interfaces {
            enforce.interfaces.clone_from(interfaces);
        }
        if let Some(attach) = self.attach {
            enforce.attach = attach;
        }
        enforce
    }

    /// Words for a control port that is among the ports to shut, if there is one.
    pub(crate) fn shut_control_port(&self) -> Option<String> {
        let ports = self.ports.as_ref()?;
        let port = self
            .control_ports
            .iter()
            .find(|port| ports.contains(*port))?;
        Some(format!(
            "port {port} is one of the control ports: shut, it would let nobody in to log in. \
             Leave it out with \"!{port}\""
        ))
    }
}

impl Default for Guard {
    fn default() -> Guard {
        Guard {
            control_ports: PortSet::one(CONTROL_PORT),
            ports: None,
            interfaces: None,
            attach: None,
            dry_run: false,
            on_exit: OnExit::Open,
            unresolved: Unresolved::Shut,
            netns: vec![OWN_NAMESPACE.to_owned()],
            bpffs: PathBuf::from("/sys/fs/bpf"),
        }
    }
}

/// RFC 959 section 8.
const CONTROL_PORT: NonZeroU16 = match NonZeroU16::new(21) {
    Some(port) => port,
    None => NonZeroU16::MIN,
};
