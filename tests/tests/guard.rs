//! The guard by itself: what it shuts, and what it finds when it starts. Other files have it in front
//! of real clients (`guard_clients`), strangers (`guard_locks`), crowds (`guard_crowd`), inetd
//! (`guard_launch`) and servers elsewhere (`guard_elsewhere`), or end it (`guard_killed`,
//! `guard_exit`).

use std::{io::Read as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ftp_ebpf::abi::{Pinhole, PinholeKey, map};
use ftp_tests::{
    control::{self, Control},
    daemon::{self, Daemon},
    files,
    guarded::{FIRST, Scene, guard_in, syn},
    lab::{self, Family, Lab},
    maps, need_root,
    peer::{self, Brand, PASSWORD, Setup},
    site::{client_end, control_address, server_end},
    wait,
    wire::Answer,
};
use ftp_user::pinholes::inspect::Tables;

#[test]
fn the_pinhole_goes_with_the_session() -> Result<()> {
    need_root!();
    let guarded = Scene::of(Brand::Vsftpd).start()?;
    let mut session = guarded.session(Family::V4, 0)?;
    session.passive()?;
    ensure!(guarded.rows()?.len() == 1);
    session.reset()?;
    guarded.until_no_pinhole()
}

#[test]
fn the_rest_of_a_range_is_shut_unless_it_is_a_dry_run() -> Result<()> {
    need_root!();
    for dry_run in [false, true] {
        let log = ["--log", "info,ftp_user=debug"];
        let flags: &[&str] = match dry_run {
            false => &["--ports", "30000-30063", log[0], log[1]],
            true => &["--ports", "30000-30063", log[0], log[1], "--dry-run"],
        };
        let guarded = Scene {
            flags,
            ..Scene::of(Brand::Vsftpd)
        }
        .start()?;
        let wire = guarded.lab.client_wire()?;
        let to = server_end(Family::V4, FIRST + 3);
        let from = client_end(Family::V4, 0, wire.fresh_port());
        let answer = guarded.syn(&wire, from, to)?;
        let shut = answer == Answer::Nothing;
        ensure!(shut != dry_run, "dry run: {dry_run}, answer: {answer:?}");
        ensure!(guarded.count("closed")? == 1, "counted in either case");
        let said = if dry_run {
            " would be denied "
        } else {
            " denied "
        };
        wait::until("it is reported", || {
            let reported = |line: &str| line.contains(said) && line.contains("closed");
            guarded.guard.has_said(reported)
        })?;
        let pid = guarded.guard.pid().to_string();
        let shown = daemon::pinhole(&["status", "--pid", &pid], "")?.successful()?;
        let shown = shown.transcript();
        ensure!(shown.contains("a dry run") == dry_run, "{shown}");
        ensure!(guarded.session(Family::V4, 0)?.retrieve("file")? == guarded.content);
        wait::until("the pinhole's beginning and end are in the log", || {
            let said = |what| guarded.guard.has_said(|line| line.contains(what));
            said("pinhole opened") && said("pinhole claimed")
        })?;
    }
    Ok(())
}

#[test]
fn sessions_from_before_the_guard_go_on() -> Result<()> {
    need_root!();
    for brand in Brand::COMMON {
        from_before(brand).context(brand.name())?;
    }
    Ok(())
}

/// More than fits into the buffers of a connection that nobody reads.
const LONG: usize = 6_000_000;

fn from_before(brand: Brand) -> Result<()> {
    let lab = Lab::new()?;
    let root = peer::folder()?;
    let content = files::noise(2, LONG);
    std::fs::write(root.path().join("file"), &content)?;
    let _server = brand.start(&Setup::new(&lab.server, root.path(), (FIRST, FIRST + 15)))?;
    let (client, server) = (
        lab::client_address(Family::V4, 0),
        control_address(Family::V4),
    );
    let logged_in = || Control::logged_in(&lab.client, client, server, brand.user(), PASSWORD);
    let mut session = logged_in()?;
    let hole = session.passive()?;
    let mut under_way = logged_in()?;
    let taken = under_way.passive()?;
    under_way.send(b"RETR file\r\n")?;
    let mut data = under_way.data(taken)?;
    under_way.expect_transfer()?;

    let mut command = lab.server.command(daemon::binary()?);
    command.args(["guard", "--interface", "s0", "--ports", "30000-30015"]);
    let guard = Daemon::start_command(command, tempfile::tempdir()?)?;
    let rows = Tables::of_process(guard.pid())?.pinholes()?;
    ensure!(
        matches!(&rows[..], [row] if row.port == hole.port()),
        "{rows:?}"
    );
    ensure!(
        under_way.is_silent()?,
        "the transfer is over: it proves nothing"
    );
    let mut received = Vec::new();
    data.read_to_end(&mut received)?;
    files::ensure_equal("the download under way", &received, &content)?;
    drop(data);
    under_way.expect_reply(226)?;
    drop(under_way);
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
    // What it negotiates now the kernel half has to see by itself, though it has not seen the
    // session begin.
    let tables = Tables::of_process(guard.pid())?;
    let controls = tables.controls()?.context("a guard")?;
    ensure!(controls.older && controls.seen == 0, "{controls:?}");
    let hole = session.passive()?;
    let rows = tables.pinholes()?;
    ensure!(
        matches!(&rows[..], [row] if row.port == hole.port() && row.client == client),
        "{rows:?}"
    );
    let fetched = session.fetch("RETR file", hole)?;
    files::ensure_equal("the next download", &fetched, &content)?;
    drop(session);
    wait::poll_within(wait::SOON, "the session from before is forgotten", || {
        let controls = tables.controls()?.context("a guard")?;
        Ok((!controls.older).then_some(()))
    })?;
    guard.stop()
}

/// Outside of the range nothing but its pinhole's record keeps such a port shut.
#[test]
fn a_listener_from_before_is_guarded_until_it_closes() -> Result<()> {
    need_root!();
    for (family, command) in [
        (Family::V4, "LISTEN 30000"),
        (Family::V4, "ALL 30000"),
        (Family::V6, "ALL 30000"),
    ] {
        until_it_closes(family, command).with_context(|| format!("{family:?}, {command}"))?;
    }
    Ok(())
}

fn until_it_closes(family: Family, command: &str) -> Result<()> {
    let (lab, root) = (Lab::new()?, peer::folder()?);
    let _server =
        Brand::Scripted.start(&Setup::new(&lab.server, root.path(), (FIRST, FIRST + 15)))?;
    let (client, server) = (lab::client_address(family, 0), control_address(family));
    let mut session = Control::open(&lab.client, client, server)?;
    session.expect(command, 200)?;
    let _guard = guard_in(&lab.server, &["--interface", "s0"])?;
    let (wire, hole) = (lab.client_wire()?, server_end(family, FIRST));
    ensure!(syn(&wire, 1, hole)? == Answer::Nothing, "never guarded");
    session.send(b"SERVE\r\n")?;
    let mut received = String::new();
    session.data(hole)?.read_to_string(&mut received)?;
    ensure!(received == "data", "{received:?}");
    session.expect_reply(200)?;
    let answer = syn(&wire, 1, hole)?;
    ensure!(
        answer == Answer::Nothing,
        "its first connection opened it to strangers: {answer:?}"
    );
    session.expect("CLOSE", 200)?;
    wait::poll_within(wait::SOON, "the port is nobody's", || {
        Ok(syn(&wire, 1, hole)?.is_reset().then_some(()))
    })
}

/// Its close is told of when another socket can have the port, and a row, already.
#[test]
fn a_listener_from_before_takes_no_others_pinhole_with_it() -> Result<()> {
    need_root!();
    let (lab, root) = (Lab::new()?, peer::folder()?);
    let _server =
        Brand::Scripted.start(&Setup::new(&lab.server, root.path(), (FIRST, FIRST + 15)))?;
    let (client, server) = (
        lab::client_address(Family::V4, 0),
        control_address(Family::V4),
    );
    let mut session = Control::open(&lab.client, client, server)?;
    session.expect("LISTEN 30000", 200)?;
    let guard = guard_in(&lab.server, &["--interface", "s0"])?;
    let mut rows = maps::hash::<PinholeKey, Pinhole>(guard.pid(), map::PINHOLES)?;
    let (key, row) = rows.iter().next().context("no pinhole")??;
    let others = Pinhole {
        session: row.session + 1,
        ..row
    };
    rows.insert(key, others, 0)?;
    session.expect("CLOSE", 200)?;
    ensure!(
        rows.get(&key, 0)? == others,
        "the other's pinhole was changed"
    );
    guard.stop()
}
