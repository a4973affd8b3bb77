//! A restart without a gap (SIGUSR2): a new process takes over while the old one goes on for its
//! sessions. Nobody is refused, nothing breaks, no port is open to strangers at any moment.

use std::{
    fs::{self, Permissions},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
};

use anyhow::{Context, Result, anyhow, ensure};
use ftp_tests::{
    daemon, files,
    lab::{self, Family, Options},
    need_root,
    site::Site,
    wait,
};
use ftp_user::pinholes::inspect::{InspectError, Tables};
use rustix::process::Signal;

#[test]
fn nobody_notices_a_restart() -> Result<()> {
    need_root!();
    for attach in ["tcx", "native"] {
        let site = Site::with(Options::default(), |settings| {
            settings.set("enforce.attach", attach)
        })?;
        let (small, large) = (site.put("small", 1000)?, site.put("large", 30_000_000)?);
        // In the middle of a transfer, and with a pinhole that waits.
        let mut busy = site.anonymous(Family::V4, 0)?;
        let hole = busy.passive()?;
        busy.send(b"RETR large\r\n")?;
        let mut data = busy.data(hole)?;
        busy.expect_transfer()?;
        let mut first = vec![0; 1000];
        data.read_exact(&mut first)?;
        let mut waits = site.anonymous(Family::V6, 0)?;
        let waiting = waits.passive()?;

        let new = site.besieged(&small, || {
            site.visit(&small)?;
            let new = site.daemon.restart()?;
            site.visit(&small)?;
            Ok(new)
        })?;
        let of_old = Tables::of_process(site.daemon.pid());
        ensure!(matches!(of_old, Err(InspectError::NoMap { .. })));

        // The old process's sessions: what was under way, what waited, and what is new.
        let mut rest = Vec::new();
        data.read_to_end(&mut rest)?;
        busy.expect_reply(226)?;
        files::ensure_equal("the transfer", &[first, rest].concat(), &large)?;
        let fetched = waits.fetch("RETR small", waiting)?;
        files::ensure_equal("by the pinhole that waited", &fetched, &small)?;
        for session in [&mut busy, &mut waits] {
            files::ensure_equal("a new one", &session.retrieve("small")?, &small)?;
        }
        let hole = busy.passive()?;
        let [row] = new
            .pinholes()?
            .try_into()
            .map_err(|rows| anyhow!("{rows:?}"))?;
        ensure!(row.port == hole.port());
        let wire = site.lab.client_wire()?;
        site.ensure_silent(&wire, lab::client_address(Family::V4, 1), hole)?;

        // One at a time.
        new.signal(Signal::USR2)?;
        site.until_refused("still run in the process before")?;
        site.daemon.signal(Signal::USR2)?;
        site.until_refused("has taken over already")?;

        // With its last session the old process ends, and only then.
        busy.expect("QUIT", 221)?;
        new.until_pinholes(0)?;
        let mut site = site;
        ensure!(waits.command("NOOP")?.code == 200);
        drop(waits);
        let status = site.daemon.wait(wait::SOON)?.context("it still runs")?;
        ensure!(status.success(), "{status}");
        wait::until("the new process has noticed", || {
            site.daemon
                .has_said(|line| line.contains("process before has ended"))
        })?;
        site.visit(&small)?;
        new.signal(Signal::TERM)?;
        new.wait()?;
    }
    Ok(())
}

#[test]
fn a_killed_old_process_leaves_no_pinhole() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let small = site.put("small", 1000)?;
    let mut before = site.anonymous(Family::V4, 0)?;
    let _waits = before.passive()?;
    let new = site.daemon.restart()?;
    let mut other = site.anonymous(Family::V6, 1)?;
    let hole = other.passive()?;
    new.until_pinholes(2)?;
    site.daemon.signal(Signal::KILL)?;
    new.until_pinholes(1)?;
    files::ensure_equal("the other's", &other.fetch("RETR small", hole)?, &small)?;
    // Nothing is left to wait for: the next restart may come.
    wait::until("the new process has noticed", || {
        site.daemon
            .has_said(|line| line.contains("process before has ended"))
    })?;
    let newer = site.daemon.restart_again(new)?;
    files::ensure_equal("still there", &other.retrieve("small")?, &small)?;
    drop(other);
    new.wait()?;
    site.visit(&small)?;
    ensure!(newer.pinholes()?.is_empty());
    Ok(())
}

#[test]
fn without_enforcement_a_restart_works_as_well() -> Result<()> {
    need_root!();
    let site = Site::with(Options::default(), |settings| {
        settings.set("enforce.enabled", false)
    })?;
    let small = site.put("small", 1000)?;
    let mut session = site.anonymous(Family::V4, 0)?;
    let waiting = session.passive()?;
    let new = site.daemon.restart()?;
    files::ensure_equal("waited", &session.fetch("RETR small", waiting)?, &small)?;
    files::ensure_equal("new", &session.retrieve("small")?, &small)?;
    site.visit(&small)?;
    drop(session);
    let mut site = site;
    ensure!(
        site.daemon
            .wait(wait::SOON)?
            .is_some_and(|status| status.success())
    );
    site.visit(&small)?;
    new.signal(Signal::TERM)?;
    new.wait()
}

#[test]
fn sessions_of_the_old_process_end_when_they_are_told_to() -> Result<()> {
    need_root!();
    let mut site = Site::with(Options::default(), |settings| {
        settings.set("timeouts.restart", "300ms")
    })?;
    let mut session = site.anonymous(Family::V4, 0)?;
    let new = site.daemon.restart()?;
    session.expect_reply(421)?;
    let ended = site.daemon.wait(wait::SOON)?.context("it still runs")?;
    ensure!(ended.success(), "{ended}");
    new.signal(Signal::TERM)?;
    new.wait()
}

/// `systemctl kill` signals every process of a service, also one that has just been started.
#[test]
fn signals_do_not_end_a_new_process_that_does_not_handle_them_yet() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let small = site.put("small", 1000)?;
    let program = site.file("pinhole");
    fs::remove_file(&program)?;
    let script = format!(
        "#!/bin/sh\nkill -USR2 $$\nkill -HUP $$\nexec {} \"$@\"\n",
        daemon::binary()?.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    let new = site.daemon.restart()?;
    site.visit(&small)?;
    new.signal(Signal::TERM)?;
    new.wait()
}
