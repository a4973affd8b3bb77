//! The contestants: how each FTP server is found, started and ended. Every server runs in a network
//! namespace that a scenario made, so none needs a port of the host.

pub(crate) mod peer;
pub(crate) mod pinhole;
pub(crate) mod unftp;

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use ftp_tests::{certificate::Pair, namespace::NetNs, process, wait};
use rustix::process::{Signal, kill_process};

use crate::{
    client::{ANONYMOUS, Account, Client},
    cpu,
    kernel::link::pin,
};

/// What a server is asked to do: anonymous sessions.
pub(crate) struct Site<'a> {
    /// Where it runs.
    pub(crate) namespace: &'a NetNs,
    /// Where its clients are.
    pub(crate) clients: &'a NetNs,
    /// Control connections' address and port.
    pub(crate) listen: SocketAddr,
    /// The interface that clients come in by.
    pub(crate) interface: &'a str,
    /// The served folder.
    pub(crate) root: &'a Path,
    pub(crate) passive_ports: (u16, u16),
    /// With it, AUTH TLS is offered.
    pub(crate) tls: Option<&'a Pair>,
    /// How our own server is to attach, as its configuration calls it.
    pub(crate) attach: &'a str,
}

/// Passive ports of every contestant.
pub(crate) const PASSIVE_PORTS: (u16, u16) = (30000, 50000);

/// The account that may upload where anonymous sessions may not.
pub(crate) const UPLOADER: Account = Account {
    name: "bench",
    password: "bench of steel",
};

/// An FTP server that can be measured.
pub(crate) trait Server: Sync {
    fn name(&self) -> &str;
    fn version(&self) -> &str;
    /// Starts it and waits until it greets clients.
    fn start(&self, site: &Site<'_>) -> Result<Running>;
    /// Who may upload.
    fn uploader(&self) -> Account {
        ANONYMOUS
    }
}

/// A started server; dropping it ends it. Its sessions must have been closed by then.
pub(crate) struct Running {
    pid: u32,
    // Dropping it ends the server.
    _process: Process,
}

enum Process {
    Own { _child: Started },
    Peer { _peer: ftp_tests::peer::Peer },
}

/// A process that this package has started, and its log.
struct Started {
    child: Child,
    log: File,
    /// Holds its configuration.
    _folder: tempfile::TempDir,
}

impl Running {
    /// One that the tests' harness has started.
    fn of_peer(peer: ftp_tests::peer::Peer) -> Result<Self> {
        Ok(Self {
            pid: peer.pid().context("it has no process of its own")?,
            _process: Process::Peer { _peer: peer },
        })
    }

    /// Starts a command made by [`NetNs::command`] and waits until `site.listen` greets.
    fn start(command: Command, site: &Site<'_>, folder: tempfile::TempDir) -> Result<Self> {
        let line = format!("{command:?}");
        let mut running = Started::spawn(command, folder)?;
        let greeted = wait::poll_within(wait::SOON, &format!("{line} greets"), || {
            running.still_runs(&line)?;
            Ok(site
                .clients
                .run(|| Client::connect(site.listen))?
                .ok()
                .map(drop))
        });
        greeted.with_context(|| format!("it said:\n{}", running.said()))?;
        Ok(Self::own(running))
    }

    /// Starts a command made by [`NetNs::command`] and waits until it has said `word`.
    pub(crate) fn start_saying(
        command: Command,
        word: &str,
        folder: tempfile::TempDir,
    ) -> Result<Self> {
        let line = format!("{command:?}");
        let mut running = Started::spawn(command, folder)?;
        let said = wait::poll_within(wait::SOON, &format!("{line} says {word:?}"), || {
            running.still_runs(&line)?;
            Ok(running.said().contains(word).then_some(()))
        });
        said.with_context(|| format!("it said:\n{}", running.said()))?;
        Ok(Self::own(running))
    }

    fn own(started: Started) -> Self {
        Self {
            pid: started.child.id(),
            _process: Process::Own { _child: started },
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// CPU time of it and of all that it has started.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu::of_tree(self.pid)
    }

    /// Memory of it and of all that it has started, in bytes, what is shared counted once.
    pub(crate) fn memory(&self) -> Result<u64> {
        cpu::proportional_set_size(self.pid)
    }

    /// Lets it and all that it has started run on one core only.
    pub(crate) fn pin(&self, core: usize) -> Result<()> {
        cpu::threads_of_tree(self.pid)?
            .into_iter()
            .try_for_each(|thread| pin(thread, core))
    }
}

impl Started {
    fn spawn(mut command: Command, folder: tempfile::TempDir) -> Result<Self> {
        let line = format!("{command:?}");
        let log = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(folder.path().join("log"))
            .context("cannot make a log file")?;
        let writer = log.try_clone().context("cannot duplicate a log file")?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone().context("cannot duplicate a log file")?)
            .stderr(writer);
        let child = process::spawn(command).with_context(|| format!("cannot start {line}"))?;
        Ok(Self {
            child,
            log,
            _folder: folder,
        })
    }

    fn still_runs(&mut self, line: &str) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{line} ended ({status})"),
            None => Ok(()),
        }
    }

    /// All it logged.
    fn said(&mut self) -> String {
        let mut said = Vec::new();
        // For waiting and error messages only: what can be read is enough.
        let _ = self
            .log
            .rewind()
            .and_then(|()| self.log.read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Nobody is left to hear of an error, and the kernel kills it with this process. Its children are
        // looked up before: once it is dead, they are init's.
        let below = cpu::below(self.child.id()).unwrap_or_default();
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in below {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
