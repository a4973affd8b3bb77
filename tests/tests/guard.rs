//! The guard in front of a server that knows nothing of it.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, ensure};
use ftp_tests::{
    control::{self, Control},
    counters,
    daemon::{self, Daemon},
    files,
    frame::Segment,
    lab::{self, Family, Lab},
    need_root,
    peer::{self, Brand, Peer, Setup},
    site::{client_end, control_address, server_end},
    wait,
    wire::{Answer, Wire},
};
use ftp_user::pinholes::inspect::Tables;

const FIRST: u16 = 30000;
const LAST: u16 = 30015;

/// A server, a guard in front of it, and the folder that the server serves.
struct Guarded {
    guard: Daemon,
    _server: Peer,
    lab: Lab,
    content: Vec<u8>,
    _root: tempfile::TempDir,
}

impl Guarded {
    fn new(flags: &[&str]) -> Result<Guarded> {
        let lab = Lab::new()?;
        let root = peer::folder()?;
        let content = files::noise(1, 300_000);
        fs::write(root.path().join("file"), &content)?;
        let server = Brand::Vsftpd.start(&Setup::new(&lab.server, root.path(), (FIRST, LAST)))?;
        let mut command = lab.server.command(daemon::binary()?);
        command.arg("guard").args(flags);
        let guard = Daemon::start_command(command, tempfile::tempdir()?)?;
        Ok(Guarded {
            guard,
            _server: server,
            lab,
            content,
            _root: root,
        })
    }

    fn session(&self, family: Family, n: u16) -> Result<Control> {
        let from = lab::client_address(family, n);
        Control::anonymous(&self.lab.client, from, control_address(family))
    }

    fn tables(&self) -> Result<Tables> {
        Ok(Tables::of_process(self.guard.pid())?)
    }

    fn syn(&self, wire: &Wire, from: SocketAddr, to: SocketAddr) -> Result<Answer> {
        wire.probe(Segment::syn(from, to), control_address(Family::of(to.ip())))
    }
}

#[test]
fn an_unmodified_server_gets_pinholes() -> Result<()> {
    need_root!();
    let guarded = Guarded::new(&["--interface", "s0"])?;
    let retransmits = || counters::tcp_ext(&guarded.lab.client, "TCPSynRetrans");
    let before = retransmits()?;
    for family in Family::BOTH {
        let mut session = guarded.session(family, 0)?;
        for _ in 0..5 {
            ensure!(session.retrieve("file")? == guarded.content);
        }
        ensure!(!session.listing("LIST")?.is_empty());
    }
    ensure!(retransmits()? == before, "a client's SYN was sent again");
    let admitted = guarded.tables()?.counters()?["pinhole-syn"];
    ensure!(admitted >= 12, "{admitted} SYNs met a pinhole");
    wait::until("the table is empty", || {
        guarded
            .tables()
            .is_ok_and(|tables| tables.pinholes().is_ok_and(|rows| rows.is_empty()))
    })?;
    guarded.guard.stop()
}

#[test]
fn only_the_sessions_client_gets_in_and_only_once() -> Result<()> {
    need_root!();
    let guarded = Guarded::new(&["--interface", "s0"])?;
    let wire = guarded.lab.client_wire()?;
    for family in Family::BOTH {
        let mut session = guarded.session(family, 0)?;
        let hole = session.passive()?;
        let rows = guarded.tables()?.pinholes()?;
        ensure!(
            matches!(&rows[..], [row] if row.port == hole.port()
                && row.client == lab::client_address(family, 0)
                && row.server == hole.ip()),
            "the pinhole is exact from the start: {rows:?}"
        );
        // Another client, with a session of its own.
        let other = guarded.session(family, 1)?;
        let stranger = || client_end(family, 1, wire.fresh_port());
        ensure!(
            guarded.syn(&wire, stranger(), hole)? == Answer::Nothing,
            "a thief got in"
        );
        drop(other);

        let fetched = session.fetch("RETR file", hole)?;
        files::ensure_equal("the client's own download", &fetched, &guarded.content)?;

        let hole = session.passive()?;
        let first = session.data(hole)?;
        let second = client_end(family, 0, wire.fresh_port());
        ensure!(
            guarded.syn(&wire, second, hole)? == Answer::Nothing,
            "a second connection"
        );
        drop(first);
    }
    guarded.guard.stop()
}

