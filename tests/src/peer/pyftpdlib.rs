//! pyftpdlib: a program of ours that uses it as its documentation does.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Launch, PASSWORD, Plan, Setup, Tls, USER};
use crate::debian;

pub(super) fn plan(setup: &Setup<'_>, folder: &Path) -> Result<Plan> {
    if !matches!((setup.tls, setup.launch), (Tls::Off, Launch::Standalone)) {
        bail!("pyftpdlib is here for its many sessions in one process, not for TLS or inetd");
    }
    let library = debian::peer("python3-pyftpdlib")?
        .root
        .join("usr/lib/python3/dist-packages");
    let (first, last) = setup.passive;
    // Debian's package is for Debian's Python.
    let mut plan = Plan::new("/usr/bin/python3".into(), folder)
        .args(["-c", include_str!("pyftpdlib.py")])
        .args([setup.port, first, last].map(|port| port.to_string()))
        .args([USER, PASSWORD])
        .arg(setup.root)
        .args(setup.extra);
    plan.env.push(("PYTHONPATH", library.into()));
    Ok(plan)
}
