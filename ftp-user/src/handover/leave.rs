//! The old process's side.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Fixed, HandoverError, New, Old, PAUSE, PROTOCOL, VARIABLE, implicit_tls};
use crate::channel::Channel;
use crate::config::Config;
use crate::pinholes::Pinholes;
use crate::server::{Listener, Relief};
use crate::vfs::own_umask;

/// How long a killed process may take to be gone.
const DEATH: Duration = Duration::from_secs(10);

/// The program that this process was started as, whichever file has that name by now, and its
/// arguments.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// To be asked for at the start: a relative path is one from the folder of that moment.
    pub fn of_this_process() -> io::Result<Program> {
        let mut arguments = std::env::args_os();
        let name = PathBuf::from(arguments.next().unwrap_or_default());
        // Without a slash it is looked for in PATH, as the shell did.
        let path = match name.components().count() {
            0 | 1 => name,
            _ => std::path::absolute(name)?,
        };
        Ok(Program {
            path,
            arguments: arguments.collect(),
        })
    }

    /// Starts it with `channel` as its standard input, as nobody's child: a service manager then
    /// hears of its end, and nobody has to wait for it. Returns a handle to it, unless it has ended.
    fn start(&self, channel: OwnedFd) -> io::Result<Option<OwnedFd>> {
        let (number, tell) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env(VARIABLE, "stdin")
            // They are for one process only (sd_listen_fds(3), sd_watchdog_enabled(3)).
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(channel));
        let umask = own_umask();
        // SAFETY: between fork and exec of a process with threads: the closure makes system calls
        // only, and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                // Until it handles them: `systemctl kill` signals every process of a service, this
                // one too while it starts, and they would end it.
                libc::signal(libc::SIGUSR2, libc::SIG_IGN);
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                // It goes by what it finds; this thread is one of many that have had others.
                if let Some(umask) = umask {
                    rustix::process::umask(umask);
                }
                match libc::fork() {
                    -1 => Err(io::Error::last_os_error()),
                    0 => {
                        rustix::io::write(&tell, &libc::getpid().to_ne_bytes())?;
                        Ok(())
                    }
                    _ => libc::_exit(0),
                }
            })
        };
        // Fails also where the grandchild cannot run the program.
        command.spawn()?.wait()?;
        // It has the other end of the pipe: without it, a grandchild that was killed before it could say
        // its number is the end of what there is to read.
        drop(command);
        let mut pid = 0_i32.to_ne_bytes();
        match File::from(number).read_exact(&mut pid) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            read => read.and_then(|()| handle(i32::from_ne_bytes(pid))),
        }
    }
}

/// What it takes to hand over.
#[derive(Debug)]
pub struct Departure {
    /// What to start.
    pub program: Program,
    /// Copies of the listeners: the other process gets them.
    pub listeners: Vec<Listener>,
    /// Whether they were given by the service manager.
    pub given: bool,
    /// The pinholes that it gets.
    pub pinholes: Pinholes,
    /// Has the server stop accepting.
    pub relief: mpsc::Sender<Relief>,
}

