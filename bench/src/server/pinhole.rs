//! Our own server, enforcing, as an admin would run it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{process, settings::Settings};

use super::{Running, Server, Site, UPLOADER};
use crate::client::Account;

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

    /// The program itself, for what is no server: the guard.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A users file with the account that may upload: anonymous sessions may not.
    fn users(&self, folder: &Path, root: &Path) -> Result<PathBuf> {
        let file = folder.join("users.toml");
        let mut command = Command::new(&self.program);
        command
            .args(["user", "--file"])
            .arg(&file)
            .args(["add", UPLOADER.name, "--root"])
            .arg(root);
        let password = format!("{}\n", UPLOADER.password);
        process::run(command, password.as_bytes(), ftp_tests::wait::SOON)?.successful()?;
        Ok(file)
    }
}

impl Server for Pinhole {
    fn name(&self) -> &str {
        "pinhole"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn uploader(&self) -> Account {
        UPLOADER
    }

    fn start(&self, site: &Site<'_>) -> Result<Running> {
        let folder = tempfile::tempdir()?;
        let (first, last) = site.passive_ports;
        let mut settings = Settings::anonymous(site.root)?
            .users(&self.users(folder.path(), site.root)?)?
            .listen(&[site.listen])?
            .set("passive.ports", format!("{first}-{last}"))?
            // Pinholes of the flood scenario wait for as long as it runs.
            .set("passive.connect_timeout", "10m")?
            .set("enforce.interfaces", vec![site.interface.to_owned()])?
            .set("enforce.attach", site.attach)?
            .set("limits.sessions", 20_000)?
            .set("limits.sessions_per_address", 0)?;
        if let Some(certificate) = site.tls {
            settings = settings
                .set(
                    "tls.certificate",
                    certificate.certificate.display().to_string(),
                )?
                .set("tls.key", certificate.key.display().to_string())?;
        }
        let config = folder.path().join("pinhole.toml");
        fs::write(&config, settings.text()).context("cannot write pinhole's configuration")?;
        let mut command = site.namespace.command(&self.program);
        command.args(["serve", "--config"]).arg(&config);
        Running::start(command, site, folder)
    }
}
