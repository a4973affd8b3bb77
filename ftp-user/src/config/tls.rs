//! TLS as an admin configures it (RFC 4217). Certificates are read by the crate's `tls`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// TLS on control and data connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// The certificate chain, PEM, the server's own first.
    #[serde(serialize_with = "super::path")]
    pub certificate: PathBuf,
    /// Its private key, PEM.
    #[serde(serialize_with = "super::path")]
    pub key: PathBuf,
    /// AUTH TLS on the control connections of `listen`.
    pub mode: Use,
    /// PROT P.
    pub data: Use,
    /// Whether a data connection has to resume its control connection's TLS session.
    pub session_binding: Binding,
    /// Who signs certificates for clients. With it, every TLS client has to show one.
    #[serde(serialize_with = "super::optional_path")]
    pub client_ca: Option<PathBuf>,
    /// Where control connections start with TLS (implicit FTPS).
    pub listen: Vec<SocketAddr>,
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
