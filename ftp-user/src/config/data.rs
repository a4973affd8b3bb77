//! `[passive]` and `[active]`: how data connections come about.

use std::time::Duration;

use serde::Serialize;

use super::{ForNetwork, PortSet, PublicAddress, shown::duration};

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

impl Default for Passive {
    fn default() -> Passive {
        Passive {
            ports: PortSet::default(),
            address: PublicAddress::Own,
            addresses: Vec::new(),
            connect_timeout: Duration::from_secs(30),
            port_timeout: Duration::from_secs(10),
        }
    }
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

impl Default for Active {
    fn default() -> Active {
        Active {
            enabled: true,
            from_port_20: false,
            default_port: false,
            connect_timeout: Duration::from_secs(30),
        }
    }
}
