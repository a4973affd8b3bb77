//! A certificate for the daemon under test, made anew and trusted by nobody.

use std::path::Path;

use anyhow::Result;

use crate::settings::Settings;

/// Writes a certificate and its key into `folder` and names them in `settings`.
pub fn configure(settings: Settings, folder: &Path) -> Result<Settings> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    settings
        .set("tls.certificate", certificate.display().to_string())?
        .set("tls.key", key.display().to_string())
}
