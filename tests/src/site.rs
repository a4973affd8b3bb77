//! What most scenarios start from: a lab, a daemon in it that serves a folder, and sessions.

mod restart;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use ftp_user::pinholes::inspect::{Row, Tables};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    control::Control,
    daemon::{self, Daemon},
    files,
    frame::Segment,
    lab::{self, Family, Lab, Options},
    settings::{CONTROL_PORT, Settings},
    wait,
    wire::{Answer, Wire},
};

/// The password user's name.
pub const USER: &str = "writer";
/// The password user's password.
pub const PASSWORD: &str = "correct-horse";

/// A running daemon and its surroundings. The daemon ends first.
#[derive(Debug)]
pub struct Site {
    /// The daemon.
    pub daemon: Daemon,
    /// The network.
    pub lab: Lab,
    /// The folder that is served, to the password user with all rights.
    pub root: TempDir,
    /// What the daemon was started with.
    pub settings: Settings,
}

impl Site {
    /// The default lab and settings: anonymous sessions, passive ports 30000-30015.
    pub fn new() -> Result<Site> {
        Site::with(Options::default(), Ok)
    }

    /// A lab of `options`, settings that `adjust` has adjusted.
    pub fn with(
        options: Options,
        adjust: impl FnOnce(Settings) -> Result<Settings>,
    ) -> Result<Site> {
        let lab = Lab::with(options)?;
        Site::in_lab(lab, adjust)
    }

