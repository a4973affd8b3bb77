//! From PEM files to what rustls serves with.

use super::shown::{Certificates, Shown};
use super::validity::{Purpose, Validities};
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
    #[error("certificate {} with key {}: {}", .certificate.display(), .key.display(), why(.source))]
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

/// rustls says of every key that is not to its taste that it could not be parsed.
fn why(error: &rustls::Error) -> String {
    match error {
        rustls::Error::General(said) if said.contains("private key") => {
            "the key cannot be served with: an RSA key must have 2048 to 4096 bits (`openssl rsa -in \
             FILE -noout -text` tells how many), an ECDSA key the curve P-256 or P-384; Ed25519 is good \
             as well"
                .to_owned()
        }
        error => error.to_string(),
    }
}

/// What was read.
pub(super) struct Loaded {
    /// Every certificate with its key, and who may come: TLS 1.2 and 1.3.
    pub(super) config: ServerConfig,
    /// The same certificates.
    pub(super) certificates: Arc<Certificates>,
    /// Of all of them, the clients' CA too.
    pub(super) validities: Validities,
}

pub(super) fn load(settings: &config::Tls, hosts: &[VirtualHost]) -> Result<Loaded, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut validities = Validities::default();
    let mut certified =
        |chain: &Path, key: &Path| certified(chain, key, &provider, &mut validities);
    let own = certified(&settings.certificate, &settings.key)?;
    let mut by_name = HashMap::new();
    for host in hosts {
        let shown = match &host.certificate {
            Some(Certificate { chain, key }) => certified(chain, key)?,
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
        Some(path) => {
            let verifier = verifier(path, provider, &mut validities)?;
            builder.with_client_cert_verifier(verifier)
        }
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
    Ok(Loaded {
        config: builder.with_cert_resolver(Arc::new(shown)),
        certificates,
        validities,
    })
}

/// A certificate that is ready to be shown.
fn certified(
    chain: &Path,
    key: &Path,
    provider: &CryptoProvider,
    validities: &mut Validities,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let certificates = certificates(Purpose::Shown, chain, validities)?;
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

fn certificates(
    purpose: Purpose,
    path: &Path,
    validities: &mut Validities,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = purpose.name();
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
    validities.add(purpose, path, &found);
    Ok(found)
}

fn verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
    validities: &mut Validities,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    let refused = |reason: String| TlsError::ClientCa {
        path: path.to_owned(),
        reason,
    };
    for certificate in certificates(Purpose::ClientCa, path, validities)? {
        roots
            .add(certificate)
            .map_err(|error| refused(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| refused(error.to_string()))
}
