//! The contestants: how each FTP server is found, started and ended. Every server runs in a network
//! namespace that a scenario made, so none needs a port of the host.

pub(crate) mod pinhole;
pub(crate) mod vsftpd;

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use ftp_tests::{namespace::NetNs, process, wait};

use crate::client::Client;

/// What a server is asked to do: anonymous, read-only sessions.
pub(crate) struct Site<'a> {
    /// Where it runs.
    pub(crate) namespace: &'a NetNs,
    /// Control connections' address and port.
    pub(crate) listen: SocketAddr,
    /// The interface that clients come in by.
    pub(crate) interface: &'a str,
    /// The served folder.
    pub(crate) root: &'a Path,
}

/// Passive ports of every contestant.
pub(crate) const PASSIVE_PORTS: (u16, u16) = (30000, 50000);

/// An FTP server that can be measured.
pub(crate) trait Server {
    fn name(&self) -> &str;
    fn version(&self) -> &str;
    /// Starts it and waits until it greets clients.
    fn start(&self, site: &Site<'_>) -> Result<Running>;
}

/// A started server; dropping it ends it. Its sessions must have been closed by then.
pub(crate) struct Running {
    child: Child,
    log: File,
    /// Holds its configuration.
    _folder: tempfile::TempDir,
}

impl Running {
    /// Starts a command made by [`NetNs::command`] and waits until `site.listen` greets.
    fn start(mut command: Command, site: &Site<'_>, folder: tempfile::TempDir) -> Result<Self> {
        let line = format!("{command:?}");
        let log = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(folder.path().join("log"))
            .context("cannot make a log file")?;
        let writer = log.try_clone().context("cannot duplicate a log file")?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone().context("cannot duplicate a log file")?)
            .stderr(writer);
        let child = process::spawn(command).with_context(|| format!("cannot start {line}"))?;
        let mut running = Self {
            child,
            log,
            _folder: folder,
        };
        let greeted = wait::poll_within(wait::SOON, &format!("{line} greets"), || {
            if let Some(status) = running.child.try_wait()? {
                bail!("{line} ended ({status})");
            }
            Ok(site
                .namespace
                .run(|| Client::connect(site.listen))?
                .ok()
                .map(drop))
        });
        greeted.with_context(|| format!("it said:\n{}", running.said()))?;
        Ok(running)
    }

    /// All it logged.
    fn said(&mut self) -> String {
        let mut said = Vec::new();
        // For an error message only: what can be read is enough.
        let _ = self
            .log
            .rewind()
            .and_then(|()| self.log.read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody is left to hear of an error, and the kernel kills it with this process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
