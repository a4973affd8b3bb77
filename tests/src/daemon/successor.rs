//! Processes that have taken over from the one that was started.

use anyhow::{Context, Result, bail, ensure};
use ftp_user::pinholes::inspect::{Row, Tables};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use super::{Daemon, is_ready, lock};
use crate::wait;

impl Daemon {
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
    pub(super) fn successors(&self) -> Vec<Pid> {
        let pid = |line: &String| {
            let (line, _) = line.split_once(" has taken over;")?;
            let (_, pid) = line.rsplit_once(' ')?;
            Pid::from_raw(pid.parse().ok()?)
        };
        lock(&self.said).iter().filter_map(pid).collect()
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

    /// The kernel's pinholes, which are its own to keep.
    pub fn pinholes(self) -> Result<Vec<Row>> {
        Ok(Tables::of_process(self.pid())?.pinholes()?)
    }

    /// Waits until there are so many of them.
    pub fn until_pinholes(self, count: usize) -> Result<()> {
        wait::poll_within(wait::SOON, "pinholes", || {
            Ok((self.pinholes()?.len() == count).then_some(()))
        })
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