    /// In a lab that the scenario has prepared.
    pub fn in_lab(lab: Lab, adjust: impl FnOnce(Settings) -> Result<Settings>) -> Result<Site> {
        let (root, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let settings = adjust(Settings::anonymous(root.path())?)?;
        Site::start(lab, root, folder, settings)
    }

    /// The default lab and settings, and the password user [`USER`] beside anonymous sessions.
    pub fn with_writer(adjust: impl FnOnce(Settings) -> Result<Settings>) -> Result<Site> {
        Site::with_writer_in(Lab::new()?, adjust)
    }

    /// The same in a lab that the scenario has prepared.
    pub fn with_writer_in(
        lab: Lab,
        adjust: impl FnOnce(Settings) -> Result<Settings>,
    ) -> Result<Site> {
        Site::with_account_in(lab, &[], adjust)
    }

    /// The same with settings for the password user, as flags of `pinhole user set`. What they may
    /// use as a user of the host, everybody may use.
    pub fn with_account_in(
        lab: Lab,
        flags: &[&str],
        adjust: impl FnOnce(Settings) -> Result<Settings>,
    ) -> Result<Site> {
        let (root, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let file = folder.path().join("users.toml");
        daemon::add_user(&file, USER, PASSWORD, root.path())?;
        if !flags.is_empty() {
            daemon::set_user(&file, USER, flags)?;
            fs::set_permissions(root.path(), fs::Permissions::from_mode(0o777))?;
        }
        let settings = adjust(Settings::anonymous(root.path())?.users(&file)?)?;
        Site::start(lab, root, folder, settings)
    }

    fn start(lab: Lab, root: TempDir, folder: TempDir, settings: Settings) -> Result<Site> {
        let program = folder.path().join("pinhole");
        let file = folder.path().join("pinhole.toml");
        symlink(daemon::binary()?, &program)?;
        fs::write(&file, settings.text())?;
        let mut command = lab.server.command(&program);
        command.arg("serve").arg("--config").arg(&file);
        command.current_dir(folder.path());
        Ok(Site {
            daemon: Daemon::start_command(command, folder)?,
            lab,
            root,
            settings,
        })
    }

    /// What the daemon itself uses, to be changed under it: `pinhole`, a link to the program,
    /// `pinhole.toml`, and `users.toml` where there are users. Its current directory holds them.
    pub fn file(&self, name: &str) -> PathBuf {
        self.daemon.folder().join(name)
    }

    /// Changes the configuration, sends SIGHUP and waits until that reload is over.
    pub fn reload(&self, text: &str) -> Result<()> {
        fs::write(self.file("pinhole.toml"), text)?;
        let over = |line: &str| line.ends_with("reloaded") || line.ends_with("stay as they were");
        let before = self.daemon.count_said(over);
        self.daemon.signal(Signal::HUP)?;
        wait::until("the reload is over", || {
            self.daemon.count_said(over) > before
        })
    }

    /// Puts a file of noise into the served folder.
    pub fn put(&self, name: &str, len: usize) -> Result<Vec<u8>> {
        let content = files::noise(name.bytes().map(u64::from).sum(), len);
        fs::write(self.path(name), &content).with_context(|| format!("cannot write {name}"))?;
        Ok(content)
    }

    /// Where a served file lies.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(name)
    }

    /// An anonymous session from the client host's address number `n`.
    pub fn anonymous(&self, family: Family, n: u16) -> Result<Control> {
        let from = lab::client_address(family, n);
        Control::anonymous(&self.lab.client, from, control_address(family))
    }

    /// A session of the password user from the client host's first address.
    pub fn writer(&self, family: Family) -> Result<Control> {
        let from = lab::client_address(family, 0);
        let server = control_address(family);
        Control::logged_in(&self.lab.client, from, server, USER, PASSWORD)
    }

    /// What the server answers to a SYN to `to`.
    pub fn syn(&self, wire: &Wire, from: SocketAddr, to: SocketAddr) -> Result<Answer> {
        self.probe(wire, Segment::syn(from, to))
    }

    /// Fails unless a SYN from that address to `to` is answered by nothing.
    pub fn ensure_silent(&self, wire: &Wire, from: IpAddr, to: SocketAddr) -> Result<()> {
        let from = SocketAddr::new(from, wire.fresh_port());
        let answer = self.syn(wire, from, to)?;
        ensure!(
            answer == Answer::Nothing,
            "a SYN from {from} to {to}: {answer:?}"
        );
        Ok(())
    }

    /// What the server answers to `segment`; the control port is the canary.
    pub fn probe(&self, wire: &Wire, segment: Segment) -> Result<Answer> {
        wire.probe(segment, control_address(Family::of(segment.to.ip())))
    }

    /// The kernel's pinholes.
    pub fn pinholes(&self) -> Result<Vec<Row>> {
        Ok(self.tables()?.pinholes()?)
    }

    /// Waits until no pinhole is left.
    pub fn until_no_pinhole(&self) -> Result<()> {
        let tables = self.tables()?;
        wait::poll_within(wait::SOON, "no pinhole is left", || {
            Ok(tables.pinholes()?.is_empty().then_some(()))
        })
    }

    /// How many packets had an outcome, by its reason's name.
    pub fn count(&self, reason: &str) -> Result<u64> {
        let counters = self.tables()?.counters()?;
        counters
            .get(reason)
            .copied()
            .with_context(|| format!("no counter for {reason}"))
    }

    fn tables(&self) -> Result<Tables> {
        Tables::of_process(self.daemon.pid()).context("cannot read the daemon's tables")
    }
}

/// Where control connections go.
pub fn control_address(family: Family) -> SocketAddr {
    SocketAddr::new(lab::server_address(family), CONTROL_PORT)
}

/// A port of the client host's address number `n`.
pub fn client_end(family: Family, n: u16, port: u16) -> SocketAddr {
    SocketAddr::new(lab::client_address(family, n), port)
}

/// A port of the server.
pub fn server_end(family: Family, port: u16) -> SocketAddr {
    SocketAddr::new(lab::server_address(family), port)
}

/// Makes the client host keep silent where its kernel would reset a connection that a raw
/// segment has begun: so half open connections stay half open.
pub fn mute_resets(lab: &Lab) -> Result<()> {
    lab.client.nft(
        "table inet mute {\n chain out {\n  type filter hook output priority 0;\n  \
         tcp flags & rst == rst drop\n }\n}\n",
    )
}
