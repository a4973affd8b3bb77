//! A server that others wrote, the guard in front of it, and sessions through both: what scenarios
//! of the guard start from.

use std::{
    fs,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, ensure};
use ftp_user::pinholes::inspect::{Controls, Row, Tables};

use crate::{
    clients::IMPLICIT_PORT,
    control::Control,
    daemon::{self, Daemon},
    files,
    frame::Segment,
    lab::{self, Family, Lab, Options},
    namespace::NetNs,
    peer::{self, Brand, Launch, PASSWORD, Peer, Setup, Tls},
    settings::CONTROL_PORT,
    site::{client_end, control_address},
    wait,
    wire::{Answer, Wire},
};

/// The first of the server's passive ports.
pub const FIRST: u16 = 30000;

/// Starts a guard with these flags, without any server.
pub fn guard_in(namespace: &NetNs, flags: &[&str]) -> Result<Daemon> {
    let mut command = namespace.command(daemon::binary()?);
    command.arg("guard").args(flags);
    Daemon::start_command(command, tempfile::tempdir()?)
}

/// What the server host answers to a SYN from the client host's address number `n`.
pub fn syn(wire: &Wire, n: u16, to: SocketAddr) -> Result<Answer> {
    let family = Family::of(to.ip());
    let from = client_end(family, n, wire.fresh_port());
    wire.probe(Segment::syn(from, to), control_address(family))
}

/// What a scenario wants.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The server.
    pub brand: Brand,
    /// Who accepts its control connections.
    pub launch: Launch,
    /// Its TLS.
    pub tls: Tls,
    /// The last of its passive ports, from [`FIRST`].
    pub last: u16,
    /// More of its configuration.
    pub extra: &'a [&'a str],
    /// The network.
    pub network: Options,
    /// The guard's flags beside interface and control port.
    pub flags: &'a [&'a str],
    /// Bytes in the file `file` that it serves.
    pub len: usize,
}

impl<'a> Scene<'a> {
    /// The server alone, without TLS, 64 passive ports, a guard that shuts nothing else.
    pub fn of(brand: Brand) -> Scene<'a> {
        Scene {
            brand,
            launch: Launch::Standalone,
            tls: Tls::Off,
            last: FIRST + 63,
            extra: &[],
            network: Options {
                clients: 3,
                ..Options::default()
            },
            flags: &[],
            len: 300_000,
        }
    }

    /// Starts the server, then the guard.
    pub fn start(self) -> Result<Guarded<'a>> {
        self.start_in(Lab::with(self.network)?)
    }

    /// The same in a lab that the scenario has prepared.
    pub fn start_in(self, lab: Lab) -> Result<Guarded<'a>> {
        let root = peer::folder()?;
        let content = files::noise(1, self.len);
        fs::write(root.path().join("file"), &content)?;
        let server = self.start_server(&lab, &root)?;
        let mut command = lab.server.command(daemon::binary()?);
        command
            .args(["guard", "--interface", "s0", "--control-port"])
            .arg(self.port().to_string())
            .args(self.flags);
        let guard = Daemon::start_command(command, tempfile::tempdir()?)?;
        let guarded = Guarded {
            guard,
            server: Mutex::new(Some(server)),
            lab,
            root,
            content,
            scene: self,
        };
        if self.brand == Brand::Pyftpdlib {
            guarded.show_that_it_serves_all_itself()?;
        }
        Ok(guarded)
    }

    fn port(&self) -> u16 {
        match self.tls {
            Tls::Off | Tls::Explicit => CONTROL_PORT,
            Tls::Implicit => IMPLICIT_PORT,
        }
    }

    fn start_server(&self, lab: &Lab, root: &tempfile::TempDir) -> Result<Peer> {
        self.brand.start(&Setup {
            port: self.port(),
            tls: self.tls,
            launch: self.launch,
            extra: self.extra,
            ..Setup::new(&lab.server, root.path(), (FIRST, self.last))
        })
    }
}

/// A server behind a guard. The guard ends first.
#[derive(Debug)]
pub struct Guarded<'a> {
    /// The guard.
    pub guard: Daemon,
    server: Mutex<Option<Peer>>,
    /// The network.
    pub lab: Lab,
    /// The folder that is served.
    pub root: tempfile::TempDir,
    /// What is in the file `file` there.
    pub content: Vec<u8>,
    scene: Scene<'a>,
}

