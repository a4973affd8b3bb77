//! A certificate for the daemon under test, made anew and trusted by nobody.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::settings::Settings;

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Writes a certificate and its key into `folder`.
pub fn write(folder: &Path) -> Result<Pair> {
    let pair = Pair {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
    write_pair(pair, "localhost")
}

/// Writes a certificate for `name` and its key into `folder`. Clients that trust it for its own CA
/// take it for that name and for no other.
pub fn write_for(folder: &Path, name: &str) -> Result<Pair> {
    let pair = Pair {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    };
    write_pair(pair, name)
}

/// Writes a certificate like that of [`write`] in its place, which has expired on 2024-02-29.
pub fn write_expired(folder: &Path) -> Result<Pair> {
    let pair = write(folder)?;
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
    params.not_after = rcgen::date_time_ymd(2024, 2, 29);
    let key = rcgen::KeyPair::generate()?;
    std::fs::write(&pair.certificate, params.self_signed(&key)?.pem())?;
    std::fs::write(&pair.key, key.serialize_pem())?;
    Ok(pair)
}

fn write_pair(pair: Pair, name: &str) -> Result<Pair> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
    std::fs::write(&pair.certificate, made.cert.pem())?;
    std::fs::write(&pair.key, made.signing_key.serialize_pem())?;
    Ok(pair)
}

/// Writes a certificate and its key into `folder` and names them in `settings`.
pub fn configure(settings: Settings, folder: &Path) -> Result<Settings> {
    let pair = write(folder)?;
    settings
        .set("tls.certificate", pair.certificate.display().to_string())?
        .set("tls.key", pair.key.display().to_string())
}
