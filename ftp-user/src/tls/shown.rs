//! Which certificate is shown to whom.

use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// All certificates that are shown here.
#[derive(Debug)]
pub(super) struct Certificates {
    /// The server's own.
    pub(super) own: Arc<CertifiedKey>,
    /// By each name, in lower case, of each host. Many have the server's own.
    pub(super) by_name: HashMap<String, Arc<CertifiedKey>>,
    /// Whether a client has to name one that the certificate is for.
    pub(super) check_name: bool,
}

impl Certificates {
    /// The names whose certificates are for others, in order.
    pub(super) fn misnamed(&self) -> Vec<&str> {
        let wrong = self
            .by_name
            .iter()
            .filter(|(name, shown)| !is_for(shown, name));
        let mut names: Vec<&str> = wrong.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

/// What is shown on one connection.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) certificates: Arc<Certificates>,
    /// To a client that names no host of ours in its handshake.
    pub(super) otherwise: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Shown {
    /// A client that was sent here by somebody else's address for another host names that host
    /// (cross-protocol attacks: ALPACA). Many FTP clients name none, and are served.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else {
            return Some(Arc::clone(&self.otherwise));
        };
        // In lower case: rustls has seen to that.
        let named = self.certificates.by_name.get(name);
        let shown = named.unwrap_or(&self.otherwise);
        let good = !self.certificates.check_name || is_for(shown, name);
        good.then(|| Arc::clone(shown))
    }
}

fn is_for(certified: &CertifiedKey, name: &str) -> bool {
    let Some(Ok(certificate)) = certified.cert.first().map(ParsedCertificate::try_from) else {
        return false;
    };
    ServerName::try_from(name)
        .is_ok_and(|name| rustls::client::verify_server_name(&certificate, &name).is_ok())
}
