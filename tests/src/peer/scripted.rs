//! A server of the tests' own.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Launch, Plan, Setup, Tls};

pub(super) fn plan(setup: &Setup<'_>, folder: &Path) -> Result<Plan> {
    if !matches!((setup.tls, setup.launch), (Tls::Off, Launch::Standalone)) {
        bail!("the scripted server knows neither TLS nor inetd");
    }
    Ok(Plan::new("/usr/bin/python3".into(), folder)
        .args(["-c", include_str!("scripted.py")])
        .arg(setup.port.to_string())
        .args(setup.extra))
}
