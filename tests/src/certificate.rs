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
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let pair = Pair {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
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
