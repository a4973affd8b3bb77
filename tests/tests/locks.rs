//! The locks: who does not get through. Every silence is proven by an answer that came after it.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control::{self},
    counters, files,
    frame::{Flags, Segment},
    lab::{self, Family, Lab, Options},
    need_root,
    settings::CONTROL_PORT,
    site::{self, Site, client_end, server_end},
    wire::Answer,
};

/// In the range of the default settings; no scenario has a pinhole there by chance, because the
/// scenarios that use it have none.
const CLOSED: u16 = 30007;

/// Every combination of the six flags of RFC 793.
fn every_flag() -> impl Iterator<Item = Flags> {
    (0..64).map(Flags)
}

#[test]
fn an_address_without_a_session_cannot_use_an_open_pinhole() -> Result<()> {
    need_root!();
    let site = Site::with(
        Options {
            third: true,
            ..Options::default()
        },
        Ok,
    )?;
    let wire = site.lab.client_wire()?;
    let third = site.lab.third.as_ref().context("a third host")?;
    let content = site.put("file", 100_000)?;
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        let phantom = lab::phantom_address(family, 1);
        site.lab.add_phantom(phantom)?;
        let before = site.count("wrong-client")?;
        for stranger in [lab::client_address(family, 1), phantom] {
            for flags in every_flag() {
                let segment = Segment {
                    flags,
                    ..Segment::syn(SocketAddr::new(stranger, wire.fresh_port()), hole)
                };
                let answer = site.probe(&wire, segment)?;
                ensure!(answer == Answer::Nothing, "{segment:?}: {answer:?}");
            }
        }
        // SYN with any of PSH and URG: four of the combinations, from two strangers.
        let refused = site.count("wrong-client")? - before;
        ensure!(refused == 8, "{refused} SYNs were refused for their client");

        if family == Family::V4 {
            let from = SocketAddr::new(lab::THIRD4.into(), 0);
            let limit = Duration::from_millis(1500);
            let connected = control::connect_from(third, from, hole, limit);
            ensure!(connected.is_err(), "another host's connection was let in");
        }
        // All that has not cost the client its pinhole.
        let fetched = session.fetch("RETR file", hole)?;
        files::ensure_equal("the client's own download", &fetched, &content)?;
    }
    Ok(())
}

#[test]
fn a_pinhole_is_for_the_address_that_the_client_was_told() -> Result<()> {
    need_root!();
    let site = Site::with(
        Options {
            third: true,
            ..Options::default()
        },
        Ok,
    )?;
    let wire = site.lab.client_wire()?;
    for (family, other) in [(Family::V4, "10.78.0.1"), (Family::V6, "fd78::1")] {
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        let other = SocketAddr::new(other.parse()?, hole.port());
        // The server owns that address and answers on it: only not there.
        let control = SocketAddr::new(other.ip(), CONTROL_PORT);
        let from = || client_end(family, 0, wire.fresh_port());
        ensure!(wire.probe(Segment::syn(from(), control), control)? == Answer::SYN_ACK);
        ensure!(wire.probe(Segment::syn(from(), other), control)? == Answer::Nothing);
        ensure!(site.syn(&wire, from(), hole)? == Answer::SYN_ACK);
    }
    Ok(())
}

#[test]
fn a_closed_port_answers_nothing() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let wire = site.lab.client_wire()?;
    for family in Family::BOTH {
        // A session of the very client changes nothing about other ports.
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        let closed = (30000..=30015).find(|port| *port != hole.port());
        let closed = server_end(family, closed.context("sixteen ports")?);
        let outside = server_end(family, 30016);
        for flags in every_flag() {
            let segment = |to| Segment {
                flags,
                ..Segment::syn(client_end(family, 0, wire.fresh_port()), to)
            };
            let answer = site.probe(&wire, segment(closed))?;
            ensure!(
                answer == Answer::Nothing,
                "{flags:?} to {closed}: {answer:?}"
            );
            // Next to the range the kernel answers as ever, RFC 9293 section 3.10.7.1: so the
            // probe could have heard something.
            let answer = site.probe(&wire, segment(outside))?;
            let answered = !flags.has(Flags::RST);
            ensure!(
                answer.is_reset() == answered,
                "{flags:?} to {outside}: {answer:?}"
            );
            // The open one: only a SYN may get an answer. (A SYN would take it.)
            if !flags.has(Flags::SYN) {
                let answer = site.probe(&wire, segment(hole))?;
                ensure!(answer == Answer::Nothing, "{flags:?} to {hole}: {answer:?}");
            }
        }
        drop(session);
    }
    Ok(())
}