impl Departure {
    /// Starts another process and has it take over; `announce` is told its number as soon as there
    /// is no way back. On an error that process is gone, and all is as it was.
    ///
    /// What comes back has to be polled for as long as there are sessions here.
    pub async fn hand_over(
        &self,
        config: &Config,
        announce: fn(u32),
    ) -> Result<impl Future<Output = ()> + Send + use<>, HandoverError> {
        let (here, there) = Channel::pair()?;
        let (asks, counts) = UnixStream::pair()?;
        let (tells, hears) = Channel::pair()?;
        let program = self.program.clone();
        let name = program.path.display().to_string();
        let started = tokio::task::spawn_blocking(move || program.start(there)).await;
        let started = started.map_err(io::Error::other).and_then(|done| done);
        let started = started.map_err(|source| HandoverError::Start {
            program: name,
            source,
        })?;
        let channel = Channel::new(here)?;
        let mut greeted = None;
        let taken = self.negotiate(&channel, config, &mut greeted);
        let taken = tokio::time::timeout(config.timeouts.takeover, taken).await;
        let pid = match taken.unwrap_or(Err(HandoverError::Late)) {
            Ok(pid) => pid,
            Err(error) => {
                // First: it must not touch a lock again. What was started may be a script that has
                // started the daemon.
                for process in [greeted, started].into_iter().flatten() {
                    let gone = tokio::task::spawn_blocking(move || end(&process)).await;
                    if let Ok(Err(error)) = gone {
                        tracing::error!(%error, "cannot end the process that was to take over");
                    }
                }
                self.pinholes.stay().await;
                return Err(error);
            }
        };
        announce(pid);
        let (reply, relieved) = oneshot::channel();
        let relief = Relief {
            quotas: asks,
            remains: tells,
            reply,
        };
        let asked = self.relief.send(relief).await;
        let next_session = match (asked, relieved.await) {
            (Ok(()), Ok(next_session)) => next_session,
            // The server has just been told to stop: the other process goes on alone.
            _ => 1,
        };
        let channel = Arc::new(channel);
        let work = self.pinholes.hand(Arc::clone(&channel)).await;
        let said = async {
            channel.send(&Old::Remains, Some(hears.as_fd())).await?;
            let go = Old::Go { next_session };
            channel.send(&go, Some(counts.as_fd())).await
        };
        if let Err(error) = said.await {
            tracing::error!(%error, "the process that took over has ended at once");
        }
        Ok(work)
    }

    async fn negotiate(
        &self,
        channel: &Channel,
        config: &Config,
        greeted: &mut Option<OwnedFd>,
    ) -> Result<u32, HandoverError> {
        let New::Hello { pid } = hear(channel).await? else {
            return Err(HandoverError::Protocol);
        };
        *greeted = handle(i32::try_from(pid).map_err(|_| HandoverError::Protocol)?)?;
        let offer = Old::Offer {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fixed: Fixed::of(config),
            given: self.given,
        };
        channel.send(&offer, None).await?;
        for listener in &self.listeners {
            let message = Old::Listener {
                implicit_tls: implicit_tls(listener.start),
            };
            channel.send(&message, Some(listener.as_fd())).await?;
        }
        channel.send(&Old::Offered, None).await?;
        match hear(channel).await? {
            New::Prepared => {}
            New::Hello { .. } | New::Failed { .. } | New::Taken => {
                return Err(HandoverError::Protocol);
            }
        }
        let begun = Instant::now();
        let taken = async {
            self.pinholes.leave(channel).await?;
            hear(channel).await
        };
        let taken = tokio::time::timeout(PAUSE, taken).await;
        match taken.unwrap_or(Err(HandoverError::Slow))? {
            New::Taken => {
                let seconds = begun.elapsed().as_secs_f64();
                tracing::info!(seconds, "locks and pinholes have changed hands");
                Ok(pid)
            }
            New::Hello { .. } | New::Failed { .. } | New::Prepared => Err(HandoverError::Protocol),
        }
    }
}

/// What the new process says next, unless that is that it fails.
async fn hear(channel: &Channel) -> Result<New, HandoverError> {
    match channel.receive().await? {
        Some((New::Failed { why }, _)) => Err(HandoverError::Failed(why)),
        Some((said, _)) => Ok(said),
        None => Err(HandoverError::Ended),
    }
}

/// A handle to the process with this number, if there is one.
fn handle(pid: i32) -> io::Result<Option<OwnedFd>> {
    let pid = Pid::from_raw(pid).ok_or(Errno::INVAL)?;
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => Ok(Some(handle)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Kills a process and waits until it is gone.
fn end(process: &OwnedFd) -> io::Result<()> {
    match pidfd_send_signal(process, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => return Err(error.into()),
    }
    let limit = Timespec::try_from(DEATH).map_err(io::Error::other)?;
    let mut gone = [PollFd::new(process, PollFlags::IN)];
    match poll(&mut gone, Some(&limit))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}
