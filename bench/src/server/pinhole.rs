//! Our own server, enforcing, as `--attach auto` does it.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{PASSIVE_PORTS, Running, Server, Site};

/// A `pinhole` program.
pub(crate) struct Pinhole {
    program: PathBuf,
    version: String,
}

impl Pinhole {
    pub(crate) fn new(program: PathBuf) -> Result<Self> {
        let output = Command::new(&program)
            .arg("--version")
            .output()
            .with_context(|| format!("cannot start {}", program.display()))?;
        ensure!(
            output.status.success(),
            "{} --version failed: {}",
            program.display(),
            output.status
        );
        let version = String::from_utf8_lossy(&output.stdout)
            .trim()
            .trim_start_matches("pinhole ")
            .to_owned();
        Ok(Self { program, version })
    }
}

impl Server for Pinhole {
    fn name(&self) -> &str {
        "pinhole"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn start(&self, site: &Site<'_>) -> Result<Running> {
        let (first, last) = PASSIVE_PORTS;
        let mut command = site.namespace.command(&self.program);
        command
            .args([
                "serve",
                "--listen",
                &site.listen.to_string(),
                "--interface",
                site.interface,
            ])
            .args([
                "--attach",
                "auto",
                "--passive-ports",
                &format!("{first}-{last}"),
                "--root",
            ])
            .arg(site.root);
        Running::start(command, site, tempfile::tempdir()?)
    }
}
