//! The daemon under test: started in a namespace, ready when it says so, ended with its guard.

mod admin;
mod successor;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

pub use self::{
    admin::{add_user, binary, pinhole, set_user},
    successor::Successor,
};
use crate::{namespace::NetNs, process, settings::Settings, wait};

/// The line the daemon logs when every listener is bound and every program attached.
const READY: &str = "ready";

/// A running daemon. Dropping it kills it; what it said is then shown with a failed test.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    listener: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl Daemon {
    /// Starts `pinhole serve --config` with `settings` in `namespace` and waits until it is ready.
    pub fn start(namespace: &NetNs, settings: &Settings) -> Result<Daemon> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("pinhole.toml");
        std::fs::write(&file, settings.text())?;
        let mut command = namespace.command(binary()?);
        command.arg("serve").arg("--config").arg(&file);
        Daemon::start_command(command, folder)
    }

    /// Starts `pinhole serve` with flags alone.
    pub fn start_with_flags(namespace: &NetNs, flags: &[&str]) -> Result<Daemon> {
        let mut command = namespace.command(binary()?);
        command.arg("serve").args(flags);
        Daemon::start_command(command, tempfile::tempdir()?)
    }

    /// Runs `command`, which is or becomes the daemon; `folder` lives as long as it does.
    pub fn start_command(mut command: Command, folder: tempfile::TempDir) -> Result<Daemon> {
        command
            .env("PINHOLE_LOG", "info")
            .env("RUST_BACKTRACE", "1")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let line = format!("{command:?}");
        let mut child = process::spawn(command).with_context(|| format!("cannot start {line}"))?;
        let stderr = child.stderr.take().context("started without its stderr")?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let listener = thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                lock(&heard).push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        let mut daemon = Daemon {
            child,
            said,
            listener: Some(listener),
            folder,
        };
        wait::poll_within(wait::SOON, "the daemon says it is ready", || {
            if daemon.has_said(is_ready) {
                return Ok(Some(()));
            }
            if let Some(status) = daemon.child.try_wait()? {
                daemon.drain();
                bail!(
                    "the daemon ended ({status}) before it was ready:\n{}",
                    daemon.log()
                );
            }
            Ok(None)
        })?;
        Ok(daemon)
    }

    /// The folder that was started with it, and ends with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        lock(&self.said).join("\n")
    }

    /// Whether it has logged a line that `wanted` holds for.
    pub fn has_said(&self, wanted: impl Fn(&str) -> bool) -> bool {
        lock(&self.said).iter().any(|line| wanted(line))
    }

    /// How many lines it has logged that `wanted` holds for.
    pub fn count_said(&self, wanted: impl Fn(&str) -> bool) -> usize {
        lock(&self.said).iter().filter(|line| wanted(line)).count()
    }

    /// Sends SIGTERM and waits; an error unless the daemon ends by itself, with status 0.
    pub fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let status = self
            .wait(wait::SOON)?
            .context("the daemon still runs long after SIGTERM")?;
        ensure!(
            status.success(),
            "the daemon answered SIGTERM with {status}:\n{}",
            self.log()
        );
        Ok(())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot send {signal:?} to the daemon"))
    }

    /// Kills it with SIGKILL, as a crash would end it, and waits until it is gone.
    pub fn kill9(mut self) -> Result<()> {
        self.end()
    }

    /// Waits until it has ended by itself; `None` when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let status = process::wait(&mut self.child, limit)?;
        // A process that has taken over goes on speaking.
        if status.is_some() && self.successors().is_empty() {
            self.drain();
        }
        Ok(status)
    }

    fn end(&mut self) -> Result<()> {
        // They are nobody's children, and hold what is read below.
        for pid in self.successors() {
            // Most have ended by themselves.
            let _ = kill_process(pid, Signal::KILL);
        }
        self.child.kill().context("cannot kill the daemon")?;
        self.child.wait().context("cannot wait for the daemon")?;
        self.drain();
        Ok(())
    }

    /// Its stderr is closed: the rest of it has been read when the thread ends.
    fn drain(&mut self) {
        if let Some(listener) = self.listener.take() {
            // It cannot panic; if it did, the log is merely short.
            let _ = listener.join();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nobody is left to hear of an error here, and the kernel kills it with this process.
        let _ = self.end();
        // Shown by the test runner only when the test has failed.
        eprintln!("--- the daemon said:\n{}\n---", self.log());
    }
}

/// As text, or as JSON.
fn is_ready(line: &str) -> bool {
    line.ends_with(READY) || line.contains(&format!("\"message\":\"{READY}\""))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
