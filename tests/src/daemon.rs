//! The daemon under test: started in a namespace, ready when it says so, ended with its guard.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use crate::{
    namespace::NetNs,
    process::{self, Finished},
    settings::Settings,
    wait,
};

/// The line the daemon logs when every listener is bound and every program attached.
const READY: &str = "ready";

/// A running daemon. Dropping it kills it; what it said is then shown with a failed test.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    listener: Option<JoinHandle<()>>,
    // Holds the configuration file.
    _folder: tempfile::TempDir,
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
            _folder: folder,
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

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it restart without a gap, and waits until the new process is ready. Returns its id; it
    /// ends with this.
    pub fn restart(&self) -> Result<Successor> {
        let ready = self.count_said(is_ready);
        let before = self.successors().len();
        self.signal(Signal::USR2)?;
        self.successor_of(before, ready)
    }

    /// The same where a process that has taken over already is the one to restart.
    pub fn restart_again(&self, successor: Successor) -> Result<Successor> {
        let ready = self.count_said(is_ready);
        let before = self.successors().len();
        successor.signal(Signal::USR2)?;
        self.successor_of(before, ready)
    }

    fn successor_of(&self, before: usize, ready: usize) -> Result<Successor> {
        wait::poll_within(wait::SOON, "another process has taken over", || {
            if self.has_said(|line| line.contains("restart refused")) {
                bail!("{}", self.log());
            }
            let ready = self.count_said(is_ready) > ready;
            let newest = self.successors().get(before).copied();
            Ok(newest.filter(|_| ready))
        })
        .map(|pid| Successor { pid })
    }

    /// The processes that have taken over, by now, from the one that was started or from each other.
    fn successors(&self) -> Vec<Pid> {
        let pid = |line: &String| {
            let (line, _) = line.split_once(" has taken over;")?;
            let (_, pid) = line.rsplit_once(' ')?;
            Pid::from_raw(pid.parse().ok()?)
        };
        lock(&self.said).iter().filter_map(pid).collect()
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

/// A process of a [`Daemon`] that has taken over.
#[derive(Clone, Copy, Debug)]
pub struct Successor {
    pid: Pid,
}

impl Successor {
    /// Its process id.
    pub fn pid(self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal.
    pub fn signal(self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal)
            .with_context(|| format!("cannot send {signal:?} to the daemon's new process"))
    }

    /// Waits until it has ended.
    pub fn wait(self) -> Result<()> {
        let handle = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let limit = Timespec::try_from(wait::SOON)?;
        let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit))?;
        ensure!(ended > 0, "the daemon's new process still runs");
        Ok(())
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

/// The program under test: `PINHOLE_BIN`, else the one built beside this test.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PINHOLE_BIN") {
        return Ok(path.into());
    }
    // target/<profile>/deps/<test>
    let test = std::env::current_exe().context("cannot find this test's own file")?;
    let profile = test.parent().and_then(Path::parent);
    let binary = profile
        .context("this test's file has no folder")?
        .join("pinhole");
    ensure!(
        binary.is_file(),
        "{} is not built: `cargo xtask test` builds it, or name one in PINHOLE_BIN",
        binary.display()
    );
    Ok(binary)
}

/// Runs `pinhole` with `args` to its end.
pub fn pinhole(args: &[&str], input: &str) -> Result<Finished> {
    let mut command = Command::new(binary()?);
    command.args(args);
    process::run(command, input.as_bytes(), wait::SOON)
}

/// Adds a password user to the users file at `file`, as an admin does.
pub fn add_user(file: &Path, name: &str, password: &str, root: &Path) -> Result<()> {
    let mut command = Command::new(binary()?);
    command
        .args(["user", "add", name, "--root"])
        .arg(root)
        .arg("--file")
        .arg(file);
    process::run(command, format!("{password}\n").as_bytes(), wait::SOON)
        .and_then(Finished::successful)
        .with_context(|| format!("cannot add user {name}"))
        .map(drop)
}

/// Changes a user of the users file at `file`, as an admin does.
pub fn set_user(file: &Path, name: &str, flags: &[&str]) -> Result<()> {
    let mut command = Command::new(binary()?);
    command
        .args(["user", "set", name, "--file"])
        .arg(file)
        .args(flags);
    process::run(command, b"", wait::SOON)
        .and_then(Finished::successful)
        .with_context(|| format!("cannot change user {name}"))
        .map(drop)
}

/// As text, or as JSON.
fn is_ready(line: &str) -> bool {
    line.ends_with(READY) || line.contains(&format!("\"message\":\"{READY}\""))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
