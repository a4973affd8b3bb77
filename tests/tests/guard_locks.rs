//! What the guard keeps out, whatever the server behind it would have let in.

use std::{
    io::{ErrorKind, Read},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{
    control::{self},
    counters, files,
    frame::{Flags, Segment},
    guarded::Scene,
    lab::{Family, Lab},
    need_root,
    peer::Brand,
    site::{client_end, mute_resets, server_end},
    wait,
    wire::Answer,
};

/// Everything about one server's pinholes that a stranger may try.
fn exercise(brand: Brand, attach: &str) -> Result<()> {
    let flags = ["--ports", "30000-30063", "--attach", attach];
    let guarded = Scene {
        flags: &flags,
        ..Scene::of(brand)
    }
    .start()?;
    let wire = guarded.lab.client_wire()?;
    mute_resets(&guarded.lab)?;
    for family in Family::BOTH {
        let mut session = guarded.session(family, 0)?;
        let hole = session.passive()?;
        guarded.ensure_only(family, 0, hole)?;
        guarded
            .ensure_shut(&wire, 2, hole)
            .context("a third party without a session")?;
        let mut other = guarded.session(family, 1)?;
        let others = other.passive()?;
        guarded
            .ensure_shut(&wire, 1, hole)
            .context("another client with a session and a pinhole of its own")?;
        guarded
            .ensure_shut(&wire, 0, others)
            .context("vice versa")?;
        let fetched = other.fetch("RETR file", others)?;
        files::ensure_equal("the other's download", &fetched, &guarded.content)?;
        let fetched = session.fetch("RETR file", hole)?;
        files::ensure_equal("the first one's download", &fetched, &guarded.content)?;

        let hole = session.passive()?;
        let first = client_end(family, 0, wire.fresh_port());
        ensure!(guarded.syn(&wire, first, hole)? == Answer::SYN_ACK);
        let claimed = guarded.count("claimed")?;
        guarded
            .ensure_shut(&wire, 0, hole)
            .context("a second connection on a claimed pinhole")?;
        ensure!(guarded.count("claimed")? == claimed + 1);

        let hole = other.passive()?;
        drop((other, session));
        guarded.until_no_pinhole()?;
        guarded
            .ensure_shut(&wire, 1, hole)
            .context("a port after its session's end")?;
    }
    guarded.guard.stop()
}

#[test]
fn strangers_of_vsftpd() -> Result<()> {
    need_root!();
    exercise(Brand::Vsftpd, "auto")
}

#[test]
fn strangers_of_pure_ftpd() -> Result<()> {
    need_root!();
    exercise(Brand::PureFtpd, "native")
}

#[test]
fn strangers_of_proftpd() -> Result<()> {
    need_root!();
    exercise(Brand::ProFtpd, "generic")
}

#[test]
fn strangers_of_pyftpdlib() -> Result<()> {
    need_root!();
    exercise(Brand::Pyftpdlib, "auto")
}

#[test]
fn a_server_that_lets_anybody_in_is_guarded_as_well() -> Result<()> {
    need_root!();
    for (brand, setting) in [
        (Brand::ProFtpd, "AllowForeignAddress on"),
        (Brand::Vsftpd, "pasv_promiscuous=YES"),
        (Brand::Pyftpdlib, "permit_foreign_addresses=True"),
    ] {
        for dry_run in [true, false] {
            theft(brand, setting, dry_run)
                .with_context(|| format!("{}, dry run: {dry_run}", brand.name()))?;
        }
    }
    Ok(())
}

/// A thief comes before the owner. In a dry run it gets the file, which shows that the server would
/// let it.
fn theft(brand: Brand, setting: &str, dry_run: bool) -> Result<()> {
    let extra = [setting];
    let guarded = Scene {
        extra: &extra,
        flags: if dry_run { &["--dry-run"] } else { &[] },
        ..Scene::of(brand)
    }
    .start()?;
    let mut session = guarded.session(Family::V4, 0)?;
    let hole = session.passive()?;
    let thief = control::connect_from(
        &guarded.lab.client,
        client_end(Family::V4, 2, 0),
        hole,
        Duration::from_millis(if dry_run { 5000 } else { 1200 }),
    );
    if dry_run {
        let mut stolen = Vec::new();
        session.send(b"RETR file\r\n")?;
        thief?.read_to_end(&mut stolen)?;
        return files::ensure_equal("the stolen file", &stolen, &guarded.content);
    }
    ensure!(thief.is_err(), "a thief got in");
    ensure!(guarded.count("wrong-client")? > 0);
    let fetched = session.fetch("RETR file", hole)?;
    files::ensure_equal("the owner's download", &fetched, &guarded.content)
}

#[test]
fn syn_cookies_are_no_obstacle() -> Result<()> {
    need_root!();
    for brand in Brand::COMMON {
        let lab = Lab::new()?;
        // Always, not only under attack.
        lab.server.sysctl("net/ipv4/tcp_syncookies", "2")?;
        let guarded = Scene::of(brand).start_in(lab)?;
        let retransmits = || counters::tcp_ext(&guarded.lab.client, "TCPSynRetrans");
        let before = retransmits()?;
        let wire = guarded.lab.client_wire()?;
        let mut transfers = 0;
        for family in Family::BOTH {
            let mut session = guarded.session(family, 0)?;
            for _ in 0..5 {
                let hole = session.passive()?;
                guarded.ensure_shut(&wire, 1, hole)?;
                let fetched = session.fetch("RETR file", hole)?;
                files::ensure_equal(brand.name(), &fetched, &guarded.content)?;
                transfers += 1;
            }
        }
        ensure!(retransmits()? == before, "a client's SYN was sent again");
        let cookies = counters::tcp_ext(&guarded.lab.server, "SyncookiesRecv")?;
        ensure!(cookies >= transfers, "only {cookies} connections by cookie");
        guarded.until_no_pinhole()?;
    }
    Ok(())
}

#[test]
fn active_connections_come_back_and_nothing_else_reaches_their_port() -> Result<()> {
    need_root!();
    let guarded = Scene {
        extra: &["connect_from_port_20=YES"],
        flags: &["--ports", "20"],
        ..Scene::of(Brand::Vsftpd)
    }
    .start()?;
    let wire = guarded.lab.client_wire()?;
    for family in Family::BOTH {
        let mut session = guarded.session(family, 0)?;
        let listener = session.listen()?;
        listener.set_nonblocking(true)?;
        session.port_to(&listener)?;
        session.send(b"RETR file\r\n")?;
        let (mut data, from) = wait::poll_within(wait::SOON, "the server connects", || {
            match listener.accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                accepted => Ok(Some(accepted?)),
            }
        })?;
        ensure!(from == server_end(family, 20), "it comes from {from}");
        session.expect_reply(150)?;
        data.set_nonblocking(false)?;
        let mut fetched = Vec::new();
        data.read_to_end(&mut fetched)?;
        drop(data);
        session.expect_reply(226)?;
        files::ensure_equal("the download", &fetched, &guarded.content)?;

        guarded.ensure_shut(&wire, 0, from)?;
        let ack = Segment {
            flags: Flags::ACK,
            ..Segment::syn(client_end(family, 0, wire.fresh_port()), from)
        };
        let answer = wire.probe(ack, guarded.control(family))?;
        ensure!(answer == Answer::Nothing, "an ACK was answered: {answer:?}");
    }
    Ok(())
}