impl Guarded<'_> {
    /// Where control connections go.
    pub fn control(&self, family: Family) -> SocketAddr {
        SocketAddr::new(lab::server_address(family), self.scene.port())
    }

    /// Has sessions until the guard knows that the server serves them in one process: what it does
    /// with the first two at once, before it knows, is no scenario's.
    pub fn show_that_it_serves_all_itself(&self) -> Result<()> {
        let _two = [self.session(Family::V4, 0)?, self.session(Family::V4, 1)?];
        wait::until("the guard knows how the server works", || {
            self.guard
                .has_said(|line| line.contains("serves its clients itself"))
        })
    }

    /// A session from the client host's address number `n`.
    pub fn session(&self, family: Family, n: u16) -> Result<Control> {
        let from = lab::client_address(family, n);
        let (to, user) = (self.control(family), self.scene.brand.user());
        Control::logged_in(&self.lab.client, from, to, user, PASSWORD)
    }

    /// A connection to the scripted server from the client host's address number `n`.
    pub fn scripted(&self, family: Family, n: u16) -> Result<Control> {
        let from = lab::client_address(family, n);
        Control::open(&self.lab.client, from, self.control(family))
    }

    /// Kills the guard as a crash would; the server, its folder and its network go on.
    pub fn kill_guard(self) -> Result<(Lab, Option<Peer>, tempfile::TempDir)> {
        self.guard.kill9()?;
        let server = self.server.into_inner();
        let server = server.unwrap_or_else(PoisonError::into_inner);
        Ok((self.lab, server, self.root))
    }

    /// Ends the server as an admin does, kills what is left of its sessions, and starts it anew.
    pub fn restart_server(&self) -> Result<()> {
        let mut server = self.server();
        server.take().context("no server runs")?.terminate()?;
        *server = Some(self.scene.start_server(&self.lab, &self.root)?);
        Ok(())
    }

    /// What the server answers to a SYN to `to`.
    pub fn syn(&self, wire: &Wire, from: SocketAddr, to: SocketAddr) -> Result<Answer> {
        wire.probe(Segment::syn(from, to), self.control(Family::of(to.ip())))
    }

    /// Fails unless a SYN from the client host's address number `n` to `hole` is dropped.
    pub fn ensure_shut(&self, wire: &Wire, n: u16, hole: SocketAddr) -> Result<()> {
        let family = Family::of(hole.ip());
        let from = SocketAddr::new(lab::client_address(family, n), wire.fresh_port());
        let answer = self.syn(wire, from, hole)?;
        ensure!(
            answer == Answer::Nothing,
            "{from} to {hole}: answered with {answer:?}; pinholes: {:?}",
            self.rows()?
        );
        Ok(())
    }

    /// The kernel's pinholes.
    pub fn rows(&self) -> Result<Vec<Row>> {
        Ok(self.tables()?.pinholes()?)
    }

    /// Fails unless exactly one pinhole waits, `hole` of the client host's address number `n`.
    pub fn ensure_only(&self, family: Family, n: u16, hole: SocketAddr) -> Result<()> {
        let rows = self.rows()?;
        ensure!(
            matches!(&rows[..], [row] if row.port == hole.port()
                && row.client == lab::client_address(family, n)
                && row.server == lab::server_address(family)),
            "not the one pinhole at {hole}: {rows:?}"
        );
        Ok(())
    }

    /// Waits until no pinhole is left.
    pub fn until_no_pinhole(&self) -> Result<()> {
        let tables = self.tables()?;
        wait::poll_within(wait::SOON, "no pinhole is left", || {
            Ok(tables.pinholes()?.is_empty().then_some(()))
        })
        .with_context(|| format!("{:?}", self.rows()))
    }

    /// Waits until the guard knows of no control connection.
    pub fn until_no_session(&self) -> Result<()> {
        let tables = self.tables()?;
        let none = Controls {
            seen: 0,
            older: false,
        };
        wait::poll_within(wait::SOON, "no control connection is left", || {
            Ok((tables.controls()? == Some(none)).then_some(()))
        })
        .with_context(|| format!("{:?}", tables.controls()))
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
        Tables::of_process(self.guard.pid()).context("cannot read the guard's tables")
    }

    fn server(&self) -> MutexGuard<'_, Option<Peer>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
