//! The guard follows listeners, however they come about: outside of the range, twice, handed to a
//! child, by Multipath TCP. Each is its client's alone until it closes.

use std::io::Read;

use anyhow::{Context as _, Result, ensure};
use ftp_ebpf::abi::{Data, map};
use ftp_tests::{
    control::Control,
    files,
    guarded::{FIRST, Guarded, Scene},
    lab::{self, Family, Lab},
    maps, need_root,
    peer::Brand,
    site::client_end,
    skip, wait,
    wire::Wire,
};
use ftp_user::pinholes::inspect::Tables;

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

/// A pinhole that could not be taken away again is none.
#[test]
fn a_full_table_leaves_no_pinhole_behind() -> Result<()> {
    need_root!();
    let guarded = Scene::of(Brand::Scripted).start()?;
    let mut data_ports = maps::hash::<u64, Data>(guarded.guard.pid(), map::DATA_PORTS)?;
    let full =
        (1..=1_u64 << 20).any(|socket| data_ports.insert(socket, Data::default(), 0).is_err());
    ensure!(full, "there is always room");
    let mut session = guarded.scripted(Family::V4, 0)?;
    session.expect("LISTEN 30000", 200)?;
    ensure!(guarded.rows()?.is_empty(), "{:?}", guarded.rows());
    let tallies = Tables::of_process(guarded.guard.pid())?.tallies()?;
    let tallies = tallies.context("a guard")?;
    ensure!(tallies["table-full"] == 1, "{tallies:?}");
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

/// A data connection to the scripted server, from the client's address.
fn receive(session: &Control, hole: std::net::SocketAddr) -> Result<()> {
    let mut received = String::new();
    let mut data = session.data(hole)?;
    data.read_to_string(&mut received)?;
    ensure!(received == "data", "{received:?}");
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