#[test]
fn a_second_connection_to_a_claimed_pinhole_is_dropped() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let wire = site.lab.client_wire()?;
    site::mute_resets(&site.lab)?;
    let content = site.put("file", 100_000)?;
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        let first = client_end(family, 0, wire.fresh_port());
        let before = site.count("claimed")?;
        ensure!(site.syn(&wire, first, hole)? == Answer::SYN_ACK);
        for _ in 0..5 {
            site.ensure_silent(&wire, first.ip(), hole)?;
        }
        ensure!(site.count("claimed")? - before == 5);
        let rows = site.pinholes()?;
        ensure!(
            rows.iter()
                .any(|row| row.port == hole.port() && row.claimed_by == Some(first.port())),
            "{rows:?}"
        );
        // The first handshake never ends. Some seconds later the pinhole is the client's again:
        // its kernel repeats the SYN meanwhile.
        let started = Instant::now();
        let fetched = session.fetch("RETR file", hole)?;
        files::ensure_equal("the download after all", &fetched, &content)?;
        let waited = started.elapsed();
        ensure!(
            waited > Duration::from_secs(1),
            "let in after {waited:?} already"
        );
    }
    Ok(())
}

#[test]
fn a_second_connection_beside_an_accepted_one_is_dropped() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let wire = site.lab.client_wire()?;
    let content = site.put("file", 20_000_000)?;
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        session.send(b"RETR file\r\n")?;
        let mut data = session.data(hole)?;
        session.expect_reply(150)?;
        site.until_no_pinhole()?;
        site.ensure_silent(&wire, session.host(), hole)?;
        // Nor does the intruder's attempt disturb the transfer.
        let mut fetched = Vec::new();
        std::io::Read::read_to_end(&mut data, &mut fetched)?;
        session.expect_reply(226)?;
        files::ensure_equal("the download", &fetched, &content)?;
    }
    Ok(())
}

#[test]
fn no_passive_listener_shows() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let mut sessions = Vec::new();
    for family in Family::BOTH {
        for _ in 0..8 {
            let mut session = site.anonymous(family, 0)?;
            session.passive()?;
            sessions.push(session);
        }
    }
    ensure!(site.pinholes()?.len() == 16);
    let listening = counters::listeners(&site.lab.server)?;
    let (control, others): (Vec<_>, Vec<_>) = listening
        .into_iter()
        .partition(|address| address.port() == CONTROL_PORT);
    ensure!(
        !control.is_empty(),
        "nobody listens for control connections"
    );
    for address in others {
        ensure!(
            address.ip().is_loopback() && !(30000..=30015).contains(&address.port()),
            "{address} listens"
        );
    }
    Ok(())
}

/// "Commit before you speak": a client that connects the moment it reads the port is let in at
/// once, every time, and no SYN of its is sent again.
#[test]
fn the_first_syn_finds_the_pinhole() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let content = site.put("file", 5000)?;
    let before = counters::tcp_ext(&site.lab.client, "TCPSynRetrans")?;
    thread::scope(|scope| {
        let sessions: Vec<_> = [
            (Family::V4, 0),
            (Family::V4, 1),
            (Family::V6, 0),
            (Family::V6, 1),
        ]
        .into_iter()
        .map(|(family, n)| {
            let (site, content) = (&site, &content);
            scope.spawn(move || -> Result<()> {
                let mut session = site.anonymous(family, n)?;
                for _ in 0..100 {
                    files::ensure_equal("file", &session.retrieve("file")?, content)?;
                }
                Ok(())
            })
        })
        .collect();
        sessions
            .into_iter()
            .try_for_each(|session| session.join().ok().context("a session panicked")?)
    })?;
    let again = counters::tcp_ext(&site.lab.client, "TCPSynRetrans")? - before;
    ensure!(again == 0, "{again} SYNs were sent again");
    Ok(())
}

/// A lab without the daemon must not look like one with it: what the other scenarios call silence
/// comes from the locks.
#[test]
fn without_locks_a_closed_port_answers() -> Result<()> {
    need_root!();
    let site = Site::in_lab(Lab::new()?, |settings| {
        settings.set("enforce.enabled", false)
    })?;
    let wire = site.lab.client_wire()?;
    for family in Family::BOTH {
        let from = client_end(family, 0, wire.fresh_port());
        let closed = server_end(family, CLOSED);
        ensure!(site.syn(&wire, from, closed)?.is_reset());
    }
    Ok(())
}
