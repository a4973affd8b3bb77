//! From PEM files to what rustls serves with.

use crate::config;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why there is no TLS to be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, or is no PEM.
    #[error("{what} {}: {source}{}", .path.display(), hint(.source))]
    Read {
        /// Which of the files.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A file is PEM but holds nothing of the kind.
    #[error("{what} {}: the file holds no certificate (-----BEGIN CERTIFICATE-----)", .path.display())]
    Empty {
        /// Which of the files.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
    },
    /// Certificate and key are not a pair, or of a kind that is not served.
    #[error("certificate {} with key {}: {source}", .certificate.display(), .key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The clients' CA cannot be one.
    #[error("clients' CA {}: {reason}", .path.display())]
    ClientCa {
        /// Its file.
        path: PathBuf,
        /// What rustls says.
        reason: String,
    },
}

fn hint(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::NoItemsFound => {
            "; the key has to be PEM without a password (-----BEGIN PRIVATE KEY-----)"
        }
        _ => "",
    }
}

/// Certificate, key and who may come: TLS 1.2 and 1.3.
pub(super) fn server_config(settings: &config::Tls) -> Result<ServerConfig, TlsError> {
    let chain = certificates("certificate", &settings.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|source| TlsError::Read {
        what: "key",
        path: settings.key.clone(),
        source,
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pair = |source| TlsError::Pair {
        certificate: settings.certificate.clone(),
        key: settings.key.clone(),
        source,
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(verifier(path, Arc::clone(&provider))?),
    };
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(pair)?;
    let shown = Shown {
        certified: Arc::new(certified),
        check_name: settings.check_server_name,
    };
    Ok(builder.with_cert_resolver(Arc::new(shown)))
}

/// The one certificate, for those who ask for it.
#[derive(Debug)]
struct Shown {
    certified: Arc<CertifiedKey>,
    check_name: bool,
}

impl Shown {
    fn is_for(&self, name: &str) -> bool {
        let Some(Ok(certificate)) = self.certified.cert.first().map(ParsedCertificate::try_from)
        else {
            return false;
        };
        ServerName::try_from(name)
            .is_ok_and(|name| rustls::client::verify_server_name(&certificate, &name).is_ok())
    }
}

impl ResolvesServerCert for Shown {
    /// A client that was sent here by somebody else's address for another host names that host
    /// (cross-protocol attacks: ALPACA). Many FTP clients name none, and are served.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match hello.server_name() {
            Some(name) if self.check_name && !self.is_for(name) => None,
            Some(_) | None => Some(Arc::clone(&self.certified)),
        }
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found = found.map_err(|source| TlsError::Read {
        what,
        path: path.to_owned(),
        source,
    })?;
    if found.is_empty() {
        return Err(TlsError::Empty {
            what,
            path: path.to_owned(),
        });
    }
    Ok(found)
}

fn verifier(
    path: &Path,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    let refused = |reason: String| TlsError::ClientCa {
        path: path.to_owned(),
        reason,
    };
    for certificate in certificates("clients' CA", path)? {
        roots
            .add(certificate)
            .map_err(|error| refused(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| refused(error.to_string()))
}
