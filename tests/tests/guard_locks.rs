//! What the guard keeps out, whatever the server behind it would have let in.

use std::{
    io::{ErrorKind, Read},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{
    control::{self, Control},
    counters, files,
    frame::{Flags, Segment},
    guarded::{FIRST, Guarded, Scene},
    lab::{self, Family, Lab},
    need_root,
    peer::Brand,
    site::{client_end, mute_resets, server_end},
    skip, wait,
    wire::{Answer, Wire},
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
fn a_port_outside_of_the_range_is_guarded_while_a_session_listens_on_it() -> Result<()> {
    need_root!();
    // ProFTPD takes any port when none of its PassivePorts, two at least, is free.
    let range = FIRST..=FIRST + 1;
    let guarded = Scene {
        last: *range.end(),
        flags: &["--ports", "30000-30001"],
        ..Scene::of(Brand::ProFtpd)
    }
    .start()?;
    let wire = guarded.lab.client_wire()?;
    for family in Family::BOTH {
        let mut first = guarded.session(family, 0)?;
        let mut second = guarded.session(family, 0)?;
        let inside = [first.passive()?, second.passive()?];
        ensure!(inside.iter().all(|hole| range.contains(&hole.port())));
        let mut third = guarded.session(family, 1)?;
        let outside = third.passive()?;
        ensure!(!range.contains(&outside.port()), "the range has room");
        for stranger in [0, 2] {
            guarded.ensure_shut(&wire, stranger, outside)?;
        }
        let fetched = third.fetch("RETR file", outside)?;
        files::ensure_equal("from outside of the range", &fetched, &guarded.content)?;
        let fetched = first.fetch("RETR file", inside[0])?;
        files::ensure_equal("from inside of the range", &fetched, &guarded.content)?;
        until_free(&guarded, &wire, outside)?;
        guarded.ensure_shut(&wire, 1, inside[0])?;
    }
    Ok(())
}

/// Waits until the guard leaves a port alone that nobody listens on: the kernel resets.
fn until_free(guarded: &Guarded<'_>, wire: &Wire, to: std::net::SocketAddr) -> Result<()> {
    let family = Family::of(to.ip());
    wait::poll_within(wait::SOON, &format!("{to} is nobody's"), || {
        let from = client_end(family, 1, wire.fresh_port());
        Ok(guarded.syn(wire, from, to)?.is_reset().then_some(()))
    })
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

/// A data connection to the scripted server, from the client's address.
fn receive(session: &Control, hole: std::net::SocketAddr) -> Result<()> {
    let mut received = String::new();
    let mut data = session.data(hole)?;
    data.read_to_string(&mut received)?;
    ensure!(received == "data", "{received:?}");
    Ok(())
}

/// What the scripted server listens on by `command` is its client's alone, serves it, and is nobody's
/// once it is closed.
fn ensure_guarded_until_closed(guarded: &Guarded<'_>, command: &str) -> Result<()> {
    let wire = guarded.lab.client_wire()?;
    for family in Family::BOTH {
        let mut session = guarded.scripted(family, 0)?;
        session.expect(command, 200)?;
        let hole = (lab::server_address(family), FIRST).into();
        guarded.ensure_only(family, 0, hole)?;
        guarded.ensure_shut(&wire, 1, hole)?;
        session.send(b"SERVE\r\n")?;
        receive(&session, hole)?;
        session.expect_reply(200)?;
        session.expect("CLOSE", 200)?;
        guarded.until_no_pinhole()?;
        until_free(guarded, &wire, hole)?;
        drop(session);
        guarded.until_no_session()?;
    }
    Ok(())
}

#[test]
fn a_listen_that_fails_takes_no_pinhole_away() -> Result<()> {
    need_root!();
    let guarded = Scene::of(Brand::Scripted).start()?;
    ensure_guarded_until_closed(&guarded, "TWICE 30000")
}

#[test]
fn a_listener_handed_to_a_child_keeps_its_pinhole() -> Result<()> {
    need_root!();
    let guarded = Scene::of(Brand::Scripted).start()?;
    let wire = guarded.lab.client_wire()?;
    for family in Family::BOTH {
        let mut session = guarded.scripted(family, 0)?;
        session.expect("LISTEN 30000", 200)?;
        session.expect("FORK", 200)?;
        let hole = (lab::server_address(family), FIRST).into();
        guarded.ensure_only(family, 0, hole)?;
        guarded.ensure_shut(&wire, 1, hole)?;
        receive(&session, hole)?;
        guarded.until_no_pinhole()?;
        until_free(&guarded, &wire, hole)?;
    }
    Ok(())
}

#[test]
fn multipath_tcp_listeners_are_guarded() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    if lab.server.sysctl("net/mptcp/enabled", "1").is_err() {
        skip!("this kernel has no Multipath TCP");
    }
    lab.client.sysctl("net/mptcp/enabled", "1")?;
    // The control connection is one as well, as that of a server in Go would be.
    let guarded = Scene {
        extra: &["MPTCP"],
        ..Scene::of(Brand::Scripted)
    }
    .start_in(lab)?;
    ensure_guarded_until_closed(&guarded, "MPTCP 30000")
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
