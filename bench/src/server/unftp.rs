//! libunftp, by a small program of ours around it (bench/unftp), built when it is first measured: its dependencies
//! are nobody else's concern.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{Running, Server, Site};

/// A built program.
pub(crate) struct Unftp {
    program: PathBuf,
    version: String,
}

impl Unftp {
    /// Builds it below `folder`; fails where its dependencies cannot be had.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("unftp");
        let target = folder.join("unftp");
        let manifest = source.join("Cargo.toml");
        let built = Command::new("cargo")
            .args([
                "build",
                "--release",
                "--locked",
                "--quiet",
                "--manifest-path",
            ])
            .arg(&manifest)
            .arg("--target-dir")
            .arg(&target)
            .output()
            .context("cannot start cargo")?;
        ensure!(
            built.status.success(),
            "bench/unftp does not build ({}): {}",
            built.status,
            String::from_utf8_lossy(&built.stderr).trim()
        );
        Ok(Self {
            program: target.join("release/bench-unftp"),
            version: version(&source.join("Cargo.lock"))?,
        })
    }
}

/// The version of libunftp that a lock file names.
fn version(lock: &Path) -> Result<String> {
    let text =
        fs::read_to_string(lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let rest = text.split_once("name = \"libunftp\"\nversion = \"");
    let (version, _) = rest
        .and_then(|(_, rest)| rest.split_once('"'))
        .with_context(|| format!("{} names no libunftp", lock.display()))?;
    Ok(version.to_owned())
}

impl Server for Unftp {
    fn name(&self) -> &str {
        "libunftp"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn start(&self, site: &Site<'_>) -> Result<Running> {
        let (first, last) = site.passive_ports;
        let mut command = site.namespace.command(&self.program);
        command
            .arg(site.listen.to_string())
            .arg(site.root)
            .args([first.to_string(), last.to_string()]);
        if let Some(certificate) = site.tls {
            command.arg(&certificate.certificate).arg(&certificate.key);
        }
        Running::start(command, site, tempfile::tempdir()?)
    }
}
