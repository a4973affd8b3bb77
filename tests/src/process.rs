//! Child processes that end with the test, and never run longer than they may.
//!
//! Every child asks the kernel to be killed when its parent *thread* ends; so one thread that
//! lives as long as the process starts them all, and tests may hand a child to any thread.

use std::{
    io::{self, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{self, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

/// What a command left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Standard output, then standard error, for people to read.
    pub fn transcript(&self) -> String {
        format!(
            "{}{}",
            String::from_utf8_lossy(&self.stdout),
            String::from_utf8_lossy(&self.stderr)
        )
    }

    /// The same, if the command succeeded; else an error that holds all it said.
    pub fn successful(self) -> Result<Self> {
        if !self.status.success() {
            bail!("{}, and said:\n{}", self.status, self.transcript());
        }
        Ok(self)
    }
}

type Start = Box<dyn FnOnce() + Send>;

/// Starts `command` from the thread that outlives every test. A child made ready with
/// [`crate::namespace::NetNs::command`] is killed by the kernel when this process ends.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Sender<Start>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Start>();
        thread::spawn(move || jobs.into_iter().for_each(|job| job()));
        sender
    });
    let (answer, answered) = mpsc::sync_channel(1);
    starter
        .send(Box::new(move || {
            // The receiver waits below; if its thread died the child is dropped with the answer.
            let _ = answer.send(command.spawn());
        }))
        .map_err(|_| io::Error::other("the thread that starts children has ended"))?;
    answered
        .recv()
        .map_err(|_| io::Error::other("the thread that starts children has ended"))?
}

/// Runs `command` with `input` on its standard input, for at most `limit`.
pub fn run(mut command: Command, input: &[u8], limit: Duration) -> Result<Finished> {
    let line = format!("{command:?}");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn(command).with_context(|| format!("cannot start {line}"))?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) = pipes else {
        bail!("{line}: started without its pipes");
    };
    thread::scope(|scope| {
        scope.spawn(move || {
            // A child that does not read its input closes it: not an error of ours.
            let _ = io::Write::write_all(&mut stdin, input);
        });
        let out = scope.spawn(move || read_all(&mut stdout));
        let err = scope.spawn(move || read_all(&mut stderr));
        let ended = wait(&mut child, limit);
        if !matches!(ended, Ok(Some(_))) {
            child.kill().context("cannot kill it")?;
            child.wait().context("cannot wait for it")?;
        }
        let stdout = out.join().unwrap_or_default();
        let stderr = err.join().unwrap_or_default();
        match ended.with_context(|| format!("cannot wait for {line}"))? {
            Some(status) => Ok(Finished {
                status,
                stdout,
                stderr,
            }),
            None => bail!(
                "not done within {limit:?}: {line}\n{}{}",
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            ),
        }
    })
}

/// Waits for `child` for at most `limit`; `None` when it still runs.
pub fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let pid = Pid::from_child(child);
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn read_all(from: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    // What came before an error is still worth showing.
    let _ = from.read_to_end(&mut all);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_killed_and_its_words_are_kept() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo before; exec sleep 1000"]);
        let error = run(command, b"", Duration::from_millis(300)).unwrap_err();
        assert!(error.to_string().contains("before"), "{error}");
    }

    #[test]
    fn a_failing_command_shows_what_it_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "cat; echo no >&2; exit 3"]);
        let finished = run(command, b"input ", Duration::from_secs(10)).unwrap();
        let error = finished.successful().unwrap_err().to_string();
        assert!(error.contains("3") && error.contains("input no"), "{error}");
    }
}
