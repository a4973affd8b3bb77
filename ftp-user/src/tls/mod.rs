//! TLS for control and data connections (RFC 4217): the certificates, and which TLS sessions a data
//! connection may resume. What FTP says about it is `session`'s, bytes are `control`'s and
//! `transfer`'s.
//!
//! A data connection belongs to a control connection because it resumes that one's TLS session. So
//! every control connection has a memory of sessions of its own, and nothing else is resumed.

mod load;
mod memory;
mod shown;
mod validity;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use load::TlsError;
pub use validity::Validity;

use crate::config::{self, VirtualHost};
use load::Loaded;
use memory::{Memory, Staged};
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection};
use rustls::{HandshakeKind, ServerConfig};
use shown::{Certificates, Shown};
use std::path::Path;
use std::sync::Arc;
use time::{Date, OffsetDateTime};
use validity::Validities;

/// Certificates that are ready for handshakes.
#[derive(Debug)]
pub struct Tls {
    control: ServerConfig,
    data: ServerConfig,
    certificates: Arc<Certificates>,
    validities: Validities,
}

impl Tls {
    /// Reads certificates, keys and clients' CA.
    pub fn load(settings: &config::Tls, hosts: &[VirtualHost]) -> Result<Tls, TlsError> {
        let Loaded {
            config: mut control,
            certificates,
            validities,
        } = load::load(settings, hosts)?;
        // Only what a session brings along remembers anything.
        control.session_storage = Arc::new(NoServerSessionStorage {});
        // RFC 7301: a client that wants to speak another protocol is sent to the wrong place
        // (cross-protocol attacks: ALPACA). One that names none is an FTP client as they are.
        control.alpn_protocols = vec![b"ftp".to_vec()];
        let mut data = control.clone();
        data.alpn_protocols = vec![b"ftp-data".to_vec(), b"ftp".to_vec()];
        // Clients that use each ticket once need a new one each time.
        data.send_tls13_tickets = 1;
        Ok(Tls {
            control,
            data,
            certificates,
            validities,
        })
    }

    /// What one control connection needs, from its handshake on.
    pub fn session(self: &Arc<Tls>) -> SessionTls {
        SessionTls {
            tls: Arc::clone(self),
            memory: Arc::default(),
        }
    }

    /// Those of the hosts' names, in order, that their certificates are not for.
    pub fn misnamed(&self) -> Vec<&str> {
        self.certificates.misnamed()
    }

    /// Sentences about certificates that are not valid at `now`, or not for much longer.
    pub fn untimely(&self, now: OffsetDateTime) -> Vec<String> {
        self.validities.doubts(now)
    }

    /// The last day of the certificate that is first in this file, one of those that were read.
    pub fn last_day(&self, chain: &Path) -> Option<Date> {
        self.validities.last_day(chain)
    }

    /// Every certificate that was read, with its file; the clients' CA too.
    pub fn validities(&self) -> impl Iterator<Item = (&Path, &Validity)> {
        self.validities.all()
    }
}

/// One control connection's TLS: what it and its data connections remember.
#[derive(Debug)]
pub struct SessionTls {
    tls: Arc<Tls>,
    memory: Arc<Memory>,
}

impl SessionTls {
    /// For the handshake of the control connection; `host` is the host that the session is with, by
    /// its name in lower case. Its certificate is shown unless the handshake names another.
    pub fn control(&self, host: Option<&str>) -> Arc<ServerConfig> {
        let mut config = self.tls.control.clone();
        config.session_storage = Arc::clone(&self.memory) as _;
        self.show(&mut config, host);
        Arc::new(config)
    }

    /// For the handshake of one data connection, with the same `host`.
    pub fn data(&self, host: Option<&str>) -> Result<DataTls, rustls::Error> {
        let staged = Arc::new(Staged::new(Arc::clone(&self.memory)));
        let mut config = self.tls.data.clone();
        config.session_storage = Arc::clone(&staged) as _;
        self.show(&mut config, host);
        let connection = Box::new(UnbufferedServerConnection::new(Arc::new(config))?);
        let bond = Bond(staged);
        Ok(DataTls { connection, bond })
    }

    fn show(&self, config: &mut ServerConfig, host: Option<&str>) {
        let certificates = &self.tls.certificates;
        if let Some(otherwise) = host.and_then(|name| certificates.by_name.get(name)) {
            config.cert_resolver = Arc::new(Shown {
                certificates: Arc::clone(certificates),
                otherwise: Arc::clone(otherwise),
            });
        }
    }
}

/// One data connection's TLS, before its handshake.
pub struct DataTls {
    /// The server's side of it.
    pub connection: Box<UnbufferedServerConnection>,
    /// What ties it to its control connection.
    pub bond: Bond,
}

/// What ties a data connection to its control connection: the sessions that it may resume, and what
/// it leaves behind itself.
pub struct Bond(Arc<Staged>);

impl Bond {
    /// Whether the handshake resumed a session of this control connection. Then what it left behind
    /// may be resumed as well. What a stranger's handshake left never can be.
    pub fn holds(&self, handshake: Option<HandshakeKind>) -> bool {
        let holds = handshake == Some(HandshakeKind::Resumed);
        if holds {
            self.0.keep();
        }
        holds
    }
}