#[test]
fn the_pinhole_goes_with_the_session() -> Result<()> {
    need_root!();
    let guarded = Guarded::new(&["--interface", "s0"])?;
    let mut session = guarded.session(Family::V4, 0)?;
    session.passive()?;
    ensure!(guarded.tables()?.pinholes()?.len() == 1);
    session.reset()?;
    wait::until("the table is empty", || {
        guarded
            .tables()
            .is_ok_and(|tables| tables.pinholes().is_ok_and(|rows| rows.is_empty()))
    })
}

#[test]
fn the_rest_of_a_range_is_shut_unless_it_is_a_dry_run() -> Result<()> {
    need_root!();
    let range = format!("{FIRST}-{LAST}");
    for dry_run in [false, true] {
        let mut flags = vec!["--interface", "s0", "--ports", &range];
        if dry_run {
            flags.push("--dry-run");
        }
        let guarded = Guarded::new(&flags)?;
        let wire = guarded.lab.client_wire()?;
        let to = server_end(Family::V4, FIRST + 3);
        let from = client_end(Family::V4, 0, wire.fresh_port());
        let answer = guarded.syn(&wire, from, to)?;
        let shut = answer == Answer::Nothing;
        ensure!(shut != dry_run, "dry run: {dry_run}, answer: {answer:?}");
        ensure!(
            guarded.tables()?.counters()?["closed"] == 1,
            "counted in either case"
        );
        ensure!(guarded.session(Family::V4, 0)?.retrieve("file")? == guarded.content);
    }
    Ok(())
}

#[test]
fn sessions_from_before_the_guard_go_on() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let root = peer::folder()?;
    let content = files::noise(2, 200_000);
    fs::write(root.path().join("file"), &content)?;
    let _server = Brand::Vsftpd.start(&Setup::new(&lab.server, root.path(), (FIRST, LAST)))?;
    let (client, server) = (
        lab::client_address(Family::V4, 0),
        control_address(Family::V4),
    );
    let mut session = Control::anonymous(&lab.client, client, server)?;
    let hole = session.passive()?;

    let mut command = lab.server.command(daemon::binary()?);
    command.args([
        "guard",
        "--interface",
        "s0",
        "--ports",
        &format!("{FIRST}-{LAST}"),
    ]);
    let guard = Daemon::start_command(command, tempfile::tempdir()?)?;
    let rows = Tables::of_process(guard.pid())?.pinholes()?;
    ensure!(
        matches!(&rows[..], [row] if row.port == hole.port()),
        "{rows:?}"
    );
    let thief = control::connect_from(
        &lab.client,
        SocketAddr::new(lab::client_address(Family::V4, 1), 0),
        hole,
        Duration::from_millis(1200),
    );
    ensure!(
        thief.is_err(),
        "a stranger used the data port of a session from before"
    );
    let fetched = session.fetch("RETR file", hole)?;
    files::ensure_equal("the download", &fetched, &content)?;
    files::ensure_equal("the next download", &session.retrieve("file")?, &content)?;
    guard.stop()
}

#[test]
fn a_killed_guard_leaves_the_host_as_it_was() -> Result<()> {
    need_root!();
    let guarded = Guarded::new(&["--interface", "s0", "--ports", "30000-30015"])?;
    let wire = guarded.lab.client_wire()?;
    let mut session = guarded.session(Family::V4, 0)?;
    let hole = session.passive()?;
    let stranger: IpAddr = lab::client_address(Family::V4, 1);
    let from = || SocketAddr::new(stranger, wire.fresh_port());
    ensure!(guarded.syn(&wire, from(), hole)? == Answer::Nothing);
    let Guarded { guard, lab, .. } = guarded;
    guard.kill9()?;
    wait::until("the locks are gone", || {
        wire.probe(Segment::syn(from(), hole), control_address(Family::V4))
            .is_ok_and(|answer| answer == Answer::SYN_ACK)
    })?;
    drop(lab);
    Ok(())
}
