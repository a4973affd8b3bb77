//! A run is a child of this program's own, and this is its parent: however the run ends, by its end, Ctrl-C, a kill
//! or a crash, whatever it has started ends with it. (To be killed with one's parent, as children ask to be, is
//! forgotten when a server changes its user.)

use std::{
    mem::MaybeUninit,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitCode, ExitStatus},
    ptr,
};

use anyhow::{Context as _, Result};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, wait,
};

use crate::cpu;

/// Tells the child that it is one.
const MARK: &str = "PINHOLE_BENCH_RUN";

/// Whether this process is the run itself.
pub(crate) fn is_run() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts this program again as the run, waits for it, and ends what it leaves.
pub(crate) fn run() -> Result<ExitCode> {
    // Orphans below become this process's children.
    set_child_subreaper(Some(getpid())).context("prctl(PR_SET_CHILD_SUBREAPER)")?;
    let signals = Signals::block()?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let parent = getpid();
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(MARK, "1");
    let blocked = signals.0;
    // SAFETY: the closure makes system calls and allocates nothing; the set is initialised.
    unsafe {
        command.pre_exec(move || {
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const blocked, ptr::null_mut());
            set_parent_process_death_signal(Some(Signal::KILL))?;
            match getppid() == Some(parent) {
                true => Ok(()),
                false => Err(rustix::io::Errno::SRCH.into()),
            }
        })
    };
    let mut child = command.spawn().context("cannot start the run")?;
    let status = wait_for(&mut child, &signals);
    end_all_below();
    Ok(match status?.code() {
        Some(0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Waits for the run; a signal that would end this process ends the run.
fn wait_for(child: &mut Child, signals: &Signals) -> Result<ExitStatus> {
    loop {
        // Orphans as well, as they end: servers with a process for each session leave thousands, and the
        // system has no number for another process some day.
        while let Some((pid, status)) = wait(WaitOptions::NOHANG).context("wait(2)")? {
            if pid.as_raw_nonzero().get().cast_unsigned() != child.id() {
                continue;
            }
            let status = ExitStatus::from_raw(status.as_raw());
            if let Some(signal) = status.signal() {
                eprintln!("error: the run was ended by signal {signal}");
            }
            return Ok(status);
        }
        if signals.next()? != libc::SIGCHLD {
            // It is its own affair when it has ended meanwhile.
            let _ = child.kill();
            let status = child.wait().context("cannot wait for the run")?;
            eprintln!("\ninterrupted; nothing is left running");
            return Ok(status);
        }
    }
}

/// Kills and reaps until nothing is left: killing one may make its children ours.
fn end_all_below() {
    loop {
        // Nobody is left to hear of an error; without /proc there is nothing to be done.
        let below: Vec<Pid> = cpu::below(std::process::id()).unwrap_or_default();
        if below.is_empty() {
            return;
        }
        for pid in below {
            let _ = kill_process(pid, Signal::KILL);
        }
        // As many as have ended by then: thousands of them would otherwise take a look at all of /proc
        // each.
        let mut reaped = wait(WaitOptions::empty());
        while let Ok(Some(_)) = reaped {
            reaped = wait(WaitOptions::NOHANG);
        }
        if reaped.is_err() {
            return;
        }
    }
}

/// Signals that are waited for instead of being acted upon.
struct Signals(libc::sigset_t);

impl Signals {
    fn block() -> Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set, the other calls are given it initialised.
        let (set, blocked) = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD] {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            let blocked = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
            (set.assume_init(), blocked)
        };
        match blocked {
            0 => Ok(Self(set)),
            error => Err(std::io::Error::from_raw_os_error(error)).context("pthread_sigmask"),
        }
    }

    /// Waits for the next one.
    fn next(&self) -> Result<libc::c_int> {
        let mut signal = 0;
        // SAFETY: both point to values of this frame.
        match unsafe { libc::sigwait(&raw const self.0, &raw mut signal) } {
            0 => Ok(signal),
            error => Err(std::io::Error::from_raw_os_error(error)).context("sigwait"),
        }
    }
}
