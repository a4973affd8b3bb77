//! FTP servers that know nothing of us, as Debian builds them: what the guard is for. How each one
//! is configured is in its own file; here is how all of them are asked for, started and ended.

mod inetd;
mod plan;
mod proftpd;
mod pure_ftpd;
mod pyftpdlib;
mod scripted;
mod vsftpd;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use self::{
    inetd::Inetd,
    plan::{Group, Plan},
};
use crate::{
    control::{self, Control},
    namespace::NetNs,
    process,
    settings::CONTROL_PORT,
    wait,
};

/// The server to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brand {
    /// vsftpd: a process of a session's own, split by privilege; the privileged half listens.
    Vsftpd,
    /// Pure-FTPd: a process for each session.
    PureFtpd,
    /// ProFTPD: a process for each session.
    ProFtpd,
    /// pyftpdlib: one process and thread for all sessions.
    Pyftpdlib,
    /// A program of the tests' own, one session at a time, for what servers do rarely: it does to
    /// its data ports what its client asks for (`scripted.py`).
    Scripted,
}

impl Brand {
    /// Those that hosts run.
    pub const COMMON: [Brand; 3] = [Brand::Vsftpd, Brand::PureFtpd, Brand::ProFtpd];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Brand::Vsftpd => "vsftpd",
            Brand::PureFtpd => "Pure-FTPd",
            Brand::ProFtpd => "ProFTPD",
            Brand::Pyftpdlib => "pyftpdlib",
            Brand::Scripted => "scripted.py",
        }
    }

    /// Who may log in and write. vsftpd has accounts of its own only through PAM, which takes files in
    /// /etc: it serves its anonymous user.
    pub fn user(self) -> &'static str {
        match self {
            Brand::Vsftpd => "anonymous",
            Brand::PureFtpd | Brand::ProFtpd | Brand::Pyftpdlib | Brand::Scripted => USER,
        }
    }

    /// Starts it and waits until it greets.
    pub fn start(self, setup: &Setup<'_>) -> Result<Peer> {
        let folder = tempfile::tempdir()?;
        let plan = match self {
            Brand::Vsftpd => vsftpd::plan(setup, folder.path()),
            Brand::PureFtpd => pure_ftpd::plan(setup, folder.path()),
            Brand::ProFtpd => proftpd::plan(setup, folder.path()),
            Brand::Pyftpdlib => pyftpdlib::plan(setup, folder.path()),
            Brand::Scripted => scripted::plan(setup, folder.path()),
        }
        .with_context(|| format!("cannot make {} ready", self.name()))?;
        let running = match setup.launch {
            Launch::Standalone => Running::Alone(plan.spawn(setup.namespace)?),
            Launch::Inetd => Running::Inetd {
                _inetd: Inetd::start(setup.namespace, setup.port, plan)?,
            },
            Launch::Systemd => {
                Running::Alone(inetd::systemd(setup.port, plan).spawn(setup.namespace)?)
            }
        };
        let mut peer = Peer {
            brand: self,
            running,
            folder,
        };
        peer.until_it_greets(setup)?;
        Ok(peer)
    }
}

/// The name of the account that can be written to; see [`Brand::user`].
pub const USER: &str = "writer";
/// Its password, which the anonymous user may use as well.
pub const PASSWORD: &str = "correct-horse";
/// What crypt(3) makes of [`PASSWORD`], with few rounds: logins are not what is tested.
const PASSWORD_HASH: &str = "$6$rounds=1000$pinhole$yt6Tzq9ZWkv9UbVawQMgB310R3fg0HI1mloqDjQXZiooErf\
                             vI3T5x.IxI19q6LuIDQwmTsTV55JDc/xgpwV0M1";

