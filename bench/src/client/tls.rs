//! The client's TLS: one configuration for every contestant, which remembers sessions, so that data
//! connections resume the control connection's where the server lets them.

use std::{
    io::{self, BufReader, IoSlice, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::BUFFER_LIMIT;

/// The cryptography of everything that is the benchmark's own, which is to be our server's as well. AES-128-GCM
/// first: what all contestants have in common and hardware helps with.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    let first = |name: &str| !name.contains("AES_128_GCM");
    provider
        .cipher_suites
        .sort_by_key(|suite| first(suite.suite().as_str().unwrap_or_default()));
    Arc::new(provider)
}

/// Makes connections private. A clone shares the remembered sessions; sessions with different servers
/// must not share them.
#[derive(Clone)]
pub(crate) struct Connector(Arc<ClientConfig>);

impl Connector {
    /// TLS 1.3 and 1.2.
    pub(crate) fn new() -> Result<Self> {
        let provider = provider();
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .context("no TLS versions")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Shakes hands.
    pub(crate) fn handshake(
        &self,
        stream: TcpStream,
    ) -> Result<StreamOwned<ClientConnection, Wide>> {
        let mut stream = Wide::new(stream);
        let name = ServerName::try_from("bench.example").context("a bad name")?;
        let mut tls = ClientConnection::new(Arc::clone(&self.0), name)?;
        tls.set_buffer_limit(Some(BUFFER_LIMIT));
        while tls.is_handshaking() {
            match tls.complete_io(&mut stream) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the TLS handshake failed"),
            }
        }
        Ok(StreamOwned::new(tls, stream))
    }
}

/// A socket that is read in large pieces: rustls reads 4 KiB at a time, a system call each, which would be most of
/// what receiving costs the client.
pub(crate) struct Wide(BufReader<TcpStream>);

impl Wide {
    /// Bytes of a piece.
    const PIECE: usize = 256 << 10;

    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(BufReader::with_capacity(Self::PIECE, stream))
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.0.get_ref()
    }
}

impl Read for Wide {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Wide {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.get_mut().write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

/// Believes every certificate: the servers are ours, in a namespace of ours. Signatures are checked, as
/// a real client's would be.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
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
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
