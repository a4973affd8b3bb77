//! Certificates for tests, made anew each time, and clients that take any.

use crate::config::{self, Binding, Certificate, Use};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, generate_simple_self_signed,
};
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use time::OffsetDateTime;

/// Writes a certificate and its key into `folder`: TLS for everybody who asks.
pub(crate) fn settings(folder: &Path) -> config::Tls {
    let Certificate { chain, key } = certificate(folder, "localhost");
    config::Tls {
        certificate: chain,
        key,
        mode: Use::Allow,
        data: Use::Allow,
        session_binding: Binding::Require,
        client_ca: None,
        check_server_name: false,
        listen: Vec::new(),
        listeners: Vec::new(),
    }
}

/// Writes a certificate for `name` and its key into `folder`.
pub(crate) fn certificate(folder: &Path, name: &str) -> Certificate {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).unwrap();
    let chain = folder.join(format!("{name}.pem"));
    let key = folder.join(format!("{name}.key"));
    std::fs::write(&chain, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    Certificate { chain, key }
}

/// A certificate that has signed itself, for the time from `from` to `until`.
pub(crate) fn signed_for(
    name: &str,
    from: OffsetDateTime,
    until: OffsetDateTime,
) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (from, until);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap(), key)
}

/// Writes such a one in the place of that of `settings`.
pub(crate) fn write_dated(settings: &config::Tls, from: OffsetDateTime, until: OffsetDateTime) {
    let (certificate, key) = signed_for("localhost", from, until);
    std::fs::write(&settings.certificate, certificate.pem()).unwrap();
    std::fs::write(&settings.key, key.serialize_pem()).unwrap();
}

/// A client's side, with a memory of its own.
pub(crate) fn client(version: &'static SupportedProtocolVersion) -> ClientConfig {
    builder(version).with_no_client_auth()
}

fn builder(
    version: &'static SupportedProtocolVersion,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = Arc::new(ring::default_provider());
    ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
}

/// Who signs certificates for clients.
pub(crate) struct Ca {
    /// Its own certificate.
    pub(crate) path: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(crate) fn new(folder: &Path) -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let path = folder.join("ca.pem");
        std::fs::write(&path, certificate.pem()).unwrap();
        Ca {
            path,
            issuer: Issuer::new(params, key),
        }
    }

    /// A client with a certificate of this CA.
    pub(crate) fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["client".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        builder(version)
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