/// How a server is to be configured and started.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The host it runs on.
    pub namespace: &'a NetNs,
    /// The folder it serves; see [`folder`].
    pub root: &'a Path,
    /// Where control connections go, at all addresses.
    pub port: u16,
    /// First and last port of its passive range.
    pub passive: (u16, u16),
    /// TLS.
    pub tls: Tls,
    /// Who accepts control connections.
    pub launch: Launch,
    /// More lines for its configuration file, or, for Pure-FTPd, which has none, more flags.
    pub extra: &'a [&'a str],
}

impl<'a> Setup<'a> {
    /// A server of its own at the control port, without TLS.
    pub fn new(namespace: &'a NetNs, root: &'a Path, passive: (u16, u16)) -> Setup<'a> {
        Setup {
            namespace,
            root,
            port: CONTROL_PORT,
            passive,
            tls: Tls::Off,
            launch: Launch::Standalone,
            extra: &[],
        }
    }
}

/// What a server does of TLS, with a certificate of its own. It never insists, and lets data
/// connections begin TLS sessions anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// None.
    Off,
    /// After AUTH TLS.
    Explicit,
    /// From the first byte. Pure-FTPd cannot.
    Implicit,
}

/// Who accepts control connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    /// The server itself.
    Standalone,
    /// inetd: a process for each connection, which is its standard input, output and error.
    Inetd,
    /// systemd's socket activation, `Accept=yes` and `StandardInput=socket`, by the program that
    /// systemd brings to try it.
    Systemd,
}

/// The folder for uploads in a [`folder`].
pub const INCOMING: &str = "incoming";

/// A folder that servers may serve, whomever their sessions run as: everybody may read it, and
/// write to [`INCOMING`] in it (vsftpd refuses a root that its user may write to).
pub fn folder() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let incoming = folder.path().join(INCOMING);
    fs::create_dir(&incoming)?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(&incoming, fs::Permissions::from_mode(0o777))?;
    Ok(folder)
}

/// A running server. Dropping it kills it with its sessions.
#[derive(Debug)]
pub struct Peer {
    brand: Brand,
    running: Running,
    folder: tempfile::TempDir,
}

#[derive(Debug)]
enum Running {
    Alone(Group),
    Inetd { _inetd: Inetd },
}

impl Peer {
    /// Its process: the one that accepts control connections; `None` under our inetd.
    pub fn pid(&self) -> Option<u32> {
        match &self.running {
            Running::Alone(group) => Some(group.child.id()),
            Running::Inetd { .. } => None,
        }
    }

    /// Ends the process that accepts control connections as an admin does, with SIGTERM, and waits
    /// for it. What becomes of its sessions is the server's choice.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        let Running::Alone(group) = &mut self.running else {
            bail!("there is no server to end under inetd");
        };
        kill_process(Pid::from_child(&group.child), Signal::TERM)?;
        process::wait(&mut group.child, wait::SOON)?
            .with_context(|| format!("{} still runs long after SIGTERM", self.brand.name()))
    }

    fn until_it_greets(&mut self, setup: &Setup<'_>) -> Result<()> {
        let name = self.brand.name();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, setup.port));
        wait::poll_within(wait::SOON, &format!("{name} greets"), || {
            if let Running::Alone(group) = &mut self.running
                && let Some(status) = group.child.try_wait()?
            {
                bail!("{name} ended ({status})");
            }
            Ok(match setup.tls {
                Tls::Off | Tls::Explicit => {
                    Control::open(setup.namespace, at.ip(), at).ok().map(drop)
                }
                Tls::Implicit => {
                    let source = SocketAddr::new(at.ip(), 0);
                    control::connect_from(setup.namespace, source, at, Duration::from_secs(1))
                        .ok()
                        .map(drop)
                }
            })
        })
        .with_context(|| format!("it said:\n{}", self.said()))
    }

    /// What it wrote and logged, for failure messages.
    fn said(&self) -> String {
        let files = fs::read_dir(self.folder.path()).into_iter().flatten();
        files
            .filter_map(|file| Some(file.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .filter_map(|path| fs::read_to_string(path).ok())
            .collect()
    }
}
