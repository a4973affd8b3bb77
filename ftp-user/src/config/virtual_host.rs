//! The hosts that share this server's addresses, as an admin names them, and which of them a name is.
//! Who names one when is `session`'s, certificates are read by the crate's `tls`.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::{Config, shown};

/// One of several hosts on one address. What it leaves out is the server's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct VirtualHost {
    /// What clients may call it, with HOST or in TLS (SNI), in any case.
    pub names: Vec<String>,
    /// The text behind "220 ".
    pub greeting: Option<String>,
    /// What it shows in TLS.
    #[serde(flatten)]
    pub certificate: Option<Certificate>,
    /// The directory that its anonymous sessions see as "/".
    #[serde(serialize_with = "shown::optional_path")]
    pub anonymous_root: Option<PathBuf>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// The chain, PEM, the host's own first.
    #[serde(rename = "certificate", serialize_with = "shown::path")]
    pub chain: PathBuf,
    /// The private key, PEM.
    #[serde(serialize_with = "shown::path")]
    pub key: PathBuf,
}

impl Config {
    /// The host of this name, if one has it.
    pub fn host(&self, name: &str) -> Option<&VirtualHost> {
        let has = |host: &&VirtualHost| {
            let mut names = host.names.iter();
            names.any(|known| known.eq_ignore_ascii_case(name))
        };
        self.hosts.iter().find(has)
    }

    /// May a client that came to the address `local` call this server `name` (RFC 7151)? The address
    /// is always one of its names; without others, every name is.
    pub fn is_host(&self, name: &str, local: IpAddr) -> bool {
        let literal = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(name);
        match literal.parse::<IpAddr>() {
            Ok(address) => address.to_canonical() == local.to_canonical(),
            Err(_) => self.hosts.is_empty() || self.host(name).is_some(),
        }
    }
}
