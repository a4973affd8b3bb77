//! From PEM files to what rustls serves with.

use super::shown::{Certificates, Shown};
use crate::config::{self, Certificate, VirtualHost};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::collections::HashMap;
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

/// Every certificate with its key, and who may come: TLS 1.2 and 1.3.
pub(super) fn server_config(
    settings: &config::Tls,
    hosts: &[VirtualHost],
) -> Result<(ServerConfig, Arc<Certificates>), TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let own = certified(&settings.certificate, &settings.key, &provider)?;
    let mut by_name = HashMap::new();
    for host in hosts {
        let shown = match &host.certificate {
            Some(Certificate { chain, key }) => certified(chain, key, &provider)?,
            None => Arc::clone(&own),
        };
        let names = host.names.iter().map(|name| name.to_ascii_lowercase());
        by_name.extend(names.map(|name| (name, Arc::clone(&shown))));
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(pair(&settings.certificate, &settings.key))?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
    };
    let certificates = Arc::new(Certificates {
        own,
        by_name,
        check_name: settings.check_server_name,
    });
    let shown = Shown {
        certificates: Arc::clone(&certificates),
        otherwise: Arc::clone(&certificates.own),
    };
    Ok((builder.with_cert_resolver(Arc::new(shown)), certificates))
}

/// A certificate that is ready to be shown.
fn certified(
    chain: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let certificates = certificates("certificate", chain)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Read {
        what: "key",
        path: key.to_owned(),
        source,
    })?;
    let certified = CertifiedKey::from_der(certificates, private, provider);
    Ok(Arc::new(certified.map_err(pair(chain, key))?))
}

fn pair(certificate: &Path, key: &Path) -> impl FnOnce(rustls::Error) -> TlsError {
    move |source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
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
    provider: Arc<CryptoProvider>,
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
