//! TLS as an admin configures it (RFC 4217). Certificates are read by the crate's `tls`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// TLS on control and data connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// The certificate chain, PEM, the server's own first.
    #[serde(serialize_with = "super::shown::path")]
    pub certificate: PathBuf,
    /// Its private key, PEM.
    #[serde(serialize_with = "super::shown::path")]
    pub key: PathBuf,
    /// AUTH TLS on the control connections of `listen`.
    pub mode: Use,
    /// PROT P.
    pub data: Use,
    /// Whether a data connection has to resume its control connection's TLS session.
    pub session_binding: Binding,
    /// Who signs certificates for clients. With it, every TLS client has to show one.
    #[serde(serialize_with = "super::shown::optional_path")]
    pub client_ca: Option<PathBuf>,
    /// Whether a client that names a host in its handshake (SNI) has to name one that the
    /// certificate is for.
    pub check_server_name: bool,
    /// Where control connections start with TLS (implicit FTPS).
    pub listen: Vec<SocketAddr>,
    /// Addresses among those listened on that have rules of their own.
    pub listeners: Vec<ListenerTls>,
}

/// One listener's own rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ListenerTls {
    /// Which: as it stands in `listen` or `tls.listen`.
    pub address: SocketAddr,
    /// In place of `mode` and `data`.
    #[serde(flatten)]
    pub policy: TlsPolicy,
}

/// What is asked of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TlsPolicy {
    /// Of its control connection.
    #[serde(rename = "mode")]
    pub control: Use,
    /// Of its data connections.
    pub data: Use,
}

impl TlsPolicy {
    /// No TLS at all.
    pub const NONE: TlsPolicy = TlsPolicy {
        control: Use::Off,
        data: Use::Off,
    };
}

impl Tls {
    /// What is asked of those who come in by the listener at `address`.
    pub(super) fn policy(&self, address: SocketAddr) -> TlsPolicy {
        let own = self.listeners.iter().find(|own| own.address == address);
        own.map_or(
            TlsPolicy {
                control: self.mode,
                data: self.data,
            },
            |own| own.policy,
        )
    }
}

/// Whether TLS is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Never.
    Off,
    /// If the client asks for it.
    Allow,
    /// Nothing works without.
    Require,
}

impl Use {
    /// What holds for an account with a rule of its own: whoever requires TLS has it, then whoever
    /// wants none.
    #[must_use]
    pub fn with(self, account: Option<Use>) -> Use {
        match (self, account) {
            (listener, None) => listener,
            (Use::Require, _) | (_, Some(Use::Require)) => Use::Require,
            (Use::Off, _) | (_, Some(Use::Off)) => Use::Off,
            (Use::Allow, Some(Use::Allow)) => Use::Allow,
        }
    }
}

impl FromStr for Use {
    type Err = String;

    fn from_str(text: &str) -> Result<Use, String> {
        match text {
            "off" => Ok(Use::Off),
            "allow" => Ok(Use::Allow),
            "require" => Ok(Use::Require),
            _ => Err(format!("\"{text}\" is none of off, allow, require")),
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Use::Off => "off",
            Use::Allow => "allow",
            Use::Require => "require",
        })
    }
}

/// Whether data connections are bound to the control connection's TLS session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Binding {
    /// Whoever completes a handshake is the client.
    Off,
    /// The same, and the log tells of those that did not resume.
    Prefer,
    /// Who does not resume gets 522.
    Require,
}
